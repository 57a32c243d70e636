"""What an actor may rely on: readiness, order, acknowledgement after the work, and a clean end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actors.actor import Actor, serve
from actors.mailbox import Address, Asked, Gone


class Recording(Actor):
    """Writes down what happens to it; a message that is a function is called with it."""

    def __init__(self, address: Address, log: list[Any]) -> None:
        super().__init__(address)
        self.log = log

    async def recover(self) -> None:
        self.log.append("recover")

    async def started(self) -> None:
        self.log.append("started")

    async def handle(self, message: Any) -> Any:
        self.log.append(message if not callable(message) else "call")
        if callable(message):
            return await message(self)
        return f"{message} handled"


class Batching(Recording):
    batch = True

    async def handle_batch(self, messages: list[Any]) -> None:
        self.log.append([each.message if isinstance(each, Asked) else each for each in messages])
        for message in messages:
            if isinstance(message, Asked):
                message.reply("answered")
            if message == "crash":
                raise ValueError("crash")
            if message == "finish":
                self.finished = True


def made(log: list[Any], kind: type[Recording] = Recording) -> Callable[[Address], Actor]:
    return lambda address: kind(address, log)


async def test_an_actor_is_ready_after_it_recovered_and_before_its_first_message() -> None:
    log: list[Any] = []
    address = Address("a")
    address.post("early")

    class Status:
        def started(self, value: None = None) -> None:
            log.append("ready")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, made(log), address, Status())
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["recover", "ready", "started", "early"]
        nursery.cancel_scope.cancel()


async def test_messages_are_handled_in_order_and_questions_get_the_return_value() -> None:
    log: list[Any] = []
    address = Address("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, made(log), address)
        address.post(1)
        address.post(2)
        assert await address.ask(3, 1) == "3 handled"
        assert log[2:] == [1, 2, 3]
        assert address.depth == 0
        nursery.cancel_scope.cancel()


async def test_a_handler_that_finishes_closes_the_address_and_ends_its_helpers() -> None:
    log: list[Any] = []
    address = Address("a")

    async def helper() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("helper ended")

    async def finish(actor: Recording) -> str:
        actor.nursery.start_soon(helper)
        await trio.testing.wait_all_tasks_blocked()
        actor.finished = True
        return "last words"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, made(log), address)
        assert await address.ask(finish, 1) == "last words"
    assert log == ["recover", "started", "call", "helper ended"]
    with pytest.raises(Gone):
        address.post("too late")


async def test_a_crash_keeps_the_message_for_the_next_incarnation() -> None:
    log: list[Any] = []
    address = Address("a")
    crashes = 0

    async def crash_twice(actor: Recording) -> None:
        nonlocal crashes
        crashes += 1
        if crashes < 3:
            raise ValueError(crashes)
        actor.finished = True

    address.post(crash_twice)
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as caught:
            await serve(made(log), address)
        assert caught.group_contains(ValueError)
        assert address.depth == 1
    await serve(made(log), address)
    assert crashes == 3
    assert address.closed


async def test_a_helpers_crash_kills_the_actor_but_is_not_held_against_the_message() -> None:
    dead: list[Any] = []
    log: list[Any] = []
    address = Address("a", dead_letters=lambda name, message, text: dead.append(message))

    async def fail() -> None:
        raise OSError("helper")

    async def wait_for_a_failing_helper(actor: Recording) -> None:
        actor.nursery.start_soon(fail)
        await trio.sleep_forever()

    address.post(wait_for_a_failing_helper)
    for _ in range(5):
        with pytest.raises(ExceptionGroup) as caught:
            await serve(made(log), address)
        assert caught.group_contains(OSError)
    assert address.depth == 1
    assert not dead


async def test_a_message_that_crashes_three_incarnations_does_not_meet_a_fourth() -> None:
    dead: list[tuple[str, Any, str]] = []
    log: list[Any] = []
    address = Address("a", dead_letters=lambda *letter: dead.append(letter))

    async def crash(actor: Recording) -> None:
        raise ValueError("always")

    async def finish(actor: Recording) -> None:
        actor.finished = True

    address.post(crash)
    address.post(finish)
    for _ in range(3):
        with pytest.raises(ExceptionGroup):
            await serve(made(log), address)
    assert [letter[:2] for letter in dead] == [("a", crash)]
    assert "in crash" in dead[0][2]
    await serve(made(log), address)
    assert address.closed


async def test_a_batch_gets_all_that_waits_and_the_guilty_message_is_told_apart() -> None:
    dead: list[Any] = []
    log: list[Any] = []
    address = Address("a", dead_letters=lambda name, message, text: dead.append(message))
    for message in ("one", "crash", "three"):
        address.post(message)
    for _ in range(5):
        with pytest.raises(ExceptionGroup):
            await serve(made(log, Batching), address)
    address.post("finish")
    await serve(made(log, Batching), address)
    batches = [entry for entry in log if isinstance(entry, list)]
    whole, crash = ["one", "crash", "three"], ["crash"]
    assert batches == [whole, whole, ["one"], crash, crash, crash, ["three"], ["finish"]]
    assert dead == ["crash"]


async def test_a_batch_answers_questions() -> None:
    log: list[Any] = []
    address = Address("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, made(log, Batching), address)
        assert await address.ask("question", 1) == "answered"
        address.post("finish")
    assert address.closed


async def test_closing_an_address_ends_its_actor_without_an_error() -> None:
    log: list[Any] = []
    address = Address("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, made(log), address)
        await trio.testing.wait_all_tasks_blocked()
        address.close()
    assert log == ["recover", "started"]


async def test_an_actor_that_meets_another_closed_address_crashes() -> None:
    log: list[Any] = []
    address, other = Address("a"), Address("other")
    other.close()

    async def send(actor: Recording) -> None:
        other.post("hello")

    address.post(send)
    with pytest.raises(ExceptionGroup) as caught:
        await serve(made(log), address)
    assert caught.group_contains(Gone, match="other has finished")
    assert address.depth == 1


async def test_an_actor_without_a_handler_says_so() -> None:
    address = Address("a")
    address.post("what now")
    with pytest.raises(ExceptionGroup) as caught:
        await serve(Actor, address)
    assert caught.group_contains(NotImplementedError, match="Actor does not say how it handles 'what now'")
