"""Asking the running process, and everything that can come back instead of an answer."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from commands import gateway_client
from commands.gateway_client import CommandRefused, ConnectionClosed, NoAnswer, NobodyRuns, ask
from effects import Effects
from protocol.errors import PureAlphaError
from settings import Settings
from tests.commands.fake_gateway import gateway


def settings_in(directory: Path) -> Settings:
    defaults = Settings()
    return attrs.evolve(defaults, storage=attrs.evolve(defaults.storage, directory=directory))


async def test_a_command_and_its_arguments_arrive_and_the_result_comes_back(tmp_path: Path) -> None:
    async with gateway(tmp_path, b'{"result": {"killed": "ticker"}}') as fake:
        assert await ask(settings_in(tmp_path), "kill", actor="ticker") == {"killed": "ticker"}
    assert fake.asked == [{"verb": "kill", "actor": "ticker"}]


async def test_an_error_of_the_process_is_told_in_its_own_words(tmp_path: Path) -> None:
    async with gateway(tmp_path, b'{"error": {"code": "BadCommand", "message": "no such actor"}}'):
        with pytest.raises(CommandRefused, match=r"^no such actor$") as refused:
            await ask(settings_in(tmp_path), "kill", actor="x")
    assert refused.value.code == "BadCommand"


async def test_when_nobody_runs_the_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NobodyRuns, match=str(tmp_path)):
        await ask(settings_in(tmp_path), "status")


async def test_the_socket_of_a_killed_process_is_nobody(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "gateway.sock"))
    with pytest.raises(NobodyRuns, match="nothing runs"):
        await ask(settings_in(tmp_path), "status")


@pytest.mark.parametrize("answer", [None, b"", b"no JSON", b"[1]", b"{}", b'{"result": 3}', b"\xff"])
async def test_an_unusable_answer_is_an_error_of_ours(tmp_path: Path, answer: bytes | None) -> None:
    async with gateway(tmp_path, answer):
        with pytest.raises(NoAnswer):
            await ask(settings_in(tmp_path), "status")


async def test_a_connection_that_ends_before_the_answer_is_told_apart(tmp_path: Path) -> None:
    async with gateway(tmp_path, None):
        with pytest.raises(ConnectionClosed):
            await ask(settings_in(tmp_path), "kill", actor="gateway")
    async with gateway(tmp_path, b"no JSON"):
        with pytest.raises(NoAnswer) as caught:
            await ask(settings_in(tmp_path), "status")
    assert not isinstance(caught.value, ConnectionClosed)


async def test_a_process_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    import trio

    monkeypatch.setattr(Effects, "connect_unix", never)
    with pytest.raises(NoAnswer, match=f"within {gateway_client.DEADLINE_S:g} s"):
        await ask(settings_in(tmp_path), "status")


def test_its_errors_end_a_verb_with_one_line() -> None:
    assert all(issubclass(kind, PureAlphaError) for kind in (NobodyRuns, NoAnswer, CommandRefused))
