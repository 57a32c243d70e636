"""What can be traded: the instruments, and the row each has in every array of the market.

Owns the Kite instruments CSV format and the tick-size table of the exchange. Never holds a price. Used by
every feed, the board, the brokers (tick sizes, lots) and the scanner.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from protocol.errors import MarketDataError
from protocol.money import paise_from_rupees

NEEDED_COLUMNS = (
    "instrument_token",
    "tradingsymbol",
    "name",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
)

# (price up to and including, tick size) in paise, and the tick above the last price.
# Source: NSE tick sizes in force since 2025-04-15. The lowest band ends below 250 rupees.
NSE_TICK_BANDS = ((24_999, 1), (100_000, 5), (500_000, 10), (1_000_000, 50), (2_000_000, 100))
NSE_HIGHEST_TICK_PAISE = 500


class InstrumentError(MarketDataError):
    """An instrument or an instruments file that cannot be used; the text says where and why."""


@attrs.frozen
class Instrument:
    """One share as the exchange lists it. `derivatives`: futures or options on it exist (closing auction)."""

    symbol: str
    token: int = attrs.field(validator=attrs.validators.ge(0))
    tick_size_paise: int = attrs.field(validator=attrs.validators.gt(0))
    lot_size: int = attrs.field(default=1, validator=attrs.validators.gt(0))
    series: str = "EQ"
    segment: str = "NSE"
    name: str = ""
    derivatives: bool = False


class Universe:
    """The instruments of one feed, sorted by symbol. A row is the place in this order and never changes."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        """Raises InstrumentError when a symbol or a token appears twice."""
        self.instruments = tuple(sorted(instruments, key=lambda instrument: instrument.symbol))
        self.symbols = tuple(instrument.symbol for instrument in self.instruments)
        self.rows_by_token = {instrument.token: row for row, instrument in enumerate(self.instruments)}
        for one, following in zip(self.symbols, self.symbols[1:], strict=False):
            if one == following:
                raise InstrumentError(f"{one} appears twice among the instruments; a symbol has one row")
        if len(self.rows_by_token) < len(self.instruments):
            for row, instrument in enumerate(self.instruments):
                other = self.instruments[self.rows_by_token[instrument.token]].symbol
                if other != self.symbols[row]:
                    raise InstrumentError(f"{instrument.symbol} and {other} share the token {instrument.token}")
        self.tick_size_paise: NDArray[np.int64] = np.array(
            [instrument.tick_size_paise for instrument in self.instruments], dtype=np.int64
        )
        self.derivatives: NDArray[np.bool_] = np.array(
            [instrument.derivatives for instrument in self.instruments], dtype=np.bool_
        )

    def __len__(self) -> int:
        return len(self.instruments)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self.instruments)

    def __getitem__(self, row: int) -> Instrument:
        return self.instruments[row]

    def __contains__(self, symbol: str) -> bool:
        row = bisect_left(self.symbols, symbol)
        return row < len(self.symbols) and self.symbols[row] == symbol

    def row(self, symbol: str) -> int:
        """Raises KeyError for a symbol that is not in the universe."""
        row = bisect_left(self.symbols, symbol)
        if row == len(self.symbols) or self.symbols[row] != symbol:
            raise KeyError(f"{symbol} is not among the {len(self.symbols)} instruments")
        return row

    def select(self, symbols: Iterable[str]) -> Universe:
        """A universe of only these symbols. Raises InstrumentError naming the ones that are missing."""
        wanted = sorted(set(symbols))
        missing = [symbol for symbol in wanted if symbol not in self]
        if missing:
            raise InstrumentError(f"no instrument for {shorten(missing)}")
        return Universe(self.instruments[self.row(symbol)] for symbol in wanted)


def read_instruments(path: Path, *, derivatives: Collection[str] = ()) -> Universe:
    """The universe of a Kite instruments CSV (columns NEEDED_COLUMNS; others are ignored).

    `derivatives` names the symbols with a closing auction, which the file does not say. Raises
    InstrumentError, with the line, for a missing file or column, a number that is none, a tick size that is
    no whole number of paise.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            missing = [column for column in NEEDED_COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                there = shorten(reader.fieldnames or ["an empty file"])
                raise InstrumentError(f"{path}: column {', '.join(missing)} is missing; found {there}")
            found = []
            for record in reader:
                try:
                    found.append(_instrument(record, derivatives))
                except ValueError as wrong:
                    raise InstrumentError(f"{path}:{reader.line_num}: {wrong}") from None
    except OSError as failure:
        raise InstrumentError(f"{path} cannot be read: {failure.strerror}") from None
    try:
        return Universe(found)
    except InstrumentError as wrong:
        raise InstrumentError(f"{path}: {wrong}") from None


def _instrument(record: dict[str, str | None], derivatives: Collection[str]) -> Instrument:
    def text(column: str) -> str:
        value = record[column]
        if value is None:
            raise ValueError(f"the line ends before column {column}")
        return value.strip()

    def whole(column: str) -> int:
        try:
            return int(text(column))
        except ValueError:
            raise ValueError(f"{column} is {text(column)!r}, not a whole number") from None

    symbol = text("tradingsymbol")
    if not symbol:
        raise ValueError("tradingsymbol is empty")
    tick_size = text("tick_size")
    try:
        tick_size_paise = paise_from_rupees(tick_size)
    except ValueError as wrong:
        raise ValueError(f"tick_size of {symbol}: {wrong}; its prices could not be kept exactly") from None
    if tick_size_paise <= 0:
        raise ValueError(f"tick_size of {symbol} is {tick_size}, it must be above 0")
    return Instrument(
        symbol=symbol,
        token=whole("instrument_token"),
        tick_size_paise=tick_size_paise,
        lot_size=whole("lot_size"),
        series=text("instrument_type"),
        segment=text("segment"),
        name=text("name"),
        derivatives=symbol in derivatives,
    )


def nse_tick_size_paise(price_paise: int) -> int:
    """Tick size NSE gives a share of this price, in paise (table NSE_TICK_BANDS)."""
    for highest_paise, tick_paise in NSE_TICK_BANDS:
        if price_paise <= highest_paise:
            return tick_paise
    return NSE_HIGHEST_TICK_PAISE


def shorten(names: Sequence[str], at_most: int = 8) -> str:
    """Names for an error message: the first few of them, and how many more there are."""
    shown = ", ".join(names[:at_most])
    more = len(names) - at_most
    return f"{shown} and {more} more" if more > 0 else shown
