"""Whatever is asked in whatever order, the exchange neither loses nor invents shares, money or states."""

from __future__ import annotations

from datetime import date
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.matching import EngineOptions, MatchingEngine
from brokers.matching_book import Market
from brokers.matching_orders import Listing
from brokers.paper import PaperBroker, PaperExchange, PaperOptions
from effects import MarketClock
from market.board import Board
from market.feeds.frame import Frame
from market.instruments import Instrument, Universe
from protocol.broker import (
    Books,
    CancelGtt,
    CancelOrder,
    Event,
    GttUpdate,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Request,
)
from protocol.clock import DAY_S, NS, at
from protocol.orders import GttState, Leg, OrderState, OrderType, Side

SYMBOLS = ("AAA", "BBB")
CASH = 5_000_000
START_NS = at(date(2016, 8, 29), 10 * 3600)
OVER = {OrderState.COMPLETE, OrderState.CANCELLED, OrderState.REJECTED}

prices = st.integers(min_value=1_900, max_value=2_100).map(lambda ticks: ticks * 5)
quantities = st.integers(min_value=1, max_value=40)
numbers = st.integers(min_value=0, max_value=12)  # of clients' ids, and of orders already there
kinds = st.sampled_from(list(OrderType))
sides = st.sampled_from(list(Side))
symbols = st.sampled_from(SYMBOLS)
# (what, which order, symbol, side, type, quantity, price, price)
steps = st.tuples(
    st.sampled_from(["tick"] * 4 + ["place", "place", "modify", "cancel", "gtt", "move", "drop", "close", "day"]),
    numbers,
    symbols,
    sides,
    kinds,
    quantities,
    prices,
    prices,
)
scripts = st.lists(steps, min_size=20, max_size=60)
Step = tuple[str, int, str, Side, OrderType, int, int, int]
# What every script begins with: shares to sell, so that most sells are accepted.
STOCK: list[Step] = [
    (what, number, symbol, Side.BUY, OrderType.MARKET, 40, 10_000, 10_000)
    for what in ("tick", "place")
    for number, symbol in ((20, "AAA"), (21, "BBB"))
]


def request_of(step: Step, books: Books) -> Request | None:
    """The request a step stands for; None when there is nothing it could be about."""
    what, number, symbol, side, kind, quantity, one, other = step
    limit = one if kind in (OrderType.LIMIT, OrderType.SL) else None
    trigger = other if kind in (OrderType.SL, OrderType.SL_M) else None
    broker_id = books.orders[number % len(books.orders)].broker_id if books.orders else None
    gtt_id = books.gtts[number % len(books.gtts)].gtt_id if books.gtts else None
    stop = Leg(min(one, other), min(one, other) - 100)
    target = Leg(max(one, other), max(one, other)) if one != other and number % 2 else None
    if what == "place":
        return PlaceOrder(
            client_id=f"A{number}",
            symbol=symbol,
            side=side,
            quantity=quantity,
            order_type=kind,
            limit_paise=limit,
            trigger_paise=trigger,
        )
    if what == "gtt":
        return PlaceGtt(
            client_id=f"G{number}", symbol=symbol, quantity=quantity, stop=stop, target=target, last_paise=one
        )
    if what == "modify" and broker_id is not None:
        return ModifyOrder(
            broker_id=broker_id, quantity=quantity, order_type=kind, limit_paise=limit, trigger_paise=trigger
        )
    if what == "cancel" and broker_id is not None:
        return CancelOrder(broker_id)
    if what == "move" and gtt_id is not None:
        return ModifyGtt(gtt_id=gtt_id, quantity=quantity, stop=stop, target=target, last_paise=one)
    if what == "drop" and gtt_id is not None:
        return CancelGtt(gtt_id)
    return None


class Watch:
    """Compares every update with the one before it."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderUpdate] = {}
        self.gtts: dict[str, GttUpdate] = {}

    def see(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, OrderUpdate):
                self._see_order(event)
            elif isinstance(event, GttUpdate):
                before = self.gtts.get(event.gtt_id)
                assert before is None or before.state is GttState.ACTIVE or before == event, "a GTT came back"
                self.gtts[event.gtt_id] = event

    def _see_order(self, now: OrderUpdate) -> None:
        before = self.orders.get(now.broker_id)
        assert 0 <= now.filled <= now.quantity
        assert (now.state is OrderState.COMPLETE) == (now.filled == now.quantity)
        assert now.state in OVER or (now.state is OrderState.PARTIAL) == (now.filled > 0)
        if before is not None:
            assert now.filled >= before.filled, "a fill was taken back"
            assert now.value_paise >= before.value_paise
            assert before.state not in OVER or now == before, "an order that was over changed"
        self.orders[now.broker_id] = now


@settings(max_examples=150, deadline=None, derandomize=True)
@given(scripts, st.integers(min_value=0, max_value=3), st.sampled_from([0, 7]))
def test_shares_money_and_states_are_conserved(script: list[Step], seed: int, slippage_bp: int) -> None:
    last = dict.fromkeys(SYMBOLS, 10_000)
    hours = {"open": True}
    market = Market({symbol: Listing(5) for symbol in SYMBOLS}, last.__getitem__, lambda symbol, at_ns: hours["open"])
    options = EngineOptions(cash_paise=CASH, slippage_bp=slippage_bp)
    engine = MatchingEngine(market, START_NS, options, Random(seed) if seed else None)
    watch = Watch()
    now_ns, cash, owned = START_NS, CASH, dict.fromkeys(SYMBOLS, 0)
    counted = 0
    for step in STOCK + script:
        what, symbol, price = step[0], step[2], step[6]
        now_ns += NS
        if what == "tick":
            last[symbol] = price
            watch.see(engine.tick(symbol, price, now_ns))
        elif what == "close":
            hours["open"] = not hours["open"]
            watch.see(engine.end_of_day(now_ns))
        elif what == "day":
            now_ns += DAY_S * NS
            hours["open"] = True
            watch.see(engine.start_of_day(now_ns))
            counted = 0
        else:
            request = request_of(step, engine.books(now_ns))
            if request is not None:
                watch.see(engine.submit(request, now_ns))

        books = engine.books(now_ns)
        for trade in books.trades[counted:]:
            sign = 1 if trade.side is Side.BUY else -1
            owned[trade.symbol] += sign * trade.quantity
            cash -= sign * trade.quantity * trade.price_paise
        counted = len(books.trades)
        for name in SYMBOLS:
            held = sum(row.quantity + row.t1_quantity for row in books.holdings if row.symbol == name)
            held += sum(row.quantity for row in books.positions if row.symbol == name)
            selling = sum(
                order.quantity - order.filled
                for order in books.orders
                if order.symbol == name and order.side is Side.SELL and order.state not in OVER
            )
            assert held == owned[name]
            assert 0 <= selling <= held, "more is being sold than is owned"
        working_buys = [o for o in books.orders if o.side is Side.BUY and o.state not in OVER]
        if not working_buys:
            assert engine.margins().available_paise == cash
        assert engine.margins().available_paise <= cash


def frame(at_ns: int, ticks: list[tuple[int, int]]) -> Frame:
    rows = np.array([row for row, _ in ticks], dtype=np.int32)
    price = np.array([price for _, price in ticks], dtype=np.int64)
    return Frame(at_ns, rows, price, np.full(len(ticks), -1), len(set(rows.tolist())) == len(ticks))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(scripts)
def test_the_bands_on_the_board_never_hide_a_price_that_matters(script: list[Step]) -> None:
    """The exchange, which sees only prices outside its bands, and an engine that sees all, agree."""
    universe = Universe([Instrument(symbol, number, 5) for number, symbol in enumerate(SYMBOLS)])
    board = Board(len(universe), layers=1)
    clock = MarketClock(START_NS)
    exchange = PaperExchange(universe, board, clock, lambda symbol, at_ns: True, Random, PaperOptions())
    exchange.open_account("A", "")
    broker = PaperBroker(exchange, "A")
    heard: list[Event] = []
    exchange.connect("A", heard.append)
    heard.clear()
    last = dict.fromkeys(SYMBOLS, 0)
    plain = MatchingEngine(
        Market({symbol: Listing(5) for symbol in SYMBOLS}, last.__getitem__, lambda symbol, at_ns: True),
        START_NS,
    )
    expected: list[Event] = []
    for step in STOCK + script:
        what, symbol, price, other = step[0], step[2], step[6], step[7]
        clock.advance_to(clock.now_ns + NS)
        if what == "tick":
            row = universe.row(symbol)
            repeated = frame(clock.now_ns, [(row, price), (row, other)])
            board.apply(repeated)
            exchange.match(repeated)
            last[symbol] = other
            for seen in (price, other):
                expected += plain.tick(symbol, seen, clock.now_ns)
            continue
        request = request_of(step, plain.books(clock.now_ns))
        if request is not None:
            heard += broker.submit([request])
            expected += plain.submit(request, clock.now_ns)
    assert heard == expected
    assert exchange.books("A") == plain.books(clock.now_ns)
