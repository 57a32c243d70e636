"""Asks for quotes over REST while the stream is stale, and gives them to the ticker.

Owns the polling clock only. Starts and stops on the health monitor's word; a poll that fails is told and tried
again at the next interval. Never decides whether the feed is stale.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from actors.actor import Actor
from actors.alarms import alarm_name, cancel_alarm, set_alarm
from actors.mailbox import Address
from effects import MarketClock
from protocol.broker import Quote
from protocol.errors import BrokerUnavailable
from protocol.messages import AlarmRang, AskSnapshot, Notice, Polled, Severity, StartPolling, StopPolling

Quotes = Callable[[Sequence[str]], Awaitable[list[Quote]]]


class Poller(Actor):
    """`quotes` asks a broker for the last prices of symbols; `interval_ns` is market time between two polls."""

    def __init__(
        self,
        address: Address,
        *,
        quotes: Quotes,
        symbols: Sequence[str],
        interval_ns: int,
        clock: MarketClock,
        ticker: Address,
        notify: Callable[[Notice], None],
    ) -> None:
        super().__init__(address)
        self._quotes = quotes
        self._symbols = symbols
        self._interval_ns = interval_ns
        self._clock = clock
        self._ticker = ticker
        self._notify = notify
        self._polls = 0

    async def handle(self, message: object) -> object:
        if isinstance(message, StartPolling):
            await self._poll()
        elif isinstance(message, StopPolling):
            cancel_alarm(self._clock, self.address, "poll")
        elif isinstance(message, AlarmRang):
            await self._poll()
        elif isinstance(message, AskSnapshot):
            return {"polling": self._clock.armed(alarm_name(self.address, "poll")), "polls": self._polls}
        return None

    async def _poll(self) -> None:
        """One round of quotes; the next one is set first, so that a failure never ends the polling."""
        set_alarm(self._clock, self.address, "poll", self._clock.now_ns + self._interval_ns)
        self._polls += 1
        try:
            quotes = await self._quotes(self._symbols)
        except BrokerUnavailable as problem:
            self._notify(
                Notice(
                    severity=Severity.WARNING,
                    source=self.address.name,
                    text=f"no quotes: {problem}",
                    at_ns=self._clock.now_ns,
                )
            )
            return
        self._ticker.post(Polled(tuple(quotes)))
