"""Deaths and reconnections: one path, after which journal and broker agree and nothing was sent twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

import attrs

from brokers.paper import PaperOptions
from protocol.broker import CancelGtt, CancelOrder, GttUpdate, ModifyOrder, PlaceGtt, PlaceOrder
from protocol.messages import SetKillSwitch
from protocol.orders import ExitReason, GttState, Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Protection, RungStatus
from tests.fakes.router_stage import PRICE, RouterStage, requests_of

StageMaker = Callable[..., Awaitable[RouterStage]]


async def entry_sent(told: RouterStage, number: int = 1) -> PlaceOrder:
    await told.say(told.enter(number))
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    return request


async def bought(told: RouterStage) -> PlaceOrder:
    request = await entry_sent(told)
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    return request


async def guarded(told: RouterStage) -> tuple[PlaceOrder, GttUpdate]:
    entry = await bought(told)
    await told.say(told.protect())
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    news = told.told.gtt(request)
    await told.hear(news)
    return entry, news


async def reconnect(told: RouterStage) -> None:
    await told.disconnect()
    await told.connect()


# --- the rows of the table: orders ----------------------------------------------------------------------


async def test_a_sent_order_that_the_broker_knows_is_adopted(told: RouterStage) -> None:
    request = await entry_sent(told)
    told.told.has(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    await reconnect(told)
    assert told.rung().held == 10
    assert told.events("reconciled") == ["reconciled"]


async def test_a_sent_order_that_the_broker_does_not_know_is_waited_for_two_minutes(told: RouterStage) -> None:
    await entry_sent(told)
    await reconnect(told)
    assert told.orders()[0].state is OrderState.UNKNOWN
    await told.after(119)
    assert told.orders()[0].state is OrderState.UNKNOWN
    assert told.rung().status is RungStatus.ENTERING  # so the symbol accepts no new entry
    await told.after(6)
    assert told.orders()[0].state is OrderState.NOT_PLACED
    assert told.rung().status is RungStatus.FAILED
    assert requests_of(PlaceOrder, told.told.take()) == []


async def test_an_order_of_unknown_fate_that_turns_up_is_adopted_whatever_has_become_of_it(told: RouterStage) -> None:
    request = await entry_sent(told)
    await told.after(1)
    await told.hear(told.told.failed(request, "timeout", reached=True))
    assert told.orders()[0].state is OrderState.UNKNOWN
    told.told.has(told.told.order(request, OrderState.PARTIAL, filled=3, price=PRICE))
    await told.after(5)
    assert (told.orders()[0].state, told.rung().held) == (OrderState.PARTIAL, 3)


async def test_an_order_that_is_not_placed_for_us_and_works_at_the_broker_is_cancelled(told: RouterStage) -> None:
    request = await entry_sent(told)
    await reconnect(told)
    await told.after(130)
    assert told.orders()[0].state is OrderState.NOT_PLACED
    news = told.told.order(request)
    told.told.has(news)
    await reconnect(told)
    assert told.told.take() == [CancelOrder(news.broker_id)]
    assert told.alerts() == [f"order {request.client_id} was over and works at the broker: cancelled"]


async def test_an_accepted_order_that_the_book_does_not_show_is_unknown_and_said_aloud(told: RouterStage) -> None:
    request = await entry_sent(told)
    await told.hear(told.told.order(request))
    told.told.has()
    await told.after(1)
    await reconnect(told)
    assert told.orders()[0].state is OrderState.UNKNOWN
    assert told.alerts() == [f"order {request.client_id} was accepted and is not in the broker's book"]
    await told.after(20)
    assert len(told.alerts()) == 1


async def test_a_queued_exit_that_was_never_sent_goes_out_after_a_death(told: RouterStage) -> None:
    entry, news = await guarded(told)
    await told.say(told.leave())
    told.told.take()
    told.told.has(
        told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE),
        attrs.evolve(news, state=GttState.CANCELLED),
    )
    await told.memory_is_lost()
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    assert (sell.side, sell.quantity) == (Side.SELL, 10)


async def test_a_queued_exit_whose_protection_still_stands_has_it_cancelled_again(told: RouterStage) -> None:
    entry, news = await guarded(told)
    await told.say(told.leave())
    told.told.take()
    told.told.has(told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE), news)
    await told.die()
    assert told.told.take() == [CancelGtt(news.gtt_id)]


async def test_an_order_that_was_never_sent_and_that_the_broker_knows_is_adopted_with_an_alert(
    told: RouterStage,
) -> None:
    _, news = await guarded(told)
    await told.say(told.leave())
    (order,) = [order for order in told.orders() if order.purpose is Purpose.EXIT]
    assert order.state is OrderState.INTENT
    told.told.take()
    request = PlaceOrder(
        client_id=order.client_id, symbol="INFY", side=Side.SELL, quantity=10, order_type=OrderType.MARKET
    )
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    assert told.rung().status is RungStatus.CLOSED
    assert told.alerts() == [f"the broker knows {order.client_id}, which was not sent: adopted"]
    assert news.gtt_id


async def test_an_order_of_an_earlier_day_has_lapsed(told: RouterStage) -> None:
    request = await entry_sent(told)
    await told.hear(told.told.order(request, OrderState.PARTIAL, filled=4, price=PRICE))
    told.told.has()
    told.clock.advance_to(told.clock.now_ns + 23 * 3600 * 10**9)
    await told.die()
    assert told.orders()[0].state is OrderState.LAPSED
    assert (told.rung().held, told.rung().entry_working) == (4, False)


async def test_an_id_of_ours_that_is_in_no_journal_is_said_aloud_once(told: RouterStage) -> None:
    stranger = f"PA01{told.journal.database_id}000100000099"
    request = PlaceOrder(client_id=stranger, symbol="INFY", side=Side.BUY, quantity=5, order_type=OrderType.MARKET)
    told.told.has(told.told.order(request, OrderState.COMPLETE, filled=5, price=PRICE))
    for _ in range(3):
        await told.after(1)
        await reconnect(told)
    assert told.alerts() == [f"order {stranger} of INFY bears our id and is not in the journal"]
    assert told.events("reconciled") == ["reconciled"]
    assert not told.memory.kill_switch


async def test_an_id_that_another_database_made_switches_entries_off(told: RouterStage) -> None:
    request = PlaceOrder(
        client_id="PA01ZZZZ000100000001", symbol="INFY", side=Side.BUY, quantity=5, order_type=OrderType.MARKET
    )
    told.told.has(told.told.order(request, OrderState.COMPLETE, filled=5, price=PRICE))
    await reconnect(told)
    assert "another machine may be trading this account" in told.alerts()[0]
    await told.say(told.enter())
    assert told.refusals() == ["kill switch is on"]
    await told.ask(SetKillSwitch(False, "a person who has looked"))
    await reconnect(told)
    assert not told.memory.kill_switch


async def test_two_orders_that_bear_one_id_switch_entries_off(told: RouterStage) -> None:
    request = await entry_sent(told)
    news = told.told.order(request)
    await told.hear(news)
    told.told.has(news, attrs.evolve(news, broker_id="ANOTHER"))
    await reconnect(told)
    assert told.memory.kill_switch


async def test_findings_end_once_they_are_settled(told: RouterStage) -> None:
    _, news = await guarded(told)
    entry = told.orders()[0]
    request = PlaceOrder(
        client_id=entry.client_id,
        symbol="INFY",
        side=Side.BUY,
        quantity=10,
        order_type=OrderType.LIMIT,
        limit_paise=entry.limit_paise,
    )
    told.told.has(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE), news)
    commits = told.journal.file.commits
    for _ in range(3):
        await told.after(1)
        await reconnect(told)
    assert told.journal.file.commits == commits
    assert told.told.take() == []
    assert told.notices == []


# --- alarms that died with the process -----------------------------------------------------------------


async def test_a_working_entry_is_given_up_in_time_after_a_death_of_the_process(told: RouterStage) -> None:
    request = await entry_sent(told)
    news = told.told.order(request)
    await told.hear(news)
    told.told.has(news)
    await told.after(20)
    await told.memory_is_lost()
    await told.after(9)
    assert told.told.take() == []
    await told.after(1)
    assert told.told.take() == [CancelOrder(news.broker_id)]


async def test_a_resting_exit_is_escalated_after_a_death_of_the_process(told: RouterStage) -> None:
    entry = await bought(told)
    await told.say(told.leave())
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    news = told.told.order(sell)
    await told.hear(news)
    told.told.has(told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE), news)
    await told.memory_is_lost()
    await told.after(5)
    (move,) = told.told.take()
    assert isinstance(move, ModifyOrder)
    assert move.limit_paise == 145_500


async def test_a_fired_gtts_child_is_escalated_after_a_death_of_the_process(told: RouterStage) -> None:
    entry, news = await guarded(told)
    fired = attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP)
    child = told.told.child(news)
    await told.hear(fired, child)
    told.told.has(told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE), fired, child)
    await told.memory_is_lost()
    await told.after(10)
    (move,) = requests_of(ModifyOrder, told.told.take())
    assert move.broker_id == child.broker_id


async def test_a_childs_fills_are_counted_once_across_deaths(told: RouterStage) -> None:
    entry, news = await guarded(told)
    fired = attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP)
    part = told.told.child(news, OrderState.PARTIAL, filled=4, price=146_000)
    lapsed = attrs.evolve(part, state=OrderState.LAPSED)
    await told.hear(fired, part, lapsed)
    told.told.has(told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE), fired, lapsed)
    await told.memory_is_lost()
    assert (told.rung().sold, told.rung().open) == (4, True)
    assert told.alerts() == ["INFY P1: 6 not sold, its exit is lapsed"]


async def test_a_rung_protected_again_after_its_child_lapsed_is_not_sold_by_a_restart(told: RouterStage) -> None:
    entry, news = await guarded(told)
    fired = attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP)
    lapsed = told.told.child(news, OrderState.LAPSED)
    await told.hear(fired, told.told.child(news), lapsed)
    await told.after(1)
    await told.say(told.protect(stop=140_000))
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    second = told.told.gtt(request)
    await told.hear(second)
    told.told.has(told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE), fired, lapsed, second)
    await told.memory_is_lost()
    await told.after(60)
    assert told.told.take() == []
    assert told.rung().protection is Protection.STANDING


async def test_failed_attempts_are_remembered_across_deaths(told: RouterStage) -> None:
    entry = await bought(told)
    request = await entry_sent(told, number=2)
    await told.hear(told.told.order(request, OrderState.CANCELLED))
    told.told.has(
        told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE),
        told.told.order(request, OrderState.CANCELLED),
    )
    await told.memory_is_lost()
    await told.say(told.enter(2))  # the position does not know of the first attempt either
    assert (told.rung(2).status, told.rung(2).attempts) == (RungStatus.FAILED, 1)
    assert told.told.take() == []


# --- the real paper exchange, the process killed -----------------------------------------------------------


async def test_on_paper_everything_goes_on_where_the_process_died(on_disk: RouterStage) -> None:
    await on_disk.open_rung()
    before = on_disk.trade()
    await on_disk.process_dies()
    assert on_disk.rung() == before
    assert (await on_disk.snapshot())["slots"] == 1
    assert on_disk.notices == []
    await on_disk.after(1)
    await on_disk.tick(INFY=146_000)
    assert (on_disk.rung().status, on_disk.rung().reason) == (RungStatus.CLOSED, ExitReason.STOP)


async def test_on_paper_an_entry_that_was_sent_into_the_death_was_not_placed(
    stage_of: StageMaker, tmp_path: Path
) -> None:
    stage = await stage_of(directory=tmp_path / "var", options=PaperOptions(latency_ms=500))
    await stage.say(stage.enter())
    await stage.process_dies()
    assert [order.state for order in stage.orders()] == [OrderState.UNKNOWN]
    await stage.after(5)
    assert [order.state for order in stage.orders()] == [OrderState.NOT_PLACED]
    assert stage.rung().status is RungStatus.FAILED


async def test_on_paper_an_exit_that_was_sent_into_the_death_is_sold_again(
    stage_of: StageMaker, tmp_path: Path
) -> None:
    stage = await stage_of(directory=tmp_path / "var", options=PaperOptions(latency_ms=500))
    await stage.say(stage.enter())
    await stage.after(1)
    await stage.say(stage.leave(ExitReason.SQUARE_OFF))
    await stage.process_dies()
    await stage.after(6)
    states = [(order.state, order.filled) for order in stage.orders() if order.purpose is Purpose.EXIT]
    assert states == [(OrderState.NOT_PLACED, 0), (OrderState.COMPLETE, 10)]
    assert stage.rung().reason is ExitReason.SQUARE_OFF


async def test_on_paper_a_working_order_of_yesterday_has_lapsed(on_disk: RouterStage) -> None:
    await on_disk.open_rung()
    resting = Order(
        client_id=f"PA01{on_disk.journal.database_id}000100000077",
        key="INFY-1:1:exit:yesterday",
        symbol="INFY",
        side=Side.SELL,
        quantity=10,
        order_type=OrderType.LIMIT,
        limit_paise=200_000,
        purpose=Purpose.EXIT,
        ladder="INFY-1",
        rung=1,
        decision_paise=PRICE,
        created_ns=on_disk.clock.now_ns,
        updated_ns=on_disk.clock.now_ns,
        state=OrderState.OPEN,
        broker_id="P1-9",
        reason=ExitReason.PERSON,
    )
    on_disk.journal.write([resting])
    await on_disk.process_dies(to=date(2026, 1, 6))
    assert on_disk.journal.working_orders() == []
    assert (await on_disk.snapshot())["state"] == "TRADING"
    assert on_disk.rung().protection is Protection.STANDING


async def test_an_exit_in_mid_flight_survives_the_death_of_the_paper_session(stage: RouterStage) -> None:
    await stage.open_rung()
    await stage.disconnect()
    await stage.say(stage.leave(ExitReason.SQUARE_OFF))
    assert stage.rung().open
    await stage.connect()
    assert stage.rung().status is RungStatus.CLOSED
    assert stage.orders(OrderState.REJECTED) == []
