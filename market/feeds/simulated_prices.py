"""How simulated prices move within a day: from minute to minute, and from second to second.

Owns the path between a day's open and close. Pure arithmetic on a generator that is handed in. Called by
simulated.py; opens and closes come from simulated_days.py.

- `DayPath`: a price and a cumulative volume at the end of every minute. A Brownian bridge from open to close
  whose variance is U-shaped over the day, bursts after the open and clusters by quarter of an hour; news
  arrives within an hour or so; a halted share stands still and bursts afterwards.
- `Seconds`: the ticks of a quarter of an hour, bridges between the minutes. About half of the shares tick in
  a second, each at least every third one. The last tick of a bar is its minute's price, so that bars of days
  that were never played have the very closes and volumes they would have had.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from market.calendar import Session
from market.candles import BAR_NS, CompletedBars
from market.feeds.simulated_days import Bools, Floats, Outline
from market.instruments import Universe
from protocol.clock import NS

Ints = NDArray[np.int64]

BAND_OF_PREVIOUS_CLOSE = 0.18  # inside the 20 % beyond which a price counts as an error

# Minute to minute.
MINUTES_PER_BAR = 15
OPENING_BURST, OPENING_BURST_MINUTES = 6.0, 8.0
CLOSING_RISE, CLOSING_RISE_MINUTES = 1.2, 40.0
BAR_GARCH_ALPHA, BAR_GARCH_BETA = 0.25, 0.65
NEWS_FROM_MINUTE = 10
NEWS_MINUTES = (30, 120)  # from its first trade to its last
NOISE_WITHIN_DAY = 1.15  # of the day's noise: a bridge that must arrive wanders less than a free walk
HALT_SHARE = 0.04  # of the shares each day
HALT_MINUTES = (5, 20)
AFTER_HALT_BURST = 8.0
TURNOVER_PAISE = (5e9, 3e11)  # a day, 5 crore to 300 crore rupees
ACTIVITY_SIGMA = 0.35

# Second to second.
SECONDS_PER_BAR = 60 * MINUTES_PER_BAR
TICK_AT_LEAST_EVERY_S = 3
EXTRA_TICK_SHARE = 0.25  # of the others: half of the shares in all


@attrs.frozen(eq=False)
class DayPath:
    """A day by minutes. Column 0 is the open, column k the end of minute k; `live[:, k - 1]`: it traded."""

    session: Session
    outline: Outline
    price: Floats  # paise, on the tick grid
    volume: Ints  # cumulative
    live: Bools
    minute_sigma: Floats  # of the noise within each minute, in log price

    def bars_15m(self) -> list[CompletedBars]:
        """The day's 15-minute bars: closes and volumes exact, highs and lows those of the minutes' ends."""
        bars = []
        for first in range(0, self.live.shape[1], MINUTES_PER_BAR):
            end = min(first + MINUTES_PER_BAR, self.live.shape[1])
            rows = np.flatnonzero(self.live[:, first:end].any(axis=1)).astype(np.int32)
            if len(rows):
                start_ns = self.session.open_ns + first // MINUTES_PER_BAR * BAR_NS
                bars.append(self._bar(start_ns, rows, first, end))
        return bars

    def daily_bar(self, start_ns: int) -> CompletedBars:
        """The whole day as one bar."""
        rows = np.arange(len(self.price), dtype=np.int32)
        return self._bar(start_ns, rows, 0, self.live.shape[1])

    def _bar(self, start_ns: int, rows: NDArray[np.int32], first: int, end: int) -> CompletedBars:
        price = self.price[rows, first : end + 1]
        return CompletedBars(
            start_ns,
            rows,
            price[:, 0].astype(np.int64),
            price.max(axis=1).astype(np.int64),
            price.min(axis=1).astype(np.int64),
            price[:, -1].astype(np.int64),
            self.volume[rows, end] - self.volume[rows, first],
        )


def day_path(outline: Outline, session: Session, universe: Universe, rng: np.random.Generator) -> DayPath:
    """The minutes of a day between its open and close."""
    size = len(universe)
    minutes = (session.close_ns - session.open_ns) // (60 * NS)
    own_minutes = np.array(
        [(session.continuous_end_ns(share.derivatives) - session.open_ns) // (60 * NS) for share in universe]
    )
    minute = np.arange(minutes)
    live = minute < own_minutes[:, None]
    after_halt = np.zeros((size, minutes), dtype=np.bool_)
    for row in np.flatnonzero(rng.random(size) < HALT_SHARE):
        length = int(rng.integers(*HALT_MINUTES, endpoint=True))
        first = int(rng.integers(min(10, minutes - 1), max(11, own_minutes[row] - length - 15)))
        live[row, first : first + length] = False
        after_halt[row, first + length : first + length + 2] = True

    shape = (
        1
        + OPENING_BURST * np.exp(-minute / OPENING_BURST_MINUTES)
        + CLOSING_RISE * np.exp((minute - own_minutes[:, None]) / CLOSING_RISE_MINUTES)
    )
    weight = shape * _clusters(size, minutes, rng) * np.where(after_halt, AFTER_HALT_BURST, 1.0) * live
    share_of_day = weight / weight.sum(axis=1, keepdims=True)
    minute_sigma = NOISE_WITHIN_DAY * outline.sigma[:, None] * np.sqrt(share_of_day)

    steps = minute_sigma * rng.standard_normal((size, minutes))
    steps -= steps.sum(axis=1, keepdims=True) * share_of_day
    whole_move = np.log(outline.close / outline.open)[:, None]
    steps += whole_move * _arrival(outline.news, share_of_day, own_minutes, live, rng)
    log_price = np.log(outline.open)[:, None] + np.concatenate((np.zeros((size, 1)), np.cumsum(steps, axis=1)), axis=1)

    turnover = np.exp(rng.uniform(np.log(TURNOVER_PAISE[0]), np.log(TURNOVER_PAISE[1]), size))
    busy = 1 + 12 * np.abs(np.log(outline.close / outline.previous))
    shares = turnover / outline.previous * busy
    traded = np.sqrt(weight) * np.exp(rng.normal(0, ACTIVITY_SIGMA, (size, minutes)))
    traded *= (shares / traded.sum(axis=1))[:, None]
    volume = np.concatenate((np.zeros((size, 1)), np.cumsum(traded, axis=1)), axis=1)

    price = to_prices(log_price, outline, universe)
    return DayPath(session, outline, price, volume.astype(np.int64), live, minute_sigma)


def _clusters(size: int, minutes: int, rng: np.random.Generator) -> Floats:
    """Variance of each minute around 1: GARCH(1,1) from quarter of an hour to quarter of an hour."""
    quarters = -(-minutes // MINUTES_PER_BAR)
    squares = rng.standard_normal((quarters, size)) ** 2
    level = np.empty((quarters, size))
    current = np.ones(size)
    for quarter in range(quarters):
        level[quarter] = current
        current = 1 - BAR_GARCH_ALPHA - BAR_GARCH_BETA + (BAR_GARCH_ALPHA * squares[quarter] + BAR_GARCH_BETA) * current
    return np.repeat(level.T, MINUTES_PER_BAR, axis=1)[:, :minutes]


def _arrival(news: Bools, share_of_day: Floats, own_minutes: Ints, live: Bools, rng: np.random.Generator) -> Floats:
    """How much of the day's move comes in each minute: with the variance, or all of it when the news does."""
    size, minutes = len(news), share_of_day.shape[1]
    length = NEWS_MINUTES[0] + (NEWS_MINUTES[1] - NEWS_MINUTES[0]) * rng.random(size)
    latest = np.maximum(own_minutes - length - 30 - NEWS_FROM_MINUTE, 1)
    first = NEWS_FROM_MINUTE + np.square(rng.random(size)) * latest  # the square: rather in the morning
    phase = (np.arange(minutes) - first[:, None]) / length[:, None]
    bump = np.where((phase >= 0) & (phase < 1), np.sin(np.pi * np.clip(phase, 0, 1)) + 0.05, 0.0) * live
    total = bump.sum(axis=1, keepdims=True)
    within = np.divide(bump, total, out=share_of_day.copy(), where=total > 0)
    return np.where(news[:, None], within, share_of_day)


def to_prices(log_price: Floats, outline: Outline, universe: Universe) -> Floats:
    """Log prices (rows first) on the tick grid, inside the band around the previous close."""
    trailing = (slice(None),) + (None,) * (log_price.ndim - 1)
    tick = universe.tick_size_paise.astype(np.float64)[trailing]
    previous = outline.previous[trailing]
    paise = np.clip(np.exp(log_price), previous * (1 - BAND_OF_PREVIOUS_CLOSE), previous * (1 + BAND_OF_PREVIOUS_CLOSE))
    return np.maximum(np.rint(paise / tick), 1.0) * tick


@attrs.frozen(eq=False)
class Seconds:
    """The ticks of a quarter of an hour: those of second s are ends[s] .. ends[s + 1]."""

    rows: NDArray[np.int32]
    price_paise: Ints
    volume: Ints
    ends: Ints


def seconds_of_bar(path: DayPath, bar: int, universe: Universe, rng: np.random.Generator) -> Seconds:
    """The ticks of the bar-th quarter of an hour of a day."""
    first = bar * MINUTES_PER_BAR
    end = min(first + MINUTES_PER_BAR, path.live.shape[1])
    size, minutes = len(universe), end - first
    live = path.live[:, first:end]

    steps = rng.standard_normal((size, minutes, 60)) / np.sqrt(60)
    walk = np.cumsum(steps, axis=2)
    elapsed = np.arange(1, 61) / 60
    bridge = walk - walk[:, :, -1:] * elapsed
    ends = np.log(path.price[:, first : end + 1])
    log_price = (
        ends[:, :-1, None]
        + (ends[:, 1:] - ends[:, :-1])[:, :, None] * elapsed
        + bridge * path.minute_sigma[:, first:end, None]
    )
    price = to_prices(log_price, path.outline, universe)
    price[:, :, -1] = path.price[:, first + 1 : end + 1]

    pace = np.cumsum(rng.random((size, minutes, 60)), axis=2)
    pace /= pace[:, :, -1:]
    minute_volume = path.volume[:, first : end + 1]
    traded = (minute_volume[:, 1:] - minute_volume[:, :-1])[:, :, None] * pace
    volume = minute_volume[:, :-1, None] + traded.astype(np.int64)
    volume[:, :, -1] = minute_volume[:, 1:]

    turn = np.arange(minutes * 60) + np.arange(size)[:, None]
    ticks = (turn % TICK_AT_LEAST_EVERY_S == 0).reshape(size, minutes, 60)
    ticks |= rng.random((size, minutes, 60)) < EXTRA_TICK_SHARE
    last_minute = np.ones((size, minutes), dtype=np.bool_)
    last_minute[:, :-1] = ~live[:, 1:]  # before a halt; at the end of the bar all are
    ticks[:, :, -1] |= last_minute
    if bar == 0:
        price[:, 0, 0] = path.outline.open
        ticks[:, 0, 0] = True
    ticks &= live[:, :, None]

    by_second = ticks.reshape(size, -1).T
    second, rows = np.nonzero(by_second)
    return Seconds(
        rows.astype(np.int32),
        price.reshape(size, -1).T[by_second].astype(np.int64),
        volume.reshape(size, -1).T[by_second],
        np.searchsorted(second, np.arange(minutes * 60 + 1)),
    )
