"""The seam to the outside: market time and its alarms, chance that repeats, threads, shields."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import trio
import trio.testing

from effects import Effects, MarketClock
from protocol.clock import NS
from protocol.messages import Phase


class Bell:
    """A market clock and what rang on it."""

    def __init__(self, start_ns: int = 0) -> None:
        self.clock = MarketClock(start_ns)
        self.rang: list[tuple[str, int]] = []

    def set(self, name: str, at_ns: int, phase: Phase = Phase.TIMER, symbol: str = "", rung: int = 0) -> None:
        self.clock.alarm(name, at_ns, phase, symbol, rung, partial(self._ring, name))

    def _ring(self, name: str) -> None:
        self.rang.append((name, self.clock.now_ns))

    def until(self, at_ns: int) -> list[str]:
        while self.clock.ring_next(at_ns):
            continue
        return [name for name, _ in self.rang]


# --- market time ------------------------------------------------------------------------------------


def test_alarms_ring_by_time_then_phase_then_symbol_then_rung() -> None:
    orders = [
        (1, Phase.SCAN, "", 0),
        (2, Phase.ROLL, "", 0),
        (2, Phase.TIMER, "ALPHA", 1),
        (2, Phase.TIMER, "ALPHA", 2),
        (2, Phase.TIMER, "BETA", 1),
        (2, Phase.SQUARE_OFF, "ALPHA", 3),
        (2, Phase.SCAN, "", 0),
        (2, Phase.DAY_END, "", 0),
        (3, Phase.ROLL, "", 0),
    ]
    names = [str(order) for order in orders]
    for start in range(len(orders)):
        bell = Bell()
        for place in range(len(orders)):
            turned = (start + place) % len(orders)
            bell.set(names[turned], *orders[turned])
        assert bell.until(3) == names


def test_alarms_that_are_alike_ring_in_the_order_they_were_set() -> None:
    bell = Bell()
    for name in ("second", "first", "third"):
        bell.set(name, 5)
    assert bell.until(5) == ["second", "first", "third"]


def test_one_alarm_rings_at_a_time_and_market_time_stands_at_it() -> None:
    bell = Bell()
    bell.set("one", 10)
    bell.set("two", 20)
    assert bell.clock.ring_next(30)
    assert bell.rang == [("one", 10)]
    assert bell.clock.now_ns == 10
    assert bell.clock.ring_next(30)
    assert not bell.clock.ring_next(30)
    assert bell.rang == [("one", 10), ("two", 20)]


def test_an_alarm_is_not_rung_before_its_time() -> None:
    bell = Bell()
    bell.set("one", 10)
    assert not bell.clock.ring_next(9)
    assert bell.clock.now_ns == 0
    assert bell.clock.next_due() == 10


def test_an_alarm_of_the_same_name_replaces_the_earlier_one() -> None:
    bell = Bell()
    for at_ns in (10, 30, 20):
        bell.set("one", at_ns)
    assert bell.until(15) == []
    assert bell.until(40) == ["one"]
    assert bell.rang == [("one", 20)]


def test_a_cancelled_alarm_does_not_ring_and_may_be_set_again() -> None:
    bell = Bell()
    bell.set("one", 10)
    bell.clock.cancel("one")
    bell.clock.cancel("never set")
    assert not bell.clock.armed("one")
    assert bell.clock.next_due() is None
    assert bell.until(20) == []
    bell.set("one", 30)
    assert bell.clock.armed("one")
    assert bell.until(30) == ["one"]


def test_an_alarm_rings_once_and_may_set_itself_again_while_it_rings() -> None:
    bell = Bell()

    def again() -> None:
        bell.rang.append(("again", bell.clock.now_ns))
        bell.clock.alarm("again", bell.clock.now_ns + 10, Phase.TIMER, "", 0, again)

    bell.clock.alarm("again", 10, Phase.TIMER, "", 0, again)
    assert bell.until(35) == ["again"] * 3
    assert bell.clock.next_due() == 40


def test_an_alarm_in_the_past_rings_at_once_and_time_does_not_go_back() -> None:
    bell = Bell(start_ns=100)
    bell.set("late", 10)
    assert bell.until(100) == ["late"]
    assert bell.clock.now_ns == 100
    bell.clock.advance_to(50)
    assert bell.clock.now_ns == 100


def test_a_live_clock_follows_its_source_and_never_falls() -> None:
    times = iter([5, 9, 7, 12])
    clock = MarketClock(source=lambda: next(times))
    assert [clock.now_ns for _ in range(4)] == [5, 9, 9, 12]


async def test_a_live_clock_rings_when_it_is_time(autojump_clock: trio.testing.MockClock) -> None:
    clock = MarketClock(source=lambda: round(trio.current_time() * NS))
    rang: list[tuple[str, float]] = []

    def set_alarm(name: str, at_s: int) -> None:
        clock.alarm(name, at_s * NS, Phase.TIMER, "", 0, lambda: rang.append((name, trio.current_time())))

    async with trio.open_nursery() as nursery:
        set_alarm("far", 60)
        nursery.start_soon(clock.ring_as_time_goes_by)
        await trio.sleep(10)
        set_alarm("sooner", 20)
        set_alarm("replaced", 15)
        set_alarm("replaced", 30)
        await trio.sleep(90)
        nursery.cancel_scope.cancel()
    assert rang == [("sooner", 20), ("replaced", 30), ("far", 60)]


# --- chance -----------------------------------------------------------------------------------------


def test_with_a_seed_chance_repeats_whoever_asks_first() -> None:
    one, other = Effects(seed="7"), Effects(seed="7")
    other.rng("somebody else").random()
    assert [one.rng("feed").random() for _ in range(3)] == [other.rng("feed").random() for _ in range(3)]
    assert one.np_rng("feed").integers(1 << 40) == other.np_rng("feed").integers(1 << 40)


def test_another_name_or_another_seed_is_another_chance() -> None:
    draws = {
        Effects(seed=seed).rng(name).getrandbits(64) for seed, name in (("7", "feed"), ("7", "ids"), ("8", "feed"))
    }
    assert len(draws) == 3


def test_without_a_seed_chance_does_not_repeat() -> None:
    assert Effects().rng("feed").getrandbits(128) != Effects().rng("feed").getrandbits(128)


# --- work and shields -------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [True, False])
async def test_blocking_work_runs_in_a_thread_where_a_world_has_threads(threads: bool) -> None:
    effects = Effects(threads=threads)
    where = await effects.run_blocking(threading.get_ident)
    assert (where != threading.get_ident()) is threads


@pytest.mark.parametrize("threads", [True, False])
async def test_blocking_work_that_fails_fails_at_the_caller(threads: bool) -> None:
    with pytest.raises(ZeroDivisionError):
        await Effects(threads=threads).run_blocking(lambda: 1 // 0)


async def test_a_shield_holds_a_cancel_off() -> None:
    finished = False
    with trio.CancelScope() as scope:
        scope.cancel()
        with Effects().shield():
            await trio.lowlevel.checkpoint()
            finished = True
        await trio.lowlevel.checkpoint()
    assert finished
    assert scope.cancelled_caught
