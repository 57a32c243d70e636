"""15-minute bars of every instrument at once, built from frames.

Owns the bar in progress of each row. Never keeps completed bars (market/history.py does) and knows no
session: a bar starts at a full quarter of an hour, which in India is a quarter of an hour of UTC as well,
so 09:15-09:30 is the first of a usual day. Driven by the ticker: `start_day`, then per frame `roll` and
`apply`, then `end_day`.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from protocol.clock import NS

BAR_NS = 15 * 60 * NS
UNKNOWN_VOLUME = -1

_NO_LOW = np.iinfo(np.int64).max
_NO_HIGH = -1

# As arrays: a Python number is converted at each use, which costs as much as comparing a few ticks with it.
_UNTOUCHED = np.array(_NO_HIGH)
_UNTOLD = np.array(UNKNOWN_VOLUME)


@attrs.frozen(eq=False)
class CompletedBars:
    """Bars of one interval: prices in paise, volume in shares, one entry per row that traded."""

    start_ns: int
    rows: NDArray[np.int32]  # ascending, no row twice
    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]
    volume: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


class Candles:
    """The bars in progress of `size` rows. Applying the same frame again counts nothing twice."""

    def __init__(self, size: int) -> None:
        self._open = np.zeros(size, dtype=np.int64)
        self._high = np.full(size, _NO_HIGH, dtype=np.int64)
        self._low = np.full(size, _NO_LOW, dtype=np.int64)
        self._close = np.zeros(size, dtype=np.int64)
        # The highest cumulative volume of the day: a repeated tick and one that falls behind add nothing. Less
        # what it was when the bar began, it is the bar's volume.
        self._day_volume = np.full(size, UNKNOWN_VOLUME, dtype=np.int64)
        self._volume_before = np.zeros(size, dtype=np.int64)
        self._day_open_ns = 0
        self._start_ns = 0  # of the bar in progress; 0 = none
        self._end_ns = 0
        self.applied_ns = 0  # instant of the newest frame of the day, 0 = none yet

    def start_day(self, open_ns: int) -> None:
        """A trading day begins: cumulative volumes start again. Called twice for one day it does nothing."""
        if open_ns == self._day_open_ns:
            return
        self._day_open_ns = open_ns
        self._day_volume.fill(UNKNOWN_VOLUME)
        self._volume_before.fill(0)
        self.applied_ns = 0
        self._clear()

    def roll(self, at_ns: int) -> CompletedBars | None:
        """The bars completed at this instant, once. Comes before each `apply`; cheap when none is due."""
        if at_ns < self._end_ns or not self._start_ns:
            return None
        return self._complete()

    def end_day(self) -> CompletedBars | None:
        """The session is over: the bars in progress are complete, whatever the length of the last one."""
        return self._complete() if self._start_ns else None

    def apply(
        self,
        rows: NDArray[np.int32],
        price_paise: NDArray[np.int64],
        volume: NDArray[np.int64],
        at_ns: int,
        unique: bool,
    ) -> None:
        """Count one frame. `volume` is cumulative of the day, -1 where unknown; `unique`: no row twice.

        After a hole in the feed everything traded since the last known volume counts. What traded before a
        row's first tick counts only if that tick comes within the first bar of the day: later it belongs to
        other bars.
        """
        if not self._start_ns:
            self._start_ns = at_ns - at_ns % BAR_NS
            self._end_ns = self._start_ns + BAR_NS
        assert self._start_ns <= at_ns < self._end_ns, "roll() comes before apply(), and frames come in order"
        self.applied_ns = at_ns
        places = rows.astype(np.intp)  # NumPy would convert 32-bit rows at each use
        if unique:
            self._apply_unique(places, price_paise, volume)
            return
        turns = _turns(places)
        for turn in range(int(turns.max(initial=-1)) + 1):
            one_each = turns == turn
            self._apply_unique(places[one_each], price_paise[one_each], volume[one_each])

    def _apply_unique(self, rows: NDArray[np.intp], price_paise: NDArray[np.int64], volume: NDArray[np.int64]) -> None:
        high = self._high[rows]
        untouched = high == _UNTOUCHED
        if np.count_nonzero(untouched):
            self._open[rows[untouched]] = price_paise[untouched]
        self._high[rows] = np.maximum(high, price_paise)
        self._low[rows] = np.minimum(self._low[rows], price_paise)
        self._close[rows] = price_paise

        known = self._day_volume[rows]
        untold = known == _UNTOLD
        if np.count_nonzero(untold):
            first_bar = self._start_ns - self._day_open_ns < BAR_NS
            self._volume_before[rows[untold]] = 0 if first_bar else volume[untold]
        self._day_volume[rows] = np.maximum(known, volume)

    def _complete(self) -> CompletedBars:
        rows = np.flatnonzero(self._high != _NO_HIGH).astype(np.int32)
        bars = CompletedBars(
            start_ns=self._start_ns,
            rows=rows,
            open=self._open[rows],
            high=self._high[rows],
            low=self._low[rows],
            close=self._close[rows],
            volume=np.maximum(self._day_volume[rows], 0) - np.maximum(self._volume_before[rows], 0),
        )
        self._volume_before[:] = self._day_volume
        self._clear()
        return bars

    def _clear(self) -> None:
        self._high.fill(_NO_HIGH)
        self._low.fill(_NO_LOW)
        self._start_ns = self._end_ns = 0


def _turns(rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """For each entry, how many entries of the same row come before it."""
    order = np.argsort(rows, kind="stable")
    grouped = rows[order]
    position = np.arange(len(rows))
    starts = np.ones(len(rows), dtype=np.bool_)
    starts[1:] = grouped[1:] != grouped[:-1]
    turns = np.empty(len(rows), dtype=np.int64)
    turns[order] = position - np.maximum.accumulate(np.where(starts, position, 0))
    return turns
