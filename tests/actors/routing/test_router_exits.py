"""Exits: protection cancelled and confirmed, then one sell; what rests is moved, and nothing is sold twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date

import attrs

from brokers.paper import PaperOptions
from protocol.broker import CancelGtt, CancelOrder, GttUpdate, ModifyOrder, PlaceGtt, PlaceOrder
from protocol.clock import at
from protocol.orders import ExitReason, GttState, OrderState, OrderType, Side
from protocol.rungs import Protection, RungStatus
from tests.fakes.router_stage import PRICE, RouterStage, requests_of

StageMaker = Callable[..., Awaitable[RouterStage]]


async def bought(told: RouterStage, filled: int = 10) -> PlaceOrder:
    """P1 of INFY at the told broker; the request that bought it."""
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    state = OrderState.COMPLETE if filled == request.quantity else OrderState.PARTIAL
    await told.hear(told.told.order(request, state, filled=filled, price=PRICE))
    return request


async def guarded(told: RouterStage) -> GttUpdate:
    """P1 of INFY with its GTT at the told broker; what the broker said of the GTT."""
    await bought(told)
    await told.say(told.protect())
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    news = told.told.gtt(request)
    await told.hear(news)
    return news


async def selling(told: RouterStage, reason: ExitReason = ExitReason.SAFETY) -> PlaceOrder:
    """The sell of an unprotected P1, on the wire."""
    await told.say(told.leave(reason))
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    return request


# --- cancel, confirm, sell ------------------------------------------------------------------------------


async def test_the_sell_goes_out_only_when_the_cancellation_of_the_stop_is_confirmed(told: RouterStage) -> None:
    news = await guarded(told)
    await told.say(told.leave())
    assert told.told.take() == [CancelGtt(news.gtt_id)]
    assert [order.state for order in told.orders()] == [OrderState.COMPLETE, OrderState.INTENT]
    await told.hear(attrs.evolve(news, state=GttState.CANCELLED))
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    assert (sell.side, sell.quantity, sell.order_type) == (Side.SELL, 10, OrderType.MARKET)


async def test_on_paper_all_of_an_exit_happens_in_its_instant(stage: RouterStage) -> None:
    await stage.open_rung()
    await stage.tick(INFY=151_000)
    await stage.say(stage.leave(ExitReason.SQUARE_OFF))
    rung = stage.trade()
    assert (rung.status, rung.reason, rung.pnl_paise) == (RungStatus.CLOSED, ExitReason.SQUARE_OFF, 10 * 1_000)
    assert rung.exit_ns == stage.clock.now_ns
    assert stage.gtts() == []
    snapshot = await stage.snapshot()
    assert (snapshot["slots"], snapshot["deployed_paise"]) == (0, 0)


async def test_a_gtt_that_turns_out_to_have_fired_is_the_exit(told: RouterStage) -> None:
    news = await guarded(told)
    await told.say(told.leave())
    told.told.take()
    child = told.told.child(news, OrderState.COMPLETE, filled=10, price=146_000)
    await told.hear(attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP), child)
    assert told.told.take() == []
    assert [order.state for order in told.orders(OrderState.EXPIRED)] == [OrderState.EXPIRED]
    assert (told.rung().status, told.rung().reason) == (RungStatus.CLOSED, ExitReason.STOP)


async def test_between_the_trigger_and_its_child_nothing_else_is_sold_or_placed(told: RouterStage) -> None:
    news = await guarded(told)
    await told.say(told.leave())
    told.told.take()
    await told.hear(attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP))
    assert told.rung().protection is Protection.FIRED
    await told.after(1)
    await told.say(told.leave(ExitReason.SQUARE_OFF), told.protect())
    assert told.told.take() == []


async def test_an_exit_waits_for_a_gtt_whose_placing_is_not_answered_yet(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.protect())
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    await told.say(told.leave())
    assert told.told.take() == []
    news = told.told.gtt(request)
    await told.hear(news)
    assert told.told.take() == [CancelGtt(news.gtt_id)]
    await told.hear(attrs.evolve(news, state=GttState.CANCELLED))
    assert len(requests_of(PlaceOrder, told.told.take())) == 1


async def test_an_exit_waits_while_nobody_knows_whether_its_gtt_stands(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.protect())
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    await told.say(told.leave())
    await told.after(1)
    told.told.has()
    await told.disconnect()
    await told.connect()
    assert told.told.take() == []
    await told.after(15)
    assert len(requests_of(PlaceOrder, told.told.take())) == 1


async def test_with_a_slow_paper_exchange_the_steps_come_one_after_the_other(stage_of: StageMaker) -> None:
    stage = await stage_of(options=PaperOptions(latency_ms=200))
    await stage.say(stage.enter())
    await stage.after(0.2)
    await stage.say(stage.protect())
    await stage.after(0.1)
    await stage.say(stage.leave())  # the GTT is on its way
    await stage.after(1)
    assert stage.rung().status is RungStatus.CLOSED
    assert stage.alerts() == []


async def test_a_cancellation_that_fails_is_settled_by_the_books(told: RouterStage) -> None:
    news = await guarded(told)
    await told.after(1)
    await told.say(told.leave())
    (cancel,) = told.told.take()
    child = told.told.child(news, OrderState.COMPLETE, filled=10, price=146_000)
    told.told.has(attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP), child)
    await told.hear(told.told.failed(cancel, "it has triggered"))
    assert told.rung().status is RungStatus.CLOSED
    assert told.told.take() == []


async def test_a_broker_that_refuses_a_cancellation_is_not_asked_without_end_in_one_instant(told: RouterStage) -> None:
    news = await guarded(told)
    await told.after(1)
    told.told.has(news)
    told.told.at_once = lambda request: [told.told.failed(request)]
    await told.say(told.leave())
    assert 1 <= len(told.told.take()) <= 2
    await told.after(60)
    assert 5 <= len(told.told.take()) <= 30
    assert told.rung().exit_working


async def test_an_exit_asked_twice_sells_once(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.leave(), told.leave(ExitReason.PERSON))
    await told.say(told.leave())
    assert len(told.told.take()) == 1


async def test_leaving_a_rung_gives_up_what_its_entry_has_not_bought(told: RouterStage) -> None:
    entry = await bought(told, filled=4)
    await told.say(told.leave())
    cancel, sell = told.told.take()
    assert cancel == CancelOrder(told.told.order(entry).broker_id)
    assert isinstance(sell, PlaceOrder)
    assert sell.quantity == 4


async def test_shares_that_an_entry_buys_while_the_rung_is_sold_are_sold_after(told: RouterStage) -> None:
    entry = await bought(told, filled=4)
    sell = await selling_rest_of(told)
    await told.hear(told.told.order(entry, OrderState.CANCELLED, filled=6, price=PRICE))
    assert told.told.take() == []  # one working sell at a time
    await told.hear(told.told.order(sell, OrderState.COMPLETE, filled=4, price=PRICE))
    (rest,) = told.told.take()
    assert isinstance(rest, PlaceOrder)
    assert (rest.side, rest.quantity) == (Side.SELL, 2)


async def selling_rest_of(told: RouterStage) -> PlaceOrder:
    await told.say(told.leave(ExitReason.SQUARE_OFF))
    (sell,) = requests_of(PlaceOrder, told.told.take())
    assert isinstance(sell, PlaceOrder)
    return sell


# --- resting exits --------------------------------------------------------------------------------------


async def test_an_exit_that_rests_is_moved_three_then_five_percent_then_to_the_limit(told: RouterStage) -> None:
    await bought(told)
    sell = await selling(told)
    news = told.told.order(sell)
    await told.hear(news)
    await told.after(15)
    moves = told.told.take()
    assert [move.limit_paise for move in requests_of(ModifyOrder, moves)] == [145_500, 142_500, 120_000]
    assert {move.order_type for move in requests_of(ModifyOrder, moves)} == {OrderType.LIMIT}
    await told.hear(attrs.evolve(news, state=OrderState.COMPLETE, filled=10, value_paise=10 * 145_500))
    await told.after(60)
    assert told.told.take() == []


async def test_after_twenty_moves_an_exit_is_cancelled_and_replaced_once_for_what_is_left(told: RouterStage) -> None:
    await bought(told)
    sell = await selling(told)
    news = told.told.order(sell, OrderState.PARTIAL, filled=3, price=PRICE)
    await told.hear(news)
    await told.after(20 * 5)
    assert len(requests_of(ModifyOrder, told.told.take())) == 20
    await told.after(5)
    assert told.told.take() == [CancelOrder(news.broker_id)]
    await told.hear(attrs.evolve(news, state=OrderState.CANCELLED))
    (again,) = told.told.take()
    assert isinstance(again, PlaceOrder)
    assert again.quantity == 7
    await told.hear(told.told.order(again))
    await told.after(21 * 5)
    told.told.take()
    await told.hear(told.told.order(again, OrderState.CANCELLED))
    assert told.told.take() == []
    assert told.alerts()[-1].startswith("INFY P1: 7 not sold, its exit is cancelled")


async def test_a_child_that_rests_is_moved_after_trigger_grace_and_never_joined_by_a_second_sell(
    stage: RouterStage,
) -> None:
    await stage.open_rung()
    await stage.after(1)
    await stage.tick(INFY=140_000)  # through the stop's limit of 1,447.85
    assert stage.rung().protection is Protection.FIRED
    assert stage.rung().exit_working
    await stage.say(stage.leave())
    await stage.after(9)
    assert stage.rung().open
    await stage.after(1)
    rung = stage.trade()
    assert (rung.status, rung.reason, rung.proceeds_paise) == (RungStatus.CLOSED, ExitReason.STOP, 10 * 140_000)
    assert len([order for order in stage.orders() if order.side is Side.SELL]) == 1


async def test_a_child_that_the_exchange_rejects_is_replaced_by_a_sell_at_once(told: RouterStage) -> None:
    news = await guarded(told)
    child = told.told.child(news, OrderState.REJECTED)
    await told.hear(attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP), child)
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    assert (sell.quantity, sell.order_type) == (10, OrderType.MARKET)
    await told.hear(told.told.order(sell, OrderState.COMPLETE, filled=10, price=146_000))
    assert told.rung().reason is ExitReason.SAFETY


async def test_a_gtt_that_fired_and_created_nothing_is_sold_once_the_books_have_confirmed_it(
    told: RouterStage,
) -> None:
    news = await guarded(told)
    await told.after(1)
    fired = attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP, at_ns=told.clock.now_ns)
    told.told.has(fired)
    await told.hear(fired)
    await told.after(10)
    assert told.told.take() == []
    await told.after(5)
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    assert told.alerts() == ["INFY P1: its GTT fired and the broker created no order: sold at market"]


async def test_a_target_that_fires_closes_the_rung_as_target(stage: RouterStage) -> None:
    await stage.open_rung()
    await stage.after(1)
    await stage.tick(INFY=158_000)
    rung = stage.trade()
    assert (rung.status, rung.reason, rung.pnl_paise) == (RungStatus.CLOSED, ExitReason.TARGET, 10 * 8_000)


# --- exits that fail ------------------------------------------------------------------------------------


async def test_three_rejections_of_an_exit_stop_it_and_say_what_the_broker_said(told: RouterStage) -> None:
    await bought(told)
    for _ in range(3):
        sell = await selling(told)
        await told.hear(told.told.order(sell, OrderState.REJECTED, message="shares are pledged"))
        await told.after(1)
    assert told.alerts() == ["INFY P1: 3 exits rejected, close it by hand: shares are pledged"]
    await told.say(told.leave())
    assert told.told.take() == []
    assert told.refusals()[-1] == "3 exits were rejected: a person must close it"


async def test_a_person_may_close_what_the_broker_rejected_three_times(told: RouterStage) -> None:
    await bought(told)
    for _ in range(3):
        sell = await selling(told)
        await told.hear(told.told.order(sell, OrderState.REJECTED, message="shares are pledged"))
        await told.after(1)
    await told.say(told.leave(ExitReason.PERSON))
    assert len(told.told.take()) == 1


async def test_an_exit_that_lapses_at_the_close_leaves_the_rung_to_be_protected_again(told: RouterStage) -> None:
    await bought(told)
    sell = await selling(told, ExitReason.SQUARE_OFF)
    news = told.told.order(sell)
    await told.hear(news, attrs.evolve(news, state=OrderState.LAPSED))
    assert told.alerts()[-1].startswith("INFY P1: 10 not sold, its exit is lapsed")
    assert (told.rung().open, told.rung().exit_working, told.rung().protection) == (True, False, Protection.NONE)
    await told.say(told.protect())
    assert len(requests_of(PlaceGtt, told.told.take())) == 1


async def test_an_exit_of_unknown_fate_is_looked_up_and_never_sent_again(told: RouterStage) -> None:
    await bought(told)
    await told.after(1)
    sell = await selling(told)
    told.told.has(told.told.order(sell, OrderState.COMPLETE, filled=10, price=PRICE))
    await told.hear(told.told.failed(sell, "timeout", reached=True))
    assert told.told.take() == []
    assert told.rung().status is RungStatus.CLOSED


async def test_an_exit_that_was_certainly_never_placed_goes_out_again(told: RouterStage) -> None:
    entry = await bought(told)
    await told.after(1)
    sell = await selling(told, ExitReason.SQUARE_OFF)
    told.told.has(told.told.order(entry, OrderState.COMPLETE, filled=10, price=PRICE))
    await told.hear(told.told.failed(sell, "timeout", reached=True))
    await told.after(119)
    assert told.told.take() == []
    await told.after(10)
    (again,) = told.told.take()
    assert isinstance(again, PlaceOrder)
    assert (again.side, again.quantity) == (Side.SELL, 10)
    assert [order.state for order in told.orders()][1] is OrderState.NOT_PLACED


async def test_more_sold_than_held_is_said_aloud_freezes_the_symbol_and_is_never_bought_back(
    told: RouterStage,
) -> None:
    news = await guarded(told)
    await told.say(told.leave())
    told.told.take()
    await told.hear(attrs.evolve(news, state=GttState.CANCELLED))
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    await told.hear(told.told.order(sell, OrderState.COMPLETE, filled=10, price=PRICE))
    child = told.told.child(news, OrderState.COMPLETE, filled=10, price=146_000)
    await told.hear(attrs.evolve(news, state=GttState.TRIGGERED, fired=ExitReason.STOP), child)
    (alert,) = told.alerts()
    assert alert.startswith("oversold: 10 INFY")
    assert (told.trade().sold, told.trade().proceeds_paise) == (10, 10 * PRICE)
    await told.until(at(date(2026, 1, 6), 36_000))
    await told.tick(INFY=PRICE)
    await told.say(told.enter(ladder="INFY-2"))
    assert told.told.take() == []
    assert told.refusals()[-1] == alert
