"""The local socket: snapshots and commands, for the command line and later the dashboard.

One JSON object per line in, one per line out, on a Unix socket that only this user may open. Owns the connections
and nothing else; every command is carried out by the tree. A malformed line is answered with an error and never
ends the connection; a client that sends too much or nothing for long is dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from json import dumps, loads
from pathlib import Path

import trio

from actors.actor import Actor
from actors.mailbox import Address
from effects import Effects
from protocol.errors import PureAlphaError

LINE_BYTES_MAX = 65_536
CLIENTS_MAX = 64
IDLE_S = 300.0
CHUNK_BYTES = 4096

Command = Callable[[Mapping[str, object]], Awaitable[object]]


class BadCommand(PureAlphaError):
    """A command whose arguments cannot be used; the text says what would be right."""


class Gateway(Actor):
    """`commands` maps a verb to what carries it out; its result is JSON values."""

    def __init__(self, address: Address, effects: Effects, path: Path, commands: Mapping[str, Command]) -> None:
        super().__init__(address)
        self._effects = effects
        self._path = path
        self._commands = commands
        self._clients = 0

    async def started(self) -> None:
        await self.nursery.start(partial(self._effects.serve_unix, self._path, self._client))

    async def handle(self, message: object) -> object:
        return {"clients": self._clients}

    async def _client(self, stream: trio.SocketStream) -> None:
        """One connection; whatever goes wrong on it ends on it."""
        self._clients += 1
        try:
            async with stream:
                if self._clients > CLIENTS_MAX:
                    message = f"{CLIENTS_MAX} clients are connected"
                    await self._send(stream, {"error": {"code": "BUSY", "message": message}})
                else:
                    await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return  # the client went away in the middle of an answer, or does not read it
        finally:
            self._clients -= 1

    async def _serve(self, stream: trio.SocketStream) -> None:
        waiting = b""
        while True:
            with trio.move_on_after(IDLE_S) as idle:
                received = await stream.receive_some(CHUNK_BYTES)
            if idle.cancelled_caught or not received:
                return
            *lines, waiting = (waiting + received).split(b"\n")
            for line in lines:
                await self._send(stream, await self._answer(line))
            if len(waiting) > LINE_BYTES_MAX:
                message = f"a command has at most {LINE_BYTES_MAX} bytes"
                await self._send(stream, {"error": {"code": "TOO_LONG", "message": message}})
                return

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            asked = loads(line)
            dumps(asked, ensure_ascii=False).encode()  # half a surrogate pair passes loads, and no journal takes it
        except (ValueError, RecursionError) as problem:
            return {"error": {"code": "NOT_JSON", "message": f"one JSON object per line, please: {problem}"}}
        verb = asked.get("verb") if isinstance(asked, dict) else None
        command = self._commands.get(verb) if isinstance(verb, str) else None
        if command is None:
            known = ", ".join(sorted(self._commands))
            return {"error": {"code": "UNKNOWN_VERB", "message": f"verb {verb!r} is none of {known}"}}
        try:
            return {"result": await command(asked)}
        except PureAlphaError as problem:
            return {"error": {"code": type(problem).__name__, "message": str(problem)}}

    async def _send(self, stream: trio.SocketStream, answer: object) -> None:
        with trio.fail_after(IDLE_S):
            await stream.send_all(dumps(answer, ensure_ascii=False).encode() + b"\n")
