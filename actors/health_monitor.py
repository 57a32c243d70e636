"""Watches what the others cannot see of themselves: a silent feed, a slow event loop, a full disk.

Owns the fallback's state: polling or not. A feed without a packet of any symbol for `stale_feed` inside continuous
trading starts the poller and alerts; the first packet after that stops it. Never touches an order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.actor import Actor
from actors.alarms import alarm_name, set_alarm
from actors.mailbox import Address
from effects import MarketClock, machine_s
from market.calendar import TradingCalendar
from protocol.clock import NS
from protocol.messages import AlarmRang, AskSnapshot, Notice, Severity, StartPolling, StopPolling

LOOK_AGAIN_NS = NS  # while polling: how often the feed's recovery is looked for
LAG_PERIOD_S = 1.0
UPKEEP_PERIOD_S = 5.0


@attrs.define(eq=False)
class Fallback:
    """Polling since when (market ns, 0 = the stream is used); the tree keeps it over restarts of the monitor.

    `watched_ns` is when the first incarnation began: who starts late does not know what was said before.
    `entries_stopped` is the reason told last: a monitor that forgot it would never let entries go on.
    """

    since_ns: int = 0
    watched_ns: int = 0
    started: int = 0
    ended: int = 0
    newest_stream_ns: int = 0
    entries_stopped: str = ""


@attrs.frozen(kw_only=True)
class HealthParts:
    """What the monitor is given. `stale_feed_ns` and `lag_ms_max` are thresholds."""

    clock: MarketClock
    calendar: TradingCalendar
    stream_ns: Callable[[], int]  # when the stream last spoke, 0 = never
    poller: Address
    notify: Callable[[Notice], None]
    fallback: Fallback
    stale_feed_ns: int
    lag_ms_max: int
    reason_to_stop: Callable[[], str]  # why nothing may be entered now, "" if nothing speaks against it
    stop_entries: Callable[[str], None]
    upkeep: Callable[[], Awaitable[None]]  # what the files need now and then, off the trading path
    watch_machine: bool  # false in a replay, which shares no machine with a market


class HealthMonitor(Actor):
    """The actor. Freshness in market time, loop lag and disk in machine time."""

    def __init__(self, address: Address, parts: HealthParts) -> None:
        super().__init__(address)
        self._parts = parts
        self._lag_ms = 0.0

    async def recover(self) -> None:
        self._parts.fallback.watched_ns = self._parts.fallback.watched_ns or self._parts.clock.now_ns
        if not self._parts.clock.armed(alarm_name(self.address, "feed")):
            self._arm(self._parts.clock.now_ns)

    async def started(self) -> None:
        if self._parts.watch_machine:
            self.nursery.start_soon(self._watch_machine, name="health_monitor:machine")
            self.nursery.start_soon(self._keep_files, name="health_monitor:files")

    async def handle(self, message: object) -> object:
        if isinstance(message, AlarmRang):
            self._look_at_feed(message.at_ns)
        elif isinstance(message, AskSnapshot):
            return self._snapshot()
        return None

    # --- the feed -----------------------------------------------------------------------------------

    def _look_at_feed(self, now_ns: int) -> None:
        """Silent for stale_feed in continuous trading → poll and alert; spoke again → stop polling."""
        parts, fallback = self._parts, self._parts.fallback
        session = parts.calendar.session_at(now_ns)
        trading = session is not None and session.open_ns <= now_ns < session.close_ns
        newest = self._newest(session.open_ns if session is not None else 0)
        if fallback.since_ns:
            if not trading or newest > fallback.newest_stream_ns:
                self._end_fallback(now_ns, "the feed speaks again" if trading else "trading has ended")
        elif trading and now_ns - newest >= parts.stale_feed_ns:
            fallback.since_ns, fallback.newest_stream_ns = now_ns, newest
            fallback.started += 1
            silent_s = (now_ns - newest) // NS
            self._notify(Severity.ALERT, f"no price of any symbol for {silent_s} s: polling for quotes")
            parts.poller.post(StartPolling(f"silent for {silent_s} s"))
        self._arm(now_ns)

    def _end_fallback(self, now_ns: int, why: str) -> None:
        fallback = self._parts.fallback
        for_s = (now_ns - fallback.since_ns) // NS
        fallback.since_ns = 0
        fallback.ended += 1
        self._notify(Severity.ALERT, f"{why}: polling ended after {for_s} s")
        self._parts.poller.post(StopPolling(why))

    def _newest(self, open_ns: int) -> int:
        """When the stream last spoke; at the open, and after a late start, it has its full time to begin."""
        return max(self._parts.stream_ns(), self._parts.fallback.watched_ns, open_ns)

    def _arm(self, now_ns: int) -> None:
        """Look again when the feed could have been silent for long enough, at the earliest; outside trading, at
        the next open."""
        parts = self._parts
        session = parts.calendar.session_at(now_ns)
        if session is None or now_ns >= session.close_ns:
            due = parts.calendar.next_session(now_ns).open_ns + parts.stale_feed_ns
        elif parts.fallback.since_ns:
            due = now_ns + LOOK_AGAIN_NS
        else:
            due = max(self._newest(session.open_ns) + parts.stale_feed_ns, now_ns + LOOK_AGAIN_NS)
        set_alarm(parts.clock, self.address, "feed", due)

    # --- the machine --------------------------------------------------------------------------------

    async def _watch_machine(self) -> None:
        """Event-loop lag (how late a sleep of one second ends), free disk space, the kill-switch file."""
        while True:
            due_s = machine_s() + LAG_PERIOD_S
            await trio.sleep_until(due_s)
            self._lag_ms = (machine_s() - due_s) * 1000
            if self._lag_ms > self._parts.lag_ms_max:
                self._notify(Severity.WARNING, f"the event loop was {self._lag_ms:.0f} ms late")
            self._look_for_reasons()

    async def _keep_files(self) -> None:
        while True:
            await trio.sleep(UPKEEP_PERIOD_S)
            await self._parts.upkeep()

    def _look_for_reasons(self) -> None:
        """Entries stop and go on by themselves with the disk's space and the kill-switch file."""
        reason = self._parts.reason_to_stop()
        if reason != self._parts.fallback.entries_stopped:
            self._parts.fallback.entries_stopped = reason
            self._parts.stop_entries(reason)
            self._notify(Severity.ALERT, f"entries stop: {reason}" if reason else "entries go on")

    def _notify(self, severity: Severity, text: str) -> None:
        self._parts.notify(
            Notice(severity=severity, source=self.address.name, text=text, at_ns=self._parts.clock.now_ns)
        )

    def _snapshot(self) -> dict[str, object]:
        fallback, now = self._parts.fallback, self._parts.clock.now_ns
        newest = self._parts.stream_ns()
        return {
            "feed": "polling" if fallback.since_ns else "live",
            "feed_age_s": (now - newest) / NS if newest else None,
            "fallbacks_started": fallback.started,
            "fallbacks_ended": fallback.ended,
            "loop_lag_ms": round(self._lag_ms, 1),
            "entries_stopped": fallback.entries_stopped,
        }
