"""Market data of the JSON broker: its own connection, ticks in, frames out.

Owns the subscription, which every new connection makes again, and what ticks become. Separate from the orders'
connection, so that a burst of ticks never delays an order (broker-protocol.md). Never waits for the reader of its
frames and never merges two ticks: what a queue has no room for is the queue's business (stream.py). What cannot be
used is left out and counted; no frame ends the connection.

A frame bears the system's time where the market's clock is a live one, else that of its newest tick: the server
may play a recorded day.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import numpy as np
import trio

from effects import Effects
from market.feeds.frame import Frame
from market.feeds.kept_link import Down, KeptLink
from market.feeds.link import Answer, Link, Unasked
from market.feeds.link_options import LinkOptions
from market.feeds.stream import Put
from market.instruments import Universe
from protocol.broker import SessionState
from protocol.broker_wire import Refusal, Response, Tick, Ticks
from protocol.broker_wire_requests import Mode, Subscribe

SYMBOLS_PER_SUBSCRIBE = 500


@attrs.define
class TickCounts:
    """What was left out, and how much was not. Frames that could not be read are in `KeptLink.counts`."""

    ticks: int = 0
    unknown_symbols: int = 0
    impossible: int = 0  # a price of 0 or less


class WebSocketMarketData:
    """The connection. `mode` QUOTE brings the day's volume with each price."""

    def __init__(self, effects: Effects, options: LinkOptions, universe: Universe, *, mode: Mode = Mode.QUOTE) -> None:
        self.state = SessionState.CONNECTING  # READY: connected and subscribed
        self.reason = "not started"
        self.counts = TickCounts()
        self.refused: list[str] = []  # what the server said of symbols that it does not have
        self.kept = KeptLink(effects, options, "websocket market data")
        self._clock = effects.market
        self._rows = {symbol: row for row, symbol in enumerate(universe.symbols)}
        self._symbols = universe.symbols
        self._mode = mode
        self._newest_ns = 0
        self._put: Put | None = None

    async def run(self, put: Put, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be connected and subscribed, and connect again, until cancelled. `put` takes every frame, in order."""
        self._put = put
        task_status.started()
        try:
            await self.kept.run(said=self._said, up=self._subscribe, down=self._down)
        finally:
            self._put = None
            self.state, self.reason = SessionState.CONNECTING, "not running"

    # --- the connection -----------------------------------------------------------------------------------

    def _subscribe(self, link: Link) -> None:
        self.refused.clear()
        chunks = [
            self._symbols[first : first + SYMBOLS_PER_SUBSCRIBE]
            for first in range(0, len(self._symbols), SYMBOLS_PER_SUBSCRIBE)
        ]
        missing = set(range(len(chunks)))
        link.send(
            [
                (Subscribe(chunk, self._mode), partial(self._subscribed, link, missing, place))
                for place, chunk in enumerate(chunks)
            ]
        )

    def _subscribed(self, link: Link, missing: set[int], place: int, answer: Answer) -> None:
        """Refused symbols are told and done without; no answer at all means that the connection is no good."""
        if isinstance(answer, Refusal) and answer.certain:
            self.refused.append(f"{answer.code}: {answer.message}")
        elif not isinstance(answer, Response):
            link.end(f"SUBSCRIBE: {answer.message}")
            return
        missing.discard(place)
        if not missing:
            self.state, self.reason = SessionState.READY, "connected"

    def _down(self, down: Down) -> None:
        self.state = SessionState.LOGIN_NEEDED if down.login_needed else SessionState.CONNECTING
        self.reason = down.reason

    # --- ticks ----------------------------------------------------------------------------------------------

    def _said(self, message: Unasked) -> None:
        if isinstance(message, Ticks) and self._put is not None:
            frame = self._frame(message.ticks)
            if frame is not None:
                self._put(frame)

    def _frame(self, ticks: Sequence[Tick]) -> Frame | None:
        """The usable ticks in their order; None when there is none."""
        rows, prices, volumes, times = [], [], [], []
        for tick in ticks:
            row = self._rows.get(tick.symbol)
            if row is None:
                self.counts.unknown_symbols += 1
            elif tick.last_paise <= 0:
                self.counts.impossible += 1
            else:
                rows.append(row)
                prices.append(tick.last_paise)
                volumes.append(tick.volume)
                times.append(tick.at_ns)
        if not rows:
            return None
        self.counts.ticks += len(rows)
        self._newest_ns = max(self._newest_ns, *times)
        return Frame(
            at_ns=self._clock.now_ns if self._clock.live else self._newest_ns,
            rows=np.array(rows, dtype=np.int32),
            price_paise=np.array(prices, dtype=np.int64),
            volume=np.array(volumes, dtype=np.int64),
            unique=len(set(rows)) == len(rows),
            exchange_ns=np.array(times, dtype=np.int64),
        )
