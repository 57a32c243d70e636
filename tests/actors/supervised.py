"""What the tests of supervision share: surroundings that write everything down, and children with given lives."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from actors.actor import Actor
from actors.child import (
    ChildEvent,
    ChildSpec,
    Restart,
    Surroundings,
    actor_child,
)
from actors.mailbox import Address, InFlight
from actors.supervision import Supervisor

Clock = trio.testing.MockClock
Body = Callable[["trio.TaskStatus[None]"], Awaitable[None]]


@attrs.define
class World:
    """A tree's surroundings that write everything down, with the time."""

    log: list[tuple[float, str, str]] = attrs.field(factory=list)
    details: list[str] = attrs.field(factory=list)
    gave_up: list[str] = attrs.field(factory=list)
    in_flight: InFlight = attrs.field(factory=InFlight)
    alive: set[str] = attrs.field(factory=set)
    lives: dict[str, int] = attrs.field(factory=dict)

    def around(self) -> Surroundings:
        return Surroundings(
            shield=lambda: trio.CancelScope(shield=True),
            rng=random.Random(1),
            in_flight=self.in_flight,
            on_event=self.observe,
            give_up_process=self.gave_up.append,
        )

    def observe(self, event: ChildEvent, child: str, detail: str) -> None:
        self.log.append((round(trio.current_time(), 3), event.value, child))
        self.details.append(detail)

    def told(self, *events: ChildEvent) -> list[str]:
        """'event child' for the events asked for, in order."""
        wanted = {event.value for event in events}
        return [f"{event} {child}" for _, event, child in self.log if event in wanted]

    def times(self, event: ChildEvent, child: str) -> list[float]:
        return [at for at, what, who in self.log if (what, who) == (event.value, child)]

    def child(self, name: str, *lives: Body, start_s: float = 0.0, **options: Any) -> ChildSpec:
        """A task whose n-th life is the n-th body (the last for ever after); without any it sleeps."""

        async def run(task_status: trio.TaskStatus[None]) -> None:
            assert name not in self.alive, f"two incarnations of {name}"
            self.alive.add(name)
            number = self.lives[name] = self.lives.get(name, 0) + 1
            try:
                await trio.sleep(start_s)
                body = lives[min(number, len(lives)) - 1] if lives else sleep
                await body(task_status)
            finally:
                self.alive.remove(name)

        return ChildSpec(name=name, run=run, **options)


async def sleep(task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


def crash_after(seconds: float, error: BaseException | None = None) -> Body:
    async def body(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(seconds)
        raise error or ValueError(f"crash after {seconds:g} s")

    return body


def return_after(seconds: float) -> Body:
    async def body(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(seconds)

    return body


def stop_within(seconds: float) -> Body:
    """Takes its time to end, whatever the cancel."""

    async def body(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)

    return body


async def fail_to_start(task_status: trio.TaskStatus[None]) -> None:
    raise OSError("no such file")


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[trio.CancelScope]:
    """The supervisor, ready; stopped in order at the end."""
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


class Position(Actor):
    """Handles functions by calling them, and writes down everything else."""

    def __init__(self, address: Address, seen: list[Any]) -> None:
        super().__init__(address)
        self.seen = seen

    async def handle(self, message: Any) -> Any:
        if callable(message):
            return await message(self)
        self.seen.append(message)
        return None


def position(address: Address, seen: list[Any], **options: Any) -> ChildSpec:
    return actor_child(lambda own: Position(own, seen), address, restart=Restart.TRANSIENT, **options)


async def finish(actor: Position) -> None:
    actor.finished = True
