"""Supervised actors: children that come and go, messages that outlive them, and the watchdog."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actors.child import (
    ChildEvent,
    ChildState,
    Limits,
)
from actors.mailbox import Address, Gone
from actors.supervision import Supervisor
from tests.actors.supervised import (
    Clock,
    Position,
    World,
    crash_after,
    finish,
    position,
    running,
    sleep,
    stop_within,
)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_child_started_later_is_reached_at_once_and_leaves_when_it_has_finished(
    world: World, autojump_clock: Clock
) -> None:
    positions = Supervisor("positions", surroundings=world.around())
    address = Address("position:A", in_flight=world.in_flight)
    seen: list[Any] = []
    async with running(positions):
        positions.start_child(position(address, seen))
        address.post("early")
        assert positions.has_child("position:A")
        with pytest.raises(ValueError, match="positions already has a child position:A: it is waiting"):
            positions.start_child(position(address, seen))
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["early"]
        address.post(finish)
        await trio.testing.wait_all_tasks_blocked()
        assert not positions.has_child("position:A")
        assert positions.snapshot().children == ()
        assert world.in_flight.count == 0
        with pytest.raises(Gone):
            address.post("late")


async def test_a_new_child_waits_for_the_end_of_the_old_one_of_its_name(world: World, autojump_clock: Clock) -> None:
    positions = Supervisor("positions", surroundings=world.around())
    old, new = (Address("position:A", in_flight=world.in_flight) for _ in range(2))
    seen: list[Any] = []

    async def finish_slowly(actor: Position) -> None:
        async def helper() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            seen.append("old ended")

        actor.nursery.start_soon(helper)
        await trio.lowlevel.checkpoint()
        actor.finished = True

    async with running(positions):
        positions.start_child(position(old, seen))
        old.post(finish_slowly)
        await trio.testing.wait_all_tasks_blocked()
        assert old.closed
        positions.start_child(position(new, seen))
        new.post("for the new one")
        await trio.sleep(0.5)
        assert seen == []
        await trio.sleep(1)
        assert seen == ["old ended", "for the new one"]
        assert positions.has_child("position:A")
        assert world.in_flight.count == 0
        assert await positions.stop_child("position:A")
        assert new.closed


async def test_stop_child_ends_a_child_for_good_in_whatever_state_it_is(world: World, autojump_clock: Clock) -> None:
    limits = Limits(backoff_first_s=50)
    supervisor = Supervisor("root", [world.child("static")], surroundings=world.around(), limits=limits)
    async with running(supervisor):
        supervisor.start_child(world.child("slow to end", stop_within(1)))
        supervisor.start_child(world.child("starting", start_s=99))
        supervisor.start_child(world.child("waiting", crash_after(0)))
        await trio.sleep(1)
        assert await supervisor.stop_child("slow to end")
        assert trio.current_time() == 2
        assert await supervisor.stop_child("starting")
        assert await supervisor.stop_child("waiting")
        assert await supervisor.stop_child("static")
        assert not await supervisor.stop_child("static")
        assert not await supervisor.stop_child("nobody")
        await trio.sleep(200)
        assert not world.alive
        assert world.in_flight.count == 0
        supervisor.start_child(world.child("static"))
        await trio.testing.wait_all_tasks_blocked()
        assert world.alive == {"static"}


async def test_children_started_later_outlive_their_supervisor(world: World, autojump_clock: Clock) -> None:
    around = world.around()
    positions = Supervisor("positions", surroundings=around)
    root = Supervisor("root", [positions.as_child()], surroundings=around)
    positions.start_child(world.child("before"))
    address = Address("position:A", in_flight=world.in_flight)
    seen: list[Any] = []
    async with running(root):
        positions.start_child(position(address, seen))
        await trio.testing.wait_all_tasks_blocked()
        assert "before" in world.alive
        root.kill("positions")
        address.post("while it is away")
        await trio.sleep(1)
        assert seen == ["while it is away"]
        assert world.lives == {"before": 2}
        assert world.in_flight.count == 0


async def test_a_kill_delivers_the_message_in_hand_again_and_never_makes_it_a_dead_letter(
    world: World, autojump_clock: Clock
) -> None:
    dead: list[Any] = []
    address = Address("a", in_flight=world.in_flight, dead_letters=lambda name, message, text: dead.append(message))
    begun: list[trio.Event] = [trio.Event() for _ in range(8)]
    tries = iter(begun)

    async def slow(actor: Position) -> None:
        next(tries).set()
        await trio.sleep(1)

    supervisor = Supervisor("root", [position(address, [])], surroundings=world.around())
    async with running(supervisor):
        address.post(slow)
        for number in range(7):
            await begun[number].wait()
            assert supervisor.kill("a")
            assert world.in_flight.count == 2, "the message and the hold"
        await begun[7].wait()
        await trio.sleep(2)
        assert (dead, address.depth, world.in_flight.count) == ([], 0, 0)


async def test_a_handler_past_its_deadline_is_cancelled_and_counts_against_the_message(
    world: World, autojump_clock: Clock
) -> None:
    dead: list[tuple[str, Any, str]] = []
    address = Address("a", in_flight=world.in_flight, dead_letters=lambda *letter: dead.append(letter))
    seen: list[Any] = []
    tries: list[float] = []

    async def hang(actor: Position) -> None:
        tries.append(trio.current_time())
        await trio.sleep_forever()

    inner = Supervisor(
        "inner",
        [position(address, seen, handler_timeout_s=3)],
        surroundings=world.around(),
        limits=Limits(backoff_base_s=0),
    )
    root = Supervisor("root", [inner.as_child()], surroundings=world.around())
    async with running(root):
        await trio.sleep(1)
        address.post(hang)
        address.post("next")
        await trio.sleep(20)
    assert tries == [1, 4, 7], "the deadline is exact"
    assert seen == ["next"]
    assert world.times(ChildEvent.HUNG, "a") == [4, 7, 10]
    assert [letter[:2] for letter in dead] == [("a", hang)]
    assert "in hang" in dead[0][2], "the traceback shows where it hung"


async def test_a_handler_that_was_late_but_done_leaves_no_guilt_behind(world: World, autojump_clock: Clock) -> None:
    dead: list[Any] = []
    address = Address("a", in_flight=world.in_flight, dead_letters=lambda _, message, text: dead.append(message))
    begun: list[trio.Event] = [trio.Event() for _ in range(4)]
    tries = iter(begun)

    async def late(actor: Position) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(4)

    async def innocent(actor: Position) -> None:
        next(tries).set()
        await trio.sleep(1)

    specs = [position(address, [], handler_timeout_s=3)]
    supervisor = Supervisor("root", specs, surroundings=world.around())
    async with running(supervisor):
        address.post(late)
        address.post(innocent)
        for number in range(3):
            await begun[number].wait()
            supervisor.kill("a")
        await begun[3].wait()
        await trio.sleep(2)
    assert world.told(ChildEvent.HUNG) == ["hung a"]
    assert (dead, address.depth) == ([], 0)


async def test_a_long_row_of_short_messages_is_not_taken_for_a_hanging_one(world: World, autojump_clock: Clock) -> None:
    address = Address("a", in_flight=world.in_flight)
    handled = 0

    async def short(actor: Position) -> None:
        nonlocal handled
        await trio.sleep(1)
        handled += 1

    specs = [position(address, [], handler_timeout_s=1.5)]
    async with running(Supervisor("root", specs, surroundings=world.around())):
        for _ in range(50):
            address.post(short)
        await trio.sleep(51)
    assert handled == 50
    assert world.told(ChildEvent.HUNG) == []


async def test_the_tree_can_be_seen(world: World, autojump_clock: Clock) -> None:
    address = Address("position:A", in_flight=world.in_flight)
    around = world.around()
    inner = Supervisor("inner", [position(address, [])], surroundings=around)
    root = Supervisor("root", [world.child("task", crash_after(1), sleep), inner.as_child()], surroundings=around)
    async with running(root):
        await trio.sleep(2)
        tree = root.snapshot()
        assert (tree.name, tree.kind, tree.state) == ("root", "supervisor", ChildState.UP)
        task, below = tree.children
        assert (task.kind, task.restarts, task.up_since_s, task.last_crash_s) == ("task", 1, 1, 1)
        assert task.last_crash == "ValueError: crash after 1 s"
        assert (below.kind, below.up_since_s) == ("supervisor", 0)
        [actor] = below.children
        assert (actor.name, actor.kind, actor.depth, actor.state) == ("position:A", "actor", 0, ChildState.UP)
    assert root.snapshot().children[0].state is ChildState.STOPPED
