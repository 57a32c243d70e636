"""The broker server over a real WebSocket: what broker-protocol.md promises a client."""

from __future__ import annotations

import json

import attrs
import pytest

from protocol.broker import CancelGtt, CancelOrder, ModifyGtt, ModifyOrder
from protocol.broker_wire import GttTriggered, Pong, Refusal, Response, Ticks
from protocol.broker_wire_client import encode_batch
from protocol.broker_wire_requests import (
    Auth,
    GetGtts,
    GetHoldings,
    GetMargins,
    GetOrder,
    GetOrders,
    GetPositions,
    GetQuotes,
    GetTrades,
    Mode,
    Ping,
    Subscribe,
    Unsubscribe,
)
from protocol.broker_wire_rows import OrderReport
from protocol.orders import ExitReason, GttState, Leg, OrderState, OrderType
from simulation.broker_exchange import ServerAccount
from simulation.broker_server import BrokerServer
from tests.simulation.broker_house import AT_NS, KEYS, LAST, buy, gtt, house, new_server, seconds_after_start, sell_stop

# --- login ----------------------------------------------------------------------------------------------


async def test_before_a_login_everything_is_refused() -> None:
    async with house() as running:
        client = await running.connect()
        answer = await client.ask(GetOrders())
        assert isinstance(answer, Refusal)
        assert answer.code == "NOT_AUTHENTICATED"
        assert isinstance(await client.ask(Auth(KEYS["anna"])), Response)
        assert isinstance(await client.ask(GetOrders()), Response)


async def test_three_failed_logins_close_the_connection_and_each_is_told() -> None:
    async with house() as running:
        client = await running.connect()
        for _ in range(3):
            answer = await client.ask(Auth("a wrong key"))
            assert isinstance(answer, Refusal)
            assert answer.code == "NOT_AUTHENTICATED"
        await client.ends()


async def test_an_account_sees_and_hears_only_its_own() -> None:
    async with house() as running:
        anna, bala = await running.client("anna"), await running.client("bala")
        placed = await anna.done(buy("A1"))
        assert (await anna.hears(OrderReport)).update.client_id == "A1"
        assert (await bala.done(GetOrders())).orders == ()
        answer = await bala.ask(CancelOrder(placed.order_id or ""))
        assert isinstance(answer, Refusal)
        assert answer.code == "NOT_FOUND"
        assert bala.heard == []


def test_two_accounts_with_one_key_are_refused() -> None:
    accounts = [ServerAccount(name="anna", api_key="same"), ServerAccount(name="bala", api_key="same")]
    with pytest.raises(ValueError, match="same key"):
        BrokerServer(accounts, new_server().market)


async def test_a_ping_is_answered_by_its_pong() -> None:
    async with house() as running:
        client = await running.client()
        assert isinstance(await client.ask(Ping()), Pong)


# --- orders ---------------------------------------------------------------------------------------------


async def test_an_order_is_answered_and_its_fill_told_and_every_book_agrees() -> None:
    async with house() as running:
        client = await running.client()
        answer = await client.done(buy("A1"))
        assert answer.order is not None
        update = await client.hears(OrderReport)
        assert update == answer.order
        order = update.update
        assert (order.state, order.filled, order.value_paise) == (OrderState.COMPLETE, 10, 10 * LAST)
        assert [(fill.quantity, fill.price_paise) for fill in update.fills or ()] == [(10, LAST)]
        assert (await client.done(GetOrders())).orders == (update,)
        assert (await client.done(GetOrder(client_order_id="A1"))).order == update
        assert (await client.done(GetOrder(order_id=order.broker_id))).order == update
        (trade,) = (await client.done(GetTrades())).trades or ()
        assert (trade.broker_id, trade.client_id, trade.quantity, trade.price_paise) == (
            order.broker_id,
            "A1",
            10,
            LAST,
        )
        (position,) = (await client.done(GetPositions())).positions or ()
        assert (position.quantity, position.bought_value_paise) == (10, 10 * LAST)
        assert (await client.done(GetHoldings())).holdings == ()


async def test_a_client_order_id_seen_before_answers_with_the_order_it_has() -> None:
    async with house() as running:
        client = await running.client()
        first = await client.done(buy("A1"))
        again = await client.done(buy("A1", quantity=999))
        assert again.order == first.order
        assert len((await client.done(GetOrders())).orders or ()) == 1


async def test_a_client_order_id_of_an_earlier_day_is_still_known() -> None:
    async with house() as running:
        client = await running.client()
        first = await client.done(buy("A1"))
        running.server.end_of_day()
        running.server.start_of_day("2026-01-06")
        assert (await client.done(buy("A1"))).order_id == first.order_id
        (holding,) = (await client.done(GetHoldings())).holdings or ()
        assert holding.t1_quantity == 10


async def test_the_sequence_of_an_order_rises_with_each_change() -> None:
    async with house() as running:
        client = await running.client()
        order_id = (await client.done(buy("A1", limit_paise=149_000))).order_id or ""
        await client.done(ModifyOrder(broker_id=order_id, quantity=12, order_type=OrderType.LIMIT, limit_paise=149_500))
        running.server.price("INFY", 149_400)
        updates = [await client.hears(OrderReport) for _ in range(3)]
        assert [update.seq for update in updates] == [1, 2, 3]
        assert [update.update.state for update in updates] == [OrderState.OPEN, OrderState.OPEN, OrderState.COMPLETE]
        assert updates[-1].update.value_paise == 12 * 149_400


async def test_a_modification_of_one_field_leaves_the_others() -> None:
    async with house() as running:
        client = await running.client()
        order_id = (await client.done(buy("A1", limit_paise=149_000))).order_id
        envelope = {"type": "MODIFY_ORDER", "request_id": "M1", "timestamp": "2026-01-05T04:30:00Z"}
        await client.say(json.dumps({**envelope, "order_id": order_id, "price": 1491.5}))
        answer = await client.answer_to("M1")
        assert isinstance(answer, Response)
        assert answer.order is not None
        assert (answer.order.update.quantity, answer.order.update.limit_paise) == (10, 149_150)


async def test_a_stop_order_is_pending_until_its_trigger_is_touched() -> None:
    async with house() as running:
        client = await running.client()
        await client.done(buy("A1"))
        waiting = (await client.done(sell_stop("A2", 149_000))).order
        assert waiting is not None
        assert (waiting.update.raw_status, waiting.trigger_paise) == ("PENDING", 149_000)
        running.server.price("INFY", 148_900)
        sold = [await client.hears(OrderReport) for _ in range(3)][-1]
        assert (sold.update.raw_status, sold.update.value_paise) == ("COMPLETE", 10 * 148_900)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (buy("A1", quantity=0), "INVALID_INPUT"),
        (buy("A1", symbol="NOSUCH"), "UNKNOWN_SYMBOL"),
        (CancelOrder("nobody's"), "NOT_FOUND"),
        (CancelGtt("nobody's"), "NOT_FOUND"),
        (GetOrder(client_order_id="nobody's"), "NOT_FOUND"),
    ],
    ids=["quantity", "symbol", "order", "gtt", "read"],
)
async def test_what_cannot_be_done_is_refused_with_a_reason(body: object, code: str) -> None:
    async with house() as running:
        client = await running.client()
        answer = await client.ask(body)  # type: ignore[arg-type]
        assert isinstance(answer, Refusal)
        assert (answer.code, answer.certain) == (code, True)
        assert answer.message


async def test_an_order_the_exchange_will_not_have_is_rejected_and_stays_in_the_book() -> None:
    async with house(cash_paise=LAST) as running:
        client = await running.client()
        answer = await client.done(buy("A1"))
        assert answer.order is not None
        assert answer.order.update.state is OrderState.REJECTED
        assert "margin" in answer.order.update.message
        assert (await client.done(GetOrders())).orders == (answer.order,)
        margins = (await client.done(GetMargins())).margins
        assert margins is not None
        assert margins.available_paise == LAST


async def test_orders_can_be_read_from_an_instant_on() -> None:
    async with house() as running:
        client = await running.client()
        await client.done(buy("A1"))
        running.server.price("INFY", LAST)
        await client.done(buy("A2"))
        later = seconds_after_start(2)
        assert [row.update.client_id for row in (await client.done(GetOrders(later))).orders or ()] == ["A2"]
        assert [row.client_id for row in (await client.done(GetTrades(later))).trades or ()] == ["A2"]


# --- GTTs -----------------------------------------------------------------------------------------------


async def test_a_gtt_that_triggers_is_told_with_its_child_and_the_child_sells() -> None:
    async with house() as running:
        client = await running.client()
        await client.done(buy("A1"))
        placed = (await client.done(gtt("G1"))).gtt
        assert placed is not None
        assert placed.update.state is GttState.ACTIVE
        client.heard.clear()
        running.server.price("INFY", 146_000)
        triggered = await client.hears(GttTriggered)
        child = await client.hears(OrderReport)
        assert (triggered.gtt_id, triggered.leg, triggered.trigger_paise) == (
            placed.update.gtt_id,
            ExitReason.STOP,
            146_250,
        )
        assert triggered.order_id == child.update.broker_id
        assert (child.update.client_id, child.update.gtt_id) == (None, placed.update.gtt_id)
        assert (child.update.state, child.update.value_paise) == (OrderState.COMPLETE, 10 * 146_000)
        (row,) = (await client.done(GetGtts())).gtts or ()
        assert row == triggered.gtt
        assert (row.update.state, row.update.child_id) == (GttState.TRIGGERED, child.update.broker_id)


async def test_a_gtt_is_moved_and_cancelled_by_its_id_and_placed_only_once() -> None:
    async with house() as running:
        client = await running.client()
        gtt_id = (await client.done(gtt("G1"))).gtt_id or ""
        assert (await client.done(gtt("G1"))).gtt_id == gtt_id
        raised = Leg(149_000, 147_500)
        moved = await client.done(ModifyGtt(gtt_id=gtt_id, quantity=8, stop=raised, target=None, last_paise=LAST))
        assert moved.gtt is not None
        assert (moved.gtt.update.stop, moved.gtt.update.target, moved.gtt.update.quantity) == (raised, None, 8)
        cancelled = await client.done(CancelGtt(gtt_id))
        assert cancelled.gtt is not None
        assert cancelled.gtt.update.state is GttState.CANCELLED
        again = await client.ask(CancelGtt(gtt_id))
        assert isinstance(again, Refusal)
        assert again.code == "NOT_WORKING"


# --- batches, prices, bad frames ------------------------------------------------------------------------


async def test_a_batch_is_answered_one_by_one() -> None:
    async with house() as running:
        client = await running.client()
        await client.say(encode_batch("B1", [("R90", buy("A1")), ("R91", CancelOrder("no")), ("R92", Ping())], AT_NS))
        first, second, third = [await client.answer_to(request_id) for request_id in ("R90", "R91", "R92")]
        assert isinstance(first, Response)
        assert isinstance(second, Refusal)
        assert isinstance(third, Pong)


async def test_a_subscriber_hears_the_last_price_at_once_and_then_each_trade() -> None:
    async with house() as running:
        client = await running.client()
        await client.done(Subscribe(("INFY", "TCS"), Mode.QUOTE))
        (known,) = (await client.hears(Ticks)).ticks
        assert (known.symbol, known.last_paise) == ("INFY", LAST)
        running.server.price("TCS", 300_000)
        (tick,) = (await client.hears(Ticks)).ticks
        assert (tick.symbol, tick.last_paise, tick.at_ns) == ("TCS", 300_000, seconds_after_start(2))
        await client.done(Unsubscribe(("TCS",), Mode.QUOTE))
        running.server.price("TCS", 300_100)
        running.server.price("INFY", 150_100)
        assert [tick.symbol for tick in (await client.hears(Ticks)).ticks] == ["INFY"]


async def test_quotes_leave_out_what_has_no_price() -> None:
    async with house() as running:
        client = await running.client()
        (quote,) = (await client.done(GetQuotes(("INFY", "TCS", "NOSUCH")))).quotes or ()
        assert (quote.symbol, quote.last_paise) == ("INFY", LAST)
        assert (quote.lower_circuit_paise, quote.upper_circuit_paise) == (135_000, 165_000)


async def test_bad_frames_are_answered_and_counted_and_the_connection_lives_on() -> None:
    async with house() as running:
        client = await running.client()
        for text in ("{", '{"type": "PLACE_ORDER", "request_id": "R80"}', '{"type": "DANCE", "request_id": "R81"}'):
            await client.say(text)
        refusals = [await client.next() for _ in range(3)]
        assert [(r.request_id, r.code) for r in refusals if isinstance(r, Refusal)] == [
            (None, "MALFORMED"),
            ("R80", "MALFORMED"),
            ("R81", "UNKNOWN_TYPE"),
        ]
        assert isinstance(await client.ask(Ping()), Pong)
        status = running.server.status()
        assert (status["malformed"], status["unknown_types"]) == (2, {"DANCE": 1})


async def test_a_day_order_lapses_at_the_close_and_is_told() -> None:
    async with house() as running:
        client = await running.client()
        placed = (await client.done(buy("A1", limit_paise=149_000))).order
        assert placed is not None
        running.server.end_of_day()
        lapsed = [await client.hears(OrderReport) for _ in range(2)][-1]
        assert lapsed.update.state is OrderState.CANCELLED
        assert attrs.evolve(lapsed, update=placed.update, seq=1) == placed
        refused = await client.done(buy("A2"))
        assert refused.order is not None
        assert "closed" in refused.order.update.message
