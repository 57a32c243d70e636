"""The end of a position's day: what is sold at the square-off, what stays, and who comes too late for it."""

from __future__ import annotations

from datetime import date

import pytest

from market.calendar import SpecialSession, TradingCalendar
from protocol.messages import AbandonEntry, ExitRung
from protocol.orders import ExitReason
from protocol.rungs import RungStatus
from tests.fakes.actor_stage import MONDAY, Stage

TUESDAY = date(2026, 1, 6)
SQUARE_OFF = "15:10:00"


async def open_ladder(*prices: int, start: str = "14:00:00", stage: Stage | None = None) -> Stage:
    """P1 bought at 100.00, then ticks at these prices, a minute apart."""
    stage = stage or Stage(start)
    await stage.enter()
    for price in prices:
        await stage.after(60)
        await stage.tick(price)
    stage.asked()
    return stage


def sold(stage: Stage) -> list[tuple[int, int]]:
    """(rung, instant) of the square-offs asked for since the last time."""
    return [
        (exit_.rung, exit_.at_ns)
        for exit_ in stage.asked()
        if isinstance(exit_, ExitRung) and exit_.reason is ExitReason.SQUARE_OFF
    ]


@pytest.mark.parametrize(("last", "is_sold"), [(10_005, True), (10_000, False), (9_995, False)])
async def test_a_first_rung_is_sold_only_at_a_profit(last: int, is_sold: bool) -> None:
    stage = await open_ladder(last)
    await stage.until(stage.instant(SQUARE_OFF) - 1)
    assert not sold(stage)
    await stage.until(stage.instant(SQUARE_OFF))
    assert sold(stage) == ([(1, stage.instant(SQUARE_OFF))] if is_sold else [])


async def test_runners_are_always_sold() -> None:
    stage = await open_ladder(10_300, 9_990)  # P2 and P3 were bought at 103.00; P2's stop is at 100.425
    for number in (2, 3):
        assert stage.router.rungs[number].open
    stage.router.holding = True
    await stage.until(stage.instant(SQUARE_OFF))
    assert {rung for rung, _ in sold(stage)} >= {3}


async def test_losing_runners_are_sold_beside_a_losing_first_rung_that_stays() -> None:
    stage = await open_ladder(10_026, 9_990)
    await stage.until(stage.instant(SQUARE_OFF))
    assert sold(stage) == [(2, stage.instant(SQUARE_OFF))]
    assert stage.router.rungs[1].open
    assert stage.router.rungs[1].stop_paise == 9_750


async def test_an_entry_that_still_works_is_given_up_and_what_it_bought_is_judged() -> None:
    stage = Stage("14:00:00")
    stage.router.holding = True
    await stage.enter()
    stage.router.bought(stage.asked()[0], 10, working=True)
    stage.router.holding = False
    await stage.settle()
    await stage.until(stage.instant("15:09:00"))
    await stage.tick(10_020)
    stage.asked()
    await stage.until(stage.instant(SQUARE_OFF))
    abandon, leave = stage.asked()
    assert isinstance(abandon, AbandonEntry)
    assert isinstance(leave, ExitRung)
    assert stage.router.rungs[1].status is RungStatus.CLOSED


async def test_the_square_off_comes_after_the_timers_of_its_instant() -> None:
    """A safety stop that comes due at the same instant sells first, and its reason stands."""
    stage = await open_ladder()
    await stage.until(stage.instant("15:09:57"))
    await stage.tick(9_750)
    await stage.until(stage.instant(SQUARE_OFF))
    assert [request.reason for request in stage.asked()] == [ExitReason.SAFETY]


async def test_a_square_off_delivered_again_asks_the_same() -> None:
    stage = await open_ladder(10_005)
    stage.router.holding = True
    stage.clock.ring_next(stage.instant(SQUARE_OFF))
    message = await stage.address.next()
    assert stage.position is not None
    await stage.position.handle(message)
    await stage.begin()  # the message was in hand, and comes again
    first, again = stage.asked()
    assert first == again


async def test_a_rung_that_is_being_sold_is_left_to_finish() -> None:
    stage = await open_ladder(10_005)
    stage.router.change(1, exit_working=True)
    await stage.settle()
    await stage.until(stage.instant(SQUARE_OFF))
    assert not stage.asked()


async def test_it_runs_while_entries_are_stopped() -> None:
    stage = await open_ladder(10_005)
    stage.entries_allowed = False
    await stage.until(stage.instant(SQUARE_OFF))
    assert sold(stage) == [(1, stage.instant(SQUARE_OFF))]


# --- starting late ----------------------------------------------------------------------------------


async def test_a_late_start_in_continuous_trading_squares_off_at_once() -> None:
    stage = await open_ladder(10_005)
    stage.clock.advance_to(stage.instant("15:29:59"))
    await stage.next_life_of_the_process()
    await stage.after(0)
    assert [rung for rung, _ in sold(stage)] == [1]
    assert stage.router.rungs[1].exit_ns == stage.instant("15:29:59")


async def test_a_start_after_continuous_trading_carries_and_squares_off_the_next_day() -> None:
    stage = await open_ladder(10_005)
    stage.clock.advance_to(stage.instant("15:30:00"))
    await stage.next_life_of_the_process()
    await stage.until(stage.instant(SQUARE_OFF, TUESDAY) - 1)
    assert not sold(stage)
    await stage.after(0.000000001)
    assert sold(stage) == [(1, stage.instant(SQUARE_OFF, TUESDAY))]


async def test_a_killed_position_does_not_square_off_a_second_time() -> None:
    stage = await open_ladder(9_995)
    await stage.until(stage.instant(SQUARE_OFF))
    assert not sold(stage)
    await stage.after(60)
    await stage.tick(10_020)
    await stage.begin()
    await stage.after(60)
    assert not sold(stage)


async def test_what_is_carried_is_squared_off_on_the_next_trading_day() -> None:
    stage = await open_ladder(9_995)
    await stage.until(stage.instant("11:00:00", TUESDAY))
    await stage.tick(10_010)
    await stage.until(stage.instant(SQUARE_OFF, TUESDAY))
    assert sold(stage) == [(1, stage.instant(SQUARE_OFF, TUESDAY))]


async def test_a_share_with_derivatives_ends_its_continuous_trading_earlier() -> None:
    day = date(2026, 8, 4)
    for derivatives, exits in ((False, [1]), (True, [])):
        stage = await open_ladder(10_005, stage=Stage("14:00:00", day=day, derivatives=derivatives))
        stage.clock.advance_to(stage.instant("15:15:00"))
        await stage.next_life_of_the_process()
        await stage.after(0)
        assert [rung for rung, _ in sold(stage)] == exits


async def test_a_special_session_squares_off_twenty_minutes_before_its_end() -> None:
    calendar = TradingCalendar(extra_sessions=(SpecialSession(MONDAY, 18 * 3600, 19 * 3600),))
    stage = await open_ladder(10_005, stage=Stage("18:05:00", calendar=calendar))
    await stage.until(stage.instant("18:40:00"))
    assert sold(stage) == [(1, stage.instant("18:40:00"))]
