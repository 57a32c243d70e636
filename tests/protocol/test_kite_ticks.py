"""Kite's ticker wire: the two decoders agree with each other, with recorded packets, and survive anything."""

from __future__ import annotations

import base64
import json
import struct
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.clock import NS
from protocol.kite_ticks import (
    FULL,
    INDEX_FULL,
    INDEX_QUOTE,
    LTP,
    MODE_BY_LENGTH,
    QUOTE,
    SEGMENTS,
    Decoded,
    FrameDecoder,
    Ohlc,
    OrderPosted,
    Tick,
    TickerError,
    TickerMessage,
    Unreadable,
    decode,
    decode_packet,
    decode_text,
    divisor,
    packets,
)

MOCKS = Path(__file__).parents[2].parent / "shared" / "reference" / "kite-mocks"

NIFTY = 1001 << 8 | 9
RELIANCE, INFY, TCS = (number << 8 | 1 for number in (738, 1594, 2953))
USDINR_CDS = 412 << 8 | 3
USDINR_BCD = 412 << 8 | 6
TABLE = {RELIANCE: 2, INFY: 0, TCS: 3, NIFTY: 1}


def ltp(token: int, price: int) -> bytes:
    return struct.pack(">2I", token, price)


def index_quote(token: int, price: int) -> bytes:
    return struct.pack(">7I", token, price, 30, 10, 20, 15, 5)


def index_full(token: int, price: int, seconds: int) -> bytes:
    return index_quote(token, price) + struct.pack(">I", seconds)


def quote(token: int, price: int, volume: int = 7_000) -> bytes:
    return struct.pack(">11I", token, price, 1, 2, volume, 3, 4, 20, 30, 10, 15)


def full(token: int, price: int, volume: int, seconds: int) -> bytes:
    tail = struct.pack(">5I", max(seconds - 1, 0), 5, 6, 4, seconds)
    depth = b"".join(struct.pack(">IIHH", 10 + n, price + n, n, 0) for n in range(10))
    return quote(token, price, volume) + tail + depth


def frame_of(*bodies: bytes) -> bytes:
    return struct.pack(">H", len(bodies)) + b"".join(struct.pack(">H", len(body)) + body for body in bodies)


def told(decoded: Decoded | None) -> list[tuple[int, int, int, int]]:
    """Row, price, volume, exchange time of each tick."""
    if decoded is None:
        return []
    times = [0] * len(decoded.rows) if decoded.exchange_ns is None else decoded.exchange_ns.tolist()
    columns = (decoded.rows.tolist(), decoded.price_paise.tolist(), decoded.volume.tolist(), times)
    return list(zip(*columns, strict=True))


# --- the reference ---------------------------------------------------------------------------------


def test_each_kind_is_known_by_its_length_and_carries_what_its_mode_promises() -> None:
    small, index, index_timed, medium, large = decode(
        frame_of(
            ltp(INFY, 157_370),
            index_quote(NIFTY, 2_400_000),
            index_full(NIFTY, 2_400_005, 1_800_000_000),
            quote(TCS, 400_000, 12),
            full(RELIANCE, 290_000, 34, 1_800_000_001),
        )
    )
    assert small == Tick(instrument_token=INFY, mode="ltp", tradable=True, divisor=100, last_price=157_370)
    assert (index.mode, index.tradable, index.volume_traded) == ("quote", False, None)
    assert index.ohlc == Ohlc(open=20, high=30, low=10, close=15)
    assert (index_timed.mode, index_timed.exchange_timestamp) == ("full", 1_800_000_000)
    assert medium.ohlc == Ohlc(open=20, high=30, low=10, close=15)
    assert (medium.mode, medium.volume_traded, medium.exchange_timestamp) == ("quote", 12, None)
    assert (large.last_trade_time, large.exchange_timestamp) == (1_800_000_000, 1_800_000_001)
    assert (large.oi, large.oi_day_high, large.oi_day_low) == (5, 6, 4)
    assert large.depth is not None
    assert [entry.price for entry in large.depth.buy] == [290_000, 290_001, 290_002, 290_003, 290_004]
    assert [entry.orders for entry in large.depth.sell] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("number", sorted(SEGMENTS))
def test_every_segment_has_its_divisor_and_only_indices_cannot_be_traded(number: int) -> None:
    token = 55 << 8 | number
    expected = {"CDS": 10_000_000, "BCD": 10_000, "NCO": 10_000}.get(SEGMENTS[number], 100)
    (tick,) = decode(frame_of(ltp(token, 1)))
    assert (divisor(token), tick.divisor) == (expected, expected)
    assert tick.tradable is (SEGMENTS[number] != "INDICES")


@pytest.mark.parametrize("frame", [b"", b"\x00", b"\x01", b"\x00\x00"])
def test_a_heartbeat_says_nothing_and_is_no_fault(frame: bytes) -> None:
    decoder = FrameDecoder(TABLE)
    assert packets(frame) == ([], 0)
    assert decoder.decode_into(frame) is None
    assert decoder.bad_packets == 0


@pytest.mark.parametrize(
    ("frame", "prices", "bad"),
    [
        (frame_of(ltp(INFY, 1), b"", ltp(TCS, 2)), [1, 2], 1),
        (frame_of(ltp(INFY, 1), b"\x00" * 12, ltp(TCS, 2)), [1, 2], 1),
        (b"\x00\x09" + frame_of(ltp(INFY, 1))[2:], [1], 1),
        (frame_of(ltp(INFY, 1), ltp(TCS, 2))[:-1], [1], 1),
        (frame_of(ltp(INFY, 1), ltp(TCS, 2)) + b"\x07", [1, 2], 1),
        (b"\x00\x01" + frame_of(ltp(INFY, 1), ltp(TCS, 2))[2:], [1], 1),
        (b"\xff\xff\xff\xff", [], 1),
        (b"\x00\x01\x00", [], 1),
        (b"\x00\x03\x00\x00\x00\x00\x00\x00", [], 3),
    ],
    ids=[
        "zero length",
        "unknown length",
        "overstated count",
        "cut body",
        "trailing byte",
        "understated count",
        "overstated length",
        "cut length",
        "only zero lengths",
    ],
)
def test_a_bad_packet_is_left_out_and_counted_and_the_rest_is_used(frame: bytes, prices: list[int], bad: int) -> None:
    assert [tick.last_price for tick in decode(frame)] == prices
    assert packets(frame)[1] == bad
    decoder = FrameDecoder(TABLE)
    assert [price for _, price, _, _ in told(decoder.decode_into(frame))] == prices
    assert decoder.bad_packets == bad


# --- the fast path ---------------------------------------------------------------------------------


def test_frames_of_one_kind_become_arrays_in_frame_order() -> None:
    decoder = FrameDecoder(TABLE)
    assert told(decoder.decode_into(frame_of(quote(TCS, 11, 5), quote(INFY, 12, 6)))) == [
        (3, 11, 5, 0),
        (0, 12, 6, 0),
    ]
    assert told(decoder.decode_into(frame_of(ltp(RELIANCE, 13)))) == [(2, 13, -1, 0)]
    assert told(decoder.decode_into(frame_of(full(RELIANCE, 14, 7, 99), full(TCS, 15, 8, 0)))) == [
        (2, 14, 7, 99 * NS),
        (3, 15, 8, 0),
    ]
    assert told(decoder.decode_into(frame_of(index_full(NIFTY, 16, 77)))) == [(1, 16, -1, 77 * NS)]
    assert told(decoder.decode_into(frame_of(index_quote(NIFTY, 17)))) == [(1, 17, -1, 0)]


def test_a_frame_of_several_kinds_keeps_its_order_and_says_what_each_knows() -> None:
    frame = frame_of(ltp(INFY, 1), full(TCS, 2, 50, 9), index_quote(NIFTY, 3), quote(RELIANCE, 4, 60))
    decoded = FrameDecoder(TABLE).decode_into(frame)
    assert told(decoded) == [(0, 1, -1, 0), (3, 2, 50, 9 * NS), (1, 3, -1, 0), (2, 4, 60, 0)]


def test_a_frame_without_any_exchange_time_says_so() -> None:
    decoder = FrameDecoder(TABLE)
    for frame in (frame_of(quote(TCS, 1)), frame_of(quote(TCS, 1), ltp(INFY, 2))):
        decoded = decoder.decode_into(frame)
        assert decoded is not None
        assert decoded.exchange_ns is None


def test_a_row_told_twice_is_noticed() -> None:
    decoder = FrameDecoder(TABLE)
    for bodies, unique in (((INFY, TCS, INFY), False), ((INFY, TCS, RELIANCE), True), ((TCS, TCS), False)):
        decoded = decoder.decode_into(frame_of(*(quote(token, 5) for token in bodies)))
        assert decoded is not None
        assert decoded.unique is unique


def test_instruments_outside_the_table_are_left_out_and_counted() -> None:
    decoder = FrameDecoder(TABLE)
    frame = frame_of(
        full(999 << 8 | 1, 9, 9, 9), full(INFY, 1, 2, 3), full(USDINR_CDS, 9, 9, 9), full(2**32 - 1, 9, 9, 9)
    )
    assert told(decoder.decode_into(frame)) == [(0, 1, 2, 3 * NS)]
    assert decoder.decode_into(frame_of(ltp(USDINR_BCD, 9))) is None
    assert (decoder.foreign_packets, decoder.not_in_paise, decoder.bad_packets) == (4, 2, 0)


def test_the_same_exchange_number_in_another_segment_is_another_instrument() -> None:
    decoder = FrameDecoder({1001 << 8 | 1: 0, NIFTY: 1})
    assert told(decoder.decode_into(frame_of(ltp(NIFTY, 7), ltp(1001 << 8 | 1, 8)))) == [
        (1, 7, -1, 0),
        (0, 8, -1, 0),
    ]


@pytest.mark.parametrize("token", [USDINR_CDS, USDINR_BCD, 7 << 8 | 12])
def test_instruments_whose_prices_do_not_divide_into_paise_are_refused(token: int) -> None:
    with pytest.raises(ValueError, match=rf"token {token} .* only instruments priced in paise"):
        FrameDecoder({INFY: 0, token: 1})


def test_two_tokens_of_one_row_are_refused() -> None:
    with pytest.raises(ValueError, match="share a row"):
        FrameDecoder({INFY: 0, TCS: 0})


def test_an_empty_table_leaves_everything_out() -> None:
    decoder = FrameDecoder({})
    assert decoder.decode_into(frame_of(ltp(INFY, 1), ltp(TCS, 1))) is None
    assert decoder.foreign_packets == 2


U32 = st.integers(0, 2**32 - 1)
TOKENS = st.one_of(st.sampled_from([*TABLE, USDINR_CDS, USDINR_BCD]), U32)
BODIES = st.one_of(
    st.builds(ltp, TOKENS, U32),
    st.tuples(TOKENS, st.sampled_from([INDEX_QUOTE, INDEX_FULL, QUOTE, FULL])).flatmap(
        lambda pick: st.binary(min_size=pick[1] - 4, max_size=pick[1] - 4).map(
            lambda rest: struct.pack(">I", pick[0]) + rest
        )
    ),
    st.binary(max_size=50),
)


def expected_of(frame: bytes) -> list[tuple[int, int, int, int]]:
    """What the board is to hear, told from the reference decoder."""
    return [
        (
            TABLE[tick.instrument_token],
            tick.last_price,
            -1 if tick.volume_traded is None else tick.volume_traded,
            (tick.exchange_timestamp or 0) * NS,
        )
        for tick in decode(frame)
        if tick.instrument_token in TABLE
    ]


def check_agreement(frame: bytes) -> None:
    decoder = FrameDecoder(TABLE)
    decoded = decoder.decode_into(frame)
    ticks, expected = decode(frame), expected_of(frame)
    assert told(decoded) == expected
    assert decoder.bad_packets == packets(frame)[1]
    assert decoder.foreign_packets == len(ticks) - len(expected)
    foreign = [tick for tick in ticks if tick.instrument_token not in TABLE]
    assert decoder.not_in_paise == sum(tick.divisor != 100 for tick in foreign)
    if decoded is not None:
        rows = decoded.rows.tolist()
        assert decoded.unique is (len(set(rows)) == len(rows))


@given(st.lists(BODIES, max_size=8))
@settings(deadline=None)
def test_the_fast_path_agrees_with_the_reference_on_any_packets(bodies: list[bytes]) -> None:
    check_agreement(frame_of(*bodies))


@given(st.sampled_from(sorted(MODE_BY_LENGTH)), st.data())
@settings(deadline=None)
def test_the_fast_path_agrees_with_the_reference_on_frames_of_one_kind(length: int, data: st.DataObject) -> None:
    body = st.tuples(TOKENS, st.binary(min_size=length - 4, max_size=length - 4)).map(
        lambda parts: struct.pack(">I", parts[0]) + parts[1]
    )
    check_agreement(frame_of(*data.draw(st.lists(body, min_size=1, max_size=6))))


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_random_bytes_are_never_fatal(frame: bytes) -> None:
    check_agreement(frame)


@given(st.lists(BODIES, max_size=5), st.integers(0, 65_535), st.integers(0, 400))
@settings(deadline=None)
def test_a_wrong_count_and_a_cut_anywhere_are_never_fatal(bodies: list[bytes], count: int, cut: int) -> None:
    check_agreement((struct.pack(">H", count) + frame_of(*bodies)[2:])[:cut])


# --- recorded packets --------------------------------------------------------------------------------

recorded = pytest.mark.skipif(not MOCKS.is_dir(), reason=f"Kite's recorded answers are not at {MOCKS}")


def recorded_packet(name: str) -> tuple[bytes, dict[str, Any]]:
    """A recorded body, and what Kite's own client makes of it, amounts in paise."""
    body = base64.b64decode((MOCKS / f"ticker_{name}.packet").read_text())
    text = (MOCKS / f"ticker_{name}.json").read_text()
    return body, json.loads(text, parse_float=Decimal)


def in_paise(rupees: int | Decimal) -> Decimal:
    return Decimal(rupees) * 100


@recorded
@pytest.mark.parametrize("name", ["quote", "full"])
def test_recorded_packets_read_as_kite_reads_them(name: str) -> None:
    body, answer = recorded_packet(name)
    tick = decode_packet(body)
    assert (tick.mode, tick.tradable, tick.divisor) == (answer["mode"], answer["tradable"], 100)
    assert tick.instrument_token == answer["instrument_token"]
    assert tick.last_price == in_paise(answer["last_price"])
    assert tick.average_traded_price == in_paise(answer["average_price"])
    assert tick.last_traded_quantity == answer["last_quantity"]
    assert tick.volume_traded == answer["volume"]
    assert (tick.total_buy_quantity, tick.total_sell_quantity) == (
        answer["buy_quantity"],
        answer["sell_quantity"],
    )
    assert tick.ohlc == Ohlc(**{key: int(in_paise(value)) for key, value in answer["ohlc"].items()})


@recorded
def test_the_recorded_full_packet_has_its_times_and_depth() -> None:
    body, answer = recorded_packet("full")
    tick = decode_packet(body)
    assert tick.exchange_timestamp == datetime.fromisoformat(answer["timestamp"]).timestamp()
    assert tick.last_trade_time == datetime.fromisoformat(answer["last_trade_time"]).timestamp()
    assert (tick.oi, tick.oi_day_high, tick.oi_day_low) == (0, 0, 0)
    assert tick.depth is not None
    for side in ("buy", "sell"):
        assert [
            {"price": entry.price, "quantity": entry.quantity, "orders": entry.orders}
            for entry in getattr(tick.depth, side)
        ] == [{**entry, "price": in_paise(entry["price"])} for entry in answer["depth"][side]]


@recorded
def test_the_fast_path_reads_the_recorded_packets() -> None:
    bodies = [recorded_packet(name)[0] for name in ("quote", "full")]
    token = decode_packet(bodies[0]).instrument_token
    for body in bodies:
        tick = decode_packet(body)
        expected = (4, tick.last_price, tick.volume_traded, (tick.exchange_timestamp or 0) * NS)
        assert told(FrameDecoder({token: 4}).decode_into(frame_of(body))) == [expected]


# --- text frames ---------------------------------------------------------------------------------------


def test_text_frames_bring_orders_errors_and_messages() -> None:
    posted = decode_text('{"type": "order", "data": {"order_id": "22", "average_price": 157.35, "quantity": 3}}')
    assert posted == OrderPosted({"order_id": "22", "average_price": Decimal("157.35"), "quantity": 3})
    assert decode_text('{"type": "error", "data": "Too many tokens"}') == TickerError("Too many tokens")
    assert decode_text('{"type": "message", "data": "Maintenance"}') == TickerMessage("Maintenance")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "null",
        "[1, 2]",
        '"order"',
        '{"type": "order"}',
        '{"type": "order", "data": [1]}',
        '{"type": "order", "data": {"price": NaN}}',
        '{"type": "error", "data": 5}',
        '{"type": ["order"], "data": {}}',
        '{"type": "instruments_meta", "data": {}}',
        "[" * 100_000,
    ],
    ids=range(12),
)
def test_an_unreadable_text_frame_is_told_and_never_fatal(text: str) -> None:
    answer = decode_text(text)
    assert isinstance(answer, Unreadable)
    assert answer.text == text
    assert answer.reason


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    assert isinstance(decode_text(text), OrderPosted | TickerError | TickerMessage | Unreadable)


def test_the_lengths_are_those_of_the_specification() -> None:
    assert [len(ltp(1, 1)), len(index_quote(1, 1)), len(index_full(1, 1, 1))] == [
        LTP,
        INDEX_QUOTE,
        INDEX_FULL,
    ]
    assert [len(quote(1, 1)), len(full(1, 20, 1, 1))] == [QUOTE, FULL]
