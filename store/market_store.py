"""market.db: the 15-minute candles and the rankings of every scan, kept for charts, warm-up and people.

Owns their tables' statements. Not the journal: no money depends on it, so a corrupt file is set aside and
begun anew (opening.py). The candle recorder is the only writer; others open it for reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from store.sqlite_file import SqliteFile

TIMEFRAME = "15m"


class BarArrays(Protocol):
    """Completed bars of one interval as the market hands them over: parallel arrays, one entry per symbol."""

    @property
    def start_ns(self) -> int: ...

    @property
    def rows(self) -> NDArray[np.int32]: ...

    @property
    def open(self) -> NDArray[np.int64]: ...

    @property
    def high(self) -> NDArray[np.int64]: ...

    @property
    def low(self) -> NDArray[np.int64]: ...

    @property
    def close(self) -> NDArray[np.int64]: ...

    @property
    def volume(self) -> NDArray[np.int64]: ...


class Bar(NamedTuple):
    """One candle. Prices in paise, volume in shares, `start_ns` the instant it began."""

    symbol: str
    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Ranked(NamedTuple):
    """One symbol's place in one scan. A rank is None where the symbol had none; `note` then says why."""

    symbol: str
    rank_gm: float | None
    rank_final: float | None
    note: str


class Ranking(NamedTuple):
    """One scan, best rank first, symbols without a rank last."""

    at_ns: int
    rows: tuple[Ranked, ...]


WRITE_BAR = (
    "INSERT INTO candles (symbol, timeframe, start_ns, open, high, low, close, volume)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (symbol, timeframe, start_ns) DO UPDATE SET open = excluded.open, high = excluded.high,"
    " low = excluded.low, close = excluded.close, volume = excluded.volume"
)
BARS = (
    "SELECT symbol, start_ns, open, high, low, close, volume FROM candles"
    " WHERE timeframe = ? AND start_ns BETWEEN ? AND ? ORDER BY start_ns, symbol"
)
BARS_OF_SYMBOL = (
    "SELECT symbol, start_ns, open, high, low, close, volume FROM candles"
    " WHERE symbol = ? AND timeframe = ? AND start_ns BETWEEN ? AND ? ORDER BY start_ns"
)
WRITE_SCAN = "INSERT OR REPLACE INTO scans (at_ns, symbols) VALUES (?, ?)"
FORGET_RANKING = "DELETE FROM rankings WHERE at_ns = ?"
WRITE_RANKED = "INSERT INTO rankings (at_ns, symbol, rank_gm, rank_final, note) VALUES (?, ?, ?, ?, ?)"
SCANS = "SELECT at_ns FROM scans WHERE at_ns BETWEEN ? AND ? ORDER BY at_ns"
LAST_SCAN = "SELECT MAX(at_ns) FROM scans"
RANKED = (
    "SELECT at_ns, symbol, rank_gm, rank_final, note FROM rankings WHERE at_ns BETWEEN ? AND ?"
    " ORDER BY at_ns, rank_final IS NULL, rank_final DESC, symbol"
)


class MarketStore:
    """market.db, open for writing or for reading. All methods raise StoreError, writing also StoreFull."""

    def __init__(self, file: SqliteFile) -> None:
        self.file = file

    def write_bars(self, bars: BarArrays, symbols: Sequence[str]) -> None:
        """Keep completed bars; `symbols` names every row of the universe. Written twice, the last counts."""
        columns = (bars.rows, bars.open, bars.high, bars.low, bars.close, bars.volume)
        with self.file.transaction:
            for row, *prices_and_volume in zip(*(column.tolist() for column in columns), strict=True):
                self.file.execute(WRITE_BAR, (symbols[row], TIMEFRAME, bars.start_ns, *prices_and_volume))

    def bars(self, symbol: str | None, first_ns: int, last_ns: int) -> list[Bar]:
        """Candles that began within first_ns .. last_ns, both inclusive, oldest first. None: all symbols."""
        if symbol is None:
            found = self.file.rows(BARS, (TIMEFRAME, first_ns, last_ns))
        else:
            found = self.file.rows(BARS_OF_SYMBOL, (symbol, TIMEFRAME, first_ns, last_ns))
        return [Bar(*row) for row in found]

    def write_ranking(self, at_ns: int, rows: Iterable[tuple[str, float | None, float | None, str]]) -> None:
        """Keep one scan: (symbol, Rank_GM, Rank_final, note) of the symbols worth keeping, none included.

        A scan of the same instant is replaced. A rank that is not a number is kept as none.
        """
        ranked = [(at_ns, *row) for row in rows]
        with self.file.transaction:
            self.file.execute(FORGET_RANKING, (at_ns,))
            self.file.execute(WRITE_SCAN, (at_ns, len(ranked)))
            for row in ranked:
                self.file.execute(WRITE_RANKED, row)

    def last_ranking(self) -> Ranking | None:
        """The newest scan, None when there was none."""
        (at_ns,) = self.file.rows(LAST_SCAN)[0]
        return None if at_ns is None else self.rankings(at_ns, at_ns)[0]

    def rankings(self, first_ns: int, last_ns: int) -> list[Ranking]:
        """The scans within first_ns .. last_ns, both inclusive, oldest first."""
        scans: dict[int, list[Ranked]] = {row[0]: [] for row in self.file.rows(SCANS, (first_ns, last_ns))}
        for at_ns, *ranked in self.file.rows(RANKED, (first_ns, last_ns)):
            scans[at_ns].append(Ranked(*ranked))
        return [Ranking(at_ns, tuple(rows)) for at_ns, rows in scans.items()]

    def meta(self, name: str) -> str | None:
        """A named text kept with the market's data, None when it was never set."""
        return self.file.meta(name)

    def set_meta(self, name: str, value: str) -> None:
        self.file.set_meta(name, value)

    def checkpoint(self) -> bool:
        """Bring the log into the database: for a thread, when idle (SqliteFile.checkpoint)."""
        return self.file.checkpoint()

    def checkpoint_if_idle(self) -> bool:
        """checkpoint() when nothing was written since the last call: for a thread, every few seconds."""
        return self.file.checkpoint_if_idle()

    def close(self) -> None:
        self.file.close()
