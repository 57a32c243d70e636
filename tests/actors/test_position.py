"""A position alone: how it climbs its ladder, what it asks again and what not, and when it ends."""

from __future__ import annotations

import attrs
import pytest

from protocol.clock import NS
from protocol.messages import AskSnapshot, EnterRung, ExitRung, PersonExit, Protect, RungState
from protocol.orders import ExitReason
from protocol.rungs import RungStatus
from strategy.ladder import DEFAULT_RULES
from tests.fakes.actor_stage import Stage, climbed

COOLDOWN_S = 900


# --- the first rung ---------------------------------------------------------------------------------


async def test_an_enter_becomes_one_request_with_what_was_reserved() -> None:
    stage = Stage()
    stage.router.holding = True
    await stage.enter(price=10_000, quantity=30)
    (request,) = stage.asked()
    assert request == EnterRung(
        key=f"{request.ladder}:1:entry:1",
        ladder=stage.reservation().ladder,
        symbol="ALPHA",
        rung=1,
        quantity=30,
        last_paise=10_000,
        rank=3.5,
        at_ns=stage.clock.now_ns,
    )


async def test_an_open_rung_is_protected_stop_rounded_down_and_target_up() -> None:
    stage = Stage()
    await stage.enter(price=10_013, quantity=29)
    _, request = stage.asked()
    assert isinstance(request, Protect)
    assert request.stop_paise == 9_760  # 97.62675
    assert request.target_paise == 10_515  # 105.1365


async def test_stop_and_target_follow_the_average_while_the_entry_works() -> None:
    stage = Stage()
    stage.router.holding = True
    await stage.enter()
    entry = stage.asked()[0]
    stage.router.holding = False
    stage.router.bought(entry, 10, working=True)
    await stage.settle()
    stage.router.change(1, quantity=30, cost_paise=10 * 10_000 + 20 * 10_060, entry_working=False)
    await stage.settle()
    stops = [(type(request).__name__, request.stop_paise, request.target_paise) for request in stage.asked()]
    assert stops == [("Protect", 9_750, 10_500), ("MoveStop", 9_785, 10_545)]  # the average is 100.40


async def test_a_first_entry_that_is_refused_ends_the_actor() -> None:
    stage = Stage()
    stage.router.refusing[1] = "no slot is free"
    await stage.enter()
    assert stage.over


async def test_a_first_entry_that_ends_without_a_fill_ends_the_actor() -> None:
    stage = Stage()
    stage.router.holding = True
    await stage.enter()
    stage.router.failed(stage.asked()[0], retry_ns=stage.clock.now_ns + 60 * NS)
    await stage.settle()
    await stage.after(0)
    assert stage.over


# --- the next rungs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "rungs"), [(10_025, {1}), (10_026, {1, 2})])
async def test_p2_enters_above_a_quarter_of_a_percent_and_not_at_it(price: int, rungs: set[int]) -> None:
    stage = Stage()
    await stage.enter()
    await stage.tick(price)
    assert stage.router.rungs.keys() == rungs


@pytest.mark.parametrize(("price", "rungs"), [(10_113, {1, 2}), (10_114, {1, 2, 3})])
async def test_p3_enters_when_both_show_one_percent_on_average(price: int, rungs: set[int]) -> None:
    stage = await climbed()
    await stage.tick(price)
    assert stage.router.rungs.keys() == rungs


async def test_p3_may_follow_p2_at_the_same_price() -> None:
    stage = Stage()
    await stage.enter()
    stage.asked()
    await stage.tick(10_300)
    entries = [request for request in stage.asked() if isinstance(request, EnterRung)]
    assert [(entry.rung, entry.last_paise, entry.at_ns) for entry in entries] == [
        (2, 10_300, stage.clock.now_ns),
        (3, 10_300, stage.clock.now_ns),
    ]


async def test_p2_waits_until_the_entry_of_p1_is_over() -> None:
    stage = Stage()
    stage.router.holding = True
    await stage.enter()
    entry = stage.asked()[0]
    stage.router.holding = False
    stage.router.bought(entry, 10, working=True)
    await stage.settle()
    await stage.tick(10_100)
    assert 2 not in stage.router.rungs
    stage.router.change(1, entry_working=False)
    await stage.settle()
    assert 2 in stage.router.rungs


async def test_p2_is_bought_for_the_capital_of_a_position_rounded_down() -> None:
    stage = await climbed(10_026)
    assert stage.router.rungs[2].quantity == 300_000 // 10_026


async def test_a_rung_that_one_share_would_overpay_is_not_asked_for() -> None:
    stage = Stage(rules=attrs.evolve(DEFAULT_RULES, capital_per_position_paise=10_020))
    await stage.enter(quantity=1)
    await stage.tick(10_030)
    assert 2 not in stage.router.rungs


async def test_no_new_rung_when_the_price_is_at_the_target_of_an_open_one() -> None:
    stage = Stage()
    await stage.enter()
    stage.asked()
    await stage.tick(10_500)
    assert not stage.asked()
    await stage.tick(10_495)
    assert stage.asked_kinds()[0] == ("EnterRung", 2)


async def test_no_new_rung_when_the_price_is_at_the_stop_of_an_open_one() -> None:
    """P2's trailing stop lies above the price at which P3 may be bought: only a fall through it is a stop."""
    stage = Stage()
    stage.router.refusing[3] = "no slot is free"
    await stage.enter()
    await stage.tick(10_026)
    await stage.tick(10_460)  # P2's exact stop is now 101.985, and P3's condition holds from 101.14 on
    stage.asked()
    stage.router.refusing.clear()
    await stage.tick(10_195)
    assert ("EnterRung", 3) not in stage.asked_kinds()


async def test_no_new_rung_while_an_open_one_is_being_sold() -> None:
    stage = Stage()
    await stage.enter()
    stage.router.change(1, exit_working=True)
    await stage.settle()
    stage.asked()
    await stage.tick(10_100)
    assert not stage.asked()


async def test_a_price_that_has_grown_stale_buys_no_rung() -> None:
    stage = Stage()
    await stage.enter()
    stage.entries_allowed = False
    await stage.tick(10_030)
    stage.asked()
    stage.entries_allowed = True
    await stage.after(5.000000001)
    await stage.say(RungState(stage.router.rungs[1]))
    assert not stage.asked()
    await stage.tick(10_030)
    assert stage.asked_kinds()[0] == ("EnterRung", 2)


async def test_a_price_of_the_freshness_limit_still_buys_a_rung() -> None:
    stage = Stage()
    await stage.enter()
    stage.entries_allowed = False
    await stage.tick(10_030)
    stage.entries_allowed = True
    stage.asked()
    await stage.after(5)
    await stage.say(RungState(stage.router.rungs[1]))
    assert stage.asked_kinds()[0] == ("EnterRung", 2)


async def test_no_rung_while_entries_are_stopped() -> None:
    stage = Stage()
    await stage.enter()
    stage.entries_allowed = False
    await stage.tick(10_030)
    assert 2 not in stage.router.rungs


@pytest.mark.parametrize(
    ("opening", "late_ns", "allowed"),
    [("09:26:00", -1, False), ("09:26:00", 0, True), ("15:00:00", 0, True), ("15:00:00", 1, False)],
)
async def test_entry_hours_are_inclusive_to_the_nanosecond(opening: str, late_ns: int, allowed: bool) -> None:
    stage = Stage("09:15:00")
    await stage.enter()
    await stage.until(stage.instant(opening) + late_ns)
    await stage.tick(10_030)
    assert (2 in stage.router.rungs) is allowed


# --- the end ----------------------------------------------------------------------------------------


async def test_it_ends_at_the_end_of_its_cooldown_and_not_before() -> None:
    stage = Stage()
    await stage.enter()
    await stage.after(60)
    stage.router.sold(1, ExitReason.STOP, 9_750)
    await stage.settle()
    await stage.after(COOLDOWN_S - 0.000000001)
    assert not stage.over
    await stage.after(0.000000001)
    assert stage.over


async def test_the_cooldown_counts_from_the_last_exit_of_the_ladder() -> None:
    stage = await climbed()
    stage.router.sold(1, ExitReason.TARGET, 10_500)
    await stage.settle()
    await stage.after(2 * COOLDOWN_S)
    assert not stage.over
    stage.router.sold(2, ExitReason.STOP, 10_200)
    await stage.settle()
    await stage.after(COOLDOWN_S - 1)
    assert not stage.over
    await stage.after(1)
    assert stage.over


async def test_a_position_killed_while_cooling_down_ends_at_the_same_time() -> None:
    stage = Stage()
    await stage.enter()
    stage.router.sold(1, ExitReason.STOP, 9_750)
    await stage.settle()
    await stage.after(600)
    await stage.next_life_of_the_process()
    await stage.after(299.999999999)
    assert not stage.over
    await stage.after(0.000000001)
    assert stage.over


async def test_nothing_is_asked_and_no_price_wakes_it_while_it_cools_down() -> None:
    stage = Stage()
    await stage.enter()
    stage.router.sold(1, ExitReason.STOP, 9_750)
    await stage.settle()
    stage.asked()
    for price in (9_000, 11_000):
        stage.put(price)
        assert stage.address.depth == 0
    assert not stage.asked()


async def test_a_person_closes_one_open_rung_and_hears_whether_there_was_one() -> None:
    stage = await climbed()
    assert await stage.say(PersonExit(2, "owner")) is True
    (request,) = stage.asked()
    assert isinstance(request, ExitRung)
    assert (request.rung, request.reason) == (2, ExitReason.PERSON)
    assert stage.router.rungs[2].status is RungStatus.CLOSED
    assert await stage.say(PersonExit(2, "owner")) is False
    assert await stage.say(PersonExit(3, "owner")) is False


async def test_the_snapshot_shows_every_rung() -> None:
    stage = await climbed()
    shown = await stage.say(AskSnapshot())
    assert shown["symbol"] == "ALPHA"
    assert shown["last_paise"] == 10_026
    assert [(rung["number"], rung["status"], rung["stop_paise"]) for rung in shown["rungs"]] == [
        (1, "OPEN", 9_750),
        (2, "OPEN", 9_775),
    ]


async def test_a_quiet_price_does_not_wake_it() -> None:
    stage = Stage()
    await stage.enter()
    for price in (10_005, 9_995, 10_020, 9_800):
        stage.put(price)
        assert stage.address.depth == 0
