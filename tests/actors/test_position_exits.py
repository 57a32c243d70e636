"""How a position leaves by itself: the local safety stop, beside the one that stands at the broker."""

from __future__ import annotations

from datetime import date

import attrs
import pytest

from protocol.clock import NS
from protocol.messages import ExitRung, Wake
from protocol.orders import ExitReason
from protocol.rungs import Protection
from strategy.ladder import DEFAULT_RULES
from tests.fakes.actor_stage import Stage

STOP = 9_750  # of a first rung bought at 100.00
TUESDAY = date(2026, 1, 6)


async def bought(start: str = "10:00:00", *, grace_s: int = 3) -> Stage:
    """P1 is open at 100.00 and protected; its broker does nothing when the stop is reached."""
    stage = Stage(start, rules=attrs.evolve(DEFAULT_RULES, stop_grace_ns=grace_s * NS))
    await stage.enter()
    await stage.after(1)
    stage.asked()
    return stage


def exits(stage: Stage) -> list[tuple[int, ExitReason, int]]:
    """(rung, reason, instant) of the exits asked for since the last time."""
    return [(exit_.rung, exit_.reason, exit_.at_ns) for exit_ in stage.asked() if isinstance(exit_, ExitRung)]


# --- the grace --------------------------------------------------------------------------------------


async def test_the_local_stop_sells_when_the_broker_has_not_acted_for_the_grace() -> None:
    stage = await bought()
    reached = stage.clock.now_ns
    await stage.tick(STOP)
    await stage.after(2.999999999)
    assert not exits(stage)
    await stage.after(0.000000001)
    assert exits(stage) == [(1, ExitReason.SAFETY, reached + 3 * NS)]


async def test_the_exact_stop_counts_and_not_the_one_rounded_to_the_tick() -> None:
    stage = Stage()
    await stage.enter(price=10_013, quantity=29)  # exact 97.62675, at the broker 97.60
    stage.asked()
    await stage.tick(9_763)
    await stage.after(10)
    assert not exits(stage)
    await stage.tick(9_762)
    await stage.after(3)
    assert [exit_[:2] for exit_ in exits(stage)] == [(1, ExitReason.SAFETY)]


async def test_the_grace_counts_from_the_first_tick_at_or_below() -> None:
    stage = await bought()
    reached = stage.clock.now_ns
    await stage.tick(STOP)
    for price in (9_740, 9_745):
        await stage.after(1)
        await stage.tick(price)
    await stage.after(1)
    assert exits(stage) == [(1, ExitReason.SAFETY, reached + 3 * NS)]


async def test_any_tick_above_the_stop_begins_the_count_anew() -> None:
    stage = await bought()
    await stage.tick(STOP)
    await stage.after(2)
    await stage.tick(STOP + 5)
    await stage.after(0.5)
    reached = stage.clock.now_ns
    await stage.tick(STOP)
    await stage.after(2.999999999)
    assert not exits(stage)
    await stage.after(1)
    assert exits(stage) == [(1, ExitReason.SAFETY, reached + 3 * NS)]


async def test_a_tick_above_counts_though_the_look_finds_the_price_below_again() -> None:
    stage = await bought()
    await stage.tick(STOP)
    await stage.after(2)
    reached = stage.clock.now_ns
    await stage.tick(STOP + 5, STOP - 5)
    await stage.after(2.999999999)
    assert not exits(stage)
    await stage.after(1)
    assert exits(stage) == [(1, ExitReason.SAFETY, reached + 3 * NS)]


async def test_the_count_goes_on_while_the_position_is_killed() -> None:
    stage = await bought()
    reached = stage.clock.now_ns
    await stage.tick(STOP)
    await stage.after(2)
    await stage.begin()
    await stage.after(1)
    assert exits(stage) == [(1, ExitReason.SAFETY, reached + 3 * NS)]


async def test_a_trailing_stop_is_guarded_at_its_exact_place_before_the_broker_has_it() -> None:
    stage = await bought()
    await stage.tick(10_026)
    await stage.after(10)
    await stage.tick(10_035)  # exact 97.84125; 97.75 stands at the broker
    await stage.tick(9_785)
    await stage.after(10)
    assert not exits(stage)
    reached = stage.clock.now_ns
    await stage.tick(9_784)
    await stage.after(3)
    assert exits(stage) == [(2, ExitReason.SAFETY, reached + 3 * NS)]


# --- when it does not sell --------------------------------------------------------------------------


async def test_the_local_stop_never_sells_on_a_stale_price() -> None:
    stage = await bought(grace_s=6)
    await stage.tick(STOP)
    await stage.after(60)
    assert not exits(stage)
    await stage.tick(STOP - 100)
    assert exits(stage) == [(1, ExitReason.SAFETY, stage.clock.now_ns)]


async def test_a_price_of_the_freshness_limit_is_still_sold_on() -> None:
    stage = await bought(grace_s=5)
    await stage.tick(STOP)
    await stage.after(5)
    assert [exit_[:2] for exit_ in exits(stage)] == [(1, ExitReason.SAFETY)]


async def test_the_local_stop_leaves_a_stop_that_has_fired_to_the_broker() -> None:
    stage = await bought()
    stage.router.change(1, protection=Protection.FIRED, exit_working=True)
    await stage.tick(STOP)
    await stage.after(10)
    await stage.tick(STOP - 100)
    assert not stage.asked()


async def test_the_local_stop_waits_for_the_answer_to_a_request_under_way() -> None:
    stage = await bought()
    await stage.tick(10_026)
    await stage.after(1)
    stage.asked()
    stage.router.holding = True
    await stage.tick(10_060)
    (move,) = stage.asked()
    await stage.tick(9_700)
    await stage.after(4)
    assert [exit_[0] for exit_ in exits(stage)] == [1]  # P2's move is unanswered
    stage.router.holding = False
    stage.router.answer(move)
    await stage.settle()
    assert [exit_[0] for exit_ in exits(stage)] == [2]


async def test_an_exit_is_asked_for_once_until_it_is_answered() -> None:
    stage = await bought()
    stage.router.holding = True
    await stage.tick(STOP)
    await stage.after(3)
    for price in (9_740, 9_730, 9_720):
        await stage.tick(price)
        await stage.after(1)
    assert len(exits(stage)) == 1


async def test_an_unprotected_rung_through_its_stop_is_sold_and_not_protected() -> None:
    stage = Stage()
    stage.router.holding = True
    await stage.enter()
    entry = stage.asked()[0]
    await stage.tick(9_700)
    stage.router.bought(entry, 30)
    await stage.settle()
    assert not stage.asked()
    await stage.after(3)
    assert stage.asked_kinds() == [("ExitRung", 1)]


async def test_the_local_stop_does_not_sell_after_continuous_trading() -> None:
    """The exit would cancel what stands at the broker, and nobody buys: the night would be unguarded."""
    stage = await bought("15:00:01")
    await stage.until(stage.instant("15:29:58"))
    await stage.tick(STOP)
    await stage.after(3600)
    assert not exits(stage)


async def test_the_local_stop_counts_anew_on_the_next_day() -> None:
    stage = await bought("15:00:01")
    await stage.until(stage.instant("15:29:55"))
    await stage.tick(9_990)
    await stage.until(stage.instant("15:29:58"))
    await stage.tick(STOP)
    await stage.until(stage.instant("09:15:01", TUESDAY))
    await stage.tick(STOP - 10)
    await stage.after(2.999999999)
    assert not exits(stage)
    await stage.after(1)
    assert exits(stage) == [(1, ExitReason.SAFETY, stage.instant("09:15:04", TUESDAY))]


async def test_exits_come_before_the_trail() -> None:
    """A wake in which the stop has been below for the grace and the highest price would move it: it is sold."""
    stage = await bought()
    await stage.tick(10_026)
    await stage.after(60)
    await stage.tick(9_775)
    await stage.after(2)
    stage.asked()
    stage.clock.advance_to(stage.clock.now_ns + NS)
    stage.memory.highest[2] = 10_060
    await stage.say(Wake(9_700, 9_775, 9_700, stage.clock.now_ns))
    assert stage.asked_kinds() == [("ExitRung", 2)]


@pytest.mark.parametrize("price", [9_750, 9_000])
async def test_a_stop_through_which_the_price_falls_asks_for_no_new_rung(price: int) -> None:
    stage = await bought()
    await stage.tick(price)
    assert not stage.asked()
