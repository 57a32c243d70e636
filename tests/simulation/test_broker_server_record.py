"""The broker server knows its books again after any death, because it recorded before it answered."""

from __future__ import annotations

import sys
from datetime import date
from functools import partial
from pathlib import Path
from subprocess import PIPE

import attrs
import httpx
import numpy as np
import pytest
import trio

from market.calendar import TradingCalendar
from market.feeds.frame import Frame
from market.feeds.simulated import SimulatedFeed
from protocol.broker import CancelGtt
from protocol.broker_wire import Response, decode_message
from protocol.broker_wire_requests import GetGtts, GetOrders
from protocol.clock import at
from protocol.orders import GttState, OrderState
from simulation.broker_exchange import ServerAccount
from simulation.broker_market import ServerMarket
from simulation.broker_record import RecordError
from simulation.broker_server import BrokerServer
from tests.simulation.broker_house import LAST, buy, gtt, house, new_server, opened, sell_stop

ROOT = Path(__file__).resolve().parents[2]


async def test_a_server_started_again_has_the_same_books_and_trades_on(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    async with house(record, cash_paise=100 * LAST) as running:
        client = await running.client()
        await client.done(buy("A1"))
        await client.done(buy("A2", limit_paise=149_000))
        await client.done(sell_stop("A3", 148_000))
        await client.done(gtt("G1", target=None))
        cancelled = (await client.done(gtt("G2"))).gtt_id or ""
        await client.done(CancelGtt(cancelled))
        running.server.trouble.set({"partial_fill": {"times": 1}})
        await client.done(buy("A4"))
        before = running.server.books("anna")
        then_ns = running.server.market.now_ns
    again = new_server(record, cash_paise=100 * LAST)
    assert again.books("anna") == before
    assert again.market.now_ns == then_ns
    async with opened(again) as running:
        client = await running.client()
        rest = next(row for row in before.orders or () if row.update.client_id == "A4").update
        again.price("INFY", 148_500)
        orders = {row.update.client_id: row for row in (await client.done(GetOrders())).orders or ()}
        assert orders["A2"].update.value_paise == 10 * 148_500
        assert orders["A3"].update.raw_status == "PENDING"
        done = orders["A4"]
        assert done.update.value_paise == rest.value_paise + (10 - rest.filled) * 148_500
        assert len({fill.trade_id for fill in done.fills or ()}) == 2
        assert (await client.done(buy("A1"))).order == orders["A1"]
        placed = (await client.done(buy("A9"))).order_id or ""
        assert placed not in {row.update.broker_id for row in before.orders or ()}
        again.price("INFY", 146_000)
        states = {row.update.client_id: row.update.state for row in (await client.done(GetGtts())).gtts or ()}
        assert states == {"G1": GttState.TRIGGERED, "G2": GttState.CANCELLED}


async def test_holdings_cash_and_old_orders_survive_a_death_on_a_later_day(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    async with house(record, cash_paise=100 * LAST) as running:
        client = await running.client()
        await client.done(buy("A1"))
        await client.done(buy("A2", limit_paise=149_000))
        running.server.end_of_day()
        running.server.start_of_day("2026-01-06")
        running.server.price("INFY", 152_000)
        await client.done(buy("A3", quantity=1))
        before = running.server.books("anna")
    again = new_server(record, cash_paise=100 * LAST)
    assert again.books("anna") == before
    assert again.exchange.day == date(2026, 1, 6)
    assert [row.update.state for row in before.orders or ()] == [
        OrderState.COMPLETE,
        OrderState.CANCELLED,
        OrderState.COMPLETE,
    ]
    assert before.margins is not None
    assert before.margins.available_paise == 100 * LAST - 10 * LAST - 152_000
    assert [holding.t1_quantity for holding in before.holdings or ()] == [10]


def test_a_line_torn_by_a_death_is_as_if_it_was_never_accepted(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    new_server(record)
    whole = record.read_bytes()
    record.write_bytes(whole + b'{"account": "anna", "order": {"order_id"')
    assert new_server(record).exchange.starts == 2
    lines = record.read_bytes().splitlines(keepends=True)
    assert lines[0] == whole
    assert b"anna" not in lines[1]


@pytest.mark.parametrize("line", [b"not JSON\n", b"[]\n"])
def test_a_record_that_was_tampered_with_is_refused_by_line(tmp_path: Path, line: bytes) -> None:
    record = tmp_path / "record.jsonl"
    record.write_bytes(b'{"start": 1, "at": "2026-01-05T04:30:00Z"}\n' + line)
    with pytest.raises(RecordError, match=r"record\.jsonl:2"):
        new_server(record)


def test_books_keep_at_least_seven_days_and_forget_in_the_end() -> None:
    server = new_server()
    server.price("INFY", LAST)
    server.exchange.carry_out("anna", "R1", buy("A1"))
    kept: dict[str, int] = {}
    for day in ("2026-01-06", "2026-01-07", "2026-01-12", "2026-01-13", "2026-01-14"):
        server.end_of_day()
        server.start_of_day(day)
        books = server.books("anna")
        kept[day] = len(books.orders or ()) + len(books.trades or ())
    assert kept == {"2026-01-06": 2, "2026-01-07": 2, "2026-01-12": 2, "2026-01-13": 2, "2026-01-14": 0}
    assert [holding.quantity for holding in server.books("anna").holdings or ()] == [10]


# --- the market of a feed -------------------------------------------------------------------------------


def feed_market() -> tuple[SimulatedFeed, ServerMarket]:
    calendar = TradingCalendar()
    first_day = date(2026, 1, 5)
    feed = SimulatedFeed(lambda name: np.random.default_rng(sum(name.encode())), calendar, first_day=first_day)
    return feed, ServerMarket(feed.universe, calendar, start_ns=at(first_day, 0))


async def test_a_feed_moves_time_prices_limits_and_days() -> None:
    feed, market = feed_market()
    server = BrokerServer([ServerAccount(name="anna", api_key="key")], market)
    frames = 0
    while frames < 30:
        item = feed.peek()
        assert item is not None
        server.show(item)
        feed.ack()
        frames += isinstance(item, Frame)
    quote = market.quote("INFY")
    assert quote is not None
    assert quote.lower_circuit_paise is not None
    assert quote.upper_circuit_paise is not None
    assert quote.lower_circuit_paise < quote.last_paise < quote.upper_circuit_paise
    server.exchange.carry_out("anna", "R1", buy("A1"))
    (position,) = server.books("anna").positions or ()
    assert position.bought_value_paise == 10 * quote.last_paise


async def test_a_server_started_again_goes_on_where_its_market_stood(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    accounts = [ServerAccount(name="anna", api_key="key")]
    feed, market = feed_market()
    server = BrokerServer(accounts, market, record=record)
    with trio.move_on_after(0.3):
        await server.play(feed, 10_000)
    server.exchange.note_market()
    feed, market = feed_market()
    again = BrokerServer(accounts, market, record=record)
    assert again.exchange.resumed_ns == server.market.now_ns > at(date(2026, 1, 5), 9 * 3600)
    feed.skip_to(again.exchange.resumed_ns)
    first = feed.peek()
    assert first is not None
    assert first.at_ns == again.exchange.resumed_ns


# --- a real process -------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Process:
    """The server as people start it."""

    process: trio.Process
    url: str

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()
        assert self.process.stdout is not None
        await self.process.stdout.aclose()


async def started(nursery: trio.Nursery, record: Path) -> Process:
    command = [sys.executable, "-m", "simulation.broker_server", "--port", "0", "--symbols", "INFY"]
    command += ["--account", "anna:key:1000000", "--record", str(record)]
    process = await nursery.start(partial(trio.run_process, command, cwd=ROOT, stdout=PIPE, check=False))
    assert process.stdout is not None
    said = b""
    with trio.fail_after(30):
        while b"\n" not in said:
            more = await process.stdout.receive_some()
            assert more, f"the server ended: {said!r}"
            said += more
    port = said.split()[2].rstrip(b":").rpartition(b":")[2].decode()
    return Process(process, f"http://127.0.0.1:{port}")


async def test_what_a_killed_process_had_answered_its_successor_knows(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    headers = {"Authorization": "key"}
    order = {"symbol": "INFY", "side": "BUY", "quantity": 1, "order_type": "MARKET"}
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False, headers=headers) as http:
        first = await started(nursery, record)
        await http.post(f"{first.url}/control/prices", json={"INFY": 1500})
        for number in range(20):
            answer = await http.post(f"{first.url}/orders", json={**order, "client_order_id": f"A{number}"})
            assert answer.json()["order"]["status"] == "COMPLETE"
        before = (await http.get(f"{first.url}/control/books?account=anna")).text
        await first.kill()
        second = await started(nursery, record)
        after = (await http.get(f"{second.url}/control/books?account=anna")).text
        assert (await http.get(f"{second.url}/control/state")).json()["starts"] == 2
        await second.kill()
    known, kept = decode_message(before), decode_message(after)
    assert isinstance(known, Response)
    assert known == kept
    assert len(known.orders or ()) == 20
