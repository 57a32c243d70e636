"""A live stream of prices, brought into the form every feed has: a day begins, frames, a day ends.

Owns the queue between a network connection and the ticker, and the turn of the day. The connection (websocket.py,
kite.py) only puts frames; instruments and history come from a `Past`. Never waits in `put`: a queue that is full
because the ticker is away merges nothing and drops the oldest frame, which the next price of the same rows replaces;
how many were dropped is counted.

Time is the system's where `clock` has a source, else that of the frames (a simulated market at the other end).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
import trio
from numpy.typing import NDArray

from effects import MarketClock
from market.calendar import Session, TradingCalendar
from market.candles import Candles, CompletedBars
from market.feeds.frame import DayEnd, DayStart, Frame, Item
from market.history import History
from market.instruments import Universe
from protocol.clock import NS

FRAMES_WAITING_MAX = 4_096

Put = Callable[[Frame], None]


class Connection(Protocol):
    """A market-data connection: puts frames until cancelled, reconnecting by itself."""

    async def run(self, put: Put, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...


class Past(Protocol):
    """Where a live feed's instruments and history come from."""

    @property
    def universe(self) -> Universe: ...

    def previous_close(self, session: Session) -> NDArray[np.int64]: ...

    def warm_up(self, session: Session, history: History, candles: Candles) -> list[CompletedBars]: ...


class StreamFeed:
    """A Feed whose frames arrive. `peek` is None while nothing has; `arrival` waits for the next item."""

    def __init__(self, connection: Connection, past: Past, calendar: TradingCalendar, clock: MarketClock) -> None:
        self.universe = past.universe
        self.interval_s = 1.0
        self.dropped = 0  # frames that came while the ticker was away too long
        self.outside_session = 0  # frames before the open or after the close
        self._connection = connection
        self._past = past
        self._calendar = calendar
        self._clock = clock
        self._waiting: deque[Frame] = deque()
        self._item: Item | None = None
        self._session: Session | None = None  # the day that has begun and not ended
        self._news = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connection up, until cancelled."""
        await self._connection.run(self._put, task_status)

    def _put(self, frame: Frame) -> None:
        if len(self._waiting) >= FRAMES_WAITING_MAX:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(frame)
        self._news.set()

    # --- as every feed ----------------------------------------------------------------------------------

    def peek(self) -> Item | None:
        if self._item is None:
            self._item = self._next()
        return self._item

    def ack(self) -> None:
        if isinstance(self._item, DayStart):
            self._session = self._item.session
        elif isinstance(self._item, DayEnd):
            self._session = None
        self._item = None

    def skip_to(self, at_ns: int) -> None:
        """Nothing: a live market goes on from now."""

    def warm_up(self, history: History, candles: Candles) -> list[CompletedBars]:
        assert isinstance(self._item, DayStart), "warm_up is for the beginning of a day"
        return self._past.warm_up(self._item.session, history, candles)

    async def arrival(self) -> None:
        """Until there may be an item: a frame has come, or a session begins or ends by the clock."""
        self._news = trio.Event()
        if self._waiting:
            return
        with trio.move_on_after(self._turn_in_s()):
            await self._news.wait()

    # --- what comes next --------------------------------------------------------------------------------

    def _next(self) -> Item | None:
        while True:
            at_ns = self._waiting[0].at_ns if self._waiting else self._clock.now_ns if self._clock.live else 0
            if not at_ns:
                return None
            if self._session is not None and at_ns >= self._session.close_ns:
                return DayEnd(self._session.close_ns, self._session)
            session = self._session or self._open_session(at_ns)
            if self._session is None and session is not None:
                return DayStart(max(session.open_ns, at_ns), session, self._past.previous_close(session))
            if not self._waiting:
                return None
            frame = self._waiting.popleft()
            if session is not None and frame.at_ns >= session.open_ns:
                return frame
            self.outside_session += 1

    def _open_session(self, at_ns: int) -> Session | None:
        session = self._calendar.session_at(at_ns)
        return session if session is not None and session.open_ns <= at_ns < session.close_ns else None

    def _turn_in_s(self) -> float:
        """Seconds of machine time to the next open or close, for a clock that goes by itself."""
        if not self._clock.live:
            return float("inf")
        now_ns = self._clock.now_ns
        due_ns = self._session.close_ns if self._session else self._calendar.next_session(now_ns).open_ns
        return max(0.0, (due_ns - now_ns) / NS)
