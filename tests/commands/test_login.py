"""`login`: from the address to open to a token file that only its owner may read, against the Kite server."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from queue import SimpleQueue
from random import Random
from urllib.parse import urlsplit

import attrs
import httpx
import pytest
import trio
from click.testing import CliRunner, Result

from brokers.kite_options import KiteOptions
from brokers.kite_token import TokenFile
from commands import login as login_verb
from commands.cli import main
from effects import Effects, MarketClock
from market.instruments import Instrument, Universe
from protocol.clock import at
from simulation.kite_account import AccountOptions
from simulation.kite_exchange import KiteExchange
from simulation.kite_login import Logins
from simulation.kite_server import KiteServer

NOW_NS = at(date(2026, 11, 23), 8 * 3600)


@contextmanager
def kite_server(options: AccountOptions) -> Iterator[int]:
    """A Kite server in a thread of its own, because the verb has an event loop of its own; gives the port."""
    told: SimpleQueue[tuple[int, trio.lowlevel.TrioToken, trio.CancelScope]] = SimpleQueue()

    async def serve() -> None:
        effects = Effects(market=MarketClock(NOW_NS), seed="login")
        logins = Logins("key", "s3cret", "AB1234", Random(1))
        exchange = KiteExchange(Universe([Instrument("INFY", 1, 5)]), effects, logins, options=options)
        listeners = await effects.listen_tcp(0)
        async with trio.open_nursery() as nursery:
            await nursery.start(KiteServer(exchange).serve, listeners)
            port = listeners[0].socket.getsockname()[1]
            told.put((port, trio.lowlevel.current_trio_token(), nursery.cancel_scope))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    port, loop, scope = told.get(timeout=10)
    try:
        yield port
    finally:
        loop.run_sync_soon(scope.cancel)
        thread.join(timeout=10)


@attrs.frozen
class Terminal:
    """A person at a terminal with a browser."""

    options: KiteOptions

    def browse(self) -> str:
        """Log in at the printed address; where the browser ends up."""
        answer = httpx.get(f"{self.options.login_url}?v=3&api_key=key", trust_env=False)
        return answer.headers["location"]

    def login(self, *arguments: str, pasted: str = "") -> Result:
        return CliRunner().invoke(main, ["login", *arguments], input=f"{pasted}\n")


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    with kite_server(AccountOptions(user_id="AB1234")) as port:
        yield terminal_at(port, tmp_path, monkeypatch)


def terminal_at(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    options = KiteOptions(
        api_key="key",
        api_secret="s3cret",
        token_file=tmp_path / "var" / "kite-token.json",
        api_url=f"http://127.0.0.1:{port}",
        login_url=f"http://127.0.0.1:{port}/connect/login",
        request_timeout_s=2.0,
    )
    monkeypatch.setattr(login_verb, "kite_options", lambda settings: options)
    return Terminal(options)


def test_the_pasted_address_becomes_a_token_file_that_nobody_else_may_read(terminal: Terminal) -> None:
    result = terminal.login(pasted=terminal.browse())
    assert result.exit_code == 0, result.output
    assert f"{terminal.options.login_url}?v=3&api_key=key" in result.output
    assert "Logged in as AB1234 until 2026-11-24 06:00:00 IST" in result.output
    stored = TokenFile(terminal.options.token_file, "key").read()
    assert stored.user_id == "AB1234"
    assert stat.S_IMODE(terminal.options.token_file.stat().st_mode) == 0o600
    assert stored.access_token not in result.output
    assert "s3cret" not in result.output


def test_the_bare_request_token_does_as_well(terminal: Terminal) -> None:
    query = dict(part.split("=") for part in urlsplit(terminal.browse()).query.split("&"))
    result = terminal.login("--token", query["request_token"])
    assert result.exit_code == 0, result.output
    assert terminal.options.token_file.exists()


def test_a_request_token_is_taken_once(terminal: Terminal) -> None:
    address = terminal.browse()
    assert terminal.login(pasted=address).exit_code == 0
    before = terminal.options.token_file.read_bytes()
    again = terminal.login(pasted=address)
    assert again.exit_code == 1
    assert "TokenException" in again.output
    assert terminal.options.token_file.read_bytes() == before, "the token of the first login stays"


@pytest.mark.parametrize(
    ("pasted", "word"),
    [("http://127.0.0.1/done?status=cancelled", "did not succeed"), ("http://127.0.0.1/done?x=1", "request_token")],
)
def test_what_is_no_login_is_said_to_be_none(terminal: Terminal, pasted: str, word: str) -> None:
    result = terminal.login(pasted=pasted)
    assert result.exit_code == 2
    assert word in result.output
    assert not terminal.options.token_file.exists()


def test_without_demat_consent_it_says_what_that_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kite_server(AccountOptions(demat_consent=False)) as port:
        terminal = terminal_at(port, tmp_path, monkeypatch)
        result = terminal.login(pasted=terminal.browse())
    assert result.exit_code == 0, result.output
    assert "TPIN" in result.output


def test_a_kite_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kite_server(AccountOptions()) as port:
        terminal = terminal_at(port, tmp_path, monkeypatch)
    result = terminal.login("--token", "anything")
    assert result.exit_code == 1
    assert f"does not answer at http://127.0.0.1:{port}" in result.output


def test_without_keys_the_configuration_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_keys(settings: object) -> KiteOptions:
        return KiteOptions(api_key="", api_secret="", token_file=tmp_path / "token")

    monkeypatch.setattr(login_verb, "kite_options", no_keys)
    result = CliRunner().invoke(main, ["login"])
    assert result.exit_code == 2
    assert "api_key and api_secret are needed" in result.output
