"""One position alone on a board of one symbol: its router is a fake, its market and its clock are the test's.

Everything pure is real: board, clock, calendar, rules, and a journal in memory. Time stands still between two calls,
and each call returns once the position has nothing left to do.
"""

from __future__ import annotations

from datetime import date
from random import Random
from typing import Any

import attrs
import numpy as np

from actors.mailbox import Address
from actors.position import Memory, Position, PositionParts
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from market.feeds.frame import Frame
from protocol.clock import NS, at, second_from_text
from protocol.messages import Enter, Reservation
from store.opening import memory_journal
from strategy.ladder import DEFAULT_RULES, LadderRules
from tests.fakes.actor_router import FakeRouter

MONDAY = date(2026, 1, 5)
SYMBOL = "ALPHA"
TICK = 5


class Stage:
    """`start` is the time of day at which the stage begins. Prices in paise, a tick size of 5 paise."""

    def __init__(
        self,
        start: str = "10:00:00",
        *,
        day: date = MONDAY,
        rules: LadderRules = DEFAULT_RULES,
        derivatives: bool = False,
        calendar: TradingCalendar | None = None,
    ) -> None:
        self.day = day
        self.clock = MarketClock(self.instant(start))
        self.board = Board(1, 1)
        self.journal = memory_journal(chance=Random(7))
        self.memory = Memory()
        self.address = Address("position:ALPHA")
        self.router = FakeRouter(self.clock, self.journal, lambda: self.address)
        self.entries_allowed = True
        self.parts = PositionParts(
            symbol=SYMBOL,
            row=0,
            tick_paise=TICK,
            derivatives=derivatives,
            layer=0,
            rules=rules,
            clock=self.clock,
            calendar=calendar or TradingCalendar(),
            board=self.board,
            journal=self.journal,
            router=self.router,
            memory=self.memory,
            entries_allowed=lambda: self.entries_allowed,
        )
        self.position: Position | None = None

    def instant(self, text: str, day: date | None = None) -> int:
        """Market ns of a time of day, `HH:MM:SS`."""
        return at(day or self.day, second_from_text(text))

    # --- the position's life --------------------------------------------------------------------------

    async def begin(self) -> None:
        """An incarnation: the first, or the next one after the last was killed where it stood."""
        self.position = Position(self.address, self.parts)
        await self.position.recover()
        await self.settle()

    async def next_life_of_the_process(self) -> None:
        """Everything is gone but the journal and the broker's side."""
        self.memory = Memory()
        self.parts = attrs.evolve(self.parts, memory=self.memory)
        self.address = Address("position:ALPHA")
        await self.begin()

    async def settle(self, question: Any = None) -> Any:
        """Let the position handle all that waits; its answer to the one message that is asked about."""
        answer = None
        while self.address.depth:
            assert self.position is not None, "begin() comes first"
            message = await self.address.next()
            said = await self.position.handle(message)
            self.address.ack()
            if message is question:
                answer = said
            if self.position.finished:
                self.address.close()
        return answer

    @property
    def over(self) -> bool:
        """The actor has finished for good."""
        return self.address.closed

    # --- what happens to it ---------------------------------------------------------------------------

    async def say(self, message: Any) -> Any:
        self.address.post(message)
        return await self.settle(message)

    async def enter(self, price: int = 10_000, quantity: int = 30) -> None:
        """The scan picks the symbol at this price; with a router that grants, P1 is open and protected after."""
        if self.position is None:
            await self.begin()
        await self.tick(price)
        await self.say(Enter(self.reservation(price, quantity)))

    def reservation(self, price: int = 10_000, quantity: int = 30) -> Reservation:
        now = self.clock.now_ns
        return Reservation(
            ladder=f"{SYMBOL}-{now // NS}",
            symbol=SYMBOL,
            quantity=quantity,
            last_paise=price,
            rank=3.5,
            at_ns=now,
            until_ns=now + 5 * NS,
        )

    async def tick(self, *prices: int) -> None:
        """One frame at this instant, with all prices in it: board, then the position if its band was left."""
        self.put(*prices)
        await self.settle()

    def put(self, *prices: int) -> None:
        """A frame reaches the board and the mailbox; the position has not looked yet."""
        frame = Frame(
            self.clock.now_ns,
            np.zeros(len(prices), np.int32),
            np.array(prices, np.int64),
            np.full(len(prices), -1, np.int64),
            len(prices) == 1,
        )
        accepted = self.board.apply(frame)
        if accepted is not None:
            self.board.wake_left(0, accepted)

    async def after(self, seconds: float) -> None:
        """Market time passes, alarms and all."""
        await self.until(self.clock.now_ns + round(seconds * NS))

    async def until(self, at_ns: int) -> None:
        while self.clock.ring_next(at_ns):
            await self.settle()
        self.clock.advance_to(at_ns)

    # --- what it asked for ----------------------------------------------------------------------------

    def asked(self) -> list[Any]:
        """The requests since the last time this was asked."""
        return self.router.take()

    def asked_kinds(self) -> list[tuple[str, int]]:
        """The same as (kind, rung)."""
        return [(type(request).__name__, request.rung) for request in self.asked()]


async def climbed(price: int = 10_026) -> Stage:
    """P1 at 100.00 and P2 at the given price, both protected; nothing is unanswered."""
    stage = Stage()
    await stage.enter()
    await stage.after(1)
    await stage.tick(price)
    assert 2 in stage.router.rungs
    stage.asked()
    return stage
