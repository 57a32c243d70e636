"""The matching engine where it is more exact than the contract of all brokers: prices, checks, money."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
import pytest

from brokers.matching import (
    INVALID_INPUT,
    NOT_FOUND,
    NOT_WORKING,
    REFUSED,
    TRIGGER_TOO_NEAR,
    UNKNOWN_SYMBOL,
    EngineOptions,
    MatchingEngine,
)
from brokers.matching_account import UNLIMITED_PAISE
from brokers.matching_book import Market
from brokers.matching_orders import NEVER_ABOVE, NEVER_BELOW, Listing
from protocol.broker import (
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
    RequestFailed,
)
from protocol.clock import DAY_S, NS
from protocol.orders import GttState, Leg, OrderState, OrderType, Side

MONDAY_NS = 1_472_444_100 * NS  # 2016-08-29 09:45 IST
DAY_NS = DAY_S * NS


@attrs.define(eq=False)
class Bench:
    """One engine, its prices and its time."""

    engine: MatchingEngine
    last: dict[str, int]
    listings: dict[str, Listing]
    open: set[str]
    now_ns: int = MONDAY_NS

    def say(self, request: Request) -> Event:
        (answer,) = self.engine.submit(request, self.now_ns)
        return answer

    def order(self, request: Request) -> OrderUpdate:
        answer = self.say(request)
        assert isinstance(answer, OrderUpdate), answer
        return answer

    def gtt(self, request: Request) -> GttUpdate:
        answer = self.say(request)
        assert isinstance(answer, GttUpdate), answer
        return answer

    def failure(self, request: Request) -> RequestFailed:
        answer = self.say(request)
        assert isinstance(answer, RequestFailed), answer
        assert answer.request == request
        assert not answer.reached
        return answer

    def tick(self, price_paise: int, symbol: str = "INFY") -> list[Event]:
        self.now_ns += NS
        self.last[symbol] = price_paise
        return self.engine.tick(symbol, price_paise, self.now_ns)


def bench(chance: Random | None = None, **options: Any) -> Bench:
    last = {"INFY": 100_000}
    listings = {"INFY": Listing(5), "TCS": Listing(5), "LOTS": Listing(10, lot=25)}
    open_symbols = set(listings)
    market = Market(listings, lambda symbol: last.get(symbol, 0), lambda symbol, at_ns: symbol in open_symbols)
    engine = MatchingEngine(market, MONDAY_NS, EngineOptions(id_prefix="7", **options), chance)
    return Bench(engine, last, listings, open_symbols)


def order(
    client_id: str,
    side: Side = Side.BUY,
    quantity: int = 10,
    kind: OrderType = OrderType.MARKET,
    symbol: str = "INFY",
    *,
    limit: int | None = None,
    trigger: int | None = None,
) -> PlaceOrder:
    return PlaceOrder(
        client_id=client_id,
        symbol=symbol,
        side=side,
        quantity=quantity,
        order_type=kind,
        limit_paise=limit,
        trigger_paise=trigger,
    )


def gtt(client_id: str = "G1", stop: int = 97_500, target: int | None = 105_000, quantity: int = 10) -> PlaceGtt:
    return PlaceGtt(
        client_id=client_id,
        symbol="INFY",
        quantity=quantity,
        stop=Leg(stop, stop - 1_000),
        target=None if target is None else Leg(target, target),
        last_paise=100_000,
    )


# --- prices -------------------------------------------------------------------------------------


def test_without_slippage_the_last_price_is_paid_even_off_the_tick() -> None:
    exchange = bench()
    exchange.tick(100_003)
    assert exchange.order(order("A1")).value_paise == 10 * 100_003


def test_slippage_worsens_market_orders_by_basis_points_rounded_to_the_tick_against_us() -> None:
    exchange = bench(slippage_bp=3)
    assert exchange.order(order("A1")).value_paise == 10 * 100_030
    exchange.tick(100_005)  # 3 bp are 30.0015 paise
    assert exchange.order(order("A2")).value_paise == 10 * 100_040
    assert exchange.order(order("A3", Side.SELL)).value_paise == 10 * 99_970


def test_slippage_never_passes_an_orders_own_limit_and_spares_resting_orders() -> None:
    exchange = bench(slippage_bp=100)
    assert exchange.order(order("A1", kind=OrderType.LIMIT, limit=100_300)).value_paise == 10 * 100_300
    exchange.order(order("A2", Side.SELL, kind=OrderType.LIMIT, limit=101_000))
    (sold,) = exchange.tick(101_500)
    assert isinstance(sold, OrderUpdate)
    assert sold.value_paise == 10 * 101_500


def test_slippage_of_a_triggered_stop_ends_at_its_limit() -> None:
    exchange = bench(slippage_bp=500)
    exchange.order(order("A1"))
    exchange.gtt(gtt())
    _, child = exchange.tick(97_000)
    assert isinstance(child, OrderUpdate)
    assert child.value_paise == 10 * 96_500


def test_an_order_in_a_symbol_without_a_price_rests_until_the_first_one() -> None:
    exchange = bench()
    assert exchange.order(order("A1", symbol="TCS")).state is OrderState.OPEN
    assert exchange.engine.edges("TCS") == (NEVER_ABOVE, NEVER_ABOVE)
    (filled,) = exchange.tick(200_000, "TCS")
    assert isinstance(filled, OrderUpdate)
    assert filled.value_paise == 10 * 200_000


def test_a_buy_stop_releases_above_and_keeps_its_limit() -> None:
    exchange = bench()
    placed = exchange.order(order("A1", kind=OrderType.SL, trigger=101_000, limit=101_200))
    assert placed.raw_status == "TRIGGER PENDING"
    assert exchange.tick(100_995) == []
    (released,) = exchange.tick(101_500)
    assert isinstance(released, OrderUpdate)
    assert (released.state, released.raw_status, released.filled) == (OrderState.OPEN, "OPEN", 0)
    (filled,) = exchange.tick(101_100)
    assert isinstance(filled, OrderUpdate)
    assert filled.value_paise == 10 * 101_100


def test_a_part_filled_order_keeps_filling_and_never_beyond_its_quantity() -> None:
    exchange = bench(Random(4))
    update = exchange.order(order("A1", quantity=100))
    seen = [update.filled]
    while update.state is not OrderState.COMPLETE:
        (event,) = exchange.tick(100_000)
        assert isinstance(event, OrderUpdate)
        update = event
        seen.append(update.filled)
    assert len(seen) > 1
    assert seen == sorted(set(seen))
    assert seen[-1] == 100


def test_partial_fills_come_in_whole_lots() -> None:
    exchange = bench(Random(4))
    exchange.tick(50_000, "LOTS")
    for number in range(20):
        exchange.order(order(f"A{number}", quantity=100, symbol="LOTS"))
    trades = exchange.engine.books(exchange.now_ns).trades
    assert {trade.quantity % 25 for trade in trades} == {0}
    assert {trade.quantity for trade in trades} != {100}


def test_outside_continuous_trading_no_price_touches_anything() -> None:
    exchange = bench()
    exchange.order(order("A1"))
    exchange.gtt(gtt())
    exchange.open.clear()
    assert exchange.tick(90_000) == []
    exchange.open.add("INFY")
    triggered, _ = exchange.tick(97_000)
    assert isinstance(triggered, GttUpdate)
    assert triggered.state is GttState.TRIGGERED


def test_the_stop_wins_when_both_legs_could_trigger() -> None:
    exchange = bench()
    exchange.order(order("A1"))
    stop_above_the_price = gtt(stop=101_000, target=102_000)
    exchange.gtt(stop_above_the_price)
    triggered, _ = exchange.tick(100_000)
    assert isinstance(triggered, GttUpdate)
    assert triggered.child_id is not None
    assert triggered.fired is not None
    assert triggered.fired.value == "stop"


# --- checks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (order("A1", symbol="NOSUCH"), UNKNOWN_SYMBOL),
        (order("A1", quantity=-1), INVALID_INPUT),
        (order("A1", quantity=30, symbol="LOTS"), INVALID_INPUT),
        (order("A1", limit=100_000), INVALID_INPUT),
        (order("A1", trigger=100_000), INVALID_INPUT),
        (order("A1", kind=OrderType.LIMIT, limit=0), INVALID_INPUT),
        (order("A1", kind=OrderType.SL_M), INVALID_INPUT),
        (order("A1", kind=OrderType.SL, limit=101_000, trigger=101_005), INVALID_INPUT),
        (ModifyOrder(broker_id="X", quantity=1, order_type=OrderType.MARKET), NOT_FOUND),
        (CancelOrder("X"), NOT_FOUND),
        (ModifyGtt(gtt_id="X", quantity=1, stop=Leg(5, 5), target=None, last_paise=10), NOT_FOUND),
        (CancelGtt("X"), NOT_FOUND),
        (attrs.evolve(gtt(), symbol="NOSUCH"), UNKNOWN_SYMBOL),
        (gtt(stop=97_503), INVALID_INPUT),
        (gtt(target=105_001), INVALID_INPUT),
    ],
)
def test_a_request_that_cannot_be_meant_fails_with_its_code(request_: Request, code: str) -> None:
    exchange = bench()
    failure = exchange.failure(request_)
    assert failure.code == code
    assert failure.message
    assert exchange.engine.books(exchange.now_ns).orders == ()


def test_a_rejected_order_stays_in_the_book_and_its_client_id_is_used() -> None:
    exchange = bench()
    rejected = exchange.order(order("A1", Side.SELL))
    assert (rejected.state, rejected.raw_status) == (OrderState.REJECTED, "REJECTED")
    assert exchange.order(order("A1")) == rejected
    assert exchange.engine.books(exchange.now_ns).orders == (rejected,)
    assert exchange.failure(CancelOrder(rejected.broker_id)).code == NOT_WORKING


def test_an_order_cannot_be_modified_below_what_has_filled() -> None:
    exchange = bench(Random(1))
    update = exchange.order(order("A1", quantity=1_000))
    assert 0 < update.filled < 1_000, "the seed fills a part"
    smaller = ModifyOrder(broker_id=update.broker_id, quantity=update.filled, order_type=OrderType.MARKET)
    assert exchange.failure(smaller).code == INVALID_INPUT


def test_a_modification_that_the_account_cannot_cover_changes_nothing() -> None:
    exchange = bench(cash_paise=1_000_000)
    exchange.order(order("A1", quantity=5))
    resting = exchange.order(order("A2", Side.SELL, 5, OrderType.LIMIT, limit=101_000))
    more = ModifyOrder(broker_id=resting.broker_id, quantity=6, order_type=OrderType.LIMIT, limit_paise=101_000)
    failure = exchange.failure(more)
    assert (failure.code, "shares" in failure.message) == (REFUSED, True)

    buying = exchange.order(order("A3", quantity=5, kind=OrderType.LIMIT, limit=99_000))
    dearer = ModifyOrder(broker_id=buying.broker_id, quantity=6, order_type=OrderType.LIMIT, limit_paise=99_000)
    failure = exchange.failure(dearer)
    assert (failure.code, "margin" in failure.message) == (REFUSED, True)
    assert exchange.engine.margins().available_paise == 1_000_000 - 5 * 100_000 - 5 * 99_000
    fits = ModifyOrder(broker_id=buying.broker_id, quantity=5, order_type=OrderType.LIMIT, limit_paise=99_900)
    assert exchange.order(fits).limit_paise == 99_900
    assert exchange.engine.margins().available_paise == 1_000_000 - 5 * 100_000 - 5 * 99_900


def test_a_trigger_nearer_than_the_brokers_distance_is_refused() -> None:
    exchange = bench(gtt_min_distance_bp=25)
    exchange.order(order("A1"))
    failure = exchange.failure(gtt(stop=99_755))
    assert (failure.code, "0.25 %" in failure.message) == (TRIGGER_TOO_NEAR, True)
    assert exchange.failure(gtt(target=100_245)).code == TRIGGER_TOO_NEAR
    placed = exchange.gtt(gtt(stop=99_750))
    exchange.tick(99_900)
    near = ModifyGtt(gtt_id=placed.gtt_id, quantity=10, stop=Leg(99_800, 98_800), target=None, last_paise=99_900)
    assert exchange.failure(near).code == TRIGGER_TOO_NEAR
    assert exchange.engine.books(exchange.now_ns).gtts == (placed,)


def test_a_child_outside_the_circuit_limits_is_rejected() -> None:
    exchange = bench()
    exchange.order(order("A1"))
    exchange.gtt(gtt())
    exchange.listings["INFY"].lower_paise = 97_000
    triggered, child = exchange.tick(97_400)
    assert isinstance(triggered, GttUpdate)
    assert isinstance(child, OrderUpdate)
    assert (triggered.child_id, child.gtt_id) == (child.broker_id, triggered.gtt_id)
    assert (child.state, "circuit" in child.message) == (OrderState.REJECTED, True)


# --- money and days -----------------------------------------------------------------------------


def test_an_account_without_a_limit_is_never_refused_for_money() -> None:
    exchange = bench()
    assert exchange.order(order("A1", quantity=10_000_000)).state is OrderState.COMPLETE
    assert exchange.engine.margins().available_paise == UNLIMITED_PAISE


def test_used_margin_is_the_average_cost_of_the_shares_still_owned() -> None:
    exchange = bench(cash_paise=10_000_000)
    exchange.order(order("A1", quantity=3))
    exchange.tick(100_005)
    exchange.order(order("A2", quantity=4))
    exchange.order(order("A3", Side.SELL, 2))
    cost = 3 * 100_000 + 4 * 100_005
    margins = exchange.engine.margins()
    assert margins.used_paise == cost - round(cost * 2 / 7)
    assert margins.available_paise == 10_000_000 - cost + 2 * 100_005


def test_a_sale_from_holdings_shows_as_a_negative_position_until_the_next_day() -> None:
    exchange = bench()
    exchange.order(order("A1"))
    assert exchange.engine.start_of_day(exchange.now_ns + DAY_NS) == []
    exchange.order(order("A2", Side.SELL, 4))
    books = exchange.engine.books(exchange.now_ns)
    assert (books.holdings[0].t1_quantity, books.positions[0].quantity) == (10, -4)
    exchange.engine.start_of_day(exchange.now_ns + 2 * DAY_NS)
    (holding,) = exchange.engine.books(exchange.now_ns).holdings
    assert (holding.quantity, holding.t1_quantity, holding.average_paise) == (6, 0, 100_000)


def test_starting_the_same_day_again_changes_nothing() -> None:
    exchange = bench()
    exchange.order(order("A1"))
    before = exchange.engine.books(exchange.now_ns)
    assert exchange.engine.start_of_day(exchange.now_ns) == []
    assert exchange.engine.books(exchange.now_ns) == before


def test_an_order_left_over_from_yesterday_lapses_before_the_new_day() -> None:
    exchange = bench(cash_paise=1_000_000)
    exchange.order(order("A1", kind=OrderType.LIMIT, limit=99_000))
    (lapsed,) = exchange.engine.start_of_day(exchange.now_ns + DAY_NS)
    assert isinstance(lapsed, OrderUpdate)
    assert lapsed.state is OrderState.CANCELLED
    assert exchange.engine.margins().available_paise == 1_000_000
    assert exchange.engine.edges("INFY") == (NEVER_BELOW, NEVER_ABOVE)


def test_a_gtt_that_is_over_is_listed_for_a_week() -> None:
    exchange = bench()
    placed = exchange.gtt(gtt())
    exchange.gtt(CancelGtt(placed.gtt_id))
    exchange.engine.start_of_day(exchange.now_ns + 7 * DAY_NS)
    assert len(exchange.engine.books(exchange.now_ns).gtts) == 1
    exchange.engine.start_of_day(exchange.now_ns + 8 * DAY_NS)
    assert exchange.engine.books(exchange.now_ns).gtts == ()


def test_ids_carry_the_prefix_of_the_run() -> None:
    exchange = bench()
    assert exchange.order(order("A1")).broker_id.startswith("P7-")
    assert exchange.gtt(gtt()).gtt_id.startswith("G7-")
