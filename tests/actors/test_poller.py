"""The poller alone: it asks for quotes while it is told to, and a failed round never ends the polling."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from actors.mailbox import Address
from actors.poller import Poller
from effects import MarketClock
from protocol.broker import Quote
from protocol.clock import NS
from protocol.errors import BrokerUnavailable
from protocol.messages import AskSnapshot, Notice, Polled, Severity, StartPolling, StopPolling
from tests.fakes.actor_addresses import RecordingAddress
from tests.fakes.actor_market import instant

SYMBOLS = ("ALPHA", "BETA")


class Bureau:
    """A poller over a broker that answers, fails, or crashes."""

    def __init__(self) -> None:
        self.clock = MarketClock(instant("10:00:00"))
        self.address = Address("poller")
        self.ticker = RecordingAddress("ticker")
        self.notices: list[Notice] = []
        self.asked: list[tuple[int, tuple[str, ...]]] = []
        self.problem: Exception | None = None
        self.begin()

    def begin(self) -> None:
        """An incarnation."""
        self.poller = Poller(
            self.address,
            quotes=self.quotes,
            symbols=SYMBOLS,
            interval_ns=5 * NS,
            clock=self.clock,
            ticker=self.ticker,
            notify=self.notices.append,
        )

    async def quotes(self, symbols: Sequence[str]) -> list[Quote]:
        self.asked.append((self.clock.now_ns, tuple(symbols)))
        if self.problem is not None:
            raise self.problem
        return [Quote(symbol=symbol, last_paise=10_000, at_ns=self.clock.now_ns) for symbol in symbols]

    async def passes(self, seconds: float) -> None:
        until = self.clock.now_ns + round(seconds * NS)
        while self.clock.ring_next(until):
            while self.address.depth:
                await self.poller.handle(await self.address.next())
                self.address.ack()
        self.clock.advance_to(until)


async def test_it_asks_for_nothing_until_it_is_told_to() -> None:
    bureau = Bureau()
    await bureau.passes(60)
    assert not bureau.asked


async def test_it_polls_at_once_and_then_at_every_interval() -> None:
    bureau = Bureau()
    begun = bureau.clock.now_ns
    await bureau.poller.handle(StartPolling("silent for 30 s"))
    await bureau.passes(12)
    assert bureau.asked == [(begun + seconds * NS, SYMBOLS) for seconds in (0, 5, 10)]
    assert [type(message) for message in bureau.ticker.posted] == [Polled] * 3
    assert bureau.ticker.posted[1].quotes[0] == Quote(symbol="ALPHA", last_paise=10_000, at_ns=begun + 5 * NS)


async def test_it_stops_when_it_is_told_to() -> None:
    bureau = Bureau()
    await bureau.poller.handle(StartPolling("silent for 30 s"))
    await bureau.poller.handle(StopPolling("the feed speaks again"))
    await bureau.passes(60)
    assert len(bureau.asked) == 1
    assert await bureau.poller.handle(AskSnapshot()) == {"polling": False, "polls": 1}


async def test_a_start_delivered_again_begins_no_second_round_of_alarms() -> None:
    bureau = Bureau()
    for _ in range(2):
        await bureau.poller.handle(StartPolling("silent for 30 s"))
    await bureau.passes(5)
    assert len(bureau.asked) == 3


async def test_a_poll_that_fails_is_told_and_tried_again() -> None:
    bureau = Bureau()
    bureau.problem = BrokerUnavailable("no session runs")
    await bureau.poller.handle(StartPolling("silent for 30 s"))
    assert [(notice.severity, notice.text) for notice in bureau.notices] == [
        (Severity.WARNING, "no quotes: no session runs")
    ]
    bureau.problem = None
    await bureau.passes(5)
    assert len(bureau.ticker.posted) == 1


async def test_a_poll_that_crashes_does_not_end_the_polling() -> None:
    bureau = Bureau()
    bureau.problem = ZeroDivisionError("a bug in a broker")
    with pytest.raises(ZeroDivisionError):
        await bureau.poller.handle(StartPolling("silent for 30 s"))
    bureau.problem = None
    bureau.begin()
    await bureau.passes(5)
    assert len(bureau.ticker.posted) == 1


async def test_a_killed_poller_goes_on_polling() -> None:
    bureau = Bureau()
    await bureau.poller.handle(StartPolling("silent for 30 s"))
    bureau.begin()
    assert await bureau.poller.handle(AskSnapshot()) == {"polling": True, "polls": 0}
    await bureau.passes(5)
    assert len(bureau.ticker.posted) == 2
