"""Asking the running process: one question over its local socket, one answer.

Owns the connection and what can go wrong on it, in words. The other side is actors/gateway.py: one JSON
object per line each way. Called by status, kill, close and kill-switch.
"""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path

import trio

from effects import Effects
from protocol.errors import PureAlphaError
from settings import Settings

SOCKET_FILE = "gateway.sock"
DEADLINE_S = 5.0
ANSWER_BYTES_MAX = 16 << 20
CHUNK_BYTES = 65_536


class NobodyRuns(PureAlphaError):
    """No process serves the socket."""


class NoAnswer(PureAlphaError):
    """Something serves the socket and gave no answer that can be used."""


class ConnectionClosed(NoAnswer):
    """The question was sent, and the process hung up before it had answered."""


class CommandRefused(PureAlphaError):
    """The process answered with an error; `code` is its own word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def ask(settings: Settings, verb: str, **arguments: object) -> dict[str, object]:
    """The result of one command, within DEADLINE_S.

    Raises NobodyRuns, NoAnswer (ConnectionClosed where the question was sent), CommandRefused.
    """
    path = settings.storage.directory / SOCKET_FILE
    try:
        with trio.fail_after(DEADLINE_S):
            stream = await Effects().connect_unix(path)
            async with stream:
                await stream.send_all(dumps({"verb": verb, **arguments}).encode() + b"\n")
                return _result(await _line(stream))
    except trio.TooSlowError:
        raise NoAnswer(f"the process behind {path} did not answer within {DEADLINE_S:g} s") from None
    except trio.BrokenResourceError:
        raise ConnectionClosed(f"the process behind {path} closed the connection") from None
    except PermissionError as error:
        raise NoAnswer(f"{path} belongs to another user: {error.strerror}") from None
    except OSError as error:
        raise NobodyRuns(_nobody(path, error)) from None


async def _line(stream: trio.SocketStream) -> bytes:
    received = bytearray()
    while b"\n" not in received:
        chunk = await stream.receive_some(CHUNK_BYTES)
        if not chunk:
            raise ConnectionClosed("the process closed the connection before it had answered")
        received += chunk
        if len(received) > ANSWER_BYTES_MAX:
            raise NoAnswer(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(received.partition(b"\n")[0])


def _result(line: bytes) -> dict[str, object]:
    try:
        answer = loads(line)
    except (ValueError, RecursionError) as error:
        raise NoAnswer(f"the answer is no JSON: {error}") from None
    if isinstance(answer, dict):
        refusal, result = answer.get("error"), answer.get("result")
        if isinstance(refusal, dict):
            raise CommandRefused(str(refusal.get("code", "")), str(refusal.get("message", "")))
        if isinstance(result, dict):
            return result
    raise NoAnswer(f"the answer is neither a result nor an error: {line[:80]!r}")


def _nobody(path: Path, error: OSError) -> str:
    return (
        f"nothing runs in {path.parent.absolute()} ({path.name}: {error.strerror or error}): start it with"
        " `python -m supervisor`, or say where it runs with --set storage.directory=…"
    )
