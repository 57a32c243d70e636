"""The simulated market: a seeded NSE that needs nothing from outside and never ends.

Owns its cursor and the generated past. Never reads a clock: the days follow the trading calendar from
`first_day` on. The default feed of the program; read by the ticker. The model
is in simulated_days.py and simulated_prices.py.
"""

from __future__ import annotations

from datetime import date

import attrs
import numpy as np
from numpy.typing import NDArray

from market.calendar import Session, TradingCalendar
from market.feeds.days import DayFeed
from market.feeds.frame import Frame
from market.feeds.simulated_days import FIRST_DAY, GeneratorOf, Outlines
from market.feeds.simulated_prices import SECONDS_PER_BAR, DayPath, Seconds, day_path, seconds_of_bar
from market.feeds.simulated_symbols import home_prices, simulated_universe
from market.history import History
from market.instruments import Universe
from protocol.clock import NS, at, ist_date
from protocol.errors import MarketDataError

INTERVAL_S = 1.0
DAILY_HISTORY_DAYS = 250
BARS_HISTORY_DAYS = 12  # of 24 or 25 bars each: more than 200, halts included


@attrs.define(eq=False)
class SimulatedDay:
    """The frames of a simulated day, one per second (keeps the contract `market.feeds.days.PlayedDay`)."""

    path: DayPath
    _universe: Universe
    _rng: GeneratorOf
    _bar: int = -1
    _seconds: Seconds | None = None  # of bar number _bar: generated when the first of its frames is asked for

    @property
    def session(self) -> Session:
        return self.path.session

    @property
    def previous_close(self) -> NDArray[np.int64]:
        return self.path.outline.previous.astype(np.int64)

    def __len__(self) -> int:
        return (self.session.close_ns - self.session.open_ns) // NS

    def frame(self, index: int) -> Frame:
        bar, second = divmod(index, SECONDS_PER_BAR)
        if self._seconds is None or bar != self._bar:
            rng = self._rng(f"simulated seconds {self.session.day} {bar}")
            self._seconds = seconds_of_bar(self.path, bar, self._universe, rng)
            self._bar = bar
        seconds = self._seconds
        ticks = slice(seconds.ends[second], seconds.ends[second + 1])
        return Frame(
            self.session.open_ns + index * NS,
            seconds.rows[ticks],
            seconds.price_paise[ticks],
            seconds.volume[ticks],
            unique=True,
        )

    def first_at_or_after(self, at_ns: int) -> int:
        seconds = -(-(at_ns - self.session.open_ns) // NS)
        return min(max(seconds, 0), len(self))


class SimulatedFeed(DayFeed):
    """Plays simulated days from `first_day`, or the first trading day after it, for ever."""

    def __init__(self, rng: GeneratorOf, calendar: TradingCalendar, *, first_day: date) -> None:
        """`rng(name)` gives a new generator at every call, the same stream for the same name.

        Raises MarketDataError when the first day leaves no room for a history.
        """
        super().__init__(simulated_universe(), INTERVAL_S)
        self._rng = rng
        self._calendar = calendar
        self._outlines = Outlines(self.universe, home_prices(), calendar, rng)
        self._start = first_day if calendar.is_trading_day(first_day) else calendar.next_trading_day(first_day)
        self._past_days(self._start)

    def _first_day(self, at_ns: int) -> SimulatedDay:
        day = max(self._start, ist_date(at_ns))
        session = self._calendar.session(day)
        if session is None or session.close_ns < at_ns:
            day = self._calendar.next_trading_day(day)
        return self._play(day)

    def _next_day(self, session: Session) -> SimulatedDay:
        return self._play(self._calendar.next_trading_day(session.day))

    def _play(self, day: date) -> SimulatedDay:
        return SimulatedDay(self._path(day), self.universe, self._rng)

    def _path(self, day: date) -> DayPath:
        session = self._calendar.session(day)
        assert session is not None, "only trading days are played"
        return day_path(self._outlines.of(day), session, self.universe, self._rng(f"simulated minutes {day}"))

    def _past_days(self, day: date) -> list[date]:
        """The days of the generated past of a day, ascending."""
        days: list[date] = []
        while len(days) < DAILY_HISTORY_DAYS:
            days.append(self._calendar.previous_trading_day(days[-1] if days else day))
            if days[-1] < FIRST_DAY:
                raise MarketDataError(
                    f"the simulated market began on {FIRST_DAY}: the first day needs {DAILY_HISTORY_DAYS} "
                    f"trading days before it, {day} has fewer"
                )
        return days[::-1]

    def _add_past(self, history: History, session: Session) -> None:
        past = self._past_days(session.day)
        first_bars_ns = at(past[-BARS_HISTORY_DAYS], 0)
        for day in past:
            wants_daily = at(day, 0) > history.newest_daily_ns
            wants_bars = at(day, 0) > max(first_bars_ns - 1, history.newest_15m_ns)
            if wants_daily or wants_bars:
                path = self._path(day)
                history.add_daily(path.daily_bar(at(day, 0)))
                for bars in path.bars_15m() if wants_bars else ():
                    history.add_bars(bars)
        self._outlines.forget_before(past[0])
