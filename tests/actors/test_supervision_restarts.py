"""What a supervisor promises after a death: who is restarted, when, how often, and what a kill does."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.child import (
    ChildEvent,
    ChildSpec,
    ChildState,
    Limits,
    Restart,
    RestartLimit,
    Strategy,
)
from actors.supervision import Supervisor
from tests.actors.supervised import (
    Body,
    Clock,
    World,
    crash_after,
    fail_to_start,
    return_after,
    running,
    sleep,
    stop_within,
)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_crash_restarts_its_child_at_once_and_leaves_the_others_alone(
    world: World, autojump_clock: Clock
) -> None:
    specs = [world.child("a"), world.child("b", crash_after(1), sleep), world.child("c")]
    async with running(Supervisor("root", specs, surroundings=world.around())):
        await trio.sleep(2)
        assert world.lives == {"a": 1, "b": 2, "c": 1}
    assert world.times(ChildEvent.STARTED, "b") == [0, 1]
    crash = world.details[world.log.index((1, "crashed", "b"))]
    assert crash.startswith("ValueError: crash after 1 s\n")
    assert "in body" in crash


async def test_one_slow_recovery_delays_no_other(world: World, autojump_clock: Clock) -> None:
    async def slow(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(5)
        await sleep(task_status)

    specs = [world.child("a", crash_after(1), slow), world.child("b", crash_after(2), sleep)]
    async with running(Supervisor("root", specs, surroundings=world.around())):
        await trio.sleep(10)
    assert world.times(ChildEvent.STARTED, "a") == [0, 6]
    assert world.times(ChildEvent.STARTED, "b") == [0, 2]


async def test_one_for_all_restarts_everybody_in_order(world: World, autojump_clock: Clock) -> None:
    specs = [world.child("a"), world.child("b", crash_after(1), sleep), world.child("c", stop_within(0.5))]
    supervisor = Supervisor("root", specs, surroundings=world.around(), strategy=Strategy.ONE_FOR_ALL)
    async with running(supervisor):
        await trio.sleep(2)
        assert world.lives == {"a": 2, "b": 2, "c": 2}
        assert world.in_flight.count == 0
        assert world.log[3:] == [
            (1, "crashed", "b"),
            (1, "restarting", "b"),
            (1.5, "stopped", "c"),
            (1.5, "stopped", "a"),
            (1.5, "started", "a"),
            (1.5, "started", "b"),
            (1.5, "started", "c"),
        ]


async def test_rest_for_one_restarts_those_started_after(world: World, autojump_clock: Clock) -> None:
    specs = [world.child("a"), world.child("b", crash_after(1), sleep), world.child("c")]
    supervisor = Supervisor("root", specs, surroundings=world.around(), strategy=Strategy.REST_FOR_ONE)
    async with running(supervisor):
        await trio.sleep(2)
        assert world.lives == {"a": 1, "b": 2, "c": 2}
    assert world.told(ChildEvent.STARTED)[3:] == ["started b", "started c"]


async def test_deaths_at_the_same_moment_are_one_restart_of_the_group(world: World, autojump_clock: Clock) -> None:
    specs = [world.child(name, crash_after(1), sleep) for name in "abc"]
    supervisor = Supervisor(
        "root",
        specs,
        surroundings=world.around(),
        strategy=Strategy.ONE_FOR_ALL,
        limits=Limits(intensity=1),
    )
    async with running(supervisor):
        await trio.sleep(2)
        assert world.lives == {"a": 2, "b": 2, "c": 2}


async def test_a_death_while_its_group_restarts_starts_the_group_over(world: World, autojump_clock: Clock) -> None:
    async def slow(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(5)
        await sleep(task_status)

    specs = [
        world.child("a", crash_after(3), sleep),
        world.child("b", crash_after(1), slow),
        world.child("c"),
    ]
    supervisor = Supervisor("root", specs, surroundings=world.around(), strategy=Strategy.REST_FOR_ONE)
    async with running(supervisor):
        await trio.sleep(20)
        assert world.alive == {"a", "b", "c"}
    assert world.lives == {"a": 2, "b": 3, "c": 2}
    assert world.times(ChildEvent.STARTED, "b") == [0, 8]


async def test_a_temporary_child_that_is_leaving_with_its_group_still_ends_before_the_group_starts(
    world: World, autojump_clock: Clock
) -> None:
    specs = [world.child("a"), world.child("b"), world.child("c", stop_within(1), restart=Restart.TEMPORARY)]
    supervisor = Supervisor("root", specs, surroundings=world.around(), strategy=Strategy.REST_FOR_ONE)
    async with running(supervisor):
        supervisor.kill("b")
        await trio.sleep(0.5)
        supervisor.kill("a")
        await trio.sleep(5)
        assert world.alive == {"a", "b"}
    assert world.times(ChildEvent.STARTED, "a") == world.times(ChildEvent.STARTED, "b") == [0, 1]
    assert world.times(ChildEvent.STOPPED, "c") == [1]


async def test_transient_children_may_return_and_temporary_ones_never_come_back(
    world: World, autojump_clock: Clock
) -> None:
    specs = [
        world.child("done", return_after(1), restart=Restart.TRANSIENT),
        world.child("crashed", crash_after(1), sleep, restart=Restart.TRANSIENT),
        world.child("gone", crash_after(1), restart=Restart.TEMPORARY),
        world.child("must not return", return_after(1), sleep),
    ]
    supervisor = Supervisor("root", specs, surroundings=world.around())
    async with running(supervisor):
        await trio.sleep(2)
        assert world.alive == {"crashed", "must not return"}
        states = {node.name: node.state for node in supervisor.snapshot().children}
        assert states["done"] is states["gone"] is ChildState.ENDED
        assert world.in_flight.count == 0
    assert sorted(world.told(ChildEvent.ENDED)) == ["ended done", "ended gone"]


async def test_the_back_off_doubles_with_jitter_and_starts_anew_after_a_long_time_up(
    world: World, autojump_clock: Clock
) -> None:
    bodies = [crash_after(0.01)] * 6 + [crash_after(70)] + [sleep]
    limits = Limits(intensity=20)
    async with running(Supervisor("root", [world.child("a", *bodies)], surroundings=world.around(), limits=limits)):
        await trio.sleep(200)
    delays = [
        float(detail.removeprefix("in ").removesuffix(" s"))
        for (_, event, _), detail in zip(world.log, world.details, strict=True)
        if event == "restarting"
    ]
    assert len(delays) == 7
    assert delays[0] == 0
    for number, delay in enumerate(delays[1:6]):
        assert 0 < delay <= 0.1 * 2**number
    assert delays[6] == 0


async def test_the_window_of_restarts_is_exact(world: World, autojump_clock: Clock) -> None:
    limits = Limits(intensity=2, window_s=10, backoff_base_s=0)
    bodies = [crash_after(5)] * 5 + [crash_after(4)]
    supervisor = Supervisor("root", [world.child("a", *bodies)], surroundings=world.around(), limits=limits)
    with pytest.raises(RestartLimit):
        await supervisor.run()
    # At 25 the last 10 s hold the restart of 20, that of 15 being just out; at 29 those of 20 and 25: full.
    assert world.times(ChildEvent.CRASHED, "a") == [5, 10, 15, 20, 25, 29]
    assert world.times(ChildEvent.GAVE_UP, "root") == [29]


async def test_a_supervisor_that_gives_up_is_a_crash_of_that_child(world: World, autojump_clock: Clock) -> None:
    around = world.around()
    inner = Supervisor(
        "inner",
        [world.child("a"), world.child("b", crash_after(1), crash_after(1), sleep)],
        surroundings=around,
        limits=Limits(intensity=1),
    )
    root = Supervisor("root", [world.child("x"), inner.as_child()], surroundings=around)
    async with running(root):
        await trio.sleep(5)
        assert world.lives == {"x": 1, "a": 2, "b": 3}
        node = root.snapshot().children[1]
        assert (node.restarts, node.state) == (1, ChildState.UP)
        assert node.last_crash is not None
        assert node.last_crash.startswith("RestartLimit: inner: more than 1 restarts")
        assert world.in_flight.count == 0


async def test_the_market_is_held_without_a_gap_while_a_subtree_gives_up_and_comes_back(
    world: World, autojump_clock: Clock
) -> None:
    around = world.around()
    inner = Supervisor(
        "inner",
        [world.child("a", stop_within(1)), world.child("b", crash_after(1), sleep)],
        surroundings=around,
        limits=Limits(intensity=0),
    )
    root = Supervisor("root", [inner.as_child()], surroundings=around, limits=Limits(backoff_first_s=3))
    moved: list[float] = []

    async def market() -> None:
        while True:
            await world.in_flight.settled()
            moved.append(trio.current_time())
            await trio.sleep(0.25)

    async with running(root), trio.open_nursery() as nursery:
        nursery.start_soon(market)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [at for at in moved if 1 < at < 5] == [], "it gave up at 1, had stopped at 2, was back at 5"
    assert 0.75 in moved
    assert moved[-1] > 9


async def test_an_account_that_gave_up_is_tried_again_later_and_takes_nobody_down(
    world: World, autojump_clock: Clock
) -> None:
    around = world.around()

    def account(name: str, *lives: Body) -> ChildSpec:
        specs = [world.child(f"broker:{name}", *lives)]
        return Supervisor(name, specs, surroundings=around, limits=Limits(intensity=2)).as_child()

    accounts = Supervisor(
        "accounts",
        [account("bad", *[fail_to_start] * 6, sleep), account("good")],
        surroundings=around,
        retry_given_up_s=60,
    )
    root = Supervisor("root", [accounts.as_child()], surroundings=around)
    async with running(root):
        assert trio.current_time() < 60, "the good account did not wait for the bad one"
        assert world.alive == {"broker:good"}
        assert accounts.snapshot().children[0].state is ChildState.GIVEN_UP
        assert world.in_flight.count == 0
        await trio.sleep(200)
        assert world.alive == {"broker:good", "broker:bad"}
        assert world.in_flight.count == 0
    assert world.lives == {"broker:bad": 7, "broker:good": 1}
    assert world.told(ChildEvent.GAVE_UP) == ["gave up bad"] * 2
    details = [
        detail
        for (_, event, child), detail in zip(world.log, world.details, strict=True)
        if (event, child) == ("restarting", "bad")
    ]
    assert details == ["in 60 s"] * 2


async def test_a_kill_anywhere_in_the_tree_restarts_what_was_killed(world: World, autojump_clock: Clock) -> None:
    around = world.around()
    inner = Supervisor("inner", [world.child("position:A"), world.child("b")], surroundings=around)
    root = Supervisor("root", [world.child("ticker"), inner.as_child()], surroundings=around)
    async with running(root):
        assert root.kill("position:A")
        assert world.in_flight.count == 1, "the market is held from the kill on"
        assert not root.kill("position:A"), "it is being killed already"
        await trio.testing.wait_all_tasks_blocked()
        assert world.lives["position:A"] == 2
        assert world.in_flight.count == 0
        assert not root.kill("position:B")
        assert root.kill("inner")
        await trio.sleep(1)
        assert world.lives == {"ticker": 1, "position:A": 3, "b": 2}
        assert world.in_flight.count == 0
    assert world.told(ChildEvent.KILLED) == ["killed position:A", "killed inner"]


async def test_a_child_can_be_killed_while_it_starts_but_not_while_it_waits(
    world: World, autojump_clock: Clock
) -> None:
    limits = Limits(backoff_first_s=5)
    specs = [world.child("a", crash_after(1), sleep, start_s=2)]
    supervisor = Supervisor("root", specs, surroundings=world.around(), limits=limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(1)
        assert supervisor.snapshot().children[0].state is ChildState.STARTING
        assert supervisor.kill("a")
        await trio.sleep(1)
        assert supervisor.snapshot().children[0].state is ChildState.WAITING
        assert not supervisor.kill("a")
        await trio.sleep(10)
        assert world.times(ChildEvent.STARTED, "a") == [8]
        nursery.cancel_scope.cancel()
    assert not supervisor.kill("a")


async def test_a_child_that_gets_ready_after_it_was_killed_is_not_taken_for_ready(
    world: World, autojump_clock: Clock
) -> None:
    async def ready_in_spite_of_all(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        task_status.started()
        await trio.sleep_forever()

    specs = [world.child("a", ready_in_spite_of_all, sleep), world.child("b")]
    supervisor = Supervisor("root", specs, surroundings=world.around())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(0.5)
        supervisor.kill("a")
        await trio.sleep(5)
        assert world.alive == {"a", "b"}
        nursery.cancel_scope.cancel()
    assert world.told(ChildEvent.STARTED) == ["started a", "started b"]
    assert world.lives == {"a": 2, "b": 1}


async def test_when_a_crash_and_a_kill_come_together_the_crash_wins(world: World, autojump_clock: Clock) -> None:
    async def crash_beside_a_cancel(task_status: trio.TaskStatus[None]) -> None:
        async def helper() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("helper")

        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
            await trio.sleep_forever()

    supervisor = Supervisor("root", [world.child("a", crash_beside_a_cancel, sleep)], surroundings=world.around())
    async with running(supervisor):
        await trio.sleep(1)
        supervisor.kill("a")
        await trio.sleep(1)
        assert world.lives == {"a": 2}
    assert world.told(ChildEvent.CRASHED, ChildEvent.KILLED) == ["crashed a"]


async def test_a_killed_child_that_will_not_end_ends_the_process_before_it_has_a_successor(
    world: World, autojump_clock: Clock
) -> None:
    specs = [world.child("a", stop_within(30), sleep, stop_timeout_s=2)]
    supervisor = Supervisor("root", specs, surroundings=world.around())
    async with running(supervisor):
        supervisor.kill("a")
        await trio.sleep(10)
        assert world.gave_up == ["a did not end within 2 s of being told to"]
        assert world.lives == {"a": 1}
        await trio.sleep(30)
        assert world.lives == {"a": 2}
