"""Rows of Kite's books, read one by one: what every status, time, tag and amount turns into."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import attrs
import pytest

from protocol.broker import GttUpdate, HoldingRow, OrderUpdate, PlaceGtt, PositionRow, Quote
from protocol.clock import NS, from_ist_text
from protocol.errors import RemoteProtocolError
from protocol.kite_gtts import KiteGtt, matches, read_gtt
from protocol.kite_market import read_candles, read_instruments, read_quotes
from protocol.kite_orders import exact_values, linked_children, read_order, read_orders, read_postback, read_trades
from protocol.kite_portfolio import read_holdings, read_positions
from protocol.orders import ExitReason, GttState, Leg, OrderState, Side

WORKING_STATUSES = [
    "OPEN",
    "TRIGGER PENDING",
    "MODIFIED",
    "PUT ORDER REQ RECEIVED",
    "PUT ORDER REQUEST RECEIVED",
    "VALIDATION PENDING",
    "OPEN PENDING",
    "MODIFY VALIDATION PENDING",
    "MODIFY PENDING",
    "CANCEL PENDING",
    "AMO REQ RECEIVED",
    "MODIFY AMO REQ RECEIVED",
    "UPDATE",
    "A STATUS OF NEXT YEAR",
]
SENT_NS = from_ist_text("2026-11-20 10:00:01") + NS // 2


def order(**changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "order_id": "2107",
        "status": "OPEN",
        "status_message": None,
        "order_timestamp": "2026-11-20 10:00:00",
        "exchange_timestamp": None,
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "BUY",
        "order_type": "LIMIT",
        "product": "CNC",
        "quantity": 10,
        "filled_quantity": 0,
        "price": Decimal("1500.05"),
        "average_price": 0,
        "meta": {},
        "tag": "PA01ABCD000100000001",
    }
    return row | changed


def gtt(**changed: Any) -> dict[str, Any]:
    leg = {"transaction_type": "SELL", "quantity": 10, "product": "CNC", "order_type": "LIMIT", "result": None}
    row: dict[str, Any] = {
        "id": 123,
        "type": "two-leg",
        "created_at": "2026-11-20 10:00:00",
        "updated_at": "2026-11-20 10:00:05",
        "status": "active",
        "condition": {"exchange": "NSE", "tradingsymbol": "INFY", "trigger_values": [Decimal("1462.5"), 1575]},
        "orders": [leg | {"price": 1447}, leg | {"price": 1574}],
    }
    return row | changed


def fired(leg: int, result: dict[str, Any]) -> dict[str, Any]:
    row = gtt(status="triggered")
    row["orders"][leg]["result"] = {"order_result": result}
    return row


# --- orders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", WORKING_STATUSES)
def test_every_status_that_is_not_an_end_is_working_and_kept_word_for_word(status: str) -> None:
    update = read_order(order(status=status))
    assert (update.state, update.raw_status) == (OrderState.OPEN, status)
    part = read_order(order(status=status, filled_quantity=4, average_price=1500))
    assert (part.state, part.filled, part.value_paise) == (OrderState.PARTIAL, 4, 600_000)


@pytest.mark.parametrize("status", ["COMPLETE", "CANCELLED", "REJECTED"])
def test_the_three_ends_are_ends(status: str) -> None:
    update = read_order(order(status=status, filled_quantity=10, average_price=1500))
    assert update.state is OrderState(status)


def test_a_cancelled_order_keeps_what_it_filled() -> None:
    update = read_order(order(status="CANCELLED", filled_quantity=3, average_price=Decimal("1499.95")))
    assert (update.state, update.filled, update.value_paise) == (OrderState.CANCELLED, 3, 449_985)


def test_complete_with_shares_missing_is_still_working() -> None:
    assert read_order(order(status="COMPLETE", filled_quantity=3, average_price=1)).state is OrderState.PARTIAL


def test_an_average_that_was_rounded_gives_the_nearest_value_and_the_trade_book_the_exact_one() -> None:
    update = read_order(order(filled_quantity=3, average_price=Decimal("1500.033333"), status="OPEN"))
    assert update.value_paise == 450_010
    trade = {
        "trade_id": "T1",
        "order_id": "2107",
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "BUY",
        "fill_timestamp": "2026-11-20 10:00:02",
        "order_timestamp": "10:00:00",
    }
    one = trade | {"quantity": 2, "average_price": 1500}
    two = trade | {"trade_id": "T2", "quantity": 1, "average_price": Decimal("1500.15")}
    assert exact_values([update], read_trades([one, two]))[0].value_paise == 450_015
    assert exact_values([update], read_trades([one])) == (update,)


def test_the_newest_of_the_times_counts_and_is_read_as_indian_time() -> None:
    update = read_order(order(exchange_timestamp="2026-11-20 10:00:03"))
    assert update.at_ns == from_ist_text("2026-11-20 10:00:03")


def test_our_tag_is_found_among_kites_own() -> None:
    ours = "PA01ABCD000100000002"
    assert read_order(order(tag=None, tags=["mktp", "mktp:2.00", ours])).client_id == ours
    assert read_order(order(tag="mktp:2.00", tags=["mktp:2.00", ours])).client_id == ours
    assert read_order(order(tag=None, tags=["mktp", "mktp:2.00"])).client_id is None
    assert read_order(order(tag="mine")).client_id == "mine"


@pytest.mark.parametrize("meta", [{"gtt": 105099}, '{"app_id":12617,"gtt":105099}'])
def test_the_child_of_a_gtt_names_its_gtt_and_no_client(meta: object) -> None:
    update = read_order(order(meta=meta, tag="something"))
    assert (update.gtt_id, update.client_id) == ("105099", None)


@pytest.mark.parametrize("meta", [None, {}, "", "no json", [], {"gtt": True}, {"iceberg": {"leg": 1}}])
def test_any_other_meta_names_no_gtt(meta: object) -> None:
    assert read_order(order(meta=meta)).gtt_id is None


def test_orders_of_another_exchange_are_never_taken_for_ours() -> None:
    assert read_order(order(exchange="BSE")).symbol == "BSE:INFY"
    finer = read_order(order(exchange="CDS", tradingsymbol="USDINR", price=Decimal("72.7575")))
    assert (finer.symbol, finer.limit_paise) == ("CDS:USDINR", 7276)


@pytest.mark.parametrize(
    "changed",
    [
        {"price": Decimal("1500.055")},
        {"price": "1500"},
        {"price": Decimal("1E+400")},
        {"quantity": 2.5},
        {"quantity": True},
        {"filled_quantity": 11},
        {"filled_quantity": -1},
        {"status": None},
        {"order_id": ""},
        {"transaction_type": "HOLD"},
        {"order_timestamp": None},
        {"order_timestamp": "yesterday"},
        {"filled_quantity": 2, "average_price": -1},
    ],
)
def test_an_impossible_order_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        read_order(order(**changed))


def test_an_empty_book_may_be_null() -> None:
    assert read_orders(None) == ()


def test_a_postback_needs_kites_checksum() -> None:
    secret = "hush"
    row = order(status="COMPLETE", filled_quantity=10, average_price=1500, price=1500)
    row["checksum"] = hashlib.sha256(f"2107{row['order_timestamp']}{secret}".encode()).hexdigest()
    body = json.dumps(row).encode()
    assert read_postback(body, secret).state is OrderState.COMPLETE
    for wrong_body, wrong_secret in [(body, "other"), (json.dumps(row | {"checksum": None}).encode(), secret)]:
        with pytest.raises(RemoteProtocolError, match="checksum"):
            read_postback(wrong_body, wrong_secret)


# --- GTTs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("active", GttState.ACTIVE),
        ("triggered", GttState.TRIGGERED),
        ("disabled", GttState.CANCELLED),
        ("expired", GttState.CANCELLED),
        ("cancelled", GttState.CANCELLED),
        ("deleted", GttState.CANCELLED),
        ("rejected", GttState.REJECTED),
        ("sleeping", GttState.ACTIVE),
    ],
)
def test_every_status_of_a_gtt(status: str, state: GttState) -> None:
    read = read_gtt(gtt(status=status))
    assert (read.update.state, read.status) == (state, status)
    assert read.update.message == ("" if status in ("active", "triggered") else status)


def test_a_two_leg_gtt_is_a_stop_and_a_target() -> None:
    update = read_gtt(gtt()).update
    assert (update.stop, update.target) == (Leg(146_250, 144_700), Leg(157_500, 157_400))
    assert (update.gtt_id, update.quantity, update.at_ns) == ("123", 10, from_ist_text("2026-11-20 10:00:05"))


def test_a_released_child_is_named_with_its_leg() -> None:
    read = read_gtt(fired(1, {"status": "success", "order_id": "777", "rejection_reason": ""}))
    assert (read.update.fired, read.update.child_id, read.child_ids) == (ExitReason.TARGET, "777", ("777",))


def test_a_child_that_failed_is_no_child_and_says_why() -> None:
    update = read_gtt(fired(0, {"status": "failed", "order_id": "", "rejection_reason": "circuit"})).update
    assert (update.state, update.fired, update.child_id) == (GttState.TRIGGERED, ExitReason.STOP, None)
    assert update.message == "circuit"


def test_an_order_that_a_gtt_names_is_its_child() -> None:
    child = read_order(order(order_id="777", tag="whatever", meta={}))
    other = read_order(order())
    parent = read_gtt(fired(0, {"order_id": "777"}))
    assert linked_children([child, other], [parent]) == (attrs.evolve(child, gtt_id="123", client_id=None), other)


@pytest.mark.parametrize(
    "changed",
    [
        {"orders": []},
        {"orders": None},
        {"condition": {"exchange": "NSE", "tradingsymbol": "INFY", "trigger_values": [1]}},
        {"condition": {"exchange": "NSE", "tradingsymbol": "INFY", "trigger_values": ["a", "b"]}},
        {"condition": None},
        {"updated_at": ""},
        {"id": None},
    ],
)
def test_an_impossible_gtt_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        read_gtt(gtt(**changed))


PLACED = PlaceGtt(
    client_id="G1",
    symbol="INFY",
    quantity=10,
    stop=Leg(146_250, 144_700),
    target=Leg(157_500, 157_400),
    last_paise=150_000,
)


def test_an_unanswered_gtt_is_recognised_by_everything_it_says() -> None:
    found = read_gtt(gtt())
    assert matches(found, PLACED, SENT_NS)
    assert not matches(found, attrs.evolve(PLACED, quantity=9), SENT_NS)
    assert not matches(found, attrs.evolve(PLACED, symbol="TCS"), SENT_NS)
    assert not matches(found, attrs.evolve(PLACED, stop=Leg(146_250, 144_695)), SENT_NS)
    assert not matches(found, attrs.evolve(PLACED, target=None), SENT_NS)
    assert not matches(attrs.evolve(found, side=Side.BUY), PLACED, SENT_NS)
    assert not matches(found, PLACED, SENT_NS + NS)


# --- portfolio and market -----------------------------------------------------------------------------------


def test_only_deliveries_count_as_owned_and_both_exchanges_are_one() -> None:
    def row(exchange: str, product: str, bought: int, sold: int) -> dict[str, Any]:
        return {
            "tradingsymbol": "SBIN",
            "exchange": exchange,
            "product": product,
            "day_buy_quantity": bought,
            "day_buy_value": bought * 100,
            "day_sell_quantity": sold,
            "day_sell_value": sold * 100,
        }

    rows = [row("NSE", "CNC", 10, 0), row("BSE", "CNC", 0, 4), row("NSE", "MIS", 0, 50)]
    (position,) = read_positions({"net": rows, "day": []})
    assert position == PositionRow(
        symbol="SBIN", quantity=6, bought=10, bought_value_paise=100_000, sold=4, sold_value_paise=40_000
    )


def test_holdings_are_this_mornings_shares_with_what_arrives_today() -> None:
    row = {"tradingsymbol": "SBIN", "exchange": "BSE", "quantity": 15, "used_quantity": 1, "realised_quantity": 10}
    rows = [row | {"t1_quantity": 5, "average_price": Decimal("801.78125")}]
    assert read_holdings(rows) == (HoldingRow(symbol="SBIN", quantity=10, t1_quantity=5, average_paise=80_178),)


def test_quotes_without_a_time_take_the_given_one_and_untraded_ones_are_absent() -> None:
    data = {"NSE:INFY": {"last_price": Decimal("1500.05")}, "NSE:TCS": {"last_price": 0}}
    assert read_quotes(data, 7) == (Quote(symbol="INFY", last_paise=150_005, at_ns=7),)


def test_candles_bear_their_own_time_zone() -> None:
    rows = [["2026-11-20T09:15:00+0530", 1, 2, Decimal("0.5"), Decimal("1.5"), 100]]
    (candle,) = read_candles({"candles": rows})
    assert (candle.start_ns, candle.low_paise) == (from_ist_text("2026-11-20 09:15:00"), 50)
    with pytest.raises(RemoteProtocolError):
        read_candles({"candles": [[1, 2]]})


def test_a_bad_line_of_the_instruments_file_is_left_out() -> None:
    header = "instrument_token,exchange_token,tradingsymbol,name,tick_size,lot_size,instrument_type,segment,exchange"
    lines = [
        header,
        '408065,1594,INFY,"INFOSYS, LTD",0.1,1,EQ,NSE,NSE',
        "cut",
        "256265,1001,NIFTY 50,,0,0,EQ,INDICES,NSE",
    ]
    infy, nifty = read_instruments("\n".join(lines))
    assert (infy.symbol, infy.token, infy.tick_size_paise, infy.name) == ("INFY", 408065, 10, "INFOSYS, LTD")
    assert (nifty.segment, nifty.tick_size_paise) == ("INDICES", None)
    with pytest.raises(RemoteProtocolError, match="no column"):
        read_instruments("<html>")


def test_what_is_read_is_frozen_and_of_our_own_kind() -> None:
    assert isinstance(read_order(order()), OrderUpdate)
    assert isinstance(read_gtt(gtt()), KiteGtt)
    assert isinstance(read_gtt(gtt()).update, GttUpdate)
