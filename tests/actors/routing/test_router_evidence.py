"""Evidence: a fill counts however late it comes, nonsense is set aside, and what is a person's is left alone."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from protocol.broker import PlaceOrder
from protocol.orders import ExitReason, OrderState, OrderType, Side
from protocol.rungs import RungStatus
from tests.fakes.router_stage import PRICE, RouterStage, requests_of


async def bought(told: RouterStage, filled: int = 10) -> PlaceOrder:
    """P1 of INFY at the told broker; the request that bought it."""
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    state = OrderState.COMPLETE if filled == request.quantity else OrderState.PARTIAL
    await told.hear(told.told.order(request, state, filled=filled, price=PRICE))
    return request


async def selling(told: RouterStage, reason: ExitReason = ExitReason.SAFETY) -> PlaceOrder:
    """The sell of an unprotected P1, on the wire."""
    await told.say(told.leave(reason))
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    return request


# --- late fills -----------------------------------------------------------------------------------------


async def given_up(told: RouterStage, number: int = 1, filled: int = 0) -> PlaceOrder:
    """An entry of INFY that was cancelled with so much of it filled."""
    await told.say(told.enter(number))
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    await told.hear(told.told.order(request, OrderState.CANCELLED, filled=filled, price=PRICE if filled else 0))
    return request


async def test_a_late_fill_enlarges_its_open_rung(told: RouterStage) -> None:
    request = await given_up(told, filled=4)
    await told.hear(told.told.order(request, OrderState.CANCELLED, filled=7, price=PRICE))
    assert (told.rung().quantity, told.rung().cost_paise) == (7, 7 * PRICE)
    assert told.orders()[0].state is OrderState.LATE_FILL
    assert told.told.take() == []


async def test_a_late_fill_opens_its_rung_while_the_ladder_lives(told: RouterStage) -> None:
    await bought(told)
    request = await given_up(told, number=2)
    assert told.rung(2).status is RungStatus.FAILED
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    assert (told.rung(2).status, told.rung(2).held) == (RungStatus.OPEN, 10)


async def test_a_late_fill_of_a_ladder_that_is_over_is_a_rung_of_its_own_sold_at_market(told: RouterStage) -> None:
    request = await given_up(told)
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    assert (sell.side, sell.quantity, sell.order_type) == (Side.SELL, 10, OrderType.MARKET)
    await told.hear(told.told.order(sell, OrderState.COMPLETE, filled=10, price=151_000))
    own = told.trade(11)
    assert (own.status, own.reason, own.pnl_paise) == (RungStatus.CLOSED, ExitReason.SAFETY, 10 * 1_000)
    assert told.alerts() == ["INFY: 10 bought by an entry that was over are sold at market"]
    assert told.rung().status is RungStatus.FAILED


async def test_a_late_fill_of_a_rung_that_was_entered_again_does_not_touch_the_second_entry(
    told: RouterStage,
) -> None:
    await bought(told)
    first = await given_up(told, number=2)
    await told.after(60)
    await told.tick(INFY=PRICE)
    await told.say(told.enter(2, attempt=2))
    (second,) = told.told.take()
    assert isinstance(second, PlaceOrder)
    await told.hear(told.told.order(first, OrderState.COMPLETE, filled=10, price=PRICE))
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    assert sell.side is Side.SELL
    await told.hear(told.told.order(second, OrderState.COMPLETE, filled=10, price=PRICE))
    assert (told.rung(2).held, told.rung(2).entry_order) == (10, second.client_id)
    assert (await told.snapshot())["slots"] == 3


async def test_a_late_fill_is_known_even_when_the_order_has_left_the_memory(told: RouterStage) -> None:
    request = await given_up(told)
    await told.die()
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    assert len(requests_of(PlaceOrder, told.told.take())) == 1
    assert told.trade(11).held == 10


async def test_the_sell_of_a_late_fill_goes_on_after_a_death(told: RouterStage) -> None:
    request = await given_up(told)
    await told.disconnect()
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    await told.die()
    await told.connect()
    sells = [r for r in requests_of(PlaceOrder, told.told.take()) if r.side is Side.SELL]
    assert len(sells) == 1


async def test_an_entry_that_fills_when_its_position_has_finished_is_sold(told: RouterStage) -> None:
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    told.positions["INFY"].close()
    await told.hear(told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    assert sell.side is Side.SELL
    assert told.alerts() == ["INFY P1 was bought and no position watches it: sold"]


# --- what cannot be, and what is not ours ------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonsense",
    [{"filled": 11, "value_paise": 11 * PRICE}, {"symbol": "TCS"}, {"side": Side.SELL}, {"quantity": 100}],
)
async def test_an_impossible_update_is_set_aside_told_once_and_compared_with_the_books(
    told: RouterStage, nonsense: dict[str, Any]
) -> None:
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    await told.after(1)
    news = told.told.order(request)
    told.told.has(news)
    readings = told.told.readings
    for _ in range(3):
        await told.hear(attrs.evolve(news, **nonsense))
    (alert,) = told.alerts()
    assert alert.startswith("impossible news from the broker, set aside: ")
    assert told.told.readings == readings + 1
    assert told.events("quarantined") == ["quarantined"]
    assert (told.orders()[0].state, told.orders()[0].filled) == (OrderState.OPEN, 0)


async def test_a_persons_own_orders_are_left_alone(told: RouterStage) -> None:
    request = PlaceOrder(client_id="", symbol="INFY", side=Side.BUY, quantity=5, order_type=OrderType.MARKET)
    own = told.told.order(request, OrderState.COMPLETE, filled=5, price=PRICE, client_id=None, broker_id="OWN")
    told.told.has(own)
    await told.hear(own)
    await told.disconnect()
    await told.connect()
    assert told.orders() == []
    assert told.alerts() == []
    assert (await told.snapshot())["slots"] == 0


async def test_an_update_that_comes_twice_changes_nothing_the_second_time(told: RouterStage) -> None:
    request = await bought(told)
    sell = await selling(told)
    news = told.told.order(sell, OrderState.COMPLETE, filled=10, price=PRICE)
    await told.hear(news)
    commits = told.journal.file.commits
    await told.hear(news, told.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    assert told.journal.file.commits == commits
