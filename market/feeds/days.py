"""The cursor of a feed that plays whole days: day start, frames, day end, next day.

Owns where a recorded or simulated market stands, skipping after a restart and the warm-up of what was
skipped. Never makes a price: the days come from the feed built on it (recorded.py, simulated.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from market.calendar import Session
from market.candles import Candles, CompletedBars
from market.feeds.frame import DayEnd, DayStart, Frame, Item
from market.history import History
from market.instruments import Universe


class PlayedDay(Protocol):
    """The frames of one day, in order of time."""

    @property
    def session(self) -> Session: ...

    @property
    def previous_close(self) -> NDArray[np.int64]: ...

    def __len__(self) -> int:
        """Number of frames."""

    def frame(self, index: int) -> Frame: ...

    def first_at_or_after(self, at_ns: int) -> int:
        """Index of the first frame at or after an instant; the number of frames if there is none."""


def play_through(day: PlayedDay, candles: Candles, first: int, end: int) -> Iterator[CompletedBars]:
    """Play the frames first..end of a day into the candles only, giving the bars they complete."""
    for index in range(first, end):
        frame = day.frame(index)
        bars = candles.roll(frame.at_ns)
        if bars is not None:
            yield bars
        candles.apply(frame.rows, frame.price_paise, frame.volume, frame.at_ns, frame.unique)


class DayFeed(ABC):
    """A feed of whole days (keeps the contract `market.feeds.frame.Feed`)."""

    def __init__(self, universe: Universe, interval_s: float) -> None:
        self.universe = universe
        self.interval_s = interval_s
        self._started_at_ns = 0  # frames before this are not played
        self._day: PlayedDay | None = None
        self._before_start = False  # the DayStart of _day is not acknowledged yet
        self._index = 0  # of the next frame; the number of frames = the DayEnd is next
        self._item: Item | None = None
        self._over = False

    @abstractmethod
    def _first_day(self, at_ns: int) -> PlayedDay | None:
        """The first day whose session is not over at an instant, None when there is none."""

    @abstractmethod
    def _next_day(self, session: Session) -> PlayedDay | None:
        """The day played after that session, None at the end."""

    @abstractmethod
    def _add_past(self, history: History, session: Session) -> None:
        """Add the bars of the days before a session that the history does not have yet."""

    def skip_to(self, at_ns: int) -> None:
        """Begin at an instant; see the contract. Raises ValueError once something has been played."""
        if self._day is not None or self._over:
            raise ValueError("skip_to comes before the first item: this feed is already playing")
        self._started_at_ns = at_ns

    def peek(self) -> Item | None:
        """The item at the cursor."""
        if self._item is None and not self._over:
            if self._day is None:
                self._begin(self._first_day(self._started_at_ns))
            self._item = self._at_cursor()
        return self._item

    def ack(self) -> None:
        """Step over the item at the cursor."""
        assert self._day is not None, "nothing was peeked that could be acknowledged"
        assert self._item is not None, "nothing was peeked that could be acknowledged"
        if self._before_start:
            self._before_start = False
            self._index = self._day.first_at_or_after(self._started_at_ns)
        elif isinstance(self._item, Frame):
            self._index += 1
        else:
            self._begin(self._next_day(self._day.session))
        self._item = None

    def warm_up(self, history: History, candles: Candles) -> list[CompletedBars]:
        """Bring history and candles to just before the DayStart in hand; see the contract."""
        assert self._day is not None, "warm_up is called while a DayStart is in hand"
        assert self._before_start, "warm_up is called while a DayStart is in hand"
        self._add_past(history, self._day.session)
        first = self._day.first_at_or_after(candles.applied_ns + 1)
        end = self._day.first_at_or_after(self._started_at_ns)
        completed = list(play_through(self._day, candles, first, end))
        for bars in completed:
            history.add_bars(bars)
        return completed

    def _begin(self, day: PlayedDay | None) -> None:
        if day is None:
            self._over = True
        else:
            self._day, self._before_start, self._index = day, True, 0

    def _at_cursor(self) -> Item | None:
        if self._over:
            return None
        assert self._day is not None
        session = self._day.session
        if self._before_start:
            return DayStart(max(session.open_ns, self._started_at_ns), session, self._day.previous_close)
        if self._index < len(self._day):
            return self._day.frame(self._index)
        return DayEnd(session.close_ns, session)
