"""How simulated prices move from day to day: one open and one close per share and day.

Owns the chain of days. Pure arithmetic on generators that are handed in by name: the same seed, calendar and
day give the same prices, whatever was played before. Called by simulated.py; what happens between open and
close is in simulated_prices.py.

A day's move in log price = market + a drift that lasts for weeks (momentum) + noise whose variance clusters
as in GARCH(1,1) (Bollerslev 1986) + now and then news - a slow pull back to the home price, so that a
market that runs for years stays in the range its tick sizes were made for. A part of the move is
the gap at the open; news comes while the market is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import attrs
import numpy as np
from numpy.typing import NDArray

from market.calendar import TradingCalendar
from market.instruments import Universe

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
GeneratorOf = Callable[[str], np.random.Generator]

FIRST_DAY = date(2024, 1, 1)  # of the market, not of what is played: the chain always starts here

# In log price per day.
MARKET_SIGMA = 0.007
SHARE_SIGMA = (0.014, 0.026)
DRIFT_SIGMA = 0.0048
DRIFT_KEPT = 0.96
PULL_HOME = 0.012
GARCH_ALPHA, GARCH_BETA = 0.12, 0.82
NEWS_SHARE = 0.13  # of the shares each day
NEWS_LEANING = 0.5  # towards rising shares, per sigma of drift
NEWS_MOVE = (0.04, 0.11)
NEWS_GOOD = 0.66
NEWS_WITH_DRIFT = 0.2  # good news is that much likelier in a rising share: leaders go on leading
GAP_OF_MOVE = 0.2
GAP_SIGMA, GAP_MAX = 0.0035, 0.035
DAY_MOVE_MAX = 0.13


@attrs.frozen(eq=False)
class Outline:
    """One day of all shares: previous close, open and close in paise (as floats, on the tick grid)."""

    day: date
    previous: Floats
    open: Floats
    close: Floats
    sigma: Floats  # of the day's noise, in log price
    news: Bools


class Outlines:
    """The chain of days. Asked for days in ascending order it makes each once."""

    def __init__(
        self, universe: Universe, home_paise: Mapping[str, int], calendar: TradingCalendar, rng: GeneratorOf
    ) -> None:
        self._calendar = calendar
        self._rng = rng
        self._tick = universe.tick_size_paise.astype(np.float64)
        self._home = np.log(np.array([home_paise[symbol] for symbol in universe.symbols], dtype=np.float64))
        size = len(universe)
        traits = rng("simulated shares")
        self._beta = traits.uniform(0.5, 1.5, size)
        self._sigma = traits.uniform(*SHARE_SIGMA, size)
        self._drift = traits.normal(0.0, DRIFT_SIGMA, size)
        self._away = traits.normal(0.0, 0.1, size)  # from home, in log price
        self._variance = self._sigma**2
        self._close = self._on_tick(np.exp(self._home + self._away))
        self._next = FIRST_DAY
        self._made: dict[date, Outline] = {}

    def of(self, day: date) -> Outline:
        """The outline of a trading day. Raises ValueError for one before the market began."""
        if day < FIRST_DAY:
            raise ValueError(f"the simulated market began on {FIRST_DAY}; there is no {day}")
        while self._next <= day:
            if self._calendar.is_trading_day(self._next):
                self._made[self._next] = self._make(self._next)
            self._next = self._next + timedelta(days=1)
        return self._made[day]

    def forget_before(self, day: date) -> None:
        """Drop the days before one, so that a market that runs for years does not grow."""
        self._made = {made: outline for made, outline in self._made.items() if made >= day}

    def _make(self, day: date) -> Outline:
        rng = self._rng(f"simulated day {day}")
        size = len(self._home)
        noise = np.sqrt(self._variance) * rng.standard_normal(size)
        self._drift = DRIFT_KEPT * self._drift + np.sqrt(1 - DRIFT_KEPT**2) * rng.normal(0, DRIFT_SIGMA, size)
        # Weighted draw without replacement (Efraimidis and Spirakis 2006): rising shares make more news.
        keys = rng.random(size) ** np.exp(-NEWS_LEANING * self._drift / DRIFT_SIGMA)
        news = np.zeros(size, dtype=np.bool_)
        news[np.argsort(keys)[-round(NEWS_SHARE * size) :]] = True
        good = rng.random(size) < NEWS_GOOD + NEWS_WITH_DRIFT * np.sign(self._drift)
        shock = np.where(news, np.where(good, 1, -1) * rng.uniform(*NEWS_MOVE, size), 0.0)
        move = self._beta * rng.normal(0, MARKET_SIGMA) + self._drift + noise + shock - PULL_HOME * self._away
        move = np.clip(move, -DAY_MOVE_MAX, DAY_MOVE_MAX)
        gap = np.clip(GAP_OF_MOVE * (move - shock) + rng.normal(0, GAP_SIGMA, size), -GAP_MAX, GAP_MAX)
        sigma = np.sqrt(self._variance)
        self._variance = (
            (1 - GARCH_ALPHA - GARCH_BETA) * self._sigma**2 + GARCH_ALPHA * noise**2 + GARCH_BETA * self._variance
        )
        previous = self._close
        opening = self._on_tick(previous * np.exp(gap))
        self._away = self._away + move
        self._close = self._on_tick(np.exp(self._home + self._away))
        return Outline(day, previous, opening, self._close, sigma, news)

    def _on_tick(self, paise: Floats) -> Floats:
        return np.maximum(np.rint(paise / self._tick), 1.0) * self._tick
