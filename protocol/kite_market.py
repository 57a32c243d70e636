"""Kite's market data over REST: quotes, historical candles, the instruments file.

Owns how they are asked for, within Kite's sizes, and how they are read. Never waits between calls (the broker keeps
the rates) and caches nothing. Called by brokers/kite.py and the Kite feed. Prices in paise, times in ns.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date, timedelta

import attrs

from protocol.broker import Quote
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.kite_values import (
    Row,
    amount,
    half_up_paise,
    instant_of,
    price_paise,
    row_of,
    rows_of,
    symbol_of,
    text,
    whole,
)
from protocol.kite_wire import Call, HttpRequest
from protocol.money import paise_from_rupees

QUOTES_MAX = 500  # instruments per /quote
LAST_PRICES_MAX = 1000  # instruments per /quote/ltp and /quote/ohlc
DAYS_PER_CALL = {
    "minute": 60,
    "3minute": 100,
    "5minute": 100,
    "10minute": 100,
    "15minute": 200,
    "30minute": 200,
    "60minute": 400,
    "day": 2000,
}
INSTRUMENT_COLUMNS = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)


# --- quotes ---------------------------------------------------------------------------------------


def quotes(symbols: Sequence[str], exchange: str = "NSE") -> HttpRequest:
    """Full quotes, with circuit limits and times."""
    return _quotes("/quote", symbols, exchange, QUOTES_MAX)


def last_prices(symbols: Sequence[str], exchange: str = "NSE") -> HttpRequest:
    return _quotes("/quote/ltp", symbols, exchange, LAST_PRICES_MAX)


def _quotes(path: str, symbols: Sequence[str], exchange: str, at_most: int) -> HttpRequest:
    if not 0 < len(symbols) <= at_most:
        raise LocalProtocolError(f"{path} takes 1 to {at_most} instruments a call, not {len(symbols)}")
    return HttpRequest(Call.QUOTE, "GET", path, query=tuple(("i", f"{exchange}:{symbol}") for symbol in symbols))


def read_quotes(data: object, at_ns: int) -> tuple[Quote, ...]:
    """Of /quote, /quote/ohlc and /quote/ltp; `at_ns` is taken where the answer has no time of its own.

    What Kite does not know it leaves out, and so is what has never traded.
    """
    found = []
    for key, value in row_of(data, "the quotes").items():
        row = row_of(value, key)
        exchange, _, name = key.partition(":")
        last = price_paise(row, "last_price", exchange)
        if last <= 0:
            continue
        found.append(
            Quote(
                symbol=symbol_of(exchange, name),
                last_paise=last,
                at_ns=_time(row, at_ns),
                volume=whole(row, "volume") if "volume" in row else -1,
                lower_circuit_paise=_circuit(row, "lower_circuit_limit", exchange),
                upper_circuit_paise=_circuit(row, "upper_circuit_limit", exchange),
            )
        )
    return tuple(found)


def _time(row: Row, at_ns: int) -> int:
    stamp = row.get("timestamp") or row.get("last_trade_time")
    return instant_of(stamp, "timestamp") if stamp else at_ns


def _circuit(row: Row, name: str, exchange: str) -> int | None:
    """None where there is no limit: Kite writes 0."""
    return price_paise(row, name, exchange) or None if row.get(name) is not None else None


# --- historical candles ---------------------------------------------------------------------------


@attrs.frozen
class Candle:
    """One bar. Kite adjusts past prices for splits and bonuses, so they may have had parts of a paisa."""

    start_ns: int
    open_paise: int
    high_paise: int
    low_paise: int
    close_paise: int
    volume: int
    open_interest: int | None = None


def candles(token: int, interval: str, first: date, last: date) -> list[HttpRequest]:
    """The calls that together give the candles of the days first..last, oldest first."""
    if interval not in DAYS_PER_CALL:
        raise LocalProtocolError(f"no interval {interval!r}: {', '.join(DAYS_PER_CALL)} are")
    calls = []
    while first <= last:
        until = min(first + timedelta(days=DAYS_PER_CALL[interval] - 1), last)
        query = (("from", f"{first} 00:00:00"), ("to", f"{until} 23:59:59"))
        calls.append(HttpRequest(Call.HISTORICAL, "GET", f"/instruments/historical/{token}/{interval}", query=query))
        first = until + timedelta(days=1)
    return calls


def read_candles(data: object) -> tuple[Candle, ...]:
    return tuple(_candle(values) for values in rows_of(row_of(data, "the history").get("candles"), "the candles"))


def _candle(values: object) -> Candle:
    names = ("time", "open", "high", "low", "close", "volume", "oi")
    if not isinstance(values, list) or len(values) not in (6, 7):
        raise RemoteProtocolError("a candle is not a list of 6 or 7 values")
    row = dict(zip(names, values, strict=False))
    return Candle(
        start_ns=instant_of(row["time"], "time"),
        open_paise=half_up_paise(amount(row, "open")),
        high_paise=half_up_paise(amount(row, "high")),
        low_paise=half_up_paise(amount(row, "low")),
        close_paise=half_up_paise(amount(row, "close")),
        volume=whole(row, "volume"),
        open_interest=whole(row, "oi") if "oi" in row else None,
    )


# --- the instruments file -------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class InstrumentRow:
    """One line of the instruments file. `tick_size_paise` None: an index, or prices with parts of a paisa."""

    token: int
    exchange_token: int
    symbol: str
    name: str
    tick_size_paise: int | None
    lot_size: int
    instrument_type: str
    segment: str
    exchange: str


def read_instruments(body: str) -> tuple[InstrumentRow, ...]:
    """Of GET /instruments/NSE, which is CSV without an envelope. A line that cannot be read is left out: one of
    ten thousand must not stop the day. Raises RemoteProtocolError when the file is no instruments file at all.
    """
    try:
        reader = csv.DictReader(body.splitlines())
        missing = [column for column in INSTRUMENT_COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise RemoteProtocolError(f"the instruments file has no column {', '.join(missing)}")
        found = [_instrument(record) for record in reader]
    except csv.Error as problem:
        raise RemoteProtocolError(f"the instruments file cannot be read: {problem}") from None
    rows = tuple(row for row in found if row is not None)
    if not rows:
        raise RemoteProtocolError("the instruments file names no instrument")
    return rows


def _instrument(record: Row) -> InstrumentRow | None:
    try:
        return InstrumentRow(
            token=int(record["instrument_token"] or ""),
            exchange_token=int(record["exchange_token"] or ""),
            symbol=text(record, "tradingsymbol"),
            name=record["name"] or "",
            tick_size_paise=_tick_size(record["tick_size"] or ""),
            lot_size=int(record["lot_size"] or ""),
            instrument_type=record["instrument_type"] or "",
            segment=text(record, "segment"),
            exchange=text(record, "exchange"),
        )
    except (ValueError, RemoteProtocolError):
        return None


def _tick_size(rupees: str) -> int | None:
    try:
        paise = paise_from_rupees(rupees)
    except ValueError:
        return None
    return paise if paise > 0 else None
