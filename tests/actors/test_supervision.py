"""What a supervisor promises about its start and its stop, on a virtual clock."""

from __future__ import annotations

import itertools
import random

import attrs
import pytest
import trio
import trio.testing

from actors.child import (
    ChildEvent,
    ChildState,
    Limits,
    ProcessMustEnd,
    Restart,
    RestartLimit,
    Surroundings,
)
from actors.supervision import Supervisor
from tests.actors.supervised import (
    Clock,
    World,
    crash_after,
    fail_to_start,
    running,
    sleep,
    stop_within,
)


@pytest.fixture
def world() -> World:
    return World()


async def test_children_start_left_to_right_each_ready_before_the_next_and_stop_right_to_left(
    world: World, autojump_clock: Clock
) -> None:
    specs = [world.child(name, stop_within(0.5), start_s=1) for name in "abc"]
    async with running(Supervisor("root", specs, surroundings=world.around())):
        assert trio.current_time() == 3
        assert world.in_flight.count == 0
    assert [entry for entry in world.log if entry[1] in ("started", "stopped")] == [
        (1, "started", "a"),
        (2, "started", "b"),
        (3, "started", "c"),
        (3.5, "stopped", "c"),
        (4, "stopped", "b"),
        (4.5, "stopped", "a"),
    ]
    assert world.in_flight.count == 0


async def test_a_tree_starts_and_stops_in_order_through_all_levels(world: World, autojump_clock: Clock) -> None:
    around = world.around()
    positions = Supervisor("positions", [world.child("p1"), world.child("p2")], surroundings=around, parallel_stop=True)
    account = Supervisor("account", [world.child("router"), positions.as_child()], surroundings=around)
    root = Supervisor("root", [world.child("ticker"), account.as_child(), world.child("scanner")], surroundings=around)
    async with running(root):
        assert [node.name for node in root.snapshot().children] == ["ticker", "account", "scanner"]
    assert world.told(ChildEvent.STARTED) == [
        f"started {name}" for name in ("ticker", "router", "p1", "p2", "positions", "account", "scanner")
    ]
    stopped = world.told(ChildEvent.STOPPED)
    assert [name.split()[1] for name in stopped if name.split()[1] not in ("p1", "p2")] == [
        "scanner",
        "positions",
        "router",
        "account",
        "ticker",
    ]
    assert stopped.index("stopped p2") < stopped.index("stopped positions")


async def test_a_parallel_stop_takes_as_long_as_the_slowest(world: World, autojump_clock: Clock) -> None:
    specs = [world.child(f"p{number}", stop_within(1)) for number in range(20)]
    supervisor = Supervisor("positions", specs, surroundings=world.around(), parallel_stop=True)
    async with running(supervisor):
        assert supervisor.stop_budget_s == 2.5
    assert trio.current_time() == 1
    assert not world.gave_up


async def test_a_child_that_will_not_end_ends_the_process(world: World, autojump_clock: Clock) -> None:
    specs = [world.child("a"), world.child("stuck", stop_within(60), stop_timeout_s=3)]
    async with running(Supervisor("root", specs, surroundings=world.around())):
        pass
    assert world.gave_up == ["stuck did not end within 3 s of being told to"]
    assert world.times(ChildEvent.STOPPED_LATE, "stuck") == [3]
    assert world.times(ChildEvent.STOPPED, "a") == [60], "nothing is hurried along while it is alive"


async def test_the_whole_stop_has_one_deadline(world: World, autojump_clock: Clock) -> None:
    specs = [world.child(name, stop_within(4), stop_timeout_s=5) for name in "abc"]
    async with running(Supervisor("root", specs, surroundings=world.around(), stop_all_s=10)):
        pass
    assert world.gave_up == ["a did not end within 2 s of being told to"]


async def test_without_another_way_out_a_stuck_task_raises_through_the_whole_tree(
    world: World, autojump_clock: Clock
) -> None:
    around = Surroundings(shield=lambda: trio.CancelScope(shield=True), rng=random.Random(1))
    inner = Supervisor("inner", [world.child("stuck", stop_within(9))], surroundings=around)
    outer = Supervisor("outer", [inner.as_child()], surroundings=around)

    async def kill() -> None:
        await trio.sleep(1)
        outer.kill("stuck")

    async def run_and_kill() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            await outer.run()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_and_kill()
    assert caught.group_contains(ProcessMustEnd, match="stuck did not end within 2 s")


async def test_a_crash_while_stopping_does_not_stop_the_stop(world: World, autojump_clock: Clock) -> None:
    async def crash_when_cancelled(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    specs = [world.child("a"), world.child("b", crash_when_cancelled), world.child("c")]
    supervisor = Supervisor("root", specs, surroundings=world.around())
    async with running(supervisor):
        pass
    assert world.told(ChildEvent.CRASHED, ChildEvent.STOPPED) == [
        "stopped c",
        "crashed b",
        "stopped b",
        "stopped a",
    ]
    assert world.lives == {"a": 1, "b": 1, "c": 1}
    assert supervisor.snapshot().children[1].last_crash == "ValueError: in the clean-up"


async def test_a_cancel_while_a_child_restarts_stops_the_rest_in_order(world: World, autojump_clock: Clock) -> None:
    async def slow_start(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(5)
        await sleep(task_status)

    specs = [world.child("a"), world.child("b", crash_after(1), slow_start), world.child("c")]
    async with running(Supervisor("root", specs, surroundings=world.around())):
        await trio.sleep(3)
        assert world.lives["b"] == 2
        assert world.in_flight.count == 1
    assert world.told(ChildEvent.STOPPED) == ["stopped c", "stopped b", "stopped a"]
    assert world.in_flight.count == 0
    assert not world.alive


async def test_a_cancel_in_the_back_off_restarts_nothing(world: World, autojump_clock: Clock) -> None:
    limits = Limits(backoff_first_s=10)
    specs = [world.child("a", crash_after(1))]
    async with running(Supervisor("root", specs, surroundings=world.around(), limits=limits)):
        await trio.sleep(2)
    assert world.lives == {"a": 1}
    assert trio.current_time() == 2
    assert world.in_flight.count == 0


async def test_when_the_process_dies_no_child_gets_to_stop_in_order(world: World, autojump_clock: Clock) -> None:
    shields: list[trio.CancelScope] = []
    dead = False

    def shield() -> trio.CancelScope:
        scope = trio.CancelScope(shield=not dead)
        shields.append(scope)
        return scope

    async def clean_up_slowly(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with shield():
                await trio.sleep(3)
                world.details.append("cleaned up")

    around = attrs.evolve(world.around(), shield=shield)
    inner = Supervisor("inner", [world.child("a", clean_up_slowly), world.child("b")], surroundings=around)
    root = Supervisor("root", [inner.as_child()], surroundings=around)
    async with running(root) as scope:
        await trio.sleep(1)
        dead = True
        for each in shields:
            each.shield = False
        scope.cancel()
    assert trio.current_time() == 1
    assert "cleaned up" not in world.details
    assert not world.gave_up
    assert not world.alive


async def test_a_slow_child_is_named_and_the_next_waits_for_it(world: World, autojump_clock: Clock) -> None:
    async def never_ready(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    specs = [world.child("a"), world.child("b", never_ready, sleep, start_timeout_s=4), world.child("c")]
    supervisor = Supervisor("root", specs, surroundings=world.around())
    async with running(supervisor):
        assert trio.current_time() == 4
        assert supervisor.snapshot().children[1].last_crash == "StartFailed: b was not ready within 4 s"
    assert world.told(ChildEvent.STARTED) == ["started a", "started b", "started c"]


async def test_children_that_cannot_start_use_up_the_limits_and_are_named(world: World, autojump_clock: Clock) -> None:
    specs = [world.child("a"), world.child("b", fail_to_start), world.child("c")]
    supervisor = Supervisor("root", specs, surroundings=world.around(), limits=Limits(intensity=3))
    with pytest.raises(ExceptionGroup) as caught:
        async with running(supervisor):
            pass
    assert caught.group_contains(
        RestartLimit,
        match="root: more than 3 restarts within 60 s, the last of b after OSError: no such file",
    )
    assert world.lives == {"a": 1, "b": 4}
    assert world.told(ChildEvent.STOPPED) == ["stopped a"]
    assert world.in_flight.count == 0


async def test_a_child_that_returns_before_it_is_ready_has_failed_to_start(world: World, autojump_clock: Clock) -> None:
    async def too_early(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)

    specs = [world.child("a", too_early, sleep, restart=Restart.TRANSIENT)]
    supervisor = Supervisor("root", specs, surroundings=world.around())
    async with running(supervisor):
        assert world.lives == {"a": 2}
        assert supervisor.snapshot().children[0].last_crash == "StartFailed: a returned before it was ready"


async def test_a_child_that_says_twice_that_it_is_ready_crashes(world: World, autojump_clock: Clock) -> None:
    async def twice(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    supervisor = Supervisor("root", [world.child("a", twice, sleep)], surroundings=world.around())
    async with running(supervisor):
        await trio.sleep(1)
        node = supervisor.snapshot().children[0]
        assert (node.state, node.last_crash) == (ChildState.UP, "RuntimeError: a called started() twice")


async def test_without_escalation_a_child_that_cannot_start_holds_up_no_other(
    world: World, autojump_clock: Clock
) -> None:
    specs = [world.child("a"), world.child("b", fail_to_start), world.child("c")]
    async with running(Supervisor("services", specs, surroundings=world.around(), escalate=False)):
        assert trio.current_time() == 0
        assert world.alive == {"a", "c"}
        await trio.sleep(3600)
        assert world.alive == {"a", "c"}
        gaps = world.times(ChildEvent.CRASHED, "b")
        assert max(later - earlier for earlier, later in itertools.pairwise(gaps)) <= 30
        assert world.in_flight.count == 0, "nobody waits any more for a child that failed so often"


def test_a_tree_cancelled_at_any_step_of_its_start_ends_and_leaves_nobody_alive() -> None:
    async def cancelled_after(steps: int) -> bool:
        """True when the tree was up before it was cancelled."""
        world = World()
        below = Supervisor("below", [world.child("b"), world.child("c")], surroundings=world.around())
        root = Supervisor("root", [world.child("a"), below.as_child()], surroundings=world.around())
        up = False
        with trio.fail_after(60), trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def strike() -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(strike)
                await nursery.start(root.run)
                up = True
        assert not world.alive
        return up

    steps = 0
    while not trio.run(cancelled_after, steps, clock=Clock(autojump_threshold=0)):
        steps += 1
        assert steps < 1_000, "it never came up"
    assert steps > 5
