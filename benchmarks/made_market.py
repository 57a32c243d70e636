"""A market of a benchmark's own: one session of frames that are made while it is played.

Owns the universe, the instants of the frames, and the two moments between which a round is measured. Knows
no actor. Played by the real ticker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import numpy as np
import trio
from numpy.typing import NDArray

from market.calendar import Session, TradingCalendar
from market.candles import Candles, CompletedBars
from market.feeds.frame import DayStart, Frame, Item
from market.history import History
from market.instruments import Instrument, Universe
from protocol.clock import NS

DAY = date(2026, 11, 20)  # an ordinary day of the calendar
TICK_PAISE = 5

MakeFrame = Callable[[int, int], Frame]
"""From a frame's number and its instant (market ns)."""


def universe_of(size: int) -> Universe:
    """Instruments S0000, S0001, …; their tokens are such as Kite gives to NSE."""
    return Universe(
        Instrument(symbol=f"S{number:04d}", token=(1_000 + 7 * number) << 8 | 1, tick_size_paise=TICK_PAISE)
        for number in range(size)
    )


def session_of_the_day() -> Session:
    session = TradingCalendar().session(DAY)
    assert session is not None, f"{DAY} is a trading day"
    return session


def nothing_remembered(history: History) -> None:
    """A market without a past."""


class MadeMarket:
    """A feed: the open, then `frames` frames, `frame_ns` of market time apart, and nothing more.

    `past` fills the history when the day begins. Measured from the moment at which `unmeasured` of the frames
    have been worked off to the end of the last one.
    """

    interval_s = 1.0

    def __init__(
        self,
        universe: Universe,
        first_paise: NDArray[np.int64],
        make: MakeFrame,
        *,
        frames: int,
        frame_ns: int = NS,
        unmeasured: int = 0,
        past: Callable[[History], object] = nothing_remembered,
    ) -> None:
        self.universe = universe
        self.under_way = trio.Event()  # what is measured has begun
        self.ended = trio.Event()
        self.started_ns = self.ended_ns = 0
        session = session_of_the_day()
        self.first_frame_ns = session.open_ns + NS
        self._make = make
        self._frames = frames
        self._frame_ns = frame_ns
        self._unmeasured = unmeasured
        self._past = past
        self._made = 0
        self._item: Item | None = DayStart(session.open_ns, session, first_paise)

    @property
    def seconds(self) -> float:
        """How long the measured frames took, in seconds of real time."""
        return (self.ended_ns - self.started_ns) / NS

    def peek(self) -> Item | None:
        if self._item is None and self._made < self._frames:
            self._item = self._make(self._made, self.first_frame_ns + self._made * self._frame_ns)
            self._made += 1
        if self._item is None and not self.ended.is_set():
            self.ended_ns = time.perf_counter_ns()
            self.ended.set()
        return self._item

    def ack(self) -> None:
        if self._made == self._unmeasured:
            self.under_way.set()
            self.started_ns = time.perf_counter_ns()
        self._item = None

    def skip_to(self, at_ns: int) -> None:
        """Frames before that instant are left out."""
        self._made = min(self._frames, max(0, -((self.first_frame_ns - at_ns) // self._frame_ns)))

    def warm_up(self, history: History, candles: Candles) -> list[CompletedBars]:
        self._past(history)
        return []
