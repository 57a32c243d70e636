"""The gateway alone, over a real local socket: who may connect, and what becomes of bad lines and bad clients."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors import gateway as gateway_module
from actors.actor import serve
from actors.gateway import LINE_BYTES_MAX, BadCommand, Gateway
from actors.mailbox import Address, AskTimeout
from effects import Effects
from protocol.messages import AskSnapshot


class Socket:
    """A gateway on a socket of its own, with a few commands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.effects = Effects(seed="gateway")
        self.address = Address("gateway")
        self.connected: list[Client] = []

    async def echo(self, asked: Mapping[str, object]) -> object:
        return {"you said": asked.get("text")}

    async def refuse(self, asked: Mapping[str, object]) -> object:
        raise BadCommand("close takes account, symbol and rung")

    async def time_out(self, asked: Mapping[str, object]) -> object:
        raise AskTimeout("order_router:main did not answer within 2 s")

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        commands = {"echo": self.echo, "refuse": self.refuse, "time_out": self.time_out}
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, lambda own: Gateway(own, self.effects, self.path, commands), self.address)
            await trio.testing.wait_all_tasks_blocked()
            try:
                yield
            finally:
                for client in self.connected:
                    await client.stream.aclose()
                nursery.cancel_scope.cancel()

    async def connect(self) -> Client:
        self.connected.append(Client(await self.effects.connect_unix(self.path)))
        return self.connected[-1]

    async def clients(self) -> int:
        answer = await self.address.ask(AskSnapshot(), 1.0)
        return int(answer["clients"])


class Client:
    """One connection that speaks lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._waiting = b""

    async def send(self, text: bytes) -> None:
        await self.stream.send_all(text)

    async def read(self) -> Any:
        """The next answer; None when the gateway has hung up."""
        while b"\n" not in self._waiting:
            received = await self.stream.receive_some(65_536)
            if not received:
                return None
            self._waiting += received
        line, _, self._waiting = self._waiting.partition(b"\n")
        return loads(line)

    async def ask(self, text: bytes) -> Any:
        await self.send(text + b"\n")
        return await self.read()


@pytest.fixture
def local(tmp_path: Path) -> Socket:
    return Socket(tmp_path / "gateway.sock")


ECHO = dumps({"verb": "echo", "text": "₹ 3,000"}).encode()
ECHOED = {"result": {"you said": "₹ 3,000"}}


# --- the socket -------------------------------------------------------------------------------------


async def test_only_this_user_may_open_the_socket(local: Socket) -> None:
    async with local.served():
        mode = local.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


async def test_the_mask_of_the_process_is_what_it_was(local: Socket) -> None:
    before = os.umask(0o027)
    try:
        async with local.served():
            inside = os.umask(0o027)
        assert inside == 0o027
    finally:
        os.umask(before)


async def test_a_socket_that_a_killed_process_left_behind_is_replaced(local: Socket) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(local.path))
    assert local.path.exists()
    async with local.served():
        assert await (await local.connect()).ask(ECHO) == ECHOED


async def test_what_is_no_socket_is_left_alone(local: Socket) -> None:
    local.path.write_text("a person's notes")
    with pytest.raises(ExceptionGroup) as raised:
        async with local.served():
            raise AssertionError("it must not be served")
    assert raised.group_contains(OSError, match="is not a socket: move it away or choose another directory")
    assert local.path.read_text() == "a person's notes"


async def test_a_folder_that_is_not_there_is_an_error_and_leaks_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with Socket(tmp_path / "nowhere" / "gateway.sock").served():
            raise AssertionError("it must not be served")
    assert raised.group_contains(FileNotFoundError)


async def test_the_socket_is_gone_after_an_ordered_stop_and_back_after_a_kill(local: Socket) -> None:
    for _ in range(2):
        async with local.served():
            assert await (await local.connect()).ask(ECHO) == ECHOED
        assert not local.path.exists()


# --- lines ------------------------------------------------------------------------------------------


async def test_each_line_is_answered_in_order(local: Socket) -> None:
    async with local.served():
        client = await local.connect()
        await client.send(b"".join(dumps({"verb": "echo", "text": n}).encode() + b"\n" for n in range(5)))
        assert [await client.read() for _ in range(5)] == [{"result": {"you said": n}} for n in range(5)]


async def test_a_line_may_come_in_pieces(local: Socket) -> None:
    async with local.served():
        client = await local.connect()
        for byte in ECHO:
            await client.send(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        await client.send(b"\n")
        assert await client.read() == ECHOED


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status",
        b"{",
        b"\xff\xfe",
        b'{"verb": "echo", "text": "\\ud800"}',
        b'{"verb": "echo", "text": ' + b"9" * 5_000 + b"}",
        b"[" * 50_000,
    ],
    ids=["empty", "no JSON", "half", "no UTF-8", "half a character", "an endless number", "an endless list"],
)
async def test_a_malformed_line_is_answered_and_does_not_end_the_connection(local: Socket, line: bytes) -> None:
    async with local.served():
        client = await local.connect()
        answer = await client.ask(line)
        assert answer["error"]["code"] == "NOT_JSON"
        assert "one JSON object per line" in answer["error"]["message"]
        assert await client.ask(ECHO) == ECHOED


@pytest.mark.parametrize("line", [b"[]", b"7", b"null", b"{}", b'{"verb": "sell_all"}', b'{"verb": ["echo"]}'])
async def test_an_unknown_verb_is_answered_with_those_there_are(local: Socket, line: bytes) -> None:
    async with local.served():
        client = await local.connect()
        answer = await client.ask(line)
        assert answer["error"]["code"] == "UNKNOWN_VERB"
        assert answer["error"]["message"].endswith("is none of echo, refuse, time_out")
        assert await client.ask(ECHO) == ECHOED


async def test_a_line_that_is_too_long_ends_the_connection_with_the_reason(local: Socket) -> None:
    async with local.served():
        client = await local.connect()
        await client.send(b"x" * (LINE_BYTES_MAX + 1))
        answer = await client.read()
        assert answer["error"] == {"code": "TOO_LONG", "message": f"a command has at most {LINE_BYTES_MAX} bytes"}
        assert await client.read() is None
        assert await (await local.connect()).ask(ECHO) == ECHOED


async def test_the_longest_line_is_answered(local: Socket) -> None:
    frame = len(dumps({"verb": "echo", "text": ""}))
    line = dumps({"verb": "echo", "text": "x" * (LINE_BYTES_MAX - frame)}).encode()
    assert len(line) == LINE_BYTES_MAX
    async with local.served():
        client = await local.connect()
        answer = await client.ask(line)
        assert len(answer["result"]["you said"]) == LINE_BYTES_MAX - frame


@pytest.mark.parametrize(
    ("verb", "code", "words"), [("refuse", "BadCommand", "close takes"), ("time_out", "AskTimeout", "did not answer")]
)
async def test_a_command_that_fails_says_why(local: Socket, verb: str, code: str, words: str) -> None:
    async with local.served():
        client = await local.connect()
        answer = await client.ask(dumps({"verb": verb}).encode())
        assert answer["error"]["code"] == code
        assert words in answer["error"]["message"]
        assert await client.ask(ECHO) == ECHOED


# --- clients ----------------------------------------------------------------------------------------


async def test_clients_beyond_the_limit_are_told_and_hung_up_on(local: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "CLIENTS_MAX", 3)
    async with local.served():
        clients = [await local.connect() for _ in range(3)]
        for client in clients:
            assert await client.ask(ECHO) == ECHOED
        fourth = await local.connect()
        assert await fourth.read() == {"error": {"code": "BUSY", "message": "3 clients are connected"}}
        assert await fourth.read() is None
        await clients[0].stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await (await local.connect()).ask(ECHO) == ECHOED


async def test_a_client_too_many_that_has_left_already_harms_nobody(
    local: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "CLIENTS_MAX", 1)
    async with local.served():
        first = await local.connect()
        assert await first.ask(ECHO) == ECHOED
        for _ in range(5):
            await (await local.connect()).stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await first.ask(ECHO) == ECHOED


async def test_a_client_that_leaves_in_the_middle_of_an_answer_harms_nobody(local: Socket) -> None:
    async with local.served():
        for _ in range(5):
            client = await local.connect()
            await client.send(ECHO + b"\n" + ECHO[:9])
            await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await local.clients() == 0
        assert await (await local.connect()).ask(ECHO) == ECHOED


async def test_a_client_that_says_nothing_for_long_is_hung_up_on(
    local: Socket, mock_clock: trio.testing.MockClock
) -> None:
    async with local.served():
        client = await local.connect()
        assert await client.ask(ECHO) == ECHOED
        await trio.testing.wait_all_tasks_blocked()  # the gateway waits for the next line from here on
        mock_clock.jump(299)
        await trio.testing.wait_all_tasks_blocked()
        assert await local.clients() == 1
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        assert await local.clients() == 0
        assert await client.read() is None


async def test_a_client_that_does_not_read_its_answers_is_hung_up_on(
    local: Socket, mock_clock: trio.testing.MockClock
) -> None:
    line = dumps({"verb": "echo", "text": "x" * 60_000}).encode() + b"\n"
    async with local.served():
        client = await local.connect()
        with trio.move_on_after(1) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_sending, client, line)
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(2)
        assert patience.cancelled_caught
        assert await local.clients() == 1
        mock_clock.jump(301)
        await trio.testing.wait_all_tasks_blocked()
        assert await local.clients() == 0
        assert await (await local.connect()).ask(ECHO) == ECHOED


async def keep_sending(client: Client, line: bytes) -> None:
    while True:
        await client.send(line)
