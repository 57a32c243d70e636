"""The session with Kite: who is logged in, until when, and what happens when Kite says no."""

from __future__ import annotations

import json
import stat
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.abc import Clock

from brokers.kite import KiteOptions
from brokers.kite_token import NoToken, TokenFile
from protocol.broker import RequestFailed, SessionState
from protocol.clock import NS
from protocol.errors import BrokerUnavailable, RemoteProtocolError
from protocol.kite_wire import Login
from tests.brokers.scripted_kite import TEN_NS, Reply, desk_at, order_row, refusal
from tests.brokers.test_kite_outcomes import CLIENT_ID, buy

DEAD = refusal(403, "TokenException", "Incorrect `api_key` or `access_token`.")


async def test_without_a_login_the_session_says_so_and_asks_nothing_of_kite(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path, logged_in=False) as desk:
        assert desk.broker.state is SessionState.LOGIN_NEEDED
        ((state, reason),) = desk.states()
        assert state == "LOGIN_NEEDED"
        assert "python -m supervisor login" in reason
        (refused,) = desk.broker.submit([buy()])
        assert isinstance(refused, RequestFailed)
        assert (refused.code, refused.reached) == ("LOGIN_NEEDED", False)
        await trio.sleep(3600)
        assert desk.kite.calls == []


async def test_a_login_is_found_by_the_running_session(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path, logged_in=False) as desk:
        desk.log_in()
        await trio.sleep(3)
        assert [state for state, _ in desk.states()] == ["LOGIN_NEEDED", "CONNECTING", "READY"]
        assert desk.states()[-1][1] == "AB1234 until 2026-11-24 06:00:00 IST"


async def test_at_six_the_token_is_over_and_nothing_is_tried_with_it(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path, token_look_s=60) as desk:
        await trio.sleep(20 * 3600 + 60)
        assert desk.broker.state is SessionState.LOGIN_NEEDED
        assert "2026-11-24 06:00:00" in desk.states()[-1][1]
        calls = len(desk.kite.calls)
        with pytest.raises(BrokerUnavailable, match="ended at"):
            await desk.broker.books()
        await trio.sleep(3600)
        assert len(desk.kite.calls) == calls


async def test_a_403_stops_everything_until_there_is_a_new_token(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("GET", "/gtt/triggers", DEAD)
        with pytest.raises(BrokerUnavailable):
            await desk.broker.books()
        await trio.sleep(3600)
        assert desk.states()[-1][0] == "LOGIN_NEEDED"
        assert "ended the session" in desk.states()[-1][1]
        calls = len(desk.kite.calls)
        assert desk.kite.calls[-1].path == "/gtt/triggers", "no retry storm: the 403 was the last call"
        desk.log_in("token-2")
        await trio.sleep(3)
        assert desk.broker.state is SessionState.READY
        assert {call.token for call in desk.kite.calls[calls:]} == {"token-2"}


async def test_an_order_that_meets_a_dead_token_was_not_placed(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", DEAD)
        await desk.submit(buy())
        (failed,) = desk.failures()
        assert (failed.code, failed.reached) == ("TokenException", False)
        assert desk.broker.state is SessionState.LOGIN_NEEDED


async def test_trouble_at_login_is_tried_again_ever_more_slowly(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path, logged_in=False) as desk:
        desk.kite.then("GET", "/user/profile", *[Reply(503, b"down")] * 4)
        desk.log_in()
        await trio.sleep(60)
        times = [call.at_s for call in desk.kite.asked("GET", "/user/profile")]
        gaps = [round(later - earlier) for earlier, later in pairwise(times[:4])]
        assert gaps == [1, 2, 4]
        assert desk.broker.state is SessionState.READY


async def test_a_429_at_login_is_waited_out_for_a_minute(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path, logged_in=False) as desk:
        desk.kite.then("GET", "/user/profile", refusal(429, "NetworkException", "Too many requests"))
        desk.log_in()
        await trio.sleep(65)
        first, second = (call.at_s for call in desk.kite.asked("GET", "/user/profile"))
        assert round(second - first) == 60


async def test_an_account_without_demat_consent_is_said_to_have_none(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path, logged_in=False) as desk:
        desk.kite.data["/user/profile"]["meta"] = {"demat_consent": ""}
        desk.log_in()
        await trio.sleep(3)
        assert not desk.broker.demat_consent
        assert "TPIN" in desk.states()[-1][1]


async def test_quotes_go_in_batches_of_five_hundred_one_a_second(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/quote"] = {}
        await desk.broker.quotes([f"SYM{number}" for number in range(1_200)])
        times = [call.at_s for call in desk.kite.asked("GET", "/quote")]
        assert len(times) == 3
        assert all(later - earlier >= 0.999 for earlier, later in pairwise(times))


async def test_unreadable_books_are_unavailable_books(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/orders"] = [{"order_id": "91"}]
        with pytest.raises(BrokerUnavailable, match="kite: "):
            await desk.broker.books()


async def test_a_postback_over_http_is_checked_and_makes_the_book_be_read(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        row = order_row("91", CLIENT_ID, "COMPLETE", filled=10)
        desk.kite.data["/orders"] = [row]
        desk.kite.data["/trades"] = []
        signed: dict[str, Any] = {**row}
        signed["checksum"] = sha256(f"91{row['order_timestamp']}secret".encode()).hexdigest()
        with pytest.raises(RemoteProtocolError, match="checksum"):
            desk.broker.postback(json.dumps({**signed, "checksum": "0" * 64}).encode())
        desk.broker.postback(json.dumps(signed).encode())
        await trio.sleep(2)
        assert [event.filled for event in desk.events if getattr(event, "client_id", None) == CLIENT_ID] == [10]


# --- the token file ---------------------------------------------------------------------------------


def login(access_token: str = "token") -> Login:
    return Login("AB1234", access_token, TEN_NS, TEN_NS + NS, True)


def test_the_token_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "var" / "kite-token.json", "key")
    file.write(login())
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.read() == login()
    file.write(login("newer"))
    assert file.read().access_token == "newer"


def test_a_token_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token.json", "key")
    file.write(login())
    file.path.chmod(0o640)
    with pytest.raises(NoToken, match="chmod 600"):
        file.read()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"api_key": "key", "login_ns": "x"}'])
def test_a_spoilt_token_file_asks_for_a_login(tmp_path: Path, content: bytes) -> None:
    file = TokenFile(tmp_path / "token.json", "key")
    file.write(login())
    file.path.write_bytes(content)
    with pytest.raises(NoToken, match="login"):
        file.read()


def test_a_token_of_another_api_key_is_not_used(tmp_path: Path) -> None:
    TokenFile(tmp_path / "token.json", "other").write(login())
    with pytest.raises(NoToken, match="another api key"):
        TokenFile(tmp_path / "token.json", "key").read()


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    assert "token-1" not in repr(login("token-1"))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_url": "http://api.kite.trade"}, "https://"),
        ({"ticker_url": "ws://ws.kite.trade"}, "wss://"),
    ],
)
def test_options_that_would_leak_secrets_are_refused(tmp_path: Path, wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        attrs.evolve(KiteOptions(api_key="k", api_secret="s", token_file=tmp_path / "t"), **wrong)


def test_loopback_needs_no_tls(tmp_path: Path) -> None:
    options = KiteOptions(
        api_key="k", api_secret="s", token_file=tmp_path / "t", api_url="http://127.0.0.1:1", ticker_url="ws://[::1]:1"
    )
    assert options.api_url == "http://127.0.0.1:1"
    assert "api_secret" not in repr(options)
