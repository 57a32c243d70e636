"""A ticker and everything around it that outlives it; the exchange and the positions are fakes that write things down.

Board, candles, history, clock and the counting of messages in flight are real. The fakes take a few steps over every
message, so that a kill may come at any of them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from actors.actor import serve
from actors.mailbox import Address, InFlight
from actors.ticker import Playback, Ticker, TickerParts
from effects import MarketClock
from market.board import ALWAYS, Board
from market.candles import Candles
from market.feeds.frame import Frame, Item
from market.history import History
from protocol.messages import Phase, Wake
from tests.fakes.actor_addresses import RecordingAddress
from tests.fakes.actor_market import ListFeed, frame, instant, universe_of

STEPS_OF_WORK = 12  # of the scheduler, over each message
Heard = list[tuple[Any, ...]]
UNIVERSE = universe_of("ALPHA", "BETA", "GAMMA")


@attrs.define(eq=False)
class Exchange:
    """Writes down what it is given; each frame keeps somebody busy for a while, as fills do."""

    heard: Heard
    router: Address

    def start_of_day(self, at_ns: int) -> None:
        self.heard.append(("day begins", at_ns))

    def match(self, frame: Frame) -> None:
        self.heard.append(("matched", frame.at_ns, tuple(frame.price_paise.tolist())))
        self.router.post("fill")

    def end_of_day(self, at_ns: int) -> None:
        self.heard.append(("day ends", at_ns))


class TickerWorld:
    """Everything around a ticker that outlives it, and two actors that are slow to acknowledge."""

    def __init__(self, items: Sequence[Item], *, speed: float = math.inf) -> None:
        self.heard: Heard = []
        self.in_flight = InFlight()
        self.clock = MarketClock(items[0].at_ns)
        self.board = Board(len(UNIVERSE), 1)
        self.candles = Candles(len(UNIVERSE))
        self.history = History(len(UNIVERSE))
        self.address = Address("ticker", in_flight=self.in_flight)
        self.recorder = RecordingAddress("candle_recorder")
        self.router = Address("order_router:main", in_flight=self.in_flight, deferred=True)
        self.positions = [Address(f"position:{symbol}", in_flight=self.in_flight) for symbol in UNIVERSE.symbols]
        self.playback = Playback()
        self.feed = ListFeed(UNIVERSE, items)
        self.parts = TickerParts(
            feed=self.feed,
            board=self.board,
            candles=self.candles,
            history=self.history,
            clock=self.clock,
            exchanges=(Exchange(self.heard, self.router),),
            layers=1,
            in_flight=self.in_flight,
            recorder=self.recorder,
            playback=self.playback,
            speed=speed,
            begin=trio.Event(),
        )

    def watch_all(self) -> None:
        """Every price wakes its position."""
        for row, address in enumerate(self.positions):
            self.board.watch(0, row, *ALWAYS, address.wake)

    def alarm(self, name: str, at_ns: int, phase: Phase = Phase.TIMER) -> None:
        def ring() -> None:
            assert not self.in_flight.count + self.in_flight.deferred, f"{name} rings before others have finished"
            self.heard.append(("rang", name, self.clock.now_ns))
            self.router.post(name)

        self.clock.alarm(name, at_ns, phase, "", 0, ring)

    async def serve_ticker(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await serve(lambda own: Ticker(own, self.parts), self.address, task_status)

    async def read(self, address: Address) -> None:
        """An actor that takes a few steps over each message."""
        while True:
            message = await address.next()
            for _ in range(STEPS_OF_WORK):
                await trio.lowlevel.checkpoint()
            if isinstance(message, Wake):
                self.heard.append(("woke", address.name, message))
            elif message == "fill":
                self.heard.append(("filled", self.clock.now_ns))
            address.ack()

    @asynccontextmanager
    async def others(self) -> AsyncIterator[trio.Nursery]:
        """The actors around the ticker, living."""
        async with trio.open_nursery() as nursery:
            for address in (self.router, *self.positions):
                nursery.start_soon(self.read, address)
            self.parts.begin.set()
            yield nursery
            nursery.cancel_scope.cancel()

    async def play(self) -> Heard:
        """The whole feed, undisturbed."""
        async with self.others() as nursery:
            nursery.start_soon(self.serve_ticker)
            await self.playback.ended.wait()
        return self.heard


def frames(*ticks: tuple[str, int]) -> list[Frame]:
    """Frames of all three symbols at one price each: (time, price)."""
    return [frame(instant(text), (0, price), (1, price), (2, price)) for text, price in ticks]


def woken(heard: Heard) -> Heard:
    """The wakes, in an order of their own: positions run side by side."""
    return sorted((entry for entry in heard if entry[0] == "woke"), key=repr)
