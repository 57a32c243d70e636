"""What an address promises: nothing accepted is lost, sending never waits, and who cannot answer says so."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.mailbox import Address, Asked, AskTimeout, Gone, InFlight, Refused
from protocol.messages import Wake


async def test_a_message_stays_in_hand_until_it_is_acknowledged() -> None:
    address = Address("position:A")
    address.post("first")
    address.post("second")
    assert await address.next() == "first"
    assert await address.next() == "first", "an unacknowledged message is given again"
    assert address.depth == 2
    address.ack()
    assert await address.next() == "second"
    address.ack()
    assert address.depth == 0


async def test_a_message_is_stamped_while_it_is_in_hand(autojump_clock: trio.testing.MockClock) -> None:
    address = Address("position:A")
    address.post("message")
    stamps = [address.in_hand_since]
    await trio.sleep(3)
    await address.next()
    stamps.append(address.in_hand_since)
    address.ack()
    stamps.append(address.in_hand_since)
    assert stamps == [None, 3, None]


async def test_an_internal_sender_that_overflows_a_mailbox_is_a_bug_and_is_named() -> None:
    address = Address("order_router:main", capacity=2)
    address.post(1)
    address.post(2)
    with pytest.raises(AssertionError, match=r"order_router:main is full \(2\) at int"):
        address.post(3)
    assert await address.next() == 1, "the overflow itself was not accepted"
    assert address.depth == 2


async def test_what_overflows_from_outside_becomes_one_resync() -> None:
    address = Address("order_router:main", capacity=2)
    for number in range(6):
        address.post_or_resync(number, "resync")
    assert await address.next_batch() == [0, 1, "resync"]
    address.post_or_resync(6, "resync again")  # still full of what is in hand
    address.ack_batch()
    address.post_or_resync(7, "unused")
    assert await address.next_batch() == ["resync again", 7]


async def test_a_newer_value_takes_the_place_of_an_unread_one() -> None:
    address = Address("position:A")
    address.post_latest(1, "rung 1, old")
    address.post("other")
    address.post_latest(2, "rung 2")
    address.post_latest(1, "rung 1, new")
    assert await address.next() == "rung 1, new"
    address.post_latest(1, "rung 1, newest")
    assert await address.next() == "rung 1, new", "a message in hand does not change under the handler"
    seen = []
    for _ in range(3):
        address.ack()
        seen.append(await address.next())
    assert seen == ["other", "rung 2", "rung 1, newest"]
    address.ack()
    assert address.depth == 0


async def test_wakes_merge_until_they_are_read_and_none_is_lost_while_one_is_in_hand() -> None:
    address = Address("position:A", capacity=1)
    address.post("fills the mailbox")
    address.wake(100, 100, 100, 1)
    address.wake(90, 95, 90, 2)
    address.wake(97, 120, 96, 3)
    await address.next()
    address.ack()
    assert await address.next() == Wake(97, 120, 90, 3)
    address.wake(80, 80, 80, 4)
    address.wake(85, 85, 85, 5)
    assert await address.next() == Wake(97, 120, 90, 3)
    address.ack()
    assert await address.next() == Wake(85, 85, 80, 5)
    address.ack()
    assert address.depth == 0


async def test_a_batch_is_everything_that_waits_and_its_questions_can_be_answered_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    address = Address("order_router:main")
    answers: list[object] = []

    async def ask() -> None:
        answers.append(await address.ask("how much?", 5))

    address.post("first")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        address.wake(1, 1, 1, 1)
        batch = await address.next_batch()
        asked = batch[1]
        assert isinstance(asked, Asked)
        assert (batch[0], asked.message, batch[2]) == ("first", "how much?", Wake(1, 1, 1, 1))
        address.ack_batch()
        await trio.sleep(1)
        assert answers == []
        asked.reply(42)
        asked.reply(43)
    assert answers == [42]


async def test_a_batch_that_crashed_comes_whole_once_more_then_one_at_a_time_then_in_batches_again() -> None:
    address = Address("order_router:main")
    for number in (1, 2, 3):
        address.post(number)
    assert await address.next_batch() == [1, 2, 3]
    address.crashed(ValueError("one of them, perhaps"))
    address.post(4)
    assert await address.next_batch() == [1, 2, 3, 4]
    address.crashed(ValueError("one of them"))
    address.post(5)
    for number in (1, 2, 3, 4):
        assert await address.next_batch() == [number]
        address.ack_batch()
    address.post(6)
    assert await address.next_batch() == [5, 6]
    address.ack_batch()
    assert address.depth == 0


async def test_a_batch_whose_second_try_succeeds_leaves_no_suspicion() -> None:
    address = Address("order_router:main")
    for numbers in ([1, 2], [3, 4]):
        for number in numbers:
            address.post(number)
        assert await address.next_batch() == numbers
        address.crashed(ValueError("once"))
        assert await address.next_batch() == numbers
        address.ack_batch()


async def test_a_deferred_batch_is_given_once_nothing_else_is_in_flight_and_has_all_of_the_instant(
    autojump_clock: trio.testing.MockClock,
) -> None:
    in_flight = InFlight()
    position = Address("position:A", in_flight=in_flight)
    router = Address("order_router:main", in_flight=in_flight, deferred=True)
    batches: list[tuple[float, list[object]]] = []

    async def read() -> None:
        batch = await router.next_batch()
        assert router.in_hand_since == trio.current_time()
        batches.append((trio.current_time(), batch))
        router.ack_batch()
        with pytest.raises(Gone):
            await router.next_batch()

    async with trio.open_nursery() as nursery:
        position.post("wake")
        router.post("early")
        nursery.start_soon(read)
        await trio.sleep(1)
        assert router.in_hand_since is None, "waiting for the others is no handling"
        router.post("late")
        await position.next()
        position.ack()
        await trio.sleep(1)
        assert batches == [(1, ["early", "late"])]
        position.post("wake")
        router.post("never read")
        await trio.sleep(1)
        router.close()
        await position.next()
        position.ack()


async def test_a_killed_batch_comes_again_as_a_batch() -> None:
    address = Address("order_router:main")
    address.post(1)
    address.post(2)
    with trio.CancelScope() as scope:
        await address.next_batch()
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            address.crashed(cancelled)
            raise
    address.post(3)
    assert await address.next_batch() == [1, 2, 3]


async def test_three_crashes_over_one_message_make_it_a_dead_letter_with_its_traceback() -> None:
    dead: list[tuple[str, object, str]] = []
    in_flight = InFlight()
    address = Address(
        "position:A",
        in_flight=in_flight,
        dead_letters=lambda *letter: dead.append(letter),
    )
    address.post("poison")
    address.post("good")
    for _ in range(2):
        assert await address.next() == "poison"
        address.crashed(ValueError("bad taste"))
    assert not dead
    assert await address.next() == "poison"
    address.crashed(ValueError("bad taste"))
    [(name, message, text)] = dead
    assert (name, message) == ("position:A", "poison")
    assert "ValueError: bad taste" in text
    assert in_flight.count == 1
    assert await address.next() == "good"
    address.crashed(ValueError("once"))
    assert len(dead) == 1, "the next message starts without guilt"


async def test_cancellation_never_counts_against_a_message_but_a_crash_beside_it_does() -> None:
    dead: list[object] = []
    address = Address("position:A", dead_letters=lambda name, message, text: dead.append(message))
    address.post("message")
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            for _ in range(9):
                await address.next_batch() if address.depth else None
                address.crashed(cancelled)
            assert not dead
            for _ in range(3):
                await address.next()
                address.crashed(BaseExceptionGroup("both", [cancelled, ValueError("mine")]))
            raise
    assert dead == ["message"]


async def test_an_answer_reaches_the_asker_and_no_answer_is_a_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    address = Address("scanner")

    async def answer_the_first() -> None:
        assert await address.next() == "what?"
        address.ack("this")
        await address.next()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_the_first)
        assert await address.ask("what?", 1) == "this"
        started_s = trio.current_time()
        with pytest.raises(AskTimeout, match="scanner did not answer str within 2 s"):
            await address.ask("again?", 2)
        assert trio.current_time() == started_s + 2
        assert address.depth == 1, "the question may still be handled"


async def test_a_dead_lettered_question_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    address = Address("order_router:main")

    async def crash_three_times() -> None:
        for _ in range(3):
            await address.next()
            address.crashed(ValueError("no"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_three_times)
        with pytest.raises(Refused, match="dead letter: order_router:main crashed 3 times over str"):
            await address.ask("reserve", 5)
    assert address.depth == 0


async def test_a_closed_address_is_gone_for_senders_askers_and_its_reader(
    autojump_clock: trio.testing.MockClock,
) -> None:
    in_flight = InFlight()
    address = Address("position:A", in_flight=in_flight)
    errors: list[str] = []

    async def ask() -> None:
        try:
            await address.ask("what?", 5)
        except Gone as gone:
            errors.append(str(gone))

    address.post("in hand")
    await address.next()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        address.close()
        address.close()
    assert errors == ["position:A has finished"]
    assert in_flight.count == 0
    cannot = "position:A has finished: str cannot be delivered"
    with pytest.raises(Gone, match=cannot):
        address.post("m")
    with pytest.raises(Gone, match=cannot):
        address.post_latest(1, "m")
    with pytest.raises(Gone, match=cannot):
        address.post_or_resync("m", "r")
    address.wake(1, 1, 1, 1)
    with pytest.raises(Gone):
        await address.next()
    address.ack()  # the handler that was at work when the address closed
    address.ack_batch()
    address.crashed(ValueError("late"))
    assert (address.depth, in_flight.count) == (0, 0)


async def test_closing_ends_a_reader_that_waits_even_when_a_message_was_on_its_way() -> None:
    address = Address("position:A")
    ended: list[str] = []

    async def read() -> None:
        with pytest.raises(Gone):
            await address.next()
        ended.append("reader")

    async def ask() -> None:
        with pytest.raises(Gone):
            await address.ask("what?", 5)
        ended.append("asker")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await trio.lowlevel.checkpoint()
        address.close()
    assert sorted(ended) == ["asker", "reader"]
    assert address.depth == 0


async def test_a_cancelled_reader_loses_no_message() -> None:
    address = Address("position:A")

    async def read(scope: trio.CancelScope) -> None:
        with scope:
            await address.next()
            await trio.lowlevel.checkpoint()

    for number in range(20):
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, scope)
            await trio.testing.wait_all_tasks_blocked()
            address.post(number)
            scope.cancel()
        assert await address.next() == number
        address.ack()


async def test_a_reader_lets_others_run_at_least_every_64_messages() -> None:
    address = Address("position:A", capacity=300)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for number in range(300):
            address.post(number)
        for number in range(300):
            assert await address.next() == number
            address.ack()
        nursery.cancel_scope.cancel()
    assert turns >= 3


async def test_settled_waits_for_every_acknowledgement_and_only_deferred_for_all_but_the_routers() -> None:
    in_flight = InFlight()
    position = Address("position:A", in_flight=in_flight)
    router = Address("order_router:main", in_flight=in_flight, deferred=True)
    reached: list[str] = []

    async def wait_settled() -> None:
        await in_flight.settled()
        reached.append("settled")

    async def wait_only_deferred() -> None:
        await in_flight.only_deferred()
        reached.append("only deferred")

    position.post("wake")
    router.post("request")
    assert (in_flight.count, in_flight.deferred) == (1, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_settled)
        nursery.start_soon(wait_only_deferred)
        await trio.testing.wait_all_tasks_blocked()
        await position.next()
        assert reached == []
        position.ack()
        await trio.testing.wait_all_tasks_blocked()
        assert reached == ["only deferred"]
        await router.next_batch()
        router.ack_batch()
    assert reached == ["only deferred", "settled"]


async def test_a_hold_keeps_the_market_still_once_per_name() -> None:
    in_flight = InFlight()
    in_flight.hold("ticker")
    in_flight.hold("ticker")
    in_flight.hold("scanner")
    assert in_flight.count == 2
    settled: list[str] = []

    async def wait() -> None:
        await in_flight.settled()
        settled.append("settled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        in_flight.release("ticker")
        in_flight.release("ticker")
        in_flight.release("nobody")
        await trio.testing.wait_all_tasks_blocked()
        assert settled == []
        in_flight.release("scanner")
    assert settled == ["settled"]
    assert in_flight.count == 0
