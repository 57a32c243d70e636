"""A position alone that is refused, told things twice, or killed: it asks again for what it must and for no more."""

from __future__ import annotations

import attrs

from protocol.clock import NS
from protocol.messages import Enter, RungState
from protocol.rungs import Protection
from tests.fakes.actor_stage import Stage, climbed

# --- refusals ---------------------------------------------------------------------------------------


async def test_a_refused_rung_is_asked_again_only_at_the_next_new_price() -> None:
    stage = Stage()
    await stage.enter()
    stage.asked()
    stage.router.refusing[2] = "capital is used up"
    await stage.tick(10_030)
    assert stage.asked_kinds() == [("EnterRung", 2)]
    await stage.say(RungState(stage.router.rungs[1]))
    await stage.after(10)
    assert not stage.asked()
    await stage.tick(10_030)
    assert stage.asked_kinds() == [("EnterRung", 2)]


async def test_a_refused_rung_is_looked_at_at_every_tick() -> None:
    stage = Stage()
    await stage.enter()
    stage.router.refusing[2] = "capital is used up"
    await stage.tick(10_030)
    stage.asked()
    for price in (10_035, 10_030, 10_030, 10_040):
        await stage.tick(price)
        assert stage.asked_kinds() == [("EnterRung", 2)]


async def test_the_same_wish_refused_and_asked_again_has_the_same_key() -> None:
    stage = Stage()
    await stage.enter()
    stage.asked()
    stage.router.refusing[2] = "capital is used up"
    await stage.tick(10_030)
    await stage.tick(10_035)
    assert len({request.key for request in stage.asked()}) == 1


async def test_an_entry_that_ended_unfilled_is_tried_again_at_its_time_with_another_key() -> None:
    stage = Stage()
    await stage.enter()
    stage.asked()
    stage.router.holding = True
    await stage.tick(10_030)
    (first,) = stage.asked()
    stage.router.holding = False
    stage.router.failed(first, retry_ns=stage.clock.now_ns + 60 * NS)
    await stage.settle()
    await stage.after(59.999999999)
    await stage.tick(10_030)
    assert not stage.asked()
    await stage.after(0.000000001)
    await stage.tick(10_030)
    again = stage.asked()[0]
    assert (first.key, again.key) == (f"{first.ladder}:2:entry:1", f"{first.ladder}:2:entry:2")


# --- repeats and deaths -----------------------------------------------------------------------------


async def test_an_enter_delivered_again_makes_the_same_request() -> None:
    stage = Stage()
    stage.router.holding = True
    await stage.enter()
    await stage.say(Enter(stage.reservation()))
    first, again = stage.asked()
    assert first == again


async def test_an_enter_of_the_ladder_that_is_open_changes_nothing() -> None:
    stage = Stage()
    reservation = stage.reservation()
    await stage.enter()
    stage.asked()
    await stage.say(Enter(reservation))
    assert not stage.asked()
    assert stage.router.rungs[1].open


async def test_every_message_delivered_twice_asks_for_nothing_more() -> None:
    """The day of two positions, one of which is handed everything twice: the same requests, by key."""
    keys: list[set[str]] = []
    for twice in (False, True):
        stage = Stage()
        await stage.enter()
        for price in (10_030, 10_060, 10_130, 10_200, 10_080, 9_960, 9_900):
            await stage.after(1)
            stage.put(price)
            assert stage.position is not None
            while stage.address.depth:
                message = await stage.address.next()
                for _ in range(1 + twice):
                    await stage.position.handle(message)
                stage.address.ack()
        keys.append({request.key for request in stage.router.posted})
    assert keys[0] == keys[1]
    assert len(keys[0]) > 8


async def test_a_killed_position_asks_for_nothing_that_stands() -> None:
    stage = await climbed()
    await stage.begin()
    await stage.tick(10_030)
    assert not stage.asked()


async def test_a_killed_position_asks_again_for_what_was_not_answered() -> None:
    stage = Stage()
    await stage.enter()
    stage.asked()
    stage.router.holding = True
    await stage.tick(10_030)
    (before,) = stage.asked()
    stage.router.holding = False
    await stage.begin()
    assert stage.router.rungs[2].open
    assert stage.asked()[0].key == before.key


async def test_a_rung_asked_for_after_a_death_bears_the_rank_of_its_ladder() -> None:
    stage = Stage()
    stage.router.holding = True
    await stage.enter()
    (entry,) = stage.asked()
    await stage.begin()  # the journal knows nothing of a rung without a fill
    stage.router.holding = False
    stage.router.bought(entry, 30)
    await stage.settle()
    stage.asked()
    await stage.tick(10_030)
    assert stage.asked()[0].rank == 3.5


async def test_a_state_of_a_ladder_that_is_over_is_ignored() -> None:
    stage = await climbed()
    stale = attrs.evolve(stage.router.rungs[1], ladder="ALPHA-1", protection=Protection.NONE)
    await stage.say(RungState(stale))
    assert not stage.asked()
