"""The Kite server plays a market: frames become prices, candles and ticks; and it runs from the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from random import Random

import httpx
import numpy as np
import pytest
import trio
import trio.testing
from click.testing import CliRunner

from effects import Effects
from market.calendar import TradingCalendar
from market.candles import Candles, CompletedBars
from market.feeds.frame import DayStart, Frame
from market.feeds.simulated import SimulatedFeed
from market.history import History
from market.instruments import Instrument, Universe
from protocol.clock import NS, from_ist_text, ist_text
from protocol.kite_market import candles, read_candles, read_quotes
from protocol.kite_wire import answer, headers, session_checksum
from simulation.kite_exchange import KiteExchange
from simulation.kite_login import Logins
from simulation.kite_server import KiteServer, main
from tests.simulation.kite_desk import KEY, LAST, SECRET, Desk, make_desk, open_caller, open_desk

# Minutes are known of the day alone, quarters of an hour and days of the past too.
FROM = {"minute": date(2026, 11, 19), "5minute": date(2026, 11, 19), "15minute": date(2026, 11, 19)}
FROM |= {"60minute": date(2026, 11, 16), "day": date(2026, 10, 1)}
MONDAY = date(2026, 11, 23)
OPEN_NS = from_ist_text("2026-11-23 09:15:00")
ROOT = Path(__file__).resolve().parents[2]
FIRST_DAY = date(2026, 11, 19)


def simulated() -> tuple[SimulatedFeed, Desk]:
    effects, calendar = Effects(seed="market"), TradingCalendar()
    feed = SimulatedFeed(effects.np_rng, calendar, first_day=FIRST_DAY)
    exchange = KiteExchange(
        feed.universe, effects, Logins(KEY, SECRET, "PA0001", Random("tokens")), calendar=calendar, feed=feed
    )
    return feed, Desk(exchange, KiteServer(exchange, rate_limits=False, machine_s=lambda: 0.0), effects.market)


def play(feed: SimulatedFeed, exchange: KiteExchange, frames: int) -> None:
    """The day's start, if it is due, and so many frames."""
    while frames and (item := feed.peek()) is not None:
        exchange.play(item)
        feed.ack()
        frames -= isinstance(item, Frame)


async def test_what_was_played_is_quoted_and_its_candles_agree_with_one_another() -> None:
    feed, desk = simulated()
    play(feed, desk.exchange, 40 * 60)
    symbols = list(feed.universe.symbols)[:5]
    token = desk.exchange.market.by_symbol["INFY"].token
    read = {}
    async with open_desk(desk) as port, open_caller(port) as caller:
        query = "&".join(f"i=NSE:{symbol}" for symbol in symbols)
        quotes = read_quotes(await caller.data("GET", f"/quote?{query}"), 0)
        for interval, first in FROM.items():
            (call,) = candles(token, interval, first, FIRST_DAY)
            read[interval] = read_candles(await caller.data("GET", call.target))

    assert [quote.symbol for quote in quotes] == symbols
    for quote in quotes:
        assert quote.lower_circuit_paise is not None
        assert quote.upper_circuit_paise is not None
        assert quote.lower_circuit_paise < quote.last_paise < quote.upper_circuit_paise
        assert ist_text(quote.at_ns).startswith("2026-11-19 09:5")

    minutes, fives, quarters = read["minute"], read["5minute"], read["15minute"]
    assert (len(minutes), len(fives), len(quarters)) == (40, 8, 3)
    opened = from_ist_text("2026-11-19 09:15:00")
    assert minutes[0].start_ns == fives[0].start_ns == quarters[0].start_ns == opened
    assert quarters[0].high_paise == max(bar.high_paise for bar in minutes[:15])
    assert quarters[0].open_paise == fives[0].open_paise == minutes[0].open_paise
    assert quarters[1].close_paise == minutes[29].close_paise
    assert all((bar.start_ns - opened) % (60 * 60 * 10**9) == 0 for bar in read["60minute"])
    assert read["day"][-1].start_ns == from_ist_text("2026-11-18 00:00:00")
    assert len(read["day"]) > 25


class Recited:
    """A feed of a day's start and a frame for INFY in each second after it."""

    def __init__(self, universe: Universe, start: DayStart) -> None:
        self.universe = universe
        self.interval_s = 1.0
        self._item: DayStart | Frame = start
        self._seconds = 0

    def peek(self) -> DayStart | Frame:
        return self._item

    def ack(self) -> None:
        self._seconds += 1
        row, price = np.array([0], dtype=np.int32), np.array([LAST], dtype=np.int64)
        self._item = Frame(OPEN_NS + self._seconds * NS, row, price, np.array([self._seconds]), True)

    def skip_to(self, at_ns: int) -> None:
        raise AssertionError("this feed begins where it begins")

    def warm_up(self, history: History, candles: Candles) -> list[CompletedBars]:
        return []


def recited(desk: Desk) -> Recited:
    session = TradingCalendar().session(MONDAY)
    assert session is not None
    universe = Universe([Instrument("INFY", 1, 5), Instrument("TCS", 2, 5)])
    return Recited(universe, DayStart(session.open_ns, session, np.array([LAST, 0], dtype=np.int64)))


async def test_a_feed_is_played_at_its_pace_and_faster(autojump_clock: trio.testing.MockClock) -> None:
    desk = make_desk()
    with trio.move_on_after(10.1):
        await desk.server.play(recited(desk), 6.0)
    assert desk.clock.now_ns == OPEN_NS + 60 * NS
    assert desk.exchange.market.by_symbol["INFY"].volume == 60


async def test_prices_can_bear_the_systems_time(autojump_clock: trio.testing.MockClock) -> None:
    desk = make_desk()
    now_ns = from_ist_text("2026-11-23 09:20:30")
    with trio.move_on_after(5.1):
        await desk.server.play(recited(desk), 1.0, wall_ns=lambda: now_ns)
    assert desk.clock.now_ns == desk.exchange.market.by_symbol["INFY"].traded_ns == now_ns


# --- from the command line ----------------------------------------------------------------------------------


@contextmanager
def running(*options: str) -> Iterator[str]:
    """The server as a process of its own, and its address."""
    command = [sys.executable, "-m", "simulation.kite_server", "--port", "0", "--api-key", KEY, "--api-secret", SECRET]
    with subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("REST http://127.0.0.1:")
        try:
            yield said.split()[1]
        finally:
            process.kill()


def test_it_runs_from_the_command_line_and_comes_back_after_a_kill(tmp_path: Path) -> None:
    options = ("--always-open", "--record", str(tmp_path / "kite.jsonl"))
    order = {
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "BUY",
        "order_type": "LIMIT",
        "price": "1.00",
        "quantity": "1",
        "product": "CNC",
        "tag": "kept",
    }
    with running(*options) as url, httpx.Client(trust_env=False) as web:
        login = web.get(f"{url}/connect/login?v=3&api_key={KEY}", follow_redirects=True)
        assert "request_token" in str(login.url)
        form = login_form(login.url.params["request_token"])
        token = answer(200, web.post(f"{url}/session/token", data=form).content)["access_token"]
        placed = web.post(f"{url}/orders/regular", data=order, headers=headers(KEY, token))
        order_id = answer(placed.status_code, placed.content)["order_id"]
    with running(*options) as url, httpx.Client(trust_env=False) as web:
        book = web.get(f"{url}/orders", headers=headers(KEY, token))
        (row,) = answer(book.status_code, book.content)
        assert (row["order_id"], row["tag"]) == (order_id, "kept")


def login_form(request_token: str) -> dict[str, str]:
    checksum = session_checksum(KEY, request_token, SECRET)
    return {"api_key": KEY, "request_token": request_token, "checksum": checksum}


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing")
    ended = CliRunner().invoke(main, ["--port", "0", "--api-key", "k", "--api-secret", "s", "--data", missing])
    assert ended.exit_code == 1
    assert missing in ended.output


@pytest.mark.parametrize("option", ["--api-key", "--api-secret", "--port"])
def test_what_it_needs_is_asked_for(option: str) -> None:
    given = {"--api-key": "k", "--api-secret": "s", "--port": "0"}
    del given[option]
    ended = CliRunner().invoke(main, [part for pair in given.items() for part in pair])
    assert ended.exit_code == 2
    assert option in ended.output
