"""Until the books are compared nothing is sent: who waits, for how long, and what is lost meanwhile is made good."""

from __future__ import annotations

import trio

from protocol.broker import PlaceOrder, Resync, SessionState
from protocol.messages import BooksRead, TellRungs
from protocol.orders import ExitReason, OrderState, Side
from protocol.rungs import Protection
from tests.fakes.router_stage import PRICE, RouterStage, requests_of
from tests.fakes.told_broker import EMPTY


async def entry_sent(told: RouterStage, number: int = 1) -> PlaceOrder:
    await told.say(told.enter(number))
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    return request


async def bought(told: RouterStage) -> PlaceOrder:
    request = await entry_sent(told)
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    return request


async def reconnect(told: RouterStage) -> None:
    await told.disconnect()
    await told.connect()


# --- before the books are compared ------------------------------------------------------------------------


async def test_a_new_incarnation_tells_every_position_how_its_rungs_stand(stage: RouterStage) -> None:
    await stage.open_rung()
    before = stage.rung()
    stage.positions["INFY"].take()
    await stage.die()
    assert stage.rung() == before


async def test_a_position_that_begins_is_told_how_its_rungs_stand(stage: RouterStage) -> None:
    await stage.open_rung()
    stage.positions["INFY"].take()
    await stage.say(TellRungs("INFY"))
    assert stage.rung().protection is Protection.STANDING


async def test_wishes_wait_until_the_books_are_compared_and_exits_come_first(
    made: list[RouterStage], nursery: trio.Nursery
) -> None:
    stage = RouterStage(nursery)
    made.append(stage)
    await stage.begin(connected=False)
    await stage.say(stage.enter(), stage.reserve("TCS"))
    assert stage.orders() == []
    assert stage.refusals() == []
    await stage.connect()
    assert stage.rung().open
    assert [reservation.symbol for reservation in stage.reserved().granted] == ["TCS"]


async def test_what_waits_outlives_the_incarnation_it_was_said_to(told: RouterStage) -> None:
    await bought(told)
    await told.disconnect()
    await told.say(told.leave(ExitReason.SQUARE_OFF))
    await told.die()
    await told.connect()
    assert len(requests_of(PlaceOrder, told.told.take())) == 1


async def test_while_disconnected_nothing_is_sent_and_an_entry_waits_five_seconds_at_most(told: RouterStage) -> None:
    await told.disconnect()
    await told.say(told.enter())
    await told.after(4.9)
    assert told.refusals() == []
    await told.after(0.1)
    assert told.refusals() == ["not connected"]
    await told.connect()
    assert told.told.take() == []


async def test_a_scan_that_waits_too_long_is_answered_with_the_reason(told: RouterStage) -> None:
    await told.disconnect()
    await told.say(told.reserve("INFY", "TCS"))
    assert told.scanner.posted == []
    await told.after(5)
    assert told.reserved().refused == (("INFY", "not connected"), ("TCS", "not connected"))


async def test_an_entry_that_waited_is_sent_at_the_price_of_now(told: RouterStage) -> None:
    await told.disconnect()
    await told.say(told.enter())
    await told.after(2)
    await told.tick(INFY=150_600)
    await told.connect()
    (order,) = told.orders()
    assert (order.decision_paise, order.created_ns) == (150_600, told.clock.now_ns)


async def test_an_entry_whose_price_moved_more_than_max_slippage_expires(told: RouterStage) -> None:
    await told.disconnect()
    await told.say(told.enter())
    await told.after(2)
    await told.tick(INFY=150_800)
    await told.connect()
    assert told.orders() == []
    assert told.refusals() == ["expired: waited 2.0 s, the price moved 0.53 %"]


async def test_exits_and_protection_never_expire(told: RouterStage) -> None:
    await bought(told)
    await told.disconnect()
    await told.say(told.leave())
    await told.after(3600)
    await told.connect()
    (sell,) = requests_of(PlaceOrder, told.told.take())
    assert sell.side is Side.SELL


async def test_while_a_person_has_to_log_in_entries_are_refused_at_once(told: RouterStage) -> None:
    await told.disconnect()
    told.told.state = SessionState.LOGIN_NEEDED
    await told.say(told.enter(), told.reserve("TCS"))
    assert told.refusals() == ["not connected"]
    assert told.reserved().refused == (("TCS", "not connected"),)


async def test_books_that_cannot_be_read_are_asked_for_again(told: RouterStage) -> None:
    told.told.book = None
    await reconnect(told)
    assert (await told.snapshot())["state"] == "RECONCILING"
    told.told.book = EMPTY
    await told.after(5)
    assert (await told.snapshot())["state"] == "TRADING"


async def test_a_reading_that_a_newer_one_has_overtaken_says_nothing(told: RouterStage) -> None:
    request = await entry_sent(told)
    await told.hear(told.told.order(request))
    await told.say(BooksRead(told.memory.readings - 1, EMPTY))
    assert told.orders()[0].state is OrderState.OPEN


async def test_what_was_sent_after_a_reading_began_is_not_missed_in_it(told: RouterStage) -> None:
    told.address.post(Resync("test"))
    (resync,) = await told.address.next_batch()
    await told.router.handle_batch([resync])  # the reading has begun
    await told.router.handle_batch([told.enter()])
    told.address.ack_batch()
    await told.settle()
    assert told.orders()[0].state is OrderState.SENT


async def test_lost_updates_are_made_good_from_the_books(told: RouterStage) -> None:
    request = await entry_sent(told)
    told.told.has(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    await told.hear(Resync("too many"))
    assert told.rung().held == 10
