"""The files of a recording: bars and ticks from disk into arrays.

Owns the file formats: minute and daily bars (CSV, also gzipped) and recorded ticks (Parquet). Never decides
what is played or left out (recorded_day.py) and writes nothing. Called by recorded.py.

CSV columns: symbol, timestamp (bar start, IST; `date` in daily files), open, high, low, close in rupees,
volume in shares. Parquet columns: ts (IST), symbol, ltp_paise, cum_volume (of the day).
"""

from __future__ import annotations

import csv
import gzip
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from market.history import HIGHEST_PRICE_PAISE
from market.instruments import Universe, shorten
from protocol.clock import IST_OFFSET_NS, NS, at
from protocol.errors import MarketDataError

MINUTE_FILES = ("minute.csv.gz", "minute_from_ticks.csv.gz", "minute.csv")
DAILY_FILES = ("daily.csv.gz", "daily.csv")
INSTRUMENTS_FILE = "instruments.csv"
TICKS_FOLDER = "ticks"
TICK_COLUMNS = ("ts", "symbol", "ltp_paise", "cum_volume")

SYMBOL_BYTES_MAX = 24
PAISE_ERROR_MAX = 1e-4  # a price in float rupees is at most this far from its paise, or it has parts of a paisa


class RecordingError(MarketDataError):
    """A recording that cannot be played; the text says what is missing and what is there."""


@attrs.frozen(eq=False)
class BarTable:
    """Bars in order of time, then row. `at_ns` is the bar's start; prices in paise, volume in shares."""

    at_ns: NDArray[np.int64]
    rows: NDArray[np.int32]
    open: NDArray[np.int32]
    high: NDArray[np.int32]
    low: NDArray[np.int32]
    close: NDArray[np.int32]
    volume: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at_ns)

    def between(self, first_ns: int, end_ns: int) -> BarTable:
        """The bars that start in [first_ns, end_ns), as views."""
        first, end = np.searchsorted(self.at_ns, (first_ns, end_ns))
        return BarTable(*(column[first:end] for column in attrs.astuple(self, recurse=False)))

    def days(self) -> tuple[date, ...]:
        """The Indian days that have bars, ascending."""
        day_ns = 86_400 * NS
        numbers = np.unique((self.at_ns + IST_OFFSET_NS) // day_ns)
        return tuple(date.fromordinal(int(number) + date(1970, 1, 1).toordinal()) for number in numbers)


@attrs.frozen(eq=False)
class NamedBars:
    """A bar file as read, before its symbols have rows: `codes` index `names`."""

    path: Path
    names: tuple[str, ...]
    codes: NDArray[np.int32]
    records: NDArray[np.void]

    def table(self, universe: Universe) -> BarTable:
        """The bars of the universe's symbols, sorted. Raises RecordingError for a price that is none."""
        row_of = np.array([universe.row(name) if name in universe else -1 for name in self.names], dtype=np.int32)
        rows = row_of[self.codes]
        at_ns = self.records["at"].astype("datetime64[s]").astype(np.int64) * NS - IST_OFFSET_NS
        known = np.flatnonzero(rows >= 0)
        order = known[np.lexsort((rows[known], at_ns[known]))]
        opens, highs, lows, closes = (self._paise(name)[order] for name in ("open", "high", "low", "close"))
        volume = self.records["volume"][order]
        return BarTable(at_ns[order], rows[order], opens, highs, lows, closes, volume)

    def _paise(self, column: str) -> NDArray[np.int32]:
        exact = self.records[column] * 100.0
        paise = np.rint(exact)
        wrong = ~(np.abs(exact - paise) <= PAISE_ERROR_MAX) | (np.abs(paise) > HIGHEST_PRICE_PAISE)
        if wrong.any():
            line = int(np.argmax(wrong))
            raise RecordingError(
                f"{self.path}:{line + 2}: {column} is {self.records[column][line]}, "
                "no price in rupees with at most two decimals"
            )
        return paise.astype(np.int32)


@attrs.frozen(eq=False)
class TickTable:
    """Recorded ticks of one day in order of time, then file order."""

    at_ns: NDArray[np.int64]
    rows: NDArray[np.int32]
    price_paise: NDArray[np.int64]
    volume: NDArray[np.int64]  # cumulative of the day


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these files that exists in the folder."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def contents(folder: Path) -> str:
    """What a folder holds, for an error message: its first few names."""
    found = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return shorten(found) if found else "nothing"


def read_bars(path: Path, time_column: str) -> NamedBars:
    """A bar file. Raises RecordingError for a missing column, and for a field that is no number or time."""
    columns = ("symbol", time_column, "open", "high", "low", "close", "volume")
    layout = np.dtype(
        [("symbol", f"S{SYMBOL_BYTES_MAX}"), ("at", "S19")]
        + [(column, "f8") for column in ("open", "high", "low", "close")]
        + [("volume", "i8")]
    )
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8") as lines:
            header = next(csv.reader(lines), [])
            missing = [column for column in columns if column not in header]
            if missing:
                found = shorten(header) or "an empty file"
                raise RecordingError(f"{path}: column {', '.join(missing)} is missing; found {found}")
            used = [header.index(column) for column in columns]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a header alone is an empty recording: said later
                records = np.loadtxt(
                    lines, dtype=layout, delimiter=",", comments=None, quotechar='"', usecols=used, ndmin=1
                )
        records["at"].astype("datetime64[s]")
    except (OSError, EOFError) as failure:
        raise RecordingError(f"{path} cannot be read: {failure}") from None
    except RecordingError:
        raise
    except ValueError as failure:
        # numpy counts rows from 1 after the header, so its row 1 is line 2.
        raise RecordingError(f"{path}: {failure} (rows are counted after the header)") from None
    names, codes = _encode(records["symbol"])
    return NamedBars(path, names, codes, records)


def _encode(symbols: NDArray[np.bytes_]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Distinct names and each entry's index; quick because files keep a symbol's lines together."""
    if not len(symbols):
        return (), np.zeros(0, dtype=np.int32)
    starts = np.flatnonzero(np.concatenate(([True], symbols[1:] != symbols[:-1])))
    names, code_of_run = np.unique(symbols[starts], return_inverse=True)
    lengths = np.diff(np.append(starts, len(symbols)))
    return tuple(name.decode() for name in names), np.repeat(code_of_run.astype(np.int32), lengths)


def tick_days(folder: Path) -> tuple[date, ...]:
    """Days with recorded ticks, ascending. Raises RecordingError when the folder has none."""
    ticks = folder / TICKS_FOLDER
    if not ticks.is_dir():
        raise RecordingError(f"{folder} has no recorded ticks (folder {TICKS_FOLDER}/); it holds {contents(folder)}")
    days = []
    for path in sorted(ticks.glob("*.parquet")):
        try:
            days.append(date.fromisoformat(path.stem))
        except ValueError:
            raise RecordingError(f"{path}: a file of ticks is named by its day, as 2021-05-27.parquet") from None
    if not days:
        raise RecordingError(f"{ticks} has no file such as 2021-05-27.parquet; it holds {contents(ticks)}")
    return tuple(days)


def tick_symbols(folder: Path, day: date) -> set[str]:
    """The symbols that have ticks on a day."""
    column = _read_parquet(folder, day, ("symbol",)).column("symbol")
    return set(column.unique().to_pylist())


def read_ticks(folder: Path, day: date, universe: Universe) -> TickTable:
    """The ticks of a day. Every symbol must be in the universe."""
    table = _read_parquet(folder, day, TICK_COLUMNS)
    symbols = table.column("symbol").combine_chunks()
    if not hasattr(symbols, "indices"):
        symbols = symbols.dictionary_encode()
    row_of = np.array([universe.row(name) for name in symbols.dictionary.to_pylist()], dtype=np.int32)
    rows = row_of[symbols.indices.to_numpy()]
    at_ns = table.column("ts").to_numpy().astype("datetime64[ns]").astype(np.int64) - IST_OFFSET_NS
    order = np.argsort(at_ns, kind="stable")
    return TickTable(
        at_ns[order],
        rows[order],
        table.column("ltp_paise").to_numpy()[order].astype(np.int64),
        table.column("cum_volume").to_numpy()[order].astype(np.int64),
    )


def _read_parquet(folder: Path, day: date, columns: tuple[str, ...]) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RecordingError(
            "recorded ticks are Parquet files, and reading them needs pyarrow: pip install pyarrow"
        ) from None
    path = folder / TICKS_FOLDER / f"{day.isoformat()}.parquet"
    try:
        found = pyarrow.parquet.read_schema(path).names
        missing = [column for column in columns if column not in found]
        if missing:
            raise RecordingError(f"{path}: column {', '.join(missing)} is missing; found {shorten(found)}")
        return pyarrow.parquet.read_table(path, columns=list(columns))
    except (OSError, pyarrow.ArrowInvalid) as failure:
        raise RecordingError(f"{path} cannot be read: {failure}") from None


def day_bounds_ns(day: date) -> tuple[int, int]:
    """First instant of an Indian day, and of the next."""
    return at(day, 0), at(day, 86_400)
