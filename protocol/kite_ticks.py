"""Kite's ticker wire: binary frames of packets, and text frames. Bytes in, values out.

Owns every offset and divisor. Two decoders read the same bytes: `decode` gives ticks with Kite's own field
names and is the reference to read and to test against; `FrameDecoder` puts whole frames into arrays for the
board. Neither awaits, and nothing that arrives is fatal: a packet that cannot be read is left out and
counted, the rest is used.

A binary frame is big-endian: u16 number of packets, then per packet u16 length and body; the length of the
body says its kind. A frame of one byte is the heartbeat. Source: kite.trade/docs/connect/v3/websocket; the
official clients read every number as unsigned although the page says int32, and so does this file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from protocol.clock import NS

CDS, BCD, INDICES, NCO = 3, 6, 9, 12
SEGMENTS = {1: "NSE", 2: "NFO", CDS: "CDS", 4: "BSE", 5: "BFO", BCD: "BCD", 7: "MCX", 8: "MCXSX"}
SEGMENTS |= {INDICES: "INDICES", NCO: "NCO"}
PAISE_DIVISOR = 100
DIVISOR_BY_SEGMENT = {CDS: 10_000_000, BCD: 10_000, NCO: 10_000}  # all others: PAISE_DIVISOR

LTP, INDEX_QUOTE, INDEX_FULL, QUOTE, FULL = 8, 28, 32, 44, 184  # length of the body
MODE_BY_LENGTH = {LTP: "ltp", INDEX_QUOTE: "quote", INDEX_FULL: "full", QUOTE: "quote", FULL: "full"}
VOLUME_AT = {QUOTE: 16, FULL: 16}
EXCHANGE_TIME_AT = {INDEX_FULL: 28, FULL: 60}

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_TOKEN_AND_PRICE = struct.Struct(">2I")
_INDEX_PRICES = struct.Struct(">4I")  # at 8: high, low, open, close - not the order of stocks
_QUOTE_FIELDS = struct.Struct(">9I")  # at 8: last quantity .. close
_FULL_FIELDS = struct.Struct(">5I")  # at 44: last trade time .. exchange time
_DEPTH_ENTRY = struct.Struct(">IIH2x")  # at 64: five bids, five asks


def segment(token: int) -> int:
    """The market segment that an instrument token carries in its lowest byte."""
    return token & 0xFF


def divisor(token: int) -> int:
    """What a wire price of this instrument is divided by to give rupees."""
    return DIVISOR_BY_SEGMENT.get(segment(token), PAISE_DIVISOR)


# --- the readable reference -----------------------------------------------------------------------


@attrs.frozen
class Ohlc:
    """Day's open, high, low and the previous day's close, in wire units."""

    open: int
    high: int
    low: int
    close: int


@attrs.frozen
class DepthEntry:
    quantity: int
    price: int
    orders: int


@attrs.frozen
class Depth:
    buy: tuple[DepthEntry, ...]
    sell: tuple[DepthEntry, ...]


@attrs.frozen(kw_only=True)
class Tick:
    """One packet under Kite's names. Prices in wire units: rupees are price / divisor. Times in UNIX seconds.

    What a packet of the mode does not carry is None.
    """

    instrument_token: int
    mode: str
    tradable: bool
    divisor: int
    last_price: int
    last_traded_quantity: int | None = None
    average_traded_price: int | None = None
    volume_traded: int | None = None
    total_buy_quantity: int | None = None
    total_sell_quantity: int | None = None
    ohlc: Ohlc | None = None
    last_trade_time: int | None = None
    oi: int | None = None
    oi_day_high: int | None = None
    oi_day_low: int | None = None
    exchange_timestamp: int | None = None
    depth: Depth | None = None


def packets(frame: bytes) -> tuple[list[bytes], int]:
    """The bodies of a frame whose kind is known, in order, and how many packets could not be read.

    What is missing behind a cut frame counts as one, and so does what follows the last packet announced.
    """
    bodies: list[bytes] = []
    bad = 0
    if len(frame) < _U16.size:
        return bodies, bad
    offset = _U16.size
    for _ in range(_U16.unpack_from(frame)[0]):
        body_at = offset + _U16.size
        length = _U16.unpack_from(frame, offset)[0] if body_at <= len(frame) else 0
        if body_at + length > len(frame):
            return bodies, bad + 1
        if length in MODE_BY_LENGTH:
            bodies.append(frame[body_at : body_at + length])
        else:
            bad += 1
        offset = body_at + length
    return bodies, bad + (offset < len(frame))


def decode(frame: bytes) -> list[Tick]:
    """The ticks of a binary frame, in order. What cannot be read is left out; `packets` counts it."""
    return [decode_packet(body) for body in packets(frame)[0]]


def decode_packet(body: bytes) -> Tick:
    """One packet's body. Its length is one of MODE_BY_LENGTH."""
    length = len(body)
    token, last_price = _TOKEN_AND_PRICE.unpack_from(body)
    fields: dict[str, Any] = {}
    if length in (INDEX_QUOTE, INDEX_FULL):
        high, low, opened, close = _INDEX_PRICES.unpack_from(body, 8)
        fields["ohlc"] = Ohlc(opened, high, low, close)
    if length == INDEX_FULL:
        (fields["exchange_timestamp"],) = _U32.unpack_from(body, EXCHANGE_TIME_AT[INDEX_FULL])
    if length in (QUOTE, FULL):
        (
            fields["last_traded_quantity"],
            fields["average_traded_price"],
            fields["volume_traded"],
            fields["total_buy_quantity"],
            fields["total_sell_quantity"],
            *ohlc,
        ) = _QUOTE_FIELDS.unpack_from(body, 8)
        fields["ohlc"] = Ohlc(*ohlc)
    if length == FULL:
        (
            fields["last_trade_time"],
            fields["oi"],
            fields["oi_day_high"],
            fields["oi_day_low"],
            fields["exchange_timestamp"],
        ) = _FULL_FIELDS.unpack_from(body, 44)
        entries = tuple(DepthEntry(*entry) for entry in _DEPTH_ENTRY.iter_unpack(body[64:]))
        fields["depth"] = Depth(buy=entries[:5], sell=entries[5:])
    return Tick(
        instrument_token=token,
        mode=MODE_BY_LENGTH[length],
        tradable=segment(token) != INDICES,
        divisor=divisor(token),
        last_price=last_price,
        **fields,
    )


# --- the fast path --------------------------------------------------------------------------------


def packet_dtype(length: int) -> np.dtype[np.void]:
    """A packet of one kind with its length field as a NumPy record: length, token, price, and volume and
    exchange time where the kind has them."""
    offset_of = {"length": 0, "token": 2, "price": 6}
    if length in VOLUME_AT:
        offset_of["volume"] = 2 + VOLUME_AT[length]
    if length in EXCHANGE_TIME_AT:
        offset_of["time"] = 2 + EXCHANGE_TIME_AT[length]
    formats = [">u2" if name == "length" else ">u4" for name in offset_of]
    return np.dtype(
        {
            "names": list(offset_of),
            "formats": formats,
            "offsets": list(offset_of.values()),
            "itemsize": 2 + length,
        }
    )


_DTYPE_BY_LENGTH = {length: packet_dtype(length) for length in MODE_BY_LENGTH}
_NO_TOKEN = -1
# Arrays, because NumPy converts a Python number at each use, which costs as much as using it on a few ticks.
_SEGMENT_BITS, _NUMBER_SHIFT, _NS = np.array(0xFF), np.array(8), np.array(NS)


@attrs.frozen(eq=False)
class Decoded:
    """The ticks of one frame that concern the board, in frame order, one entry each."""

    rows: NDArray[np.int32]
    price_paise: NDArray[np.int64]
    volume: NDArray[np.int64]  # shares since the day began, -1 where the packet has none
    exchange_ns: NDArray[np.int64] | None  # 0 where the packet has none; None: no packet has one
    unique: bool  # no row twice


class FrameDecoder:
    """Kite's frames as arrays over the rows of the board, for the instruments of one table.

    Counts what it leaves out: `bad_packets` that cannot be read, `foreign_packets` of instruments that are
    not in the table, and among those `not_in_paise`, whose prices do not divide into paise.
    """

    def __init__(self, row_by_token: Mapping[int, int]) -> None:
        """Raises ValueError for an instrument not priced in paise, and for two tokens of one row."""
        for token in row_by_token:
            if divisor(token) != PAISE_DIVISOR:
                raise ValueError(
                    f"instrument token {token} ({SEGMENTS[segment(token)]}) is priced in 1/{divisor(token)} "
                    "of a rupee: only instruments priced in paise can be traded"
                )
        if len(set(row_by_token.values())) != len(row_by_token):
            raise ValueError("two instrument tokens share a row: each row needs exactly one token")
        # One entry more, for the instruments that are not in the table: no token equals it.
        self._tokens = np.array([*row_by_token, _NO_TOKEN], dtype=np.int64)
        self._rows = np.array([*row_by_token.values(), -1], dtype=np.int32)
        self._slot_base, self._place_of_slot = _slots(list(row_by_token))
        self._newest_at = np.zeros(len(self._tokens), dtype=np.int64)
        self.bad_packets = 0
        self.foreign_packets = 0
        self.not_in_paise = 0

    def decode_into(self, frame: bytes) -> Decoded | None:
        """What a frame says of the table's instruments; None when that is nothing, as in a heartbeat."""
        records = _records_of_one_kind(frame)
        if records is None:
            return self._decode_mixed(frame)
        names = records.dtype.names or ()
        return self._placed(
            token=records["token"].astype(np.int64),
            price_paise=records["price"].astype(np.int64),
            volume=records["volume"].astype(np.int64) if "volume" in names else None,
            exchange_s=records["time"].astype(np.int64) if "time" in names else None,
        )

    def _decode_mixed(self, frame: bytes) -> Decoded | None:
        bodies, bad = packets(frame)
        self.bad_packets += bad
        if not bodies:
            return None
        values = np.array([_board_values(body) for body in bodies], dtype=np.int64)
        token, price_paise, volume, exchange_s = (np.ascontiguousarray(column) for column in values.T)
        return self._placed(token, price_paise, volume, exchange_s if exchange_s.any() else None)

    def _placed(
        self,
        token: NDArray[np.int64],
        price_paise: NDArray[np.int64],
        volume: NDArray[np.int64] | None,
        exchange_s: NDArray[np.int64] | None,
    ) -> Decoded | None:
        place = self._place_of_slot.take(self._slot_base[token & _SEGMENT_BITS] + (token >> _NUMBER_SHIFT), mode="clip")
        ours = self._tokens[place] == token
        if np.count_nonzero(ours) != len(token):
            foreign = token[~ours].tolist()
            self.foreign_packets += len(foreign)
            self.not_in_paise += sum(divisor(each) != PAISE_DIVISOR for each in foreign)
            place, price_paise = place[ours], price_paise[ours]
            volume = None if volume is None else volume[ours]
            exchange_s = None if exchange_s is None else exchange_s[ours]
        if not len(place):
            return None
        # Of a repeated index one assignment is kept and the others read back wrong, whichever NumPy keeps.
        position = np.arange(len(place))
        self._newest_at[place] = position
        return Decoded(
            rows=self._rows[place],
            price_paise=price_paise,
            volume=np.full(len(place), -1, dtype=np.int64) if volume is None else volume,
            exchange_ns=None if exchange_s is None else exchange_s * _NS,
            unique=bool(np.count_nonzero(self._newest_at[place] != position) == 0),
        )


def _slots(tokens: list[int]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Where to look a token up: slot_base[segment] + exchange number is its slot, which holds its place.

    Each segment has a stretch as long as its highest exchange number (some ten thousand on NSE), because a
    binary search per tick takes half of a frame's whole time. A token of none of them finds another's slot or
    the last one: whoever looks up compares the token found there.
    """
    slot_base = np.zeros(256, dtype=np.int64)
    size = 0
    for each in sorted({segment(token) for token in tokens}):
        slot_base[each] = size
        size += 1 + max(token >> 8 for token in tokens if segment(token) == each)
    place_of_slot = np.full(size + 1, len(tokens), dtype=np.intp)
    for place, token in enumerate(tokens):
        place_of_slot[slot_base[segment(token)] + (token >> 8)] = place
    return slot_base, place_of_slot


def _records_of_one_kind(frame: bytes) -> NDArray[np.void] | None:
    """The packets of a frame that holds one kind and nothing else, not copied; None for any other frame."""
    if len(frame) < 2 * _U16.size:
        return None
    count, length = struct.unpack_from(">HH", frame)
    dtype = _DTYPE_BY_LENGTH.get(length)
    if dtype is None or not count or len(frame) != _U16.size + count * dtype.itemsize:
        return None
    records = np.frombuffer(frame, dtype=dtype, offset=_U16.size)
    return records if records["length"].tobytes() == frame[2:4] * count else None


def _board_values(body: bytes) -> tuple[int, int, int, int]:
    """Token, last price, volume (-1 without) and exchange time in UNIX seconds (0 without) of a packet."""
    length = len(body)
    token, price = _TOKEN_AND_PRICE.unpack_from(body)
    volume = _U32.unpack_from(body, VOLUME_AT[length])[0] if length in VOLUME_AT else -1
    seconds = _U32.unpack_from(body, EXCHANGE_TIME_AT[length])[0] if length in EXCHANGE_TIME_AT else 0
    return token, price, volume, seconds


# --- text frames ----------------------------------------------------------------------------------


@attrs.frozen
class OrderPosted:
    """An order as Kite posts it back; amounts are exact (int or Decimal)."""

    data: dict[str, Any]


@attrs.frozen
class TickerError:
    text: str


@attrs.frozen
class TickerMessage:
    """What Kite wants people to read; the official clients drop it."""

    text: str


@attrs.frozen
class Unreadable:
    """A text frame of no known form: counted and logged by whoever receives it."""

    text: str
    reason: str


TextFrame = OrderPosted | TickerError | TickerMessage | Unreadable


def decode_text(text: str) -> TextFrame:
    """A text frame of the ticker: {"type": "order" | "error" | "message", "data": …}."""
    try:
        frame = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        return Unreadable(text, f"not JSON: {problem}")
    kind, data = (frame.get("type"), frame.get("data")) if isinstance(frame, dict) else (None, None)
    if kind == "order" and isinstance(data, dict):
        return OrderPosted(data)
    if kind == "error" and isinstance(data, str):
        return TickerError(data)
    if kind == "message" and isinstance(data, str):
        return TickerMessage(data)
    return Unreadable(text, 'not an object with "type" order, error or message and its "data"')


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
