"""The trailing stop of a position alone: which prices count, when the broker's stop moves, what a death costs."""

from __future__ import annotations

from typing import Any

from protocol.messages import EnterRung, MoveStop, RungState
from protocol.rungs import Rung, RungStatus
from tests.fakes.actor_stage import Stage


async def trailing() -> Stage:
    """P2 stands at 100.26 with its stop at 97.75; its trail moves in steps of ten paise or more."""
    stage = Stage()
    await stage.enter()
    await stage.after(1)
    await stage.tick(10_026)
    await stage.after(60)
    stage.asked()
    return stage


def stops(requests: list[Any]) -> list[tuple[int, int, int]]:
    """(rung, new stop, highest) of the moves among the requests."""
    return [(move.rung, move.stop_paise, move.highest_paise) for move in requests if isinstance(move, MoveStop)]


def entering(entry: EnterRung) -> Rung:
    """The rung as the router tells it while its entry works and nothing is filled."""
    return Rung(
        ladder=entry.ladder,
        symbol=entry.symbol,
        number=entry.rung,
        status=RungStatus.ENTERING,
        rank=entry.rank,
        entry_working=True,
    )


async def test_the_stop_moves_when_it_lags_by_a_thousandth_of_the_price() -> None:
    stage = await trailing()
    await stage.tick(10_035)
    assert not stage.asked()
    await stage.tick(10_036)
    assert stops(stage.asked()) == [(2, 9_785, 10_036)]


async def test_a_stop_that_trails_never_falls() -> None:
    stage = await trailing()
    await stage.tick(10_100)
    await stage.after(2)
    stage.asked()
    for price in (10_090, 10_000, 9_900):
        await stage.tick(price)
        await stage.after(2)
        assert not stops(stage.asked())
    assert stage.router.rungs[2].stop_paise == 9_845


async def test_the_first_rung_does_not_trail() -> None:
    stage = Stage()
    await stage.enter()
    await stage.tick(10_024)
    await stage.after(2)
    await stage.tick(10_020)
    assert not stops(stage.asked())


async def test_the_stop_moves_at_most_once_per_interval_and_the_newest_value_is_sent_when_it_ends() -> None:
    stage = await trailing()
    await stage.tick(10_040)
    assert stops(stage.asked()) == [(2, 9_785, 10_040)]
    for price in (10_060, 10_090, 10_050):
        await stage.after(0.3)
        await stage.tick(price)
    assert not stops(stage.asked())
    await stage.after(0.099999999)
    assert not stops(stage.asked())
    await stage.after(0.000000001)
    assert stops(stage.asked()) == [(2, 9_835, 10_090)]


async def test_the_highest_of_many_ticks_counts_though_it_was_woken_once() -> None:
    stage = await trailing()
    await stage.tick(10_030, 10_080, 10_040)
    assert stops(stage.asked()) == [(2, 9_825, 10_080)]


async def test_prices_that_woke_nobody_count_at_the_next_look() -> None:
    stage = await trailing()
    stage.put(10_034)
    assert stage.address.depth == 0
    stage.put(9_790)
    await stage.settle()
    await stage.tick(9_760)
    assert stage.memory.highest[2] == 10_034


async def test_a_wake_that_waited_while_more_ticks_came_brings_the_highest_of_them() -> None:
    stage = await trailing()
    for price in (10_040, 10_110, 10_050):
        stage.put(price)
    assert stage.address.depth == 1
    await stage.settle()
    assert stops(stage.asked()) == [(2, 9_855, 10_110)]


async def test_a_killed_position_that_comes_back_knows_its_highest_price() -> None:
    stage = await trailing()
    await stage.tick(10_034)
    assert stage.router.rungs[2].highest_paise == 10_026  # no move was due: the router does not know it
    await stage.begin()
    await stage.tick(10_030)
    await stage.say(RungState(stage.router.rungs[2]))
    assert stage.memory.highest[2] == 10_034
    await stage.tick(10_036)
    assert stops(stage.asked()) == [(2, 9_785, 10_036)]


async def test_a_position_killed_with_an_unread_wake_finds_its_highest_price_in_it() -> None:
    stage = await trailing()
    stage.put(10_110)
    stage.put(10_050)
    await stage.begin()
    assert stops(stage.asked()) == [(2, 9_855, 10_110)]


async def test_a_killed_position_moves_no_stop_before_the_interval_is_over() -> None:
    stage = await trailing()
    await stage.tick(10_040)
    stage.asked()
    await stage.after(0.5)
    await stage.begin()
    await stage.tick(10_070)
    assert not stops(stage.asked())
    await stage.after(0.5)
    assert stops(stage.asked()) == [(2, 9_815, 10_070)]


async def test_the_trail_comes_before_the_next_rung() -> None:
    stage = await trailing()
    await stage.tick(10_120)
    first, second = stage.asked()[:2]
    assert isinstance(first, MoveStop)
    assert isinstance(second, EnterRung)
    assert (first.rung, second.rung) == (2, 3)


async def test_the_highest_price_of_a_new_rung_begins_at_its_fill() -> None:
    stage = await trailing()
    stage.router.holding = True
    await stage.tick(10_120)
    entry = next(request for request in stage.asked() if isinstance(request, EnterRung))
    await stage.tick(10_150)
    await stage.tick(10_115)
    stage.router.bought(entry, entry.quantity)
    await stage.settle()
    assert stage.memory.highest[3] == 10_120  # the fill's price; 101.50 was before it


async def test_a_new_rung_does_not_make_the_others_forget_a_price_nobody_has_looked_at() -> None:
    stage = await trailing()
    stage.router.holding = True
    await stage.tick(10_120)
    move, entry = stage.asked()
    stage.router.answer(move)
    await stage.say(RungState(entering(entry)))  # from here on P3's condition no longer wakes anybody
    stage.put(10_124)
    stage.put(10_110)
    assert stage.address.depth == 0
    stage.router.bought(entry, entry.quantity)
    await stage.settle()
    assert stage.memory.highest == {1: 10_124, 2: 10_124, 3: 10_120}


async def test_an_unanswered_request_holds_the_next_move_back() -> None:
    stage = await trailing()
    stage.router.holding = True
    await stage.tick(10_040)
    (move,) = stage.asked()
    await stage.after(5)
    await stage.tick(10_090)
    assert not stage.asked()
    stage.router.holding = False
    stage.router.answer(move)
    await stage.settle()
    assert stops(stage.asked()) == [(2, 9_835, 10_090)]


async def test_a_carried_runner_keeps_its_highest_and_trails_on() -> None:
    stage = await trailing()
    await stage.tick(10_110)
    await stage.after(2)
    await stage.next_life_of_the_process()
    stage.asked()
    await stage.tick(10_040)
    assert not stage.asked()
    await stage.tick(10_125)
    assert stops(stage.asked())[0] == (2, 9_870, 10_125)
