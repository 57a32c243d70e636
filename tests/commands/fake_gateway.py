"""A process to ask: a Unix socket that answers every line as it was told to. Kept to actors/gateway.py's protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from json import loads
from pathlib import Path

import trio
from click.testing import CliRunner, Result

from commands.cli import main
from effects import Effects


class FakeGateway:
    """`answer` is sent as it is, one line per question; None closes the connection instead."""

    def __init__(self, directory: Path, answer: bytes | None) -> None:
        self.directory = directory
        self.answer = answer
        self.asked: list[dict[str, object]] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            received = b""
            while b"\n" not in received:
                received += await stream.receive_some(4096)
            self.asked.append(loads(received))
            if self.answer is not None:
                await stream.send_all(self.answer + b"\n")

    async def verb(self, *arguments: str) -> Result:
        """Run a verb of the command line against this gateway, in a thread with a Trio of its own."""
        options = ["--set", f"storage.directory={self.directory}"]
        return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, [*arguments, *options]))


@asynccontextmanager
async def gateway(directory: Path, answer: bytes | None) -> AsyncIterator[FakeGateway]:
    fake = FakeGateway(directory, answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(Effects().serve_unix, directory / "gateway.sock", fake.serve))
        yield fake
        nursery.cancel_scope.cancel()
