"""The recorded market: plays a folder of minute bars, or of recorded ticks, day after day.

Owns which days are played and what is known before each. Never changes a file. Built by the command line for
`replay` and by the tree for `[market] feed = "recorded"`; read by the ticker.

The folder holds minute bars (minute.csv.gz), daily bars (daily.csv.gz), instruments.csv and, for ticks,
ticks/DATE.parquet. History before a day comes from the minute bars and the daily bars, with ticks too.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from market.calendar import Session, TradingCalendar
from market.candles import Candles, CompletedBars
from market.feeds.days import DayFeed, play_through
from market.feeds.recorded_data import (
    DAILY_FILES,
    INSTRUMENTS_FILE,
    MINUTE_FILES,
    BarTable,
    RecordingError,
    contents,
    day_bounds_ns,
    find_file,
    read_bars,
    read_ticks,
    tick_days,
    tick_symbols,
)
from market.feeds.recorded_day import Defects, RecordedDay, make_day, ticks_of_bars
from market.history import History
from market.instruments import InstrumentError, Universe, read_instruments
from protocol.clock import at, ist_date

BARS_INTERVAL_S = 15.0
TICKS_INTERVAL_S = 1.0
NO_DAY = date.min


class RecordedFeed(DayFeed):
    """Plays the recorded days from `first_day` to `last_day`, both inclusive; by default all there are."""

    def __init__(
        self,
        folder: Path,
        calendar: TradingCalendar,
        *,
        first_day: date | None = None,
        last_day: date | None = None,
        ticks: bool = False,
    ) -> None:
        """Raises RecordingError, saying what is there, for a missing folder, file, column or day."""
        if not folder.is_dir():
            raise RecordingError(f"{folder} is not a folder; a recording is a folder such as data/nse2016")
        self._folder = folder
        self._calendar = calendar
        self._ticks = ticks
        minute_file = find_file(folder, MINUTE_FILES)
        if minute_file is None and not ticks:
            raise RecordingError(
                f"{folder} has no minute bars (one of {', '.join(MINUTE_FILES)}); it holds {contents(folder)}"
            )
        named = read_bars(minute_file, "timestamp") if minute_file else None
        symbols = set(named.names) if named else set()
        if ticks:
            self.days = self._select(tick_days(folder), first_day, last_day)
            symbols = symbols.union(*(tick_symbols(folder, day) for day in self.days))
        super().__init__(self._read_universe(symbols), TICKS_INTERVAL_S if ticks else BARS_INTERVAL_S)
        self._minutes = named.table(self.universe) if named else None
        self._minute_days = self._minutes.days() if self._minutes else ()
        if not ticks:
            self.days = self._select(self._minute_days, first_day, last_day)
        self._daily = self._read_daily()
        self._daily_days = self._daily.days()
        self._defects: dict[date, Defects] = {}

    @property
    def defects(self) -> Defects:
        """What was wrong in the days played so far."""
        return sum(self._defects.values(), Defects())

    def _read_universe(self, symbols: set[str]) -> Universe:
        path = self._folder / INSTRUMENTS_FILE
        try:
            listed = read_instruments(path)
        except InstrumentError as wrong:
            raise RecordingError(str(wrong)) from None
        try:
            return listed.select(symbols)
        except InstrumentError as wrong:
            raise RecordingError(f"{path}: {wrong}, whose prices are recorded") from None

    def _read_daily(self) -> BarTable:
        path = find_file(self._folder, DAILY_FILES)
        if path is None:
            raise RecordingError(
                f"{self._folder} has no daily bars ({DAILY_FILES[0]}); it holds {contents(self._folder)}"
            )
        return read_bars(path, "date").table(self.universe)

    def _select(self, recorded: tuple[date, ...], first: date | None, last: date | None) -> tuple[date, ...]:
        if first is not None and last is not None and first > last:
            raise RecordingError(f"the first day {first} comes after the last day {last}")
        if not recorded:
            raise RecordingError(f"{self._folder}: the recording is empty")
        chosen = tuple(day for day in recorded if (first or day) <= day <= (last or day))
        if not chosen:
            raise RecordingError(
                f"{self._folder} has no recorded day from {first or 'the start'} to {last or 'the end'}; "
                f"it has {len(recorded)} days, {recorded[0]} to {recorded[-1]}"
            )
        for day in chosen:
            self._session(day)
        return chosen

    def _session(self, day: date) -> Session:
        session = self._calendar.session(day)
        if session is None:
            raise RecordingError(
                f"{self._folder} has prices of {day}, a day on which the market was closed by the calendar: "
                "name it in the calendar's extra sessions"
            )
        return session

    def _first_day(self, at_ns: int) -> RecordedDay | None:
        ahead = [day for day in self.days if self._session(day).close_ns >= at_ns]
        return self._load(ahead[0]) if ahead else None

    def _next_day(self, session: Session) -> RecordedDay | None:
        later = [day for day in self.days if day > session.day]
        return self._load(later[0]) if later else None

    def _load(self, day: date) -> RecordedDay:
        made = self._from_ticks(day) if self._ticks else self._from_bars(day)
        self._defects[day] = made.defects
        return made

    def _from_bars(self, day: date) -> RecordedDay:
        assert self._minutes is not None
        ticks, repeated = ticks_of_bars(self._minutes.between(*day_bounds_ns(day)))
        return make_day(ticks, self._session(day), self._previous_close(day), repeated)

    def _from_ticks(self, day: date) -> RecordedDay:
        ticks = read_ticks(self._folder, day, self.universe)
        return make_day(ticks, self._session(day), self._previous_close(day))

    def _previous_close(self, day: date) -> NDArray[np.int64]:
        before = self._daily.between(0, at(day, 0))
        closes = np.zeros(len(self.universe), dtype=np.int64)
        closes[before.rows] = before.close  # in order of time: the last close of a row stays
        return closes

    def _add_past(self, history: History, session: Session) -> None:
        known = ist_date(history.newest_15m_ns) if history.newest_15m_ns else NO_DAY
        for past in self._minute_days:
            if known < past < session.day:
                day = self._from_bars(past)
                candles = Candles(len(self.universe))
                candles.start_day(day.session.open_ns)
                for bars in play_through(day, candles, 0, len(day)):
                    history.add_bars(bars)
                last = candles.end_day()
                if last is not None:
                    history.add_bars(last)
        known = ist_date(history.newest_daily_ns) if history.newest_daily_ns else NO_DAY
        for past in self._daily_days:
            if known < past < session.day:
                history.add_daily(self._daily_bars(past))

    def _daily_bars(self, day: date) -> CompletedBars:
        first_ns, end_ns = day_bounds_ns(day)
        bars = self._daily.between(first_ns, end_ns)
        opens, highs, lows, closes = (price.astype(np.int64) for price in (bars.open, bars.high, bars.low, bars.close))
        return CompletedBars(first_ns, bars.rows, opens, highs, lows, closes, bars.volume)
