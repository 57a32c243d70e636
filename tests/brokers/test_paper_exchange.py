"""The paper exchange around its engines: order of matching, latency, accounts, restarts."""

from __future__ import annotations

from datetime import date
from random import Random

import attrs
import numpy as np
import pytest

from brokers.paper import PaperBroker, PaperExchange, PaperOptions, continuous_trading
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from market.feeds.frame import Frame
from market.instruments import Instrument, Universe
from protocol.broker import (
    Event,
    GttUpdate,
    HoldingRow,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Request,
    RequestFailed,
)
from protocol.clock import DAY_S, NS, at
from protocol.orders import Gtt, GttState, Leg, Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Rung, RungStatus

MONDAY = date(2016, 8, 29)
TEN_O_CLOCK_NS = at(MONDAY, 10 * 3600)
YESTERDAY_NS = TEN_O_CLOCK_NS - DAY_S * NS
STOP = Leg(97_500, 96_525)
MILLISECOND_NS = NS // 1000


@attrs.define(eq=False)
class Floor:
    """The exchange with its board and clock; `heard` is what each account's session was told."""

    exchange: PaperExchange
    board: Board
    clock: MarketClock
    heard: dict[str, list[Event]] = attrs.field(factory=dict)

    def account(self, name: str) -> PaperBroker:
        """An open, connected account."""
        self.exchange.open_account(name, id_prefix=name)
        return self.connected(name)

    def connected(self, name: str) -> PaperBroker:
        self.heard[name] = []
        self.exchange.connect(name, self.heard[name].append)
        self.heard[name].clear()
        return PaperBroker(self.exchange, name)

    def ticks(self, *ticks: tuple[int, int]) -> None:
        """One frame of (row, price), a second after the one before."""
        self.clock.advance_to(self.clock.now_ns + NS)
        rows = [row for row, _ in ticks]
        frame = Frame(
            self.clock.now_ns,
            np.array(rows, dtype=np.int32),
            np.array([price for _, price in ticks], dtype=np.int64),
            np.full(len(ticks), -1, dtype=np.int64),
            len(set(rows)) == len(rows),
        )
        accepted = self.board.apply(frame)
        assert accepted is frame
        self.exchange.match(frame)


@pytest.fixture
def universe() -> Universe:
    return Universe([Instrument("AAA", 1, 5), Instrument("BBB", 2, 5), Instrument("CCC", 3, 5, derivatives=True)])


@pytest.fixture
def options() -> PaperOptions:
    return PaperOptions()


@pytest.fixture
def floor(universe: Universe, options: PaperOptions) -> Floor:
    board = Board(len(universe), layers=1)
    clock = MarketClock(TEN_O_CLOCK_NS - NS)
    is_open = continuous_trading(TradingCalendar(), universe)
    floor = Floor(PaperExchange(universe, board, clock, is_open, Random, options), board, clock)
    floor.ticks((0, 100_000), (1, 100_000), (2, 100_000))
    return floor


def buy(client_id: str, symbol: str = "AAA", quantity: int = 10, limit_paise: int | None = None) -> PlaceOrder:
    return PlaceOrder(
        client_id=client_id,
        symbol=symbol,
        side=Side.BUY,
        quantity=quantity,
        order_type=OrderType.MARKET if limit_paise is None else OrderType.LIMIT,
        limit_paise=limit_paise,
    )


def protect(client_id: str, symbol: str = "AAA", stop: Leg = STOP, quantity: int = 10) -> PlaceGtt:
    return PlaceGtt(client_id=client_id, symbol=symbol, quantity=quantity, stop=stop, target=None, last_paise=100_000)


def triggered(events: list[Event]) -> list[str | None]:
    return [e.client_id for e in events if isinstance(e, GttUpdate) and e.state is GttState.TRIGGERED]


# --- matching -----------------------------------------------------------------------------------


def test_what_a_frame_triggers_comes_by_symbol_whatever_the_order_of_its_ticks(floor: Floor) -> None:
    broker = floor.account("A")
    broker.submit([buy("1", "BBB"), buy("2", "AAA"), protect("B", "BBB"), protect("A", "AAA")])
    floor.ticks((2, 90_000), (1, 97_000), (0, 97_000))
    assert triggered(floor.heard["A"]) == ["A", "B"]


def test_every_tick_of_a_repeated_symbol_counts_in_the_order_of_the_frame(floor: Floor) -> None:
    broker = floor.account("A")
    broker.submit([buy("1"), protect("A")])
    floor.ticks((0, 96_000), (1, 100_000), (0, 96_600), (0, 99_000))
    child = floor.heard["A"][-1]
    assert isinstance(child, OrderUpdate)
    assert (child.state, child.value_paise) == (OrderState.COMPLETE, 10 * 96_600)


def test_a_frame_in_which_nothing_can_happen_says_nothing(floor: Floor) -> None:
    broker = floor.account("A")
    broker.submit([buy("1"), protect("A"), buy("2", limit_paise=98_000)])
    floor.ticks((0, 98_005), (1, 1_000))
    assert floor.heard["A"] == []


def test_every_account_has_its_own_shares_and_hears_only_of_its_own(floor: Floor) -> None:
    one, other = floor.account("A"), floor.account("B")
    one.submit([buy("1"), protect("A")])
    other.submit([buy("1", quantity=3), protect("B", stop=Leg(98_000, 97_020), quantity=3)])
    floor.ticks((0, 97_800))
    assert (triggered(floor.heard["A"]), triggered(floor.heard["B"])) == ([], ["B"])
    floor.ticks((0, 97_000))
    assert triggered(floor.heard["A"]) == ["A"]


def test_after_the_continuous_session_of_a_derivatives_stock_its_stops_sleep(floor: Floor) -> None:
    """From 2026-08-03 such a share trades continuously until 15:15, the others until 15:30."""
    broker = floor.account("A")
    floor.clock.advance_to(at(date(2026, 11, 23), 15 * 3600 + 15 * 60))
    floor.exchange.start_of_day(floor.clock.now_ns)
    broker.submit([protect("C", "CCC"), protect("B", "BBB")])
    floor.ticks((1, 97_000), (2, 97_000))
    assert triggered(floor.heard["A"]) == ["B"]


def test_the_close_is_heard_and_the_evening_may_come_twice(floor: Floor) -> None:
    broker = floor.account("A")
    broker.submit([buy("1", limit_paise=98_000)])
    floor.exchange.end_of_day(floor.clock.now_ns)
    floor.exchange.end_of_day(floor.clock.now_ns)
    (lapsed,) = floor.heard["A"]
    assert isinstance(lapsed, OrderUpdate)
    assert lapsed.state is OrderState.CANCELLED


# --- latency ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [PaperOptions(latency_ms=300)])
def test_with_latency_requests_arrive_later_in_order_and_at_the_price_of_then(floor: Floor) -> None:
    broker = floor.account("A")
    sent_ns = floor.clock.now_ns
    assert broker.submit([buy("1"), protect("G")]) == []
    floor.clock.advance_to(sent_ns + 100 * MILLISECOND_NS)
    assert broker.submit([buy("2")]) == []
    assert floor.heard["A"] == []
    assert floor.clock.next_due() == sent_ns + 300 * MILLISECOND_NS
    while floor.clock.ring_next(sent_ns + NS):
        pass
    first, gtt, second = floor.heard["A"]
    assert isinstance(first, OrderUpdate)
    assert isinstance(gtt, GttUpdate)
    assert isinstance(second, OrderUpdate)
    assert (first.client_id, first.at_ns) == ("1", sent_ns + 300 * MILLISECOND_NS)
    assert (second.client_id, second.at_ns) == ("2", sent_ns + 400 * MILLISECOND_NS)


@pytest.mark.parametrize("options", [PaperOptions(latency_ms=300)])
def test_a_request_on_the_way_when_the_session_ends_is_carried_out_unheard(floor: Floor) -> None:
    broker = floor.account("A")
    broker.submit([buy("1")])
    floor.exchange.disconnect("A")
    assert floor.clock.ring_next(floor.clock.now_ns + NS)
    assert floor.heard["A"] == []
    (order,) = floor.exchange.books("A").orders
    assert order.state is OrderState.COMPLETE


@pytest.mark.parametrize("options", [PaperOptions(latency_ms=300)])
def test_an_account_opened_anew_hears_nothing_of_requests_of_before(floor: Floor) -> None:
    floor.account("A").submit([buy("1")])
    floor.account("A")
    assert not floor.clock.ring_next(floor.clock.now_ns + NS)
    assert floor.exchange.books("A").orders == ()


# --- a process starts again ---------------------------------------------------------------------


def journal_order(client_id: str, state: OrderState, **fields: object) -> Order:
    values: dict[str, object] = {
        "client_id": client_id,
        "key": client_id,
        "symbol": "AAA",
        "side": Side.BUY,
        "quantity": 10,
        "order_type": OrderType.LIMIT,
        "purpose": Purpose.ENTRY,
        "ladder": "L",
        "rung": 1,
        "decision_paise": 100_000,
        "created_ns": TEN_O_CLOCK_NS - NS,
        "updated_ns": TEN_O_CLOCK_NS - NS,
        "limit_paise": 98_000,
        "state": state,
        "broker_id": f"P0-{client_id}",
    }
    return Order(**(values | fields))  # type: ignore[arg-type]


def journal_gtt(client_id: str, state: GttState, gtt_id: str | None, created_ns: int = YESTERDAY_NS) -> Gtt:
    return Gtt(
        client_id=client_id,
        key=client_id,
        symbol="AAA",
        quantity=10,
        stop=STOP,
        target=None,
        ladder="L",
        rung=1,
        created_ns=created_ns,
        updated_ns=created_ns,
        state=state,
        gtt_id=gtt_id,
    )


def journal_rung(number: int, entry_ns: int, quantity: int = 10, sold: int = 0) -> Rung:
    return Rung(
        ladder="L",
        symbol="AAA",
        number=number,
        status=RungStatus.OPEN,
        rank=3.0,
        trade_id=number,
        quantity=quantity,
        cost_paise=quantity * 99_000,
        sold=sold,
        proceeds_paise=sold * 101_000,
        entry_ns=entry_ns,
    )


def test_after_a_restart_the_exchange_has_what_it_had(floor: Floor) -> None:
    floor.exchange.open_account("A", id_prefix="2")
    floor.exchange.restore(
        "A",
        orders=[journal_order("E2", OrderState.PARTIAL, filled=4, value_paise=4 * 98_000)],
        gtts=[journal_gtt("G1", GttState.ACTIVE, "G0-1")],
        rungs=[journal_rung(1, YESTERDAY_NS, sold=2), journal_rung(2, TEN_O_CLOCK_NS, quantity=4)],
        holdings=[HoldingRow(symbol="BBB", quantity=5, t1_quantity=0, average_paise=10_000)],
    )
    broker = floor.connected("A")
    books = floor.exchange.books("A")
    assert {row.symbol: row.quantity for row in books.holdings} == {"AAA": 8, "BBB": 5}
    (position,) = books.positions
    assert (position.symbol, position.quantity, position.bought_value_paise) == ("AAA", 4, 4 * 99_000)
    (order,) = books.orders
    assert (order.client_id, order.broker_id, order.state, order.filled) == (
        "E2",
        "P0-E2",
        OrderState.PARTIAL,
        4,
    )
    (gtt,) = books.gtts
    assert (gtt.client_id, gtt.gtt_id, gtt.state) == ("G1", "G0-1", GttState.ACTIVE)

    assert broker.submit([buy("E2")]) == [order], "its client id is known"
    floor.ticks((0, 97_900))
    filled = floor.heard["A"][0]
    assert isinstance(filled, OrderUpdate)
    assert (filled.state, filled.value_paise) == (OrderState.COMPLETE, 4 * 98_000 + 6 * 97_900)
    floor.ticks((0, 97_000))
    assert triggered(floor.heard["A"]) == ["G1"]


def test_after_a_restart_an_order_that_was_never_answered_is_absent(floor: Floor) -> None:
    floor.exchange.open_account("A", id_prefix="2")
    floor.exchange.restore(
        "A",
        orders=[
            journal_order("E1", OrderState.SENT, broker_id=None),
            journal_order("E2", OrderState.INTENT, broker_id=None),
            journal_order("E3", OrderState.OPEN, created_ns=YESTERDAY_NS),
        ],
        gtts=[journal_gtt("G1", GttState.INTENT, None)],
        rungs=[],
    )
    books = floor.exchange.books("A")
    assert (books.orders, books.gtts) == ((), ())
    (placed,) = floor.connected("A").submit([buy("E1")])
    assert isinstance(placed, OrderUpdate)
    assert placed.state is OrderState.COMPLETE


def test_after_a_restart_a_resting_child_belongs_to_its_gtt_and_can_be_escalated(floor: Floor) -> None:
    floor.exchange.open_account("A", id_prefix="2")
    child = journal_order(
        "C1", OrderState.OPEN, side=Side.SELL, limit_paise=102_000, gtt_client_id="G1", purpose=Purpose.EXIT
    )
    floor.exchange.restore(
        "A",
        orders=[child],
        gtts=[journal_gtt("G1", GttState.TRIGGERED, "G0-1")],
        rungs=[journal_rung(1, YESTERDAY_NS)],
    )
    broker = floor.connected("A")
    books = floor.exchange.books("A")
    assert (books.orders[0].client_id, books.orders[0].gtt_id) == (None, "G0-1")
    assert books.gtts[0].child_id == "P0-C1"
    (sold,) = broker.submit(
        [ModifyOrder(broker_id="P0-C1", quantity=10, order_type=OrderType.LIMIT, limit_paise=97_000)]
    )
    assert isinstance(sold, OrderUpdate)
    assert (sold.state, sold.value_paise) == (OrderState.COMPLETE, 10 * 100_000)
    assert floor.exchange.books("A").positions[0].quantity == -10


def test_restored_gtts_trigger_in_the_order_of_their_creation(floor: Floor) -> None:
    floor.exchange.open_account("A", id_prefix="2")
    floor.exchange.restore(
        "A",
        orders=[],
        gtts=[
            journal_gtt("G2", GttState.UNKNOWN, "G0-2", YESTERDAY_NS + NS),
            journal_gtt("G1", GttState.ACTIVE, "G0-1", YESTERDAY_NS),
        ],
        rungs=[journal_rung(1, YESTERDAY_NS), journal_rung(2, YESTERDAY_NS)],
    )
    floor.connected("A")
    floor.ticks((0, 97_000))
    assert triggered(floor.heard["A"]) == ["G1", "G2"]


def test_after_a_restart_a_symbol_that_is_traded_no_more_keeps_its_shares_only(floor: Floor) -> None:
    floor.exchange.open_account("A", id_prefix="2")
    floor.exchange.restore(
        "A",
        orders=[journal_order("E1", OrderState.OPEN, symbol="GONE")],
        gtts=[attrs.evolve(journal_gtt("G1", GttState.ACTIVE, "G0-1"), symbol="GONE")],
        rungs=[attrs.evolve(journal_rung(1, YESTERDAY_NS), symbol="GONE")],
    )
    books = floor.exchange.books("A")
    assert (books.orders, books.gtts) == ((), ())
    assert [(row.symbol, row.quantity) for row in books.holdings] == [("GONE", 10)]


@pytest.mark.parametrize("options", [PaperOptions(cash_paise=10_000_000)])
def test_after_a_restart_cash_is_what_the_rungs_left_of_it(floor: Floor) -> None:
    floor.exchange.open_account("A", id_prefix="2")
    floor.exchange.restore(
        "A",
        orders=[journal_order("E1", OrderState.OPEN)],
        gtts=[],
        rungs=[journal_rung(1, YESTERDAY_NS, sold=2), journal_rung(2, TEN_O_CLOCK_NS, sold=3)],
        holdings=[HoldingRow(symbol="BBB", quantity=5, t1_quantity=0, average_paise=10_000)],
    )
    margins = floor.exchange.margins("A")
    cash = 10_000_000 - 8 * 99_000 - 10 * 99_000 + 3 * 101_000
    assert margins.available_paise == cash - 10 * 98_000
    assert margins.used_paise == 10 * 98_000 + 8 * 99_000 + 7 * 99_000 + 5 * 10_000


# --- the broker ---------------------------------------------------------------------------------


def test_each_request_without_a_session_fails_for_itself(floor: Floor) -> None:
    floor.exchange.open_account("A", id_prefix="1")
    move = ModifyGtt(gtt_id="G", quantity=1, stop=STOP, target=None, last_paise=1)
    requests: list[Request] = [buy("1"), move]
    failures = PaperBroker(floor.exchange, "A").submit(requests)
    assert [failure.request for failure in failures if isinstance(failure, RequestFailed)] == requests
    assert {failure.code for failure in failures if isinstance(failure, RequestFailed)} == {"NOT_CONNECTED"}


def test_paper_has_no_limits_but_those_asked_for(floor: Floor) -> None:
    traits = floor.account("A").traits
    assert (traits.name, traits.entry_type, traits.absent_after_s) == ("paper", OrderType.MARKET, 0)
    assert (traits.order_calls_per_second, traits.order_calls_per_minute) == (None, None)


async def test_without_circuit_limits_a_quote_shows_none(floor: Floor) -> None:
    broker = floor.account("A")
    (quote,) = await broker.quotes(["BBB"])
    assert (quote.last_paise, quote.at_ns, quote.volume) == (100_000, TEN_O_CLOCK_NS, -1)
    assert (quote.lower_circuit_paise, quote.upper_circuit_paise) == (None, None)
