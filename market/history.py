"""What is remembered of the past: the last completed 15-minute bars and daily bars of every row.

Owns two rings of bars with a running sum of their closes, so that the averages of a whole universe are one
division. Never builds a bar (market/candles.py does) and never counts one twice. The ticker and
`Feed.warm_up` write; the scanner reads.

Prices are stored as 32-bit paise: enough for 2.1 crore rupees a share, and half the memory of 3,000 symbols.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from market.candles import CompletedBars

BARS_15M = 200
DAYS = 200
SMA_15M_BARS = 200
SMA_DAYS = 50
HIGHEST_PRICE_PAISE = int(np.iinfo(np.int32).max)


@attrs.frozen(eq=False)
class Series:
    """The remembered bars of one row, oldest first: starts in ns, prices in paise, volume in shares."""

    start_ns: NDArray[np.int64]
    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]
    volume: NDArray[np.int64]


class BarRing:
    """The last `capacity` bars per row, and the sum of the last `window` closes."""

    def __init__(self, size: int, capacity: int, window: int) -> None:
        assert 1 <= window <= capacity, "an average cannot be longer than what is remembered"
        self._capacity = capacity
        self._window = window
        self._prices = np.zeros((4, size, capacity), dtype=np.int32)  # open, high, low, close
        self._volume = np.zeros((size, capacity), dtype=np.int64)
        self._start_ns = np.zeros((size, capacity), dtype=np.int64)
        self._newest_ns = np.zeros(size, dtype=np.int64)
        self._seen = np.zeros(size, dtype=np.int64)  # bars ever added; the next goes to seen % capacity
        self._sum = np.zeros(size, dtype=np.int64)
        self.newest_ns = 0  # start of the newest bar of any row, 0 = none

    def add(self, bars: CompletedBars) -> None:
        """Append bars; those not newer than the newest of their row are known already and left out.

        Raises ValueError for a price that cannot be stored.
        """
        rows = bars.rows
        if not len(rows):
            return
        if bars.high.max() > HIGHEST_PRICE_PAISE or bars.low.min() < 0:
            raise ValueError(f"a bar has a price outside 0..{HIGHEST_PRICE_PAISE} paise")
        new = self._newest_ns[rows] < bars.start_ns
        rows = rows[new]
        seen = self._seen[rows]
        slot = seen % self._capacity
        close = bars.close[new]
        # Slots never written hold 0, so that nothing leaves the sum before the window is full.
        leaving = self._prices[3, rows, (seen - self._window) % self._capacity]
        self._sum[rows] += close - leaving
        for which, price in enumerate((bars.open, bars.high, bars.low, bars.close)):
            self._prices[which, rows, slot] = price[new]
        self._volume[rows, slot] = bars.volume[new]
        self._start_ns[rows, slot] = bars.start_ns
        self._newest_ns[rows] = bars.start_ns
        self._seen[rows] = seen + 1
        self.newest_ns = max(self.newest_ns, bars.start_ns)

    def average(self) -> NDArray[np.float64]:
        """Mean of the last `window` closes in paise by row, NaN where fewer are known."""
        return np.where(self._seen >= self._window, self._sum / self._window, np.nan)

    def have(self) -> NDArray[np.int64]:
        """Bars remembered, by row."""
        return np.minimum(self._seen, self._capacity)

    def newest_close(self) -> NDArray[np.int64]:
        """The newest close in paise by row, 0 where none is known."""
        rows = np.arange(len(self._seen))
        closes: NDArray[np.int64] = self._prices[3, rows, (self._seen - 1) % self._capacity].astype(np.int64)
        return closes

    def closes(self, row: int) -> NDArray[np.int64]:
        """The remembered closes of a row in paise, oldest first."""
        closes: NDArray[np.int64] = self._prices[3, row, self._slots(row)].astype(np.int64)
        return closes

    def series(self, row: int) -> Series:
        """The remembered bars of a row, oldest first."""
        slots = self._slots(row)
        opens, highs, lows, closes = (self._prices[which, row, slots].astype(np.int64) for which in range(4))
        return Series(self._start_ns[row, slots], opens, highs, lows, closes, volume=self._volume[row, slots])

    def _slots(self, row: int) -> NDArray[np.int64]:
        seen = int(self._seen[row])
        return np.arange(max(0, seen - self._capacity), seen) % self._capacity


class History:
    """The past of `size` rows: completed 15-minute bars (today's too) and the daily bars before today."""

    def __init__(
        self,
        size: int,
        bars_15m: int = BARS_15M,
        days: int = DAYS,
        sma_15m_bars: int = SMA_15M_BARS,
        sma_days: int = SMA_DAYS,
    ) -> None:
        self._15m = BarRing(size, bars_15m, sma_15m_bars)
        self._daily = BarRing(size, days, sma_days)

    def add_bars(self, bars: CompletedBars) -> None:
        """Append completed 15-minute bars; a bar already known changes nothing."""
        self._15m.add(bars)

    def add_daily(self, bars: CompletedBars) -> None:
        """Append the bars of one past day; a day already known changes nothing."""
        self._daily.add(bars)

    def sma_15m(self) -> NDArray[np.float64]:
        """Mean of the last 200 15-minute closes in paise by row, NaN where there are fewer."""
        return self._15m.average()

    def sma_daily(self) -> NDArray[np.float64]:
        """Mean of the last 50 daily closes before today in paise by row, NaN where there are fewer."""
        return self._daily.average()

    def have_15m(self) -> NDArray[np.int64]:
        """15-minute bars remembered, by row."""
        return self._15m.have()

    def have_daily(self) -> NDArray[np.int64]:
        """Daily bars remembered, by row."""
        return self._daily.have()

    def previous_close(self) -> NDArray[np.int64]:
        """The newest daily close in paise by row, 0 where none is known."""
        return self._daily.newest_close()

    def closes_15m(self, row: int) -> NDArray[np.int64]:
        """15-minute closes of a row in paise, oldest first."""
        return self._15m.closes(row)

    def closes_daily(self, row: int) -> NDArray[np.int64]:
        """Daily closes of a row in paise, oldest first."""
        return self._daily.closes(row)

    def bars_15m(self, row: int) -> Series:
        """15-minute bars of a row, oldest first."""
        return self._15m.series(row)

    def daily(self, row: int) -> Series:
        """Daily bars of a row, oldest first."""
        return self._daily.series(row)

    @property
    def newest_15m_ns(self) -> int:
        """Start of the newest 15-minute bar of any row, 0 when there is none."""
        return self._15m.newest_ns

    @property
    def newest_daily_ns(self) -> int:
        """Start of the newest daily bar of any row, 0 when there is none."""
        return self._daily.newest_ns
