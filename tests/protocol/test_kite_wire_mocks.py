"""Kite's published mock answers, read by our readers, whole and damaged.

The mocks lie beside the repository; without them the tests are skipped. They are never copied.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.broker import PositionRow
from protocol.clock import from_ist_text
from protocol.errors import RemoteProtocolError
from protocol.kite_errors import KiteFailure
from protocol.kite_gtts import read_gtt, read_gtt_id, read_gtts
from protocol.kite_market import read_candles, read_instruments, read_quotes
from protocol.kite_orders import (
    postback_checksum,
    read_order,
    read_orders,
    read_placed,
    read_postback,
    read_trades,
)
from protocol.kite_portfolio import read_holdings, read_positions
from protocol.kite_values import decode_json
from protocol.kite_wire import answer, read_login, read_margins, read_profile
from protocol.orders import ExitReason, GttState, Leg, OrderState, Side

MOCKS = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "kite-mocks"
NEEDS_MOCKS = pytest.mark.skipif(not MOCKS.is_dir(), reason=f"Kite's mock answers are not at {MOCKS}")

Reader = Callable[[Any], object]


def at_noon(data: object) -> object:
    return read_quotes(data, from_ist_text("2021-06-08 12:00:00"))


def cover_positions(data: object) -> tuple[PositionRow, ...]:
    return read_positions(data, product="CO")


READERS: dict[str, Reader] = {
    "orders": read_orders,
    "order_info": read_orders,
    "order_response": read_placed,
    "order_modify": read_placed,
    "order_cancel": read_placed,
    "autoslice_response": read_placed,
    "order_trades": read_trades,
    "trades": read_trades,
    "gtt_place_order": read_gtt_id,
    "gtt_modify_order": read_gtt_id,
    "gtt_delete_order": read_gtt_id,
    "gtt_get_order": read_gtt,
    "gtt_get_orders": read_gtts,
    "positions": cover_positions,
    "holdings": read_holdings,
    "margins": read_margins,
    "margins_equity": read_margins,
    "margin_commodity": read_margins,
    "quote": at_noon,
    "ohlc": at_noon,
    "ltp": at_noon,
    "historical_minute": read_candles,
    "historical_oi": read_candles,
    "profile": read_profile,
    "full_profile": read_profile,
    "generate_session": read_login,
}


def body(name: str) -> bytes:
    return (MOCKS / f"{name}.json").read_bytes()


def data(name: str) -> Any:
    return answer(200, body(name))


@NEEDS_MOCKS
@pytest.mark.parametrize("name", list(READERS))
def test_every_answer_of_the_mocks_is_read(name: str) -> None:
    assert READERS[name](data(name))


@NEEDS_MOCKS
def test_the_order_book_row_by_row() -> None:
    rows, updates = data("orders"), read_orders(data("orders"))
    assert len(updates) == len(rows) == 10
    for row, update in zip(rows, updates, strict=True):
        assert (update.broker_id, update.raw_status) == (row["order_id"], row["status"])
        assert (update.quantity, update.filled) == (row["quantity"], row["filled_quantity"])
        assert update.state.value == row["status"]
        assert abs(update.value_paise - row["average_price"] * row["filled_quantity"] * 100) <= Decimal("0.5")
        assert update.message == (row["status_message"] or "")
    assert [update.symbol for update in updates][:4] == ["CDS:USDINR21JUNFUT", "IOC", "IOC", "SBIN"]
    assert updates[1].at_ns == from_ist_text("2021-05-31 15:20:28")
    assert (updates[1].limit_paise, updates[2].limit_paise, updates[2].value_paise) == (10_940, None, 10_935)
    assert updates[8].broker_id == "1953341975595868160"


@NEEDS_MOCKS
def test_an_orders_history_is_working_until_its_end() -> None:
    history = read_orders(data("order_info"))
    assert {update.state for update in history} == {OrderState.OPEN}
    assert history[0].raw_status == "PUT ORDER REQ RECEIVED"


@NEEDS_MOCKS
def test_the_trades_in_paise() -> None:
    trades = read_trades(data("trades"))
    assert (trades[0].symbol, trades[0].price_paise, trades[0].side) == ("SBIN", 42_065, Side.BUY)
    assert trades[0].at_ns == from_ist_text("2021-05-31 09:16:39")


@NEEDS_MOCKS
def test_the_failed_child_of_a_gtt() -> None:
    single, two_leg = read_gtts(data("gtt_get_orders"))
    assert (single.side, single.update.stop) == (Side.BUY, Leg(70_200, 70_250))
    update = two_leg.update
    assert (update.state, update.fired, update.child_id) == (GttState.TRIGGERED, ExitReason.TARGET, None)
    assert (update.stop, update.target) == (Leg(10_200, 100), Leg(10_370, 100))
    assert "lower circuit" in update.message
    assert read_gtt(data("gtt_get_order")).update.symbol == "RAIN"
    assert read_gtt_id(data("gtt_place_order")) == "123"


@NEEDS_MOCKS
def test_positions_holdings_margins_and_slices() -> None:
    assert read_positions(data("positions")) == ()  # none of them is a delivery
    (cover,) = read_positions(data("positions"), product="CO")
    assert (cover.symbol, cover.quantity, cover.bought_value_paise, cover.sold_value_paise) == (
        "SBIN",
        0,
        31_100,
        30_900,
    )
    assert [(row.symbol, row.quantity, row.average_paise) for row in read_holdings(data("holdings"))] == [
        ("AARON", 1, 16_100),
        ("SBIN", 16, 80_178),
    ]
    margins = read_margins(data("margins"))
    assert (margins.available_paise, margins.used_paise) == (9_972_505, 14_570_655)
    assert read_margins(data("margins_equity")) == margins
    sliced = read_placed(data("autoslice_response"))
    assert (len(sliced.children), len(sliced.errors)) == (3, 1)


@NEEDS_MOCKS
def test_quotes_and_candles() -> None:
    (quote,) = read_quotes(data("quote"), 0)
    assert (quote.symbol, quote.last_paise, quote.volume) == ("INFY", 141_295, 7_360_198)
    assert (quote.lower_circuit_paise, quote.upper_circuit_paise) == (125_070, 152_860)
    assert quote.at_ns == from_ist_text("2021-06-08 15:45:56")
    candles = read_candles(data("historical_minute"))
    assert (candles[0].start_ns, candles[0].open_paise) == (from_ist_text("2017-12-15 09:15:00"), 170_450)
    assert read_candles(data("historical_oi"))[0].open_interest == 13_667_775


@NEEDS_MOCKS
@pytest.mark.parametrize("name", ["instruments_nse.csv", "instruments_all.csv"])
def test_every_instrument_carries_its_exchange_number_in_its_token(name: str) -> None:
    text = (MOCKS / name).read_text()
    rows = read_instruments(text)
    assert len(rows) == len(text.splitlines()) - 1
    assert all(row.token >> 8 == row.exchange_token for row in rows)


@NEEDS_MOCKS
def test_the_postback() -> None:
    raw = body("postback")
    row = decode_json(raw)
    assert read_order(row).value_paise == 47_000
    signed = row | {"checksum": postback_checksum(row["order_id"], row["order_timestamp"], "secret")}
    assert read_postback(json.dumps(signed).encode(), "secret") == read_order(row)


@NEEDS_MOCKS
@pytest.mark.parametrize("name", list(READERS))
def test_a_damaged_answer_gives_values_or_its_own_error(name: str) -> None:
    whole, random, refused = body(name), Random(f"damage/{name}"), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(random.randrange(1, 6)):
            place = random.randrange(len(damaged))
            damaged[place : place + random.randrange(3)] = bytes(random.choices(b'0159.-"{}[],:enull\xff \\u', k=2))
        try:
            READERS[name](answer(200, bytes(damaged)))
        except (RemoteProtocolError, KiteFailure):
            refused += 1
    assert refused > 0


# --- anything at all ----------------------------------------------------------------------------------------

WORDS = ["2026-11-20 10:00:00", "NSE", "BUY", "COMPLETE", Decimal("1500.05"), 10**30, Decimal("1E+99999")]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(max_size=12)
    | st.sampled_from(WORDS)
    | st.just([])
    | st.just({})
)
ALL_READERS = sorted(set(READERS.values()), key=lambda reader: reader.__name__)


def refusal(reader: Reader, value: object) -> RemoteProtocolError | None:
    try:
        reader(value)
    except RemoteProtocolError as refused:
        return refused
    return None


def with_one_value_replaced(value: Any, new: object, choose: Callable[[int], int]) -> Any:
    """The answer with one value, somewhere inside, turned into another."""
    if isinstance(value, dict) and value:
        name = sorted(value)[choose(len(value))]
        return value | {name: with_one_value_replaced(value[name], new, choose)}
    if isinstance(value, list) and value:
        place = choose(len(value))
        return [*value[:place], with_one_value_replaced(value[place], new, choose), *value[place + 1 :]]
    return new


@NEEDS_MOCKS
@pytest.mark.parametrize("name", list(READERS))
@settings(max_examples=25)
@given(new=SCALARS, seed=st.integers(0, 10**6))
def test_an_answer_with_one_wrong_value_is_read_or_refused(name: str, new: object, seed: int) -> None:
    changed = with_one_value_replaced(data(name), new, Random(seed).randrange)
    problem = refusal(READERS[name], changed)
    assert problem is None or str(problem)


@settings(max_examples=100)
@given(value=st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_what_is_no_answer_at_all_is_refused(value: object) -> None:
    for reader in ALL_READERS:
        problem = refusal(reader, value)
        assert problem is None or str(problem)
    assert refusal(read_gtt, value) is not None
    assert refusal(read_margins, value) is not None


@settings(max_examples=100)
@given(raw=st.binary(max_size=60), http_status=st.integers(100, 599), text=st.text(max_size=60))
def test_no_bytes_open_the_envelope_by_accident(raw: bytes, http_status: int, text: str) -> None:
    with pytest.raises(KiteFailure):
        answer(http_status, raw)
    with pytest.raises(RemoteProtocolError):
        read_instruments(text)
