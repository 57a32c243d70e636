"""What a feed says: a day begins, a frame of prices, a day ends.

Owns the items of a feed and the contract every feed keeps. Never touches the board or an actor. The ticker
reads a feed with `peek`, works, then acknowledges with `ack`; the cursor lives in the feed, which outlives
the ticker, so a ticker that dies in the middle finds the same item again.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import numpy as np
import trio
from numpy.typing import NDArray

from market.calendar import Session
from market.candles import Candles, CompletedBars
from market.history import History
from market.instruments import Universe


@attrs.frozen(eq=False)
class Frame:
    """All prices of one instant. The arrays have one entry per tick and must not be changed by a reader."""

    at_ns: int
    rows: NDArray[np.int32]  # rows of the universe
    price_paise: NDArray[np.int64]  # > 0
    volume: NDArray[np.int64]  # shares traded since the day began, -1 = unknown
    unique: bool  # no row twice
    exchange_ns: NDArray[np.int64] | None = None  # per tick, 0 = it bore none; None: all of `at_ns`


@attrs.frozen(eq=False)
class DayStart:
    """A trading day begins. `at_ns` is the open, or the instant skipped to if that is later."""

    at_ns: int
    session: Session
    previous_close: NDArray[np.int64]  # paise by row, 0 = unknown


@attrs.frozen(eq=False)
class DayEnd:
    """Continuous trading is over for the whole market: `at_ns` is the session's close."""

    at_ns: int
    session: Session


Item = DayStart | Frame | DayEnd


class Feed(Protocol):
    """A source of items: per day one DayStart, its frames, one DayEnd; `at_ns` never falls."""

    @property
    def universe(self) -> Universe:
        """The instruments whose rows the frames speak of."""

    @property
    def interval_s(self) -> float:
        """Declared seconds between two ticks of a live symbol; staleness is judged by 2.5 times this."""

    def peek(self) -> Item | None:
        """The item at the cursor, the same one until it is acknowledged. None: there is nothing more."""

    def ack(self) -> None:
        """The item at the cursor has been worked off. Must follow a peek that gave an item."""

    def skip_to(self, at_ns: int) -> None:
        """Go on at an instant after a restart; call it before the first peek.

        Frames before `at_ns` are not played, but `warm_up` still counts them. The DayStart of the day that
        contains the instant is given, also when it lies in the past.
        """

    def warm_up(self, history: History, candles: Candles) -> list[CompletedBars]:
        """Bring history and candles to what was known just before the DayStart in hand is acknowledged.

        Called on every DayStart, after `candles.start_day`. Adds completed 15-minute bars and daily bars of
        earlier days, and plays frames passed over by `skip_to` through the candles; the bars these
        completed are in the history and are returned. Doing it twice changes nothing.
        """


class LiveFeed(Feed, Protocol):
    """A feed whose prices arrive by themselves: `peek` is None while nothing has, and it is never over."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep its connection up, until cancelled."""

    async def arrival(self) -> None:
        """Until there may be an item."""
