"""The health monitor alone: when the feed is silent, when it has recovered, and what else stops entries."""

from __future__ import annotations

from datetime import date

import attrs
import pytest
import trio
import trio.testing

from actors.actor import serve
from actors.health_monitor import Fallback, HealthMonitor, HealthParts
from actors.mailbox import Address
from effects import MarketClock
from market.calendar import TradingCalendar
from protocol.clock import NS
from protocol.messages import AskSnapshot, Notice, Severity, StartPolling, StopPolling
from tests.fakes.actor_addresses import RecordingAddress
from tests.fakes.actor_market import instant

STALE_S = 30
TUESDAY = date(2026, 1, 6)


class Ward:
    """A monitor whose feed speaks when the test says so."""

    def __init__(self, now: str, *, stale_s: float = STALE_S) -> None:
        self.clock = MarketClock(instant(now))
        self.address = Address("health_monitor")
        self.poller = RecordingAddress("poller")
        self.notices: list[Notice] = []
        self.stream_ns = 0
        self.reason = ""
        self.stopped: list[str] = []
        self.upkept = 0
        self.parts = HealthParts(
            clock=self.clock,
            calendar=TradingCalendar(),
            stream_ns=lambda: self.stream_ns,
            poller=self.poller,
            notify=self.notices.append,
            fallback=Fallback(),
            stale_feed_ns=round(stale_s * NS),
            lag_ms_max=250,
            reason_to_stop=lambda: self.reason,
            stop_entries=self.stopped.append,
            upkeep=self.upkeep,
            watch_machine=False,
        )
        self.monitor = HealthMonitor(self.address, self.parts)

    async def upkeep(self) -> None:
        self.upkept += 1

    async def begin(self) -> None:
        """An incarnation."""
        self.monitor = HealthMonitor(self.address, self.parts)
        await self.monitor.recover()

    async def until(self, text: str, *, late_ns: int = 0, day: date | None = None) -> None:
        """Market time passes and the monitor looks whenever it wanted to."""
        at_ns = (instant(text, day) if day else instant(text)) + late_ns
        while self.clock.ring_next(at_ns):
            while self.address.depth:
                await self.monitor.handle(await self.address.next())
                self.address.ack()
        self.clock.advance_to(at_ns)

    async def speaks(self, text: str, day: date | None = None) -> None:
        """A frame comes at that time."""
        await self.until(text, day=day)
        self.stream_ns = self.clock.now_ns

    async def speaks_from(self, first: str, last: str) -> None:
        """A frame every second."""
        for at_ns in range(instant(first), instant(last) + NS, NS):
            await self.until(first, late_ns=at_ns - instant(first))
            self.stream_ns = self.clock.now_ns

    async def snapshot(self) -> dict[str, object]:
        shown = await self.monitor.handle(AskSnapshot())
        assert isinstance(shown, dict)
        return shown

    def told_poller(self) -> list[type]:
        return [type(message) for message in self.poller.posted]


async def test_a_feed_silent_for_thirty_seconds_in_trading_is_polled_with_an_alert() -> None:
    ward = Ward("09:20:00")
    await ward.begin()
    await ward.speaks_from("09:20:00", "09:21:00")
    await ward.until("09:21:30", late_ns=-1)
    assert not ward.poller.posted
    await ward.until("09:21:30")
    assert ward.poller.posted == [StartPolling("silent for 30 s")]
    (notice,) = ward.notices
    assert notice.severity is Severity.ALERT
    assert notice.text == "no price of any symbol for 30 s: polling for quotes"
    assert notice.at_ns == instant("09:21:30")


async def test_one_tick_within_the_thirty_seconds_is_enough() -> None:
    ward = Ward("09:20:00")
    await ward.begin()
    for seconds in range(0, 600, 29):
        await ward.speaks(f"09:{20 + seconds // 60:02d}:{seconds % 60:02d}")
    assert not ward.poller.posted


async def test_the_first_packet_after_it_ends_the_polling() -> None:
    ward = Ward("09:20:00")
    await ward.begin()
    await ward.speaks("09:20:00")
    await ward.until("09:22:00")
    assert ward.told_poller() == [StartPolling]
    await ward.speaks("09:22:00")
    await ward.until("09:22:01")
    assert ward.told_poller() == [StartPolling, StopPolling]
    assert ward.notices[-1].text == "the feed speaks again: polling ended after 91 s"
    assert ward.notices[-1].severity is Severity.ALERT


async def test_the_feed_may_fall_silent_a_second_time() -> None:
    ward = Ward("09:20:00")
    await ward.begin()
    await ward.speaks("09:20:00")
    await ward.until("09:22:00")
    await ward.speaks("09:22:00")
    await ward.until("09:22:30")
    assert ward.told_poller() == [StartPolling, StopPolling, StartPolling]
    assert (ward.parts.fallback.started, ward.parts.fallback.ended) == (2, 1)


async def test_at_the_open_the_feed_has_its_full_time() -> None:
    ward = Ward("08:00:00")
    await ward.begin()
    await ward.until("09:15:29", late_ns=999_999_999)
    assert not ward.poller.posted
    await ward.until("09:15:30")
    assert ward.told_poller() == [StartPolling]


async def test_after_a_late_start_the_feed_has_its_full_time() -> None:
    ward = Ward("11:00:00")
    await ward.begin()
    await ward.until("11:00:29", late_ns=999_999_999)
    assert not ward.poller.posted
    await ward.until("11:00:30")
    assert ward.poller.posted == [StartPolling("silent for 30 s")]


async def test_yesterdays_last_tick_does_not_make_the_open_stale() -> None:
    ward = Ward("15:29:00")
    await ward.begin()
    await ward.speaks_from("15:29:00", "15:29:59")
    await ward.until("09:15:29", day=TUESDAY)
    assert not ward.poller.posted
    await ward.speaks("09:15:29", day=TUESDAY)
    await ward.until("09:15:58", day=TUESDAY)
    assert not ward.poller.posted


@pytest.mark.parametrize(("first", "last"), [("08:00:00", "09:15:29"), ("15:30:00", "23:00:00")])
async def test_outside_trading_silence_means_nothing(first: str, last: str) -> None:
    ward = Ward(first)
    await ward.begin()
    await ward.until(last)
    assert not ward.poller.posted
    assert not ward.notices


async def test_polling_ends_with_trading() -> None:
    ward = Ward("15:28:00")
    await ward.begin()
    await ward.speaks("15:28:00")
    await ward.until("15:30:00")
    assert ward.told_poller() == [StartPolling, StopPolling]
    assert ward.notices[-1].text == "trading has ended: polling ended after 90 s"
    await ward.until("23:00:00")
    assert len(ward.poller.posted) == 2


@pytest.mark.parametrize("stale_s", [30, 37.5, 120])
async def test_the_threshold_is_the_one_it_was_given(stale_s: float) -> None:
    ward = Ward("09:20:00", stale_s=stale_s)
    await ward.begin()
    await ward.speaks("09:20:00")
    await ward.until("09:20:00", late_ns=round(stale_s * NS) - 1)
    assert not ward.poller.posted
    await ward.until("09:20:00", late_ns=round(stale_s * NS))
    assert ward.told_poller() == [StartPolling]


async def test_a_killed_monitor_goes_on_polling_and_ends_it_once() -> None:
    ward = Ward("09:20:00")
    await ward.begin()
    await ward.speaks("09:20:00")
    await ward.until("09:21:00")
    await ward.begin()
    await ward.until("09:21:30")
    assert ward.told_poller() == [StartPolling]
    await ward.speaks("09:21:30")
    await ward.begin()
    await ward.until("09:21:40")
    assert ward.told_poller() == [StartPolling, StopPolling]


async def test_the_snapshot_shows_the_age_of_the_feed_and_the_fallback() -> None:
    ward = Ward("09:20:00")
    await ward.begin()
    assert (await ward.snapshot())["feed_age_s"] is None
    await ward.speaks("09:20:00")
    await ward.until("09:20:31")
    assert await ward.snapshot() == {
        "feed": "polling",
        "feed_age_s": 31.0,
        "fallbacks_started": 1,
        "fallbacks_ended": 0,
        "loop_lag_ms": 0.0,
        "entries_stopped": "",
    }


# --- the machine ------------------------------------------------------------------------------------


def watched(ward: Ward) -> HealthParts:
    return attrs.evolve(ward.parts, watch_machine=True)


async def test_entries_stop_and_go_on_with_their_reason(autojump_clock: trio.testing.MockClock) -> None:
    ward = Ward("10:00:00")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, lambda own: HealthMonitor(own, watched(ward)), ward.address)
        await trio.sleep(2.5)
        assert not ward.stopped
        ward.reason = "kill switch: var/kill-switch exists"
        await trio.sleep(2)
        assert ward.stopped == [ward.reason]
        assert ward.notices[-1].text == f"entries stop: {ward.reason}"
        ward.reason = ""
        await trio.sleep(2)
        assert ward.stopped == ["kill switch: var/kill-switch exists", ""]
        assert ward.notices[-1].text == "entries go on"
        nursery.cancel_scope.cancel()


async def test_a_killed_monitor_still_lets_entries_go_on(autojump_clock: trio.testing.MockClock) -> None:
    ward = Ward("10:00:00")
    for reason in ("disk full", ""):
        ward.reason = reason
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, lambda own: HealthMonitor(own, watched(ward)), ward.address)
            await trio.sleep(1.5)
            nursery.cancel_scope.cancel()
    assert ward.stopped == ["disk full", ""]


async def test_the_files_are_kept_every_few_seconds(autojump_clock: trio.testing.MockClock) -> None:
    ward = Ward("10:00:00")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, lambda own: HealthMonitor(own, watched(ward)), ward.address)
        await trio.sleep(16)
        assert ward.upkept == 3
        nursery.cancel_scope.cancel()


async def test_a_late_event_loop_is_a_warning(mock_clock: trio.testing.MockClock) -> None:
    ward = Ward("10:00:00")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, lambda own: HealthMonitor(own, watched(ward)), ward.address)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1.2)  # 200 ms late: tolerable
        await trio.testing.wait_all_tasks_blocked()
        assert not ward.notices
        mock_clock.jump(1.3)
        await trio.testing.wait_all_tasks_blocked()
        assert [(notice.severity, notice.text) for notice in ward.notices] == [
            (Severity.WARNING, "the event loop was 300 ms late")
        ]
        nursery.cancel_scope.cancel()


async def test_a_replay_does_not_judge_the_machine(mock_clock: trio.testing.MockClock) -> None:
    ward = Ward("10:00:00")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, lambda own: HealthMonitor(own, ward.parts), ward.address)
        ward.reason = "disk full"
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(60)
        await trio.testing.wait_all_tasks_blocked()
        assert (ward.notices, ward.stopped, ward.upkept) == ([], [], 0)
        nursery.cancel_scope.cancel()
