"""The broker server misbehaves exactly as its switches say, and its books stay true meanwhile."""

from __future__ import annotations

import httpx
import pytest
import trio

from protocol.broker import CancelOrder
from protocol.broker_wire import Pong, Refusal, Response, Ticks, decode_message
from protocol.broker_wire_client import encode_request
from protocol.broker_wire_fields import MalformedFrame
from protocol.broker_wire_requests import GetOrders, GetPositions, Mode, Ping, Subscribe
from protocol.broker_wire_rows import OrderReport
from protocol.orders import OrderState
from tests.simulation.broker_house import AT_NS, KEYS, LAST, Client, House, buy, house


async def orders_of(running: House) -> list[OrderReport]:
    status, answer = await running.call(GetOrders())
    assert isinstance(answer, Response)
    assert status == 200
    return list(answer.orders or ())


async def sent(client: Client, client_id: str = "A1") -> None:
    """Place an order and wait for nothing."""
    await client.say(encode_request("R50", buy(client_id), AT_NS))


@pytest.mark.parametrize(
    ("switch", "accepted"),
    [("lose_request", False), ("lose_answer", True)],
)
async def test_a_request_can_vanish_before_or_after_it_is_carried_out(switch: str, accepted: bool) -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({switch: {"times": 1, "only": ["PLACE_ORDER"]}})
        await sent(client)
        assert await client.silent()
        assert len(await orders_of(running)) == accepted
        again = await client.done(buy("A1"))
        assert again.order is not None
        assert len(await orders_of(running)) == 1


@pytest.mark.parametrize(
    ("switch", "accepted"),
    [("disconnect", False), ("disconnect_after", True)],
)
async def test_a_connection_can_be_cut_before_or_after_a_request_is_carried_out(switch: str, accepted: bool) -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({switch: {"times": 1, "only": ["PLACE_ORDER"]}})
        await sent(client)
        await client.ends()
        assert len(await orders_of(running)) == accepted


@pytest.mark.parametrize(
    ("switch", "code", "certain", "accepted"),
    [
        ("reject", "REFUSED", True, False),
        ("too_many", "RATE_LIMITED", True, False),
        ("server_error", "SERVER_ERROR", False, False),
        ("server_error_after", "SERVER_ERROR", False, True),
    ],
)
async def test_a_request_can_be_refused_or_fail(switch: str, code: str, certain: bool, accepted: bool) -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({switch: {"times": 1}})
        answer = await client.ask(buy("A1"))
        assert isinstance(answer, Refusal)
        assert (answer.code, answer.certain) == (code, certain)
        assert len(await orders_of(running)) == accepted


async def test_a_half_open_connection_swallows_everything_and_a_new_one_works() -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({"half_open": {"times": 1}})
        await client.say(encode_request("R50", Ping(), AT_NS))
        await sent(client)
        assert await client.silent()
        assert await orders_of(running) == []
        assert isinstance(await (await running.client()).ask(Ping()), Pong)


async def test_garbage_comes_before_the_true_answer() -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({"garbage": {"times": 1}})
        await client.say(encode_request("R50", Ping(), AT_NS))
        with pytest.raises(MalformedFrame):
            decode_message(await client.websocket.get_message())
        assert await client.next() == Pong("R50")


async def test_updates_can_be_dropped_doubled_and_swapped() -> None:
    async with house() as running:
        client = await running.client()
        order_id = (await client.done(buy("A1", limit_paise=149_000))).order_id or ""
        assert (await client.hears(OrderReport)).seq == 1

        running.server.trouble.set({"drop_update": {"times": 1}})
        await client.done(buy("A2", limit_paise=148_000))
        assert await client.silent()

        running.server.trouble.set({"duplicate_update": {"times": 1}})
        await client.done(buy("A3", limit_paise=148_500))
        assert await client.hears(OrderReport) == await client.hears(OrderReport)

        running.server.trouble.set({"reorder_update": {"times": 1}})
        running.server.price("INFY", 149_000)
        running.server.price("INFY", 148_500)
        first, second = await client.hears(OrderReport), await client.hears(OrderReport)
        assert [first.update.client_id, second.update.client_id] == ["A3", "A1"]
        assert second.update.broker_id == order_id


async def test_an_update_held_back_for_a_swap_comes_alone_when_nothing_follows() -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({"reorder_update": 1})
        await client.done(buy("A1"))
        assert (await client.hears(OrderReport)).update.state is OrderState.COMPLETE


async def test_the_prices_can_stop_while_the_connection_lives() -> None:
    async with house() as running:
        client = await running.client()
        await client.done(Subscribe(("INFY",), Mode.LTP))
        await client.hears(Ticks)
        running.server.trouble.set({"drop_ticks": 1})
        running.server.price("INFY", 150_100)
        assert isinstance(await client.ask(Ping()), Pong)
        assert client.heard == []


async def test_a_delay_keeps_the_order_of_what_is_said() -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({"delay_ms": 30})
        for number in range(5):
            await client.say(encode_request(f"R6{number}", Ping(), AT_NS))
        assert [await client.next() for _ in range(5)] == [Pong(f"R6{number}") for number in range(5)]


async def test_slow_reading_loses_nothing() -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({"slow_read_ms": 5})
        for number in range(5):
            await client.say(encode_request(f"R6{number}", buy(f"A{number}"), AT_NS))
        assert isinstance(await client.answer_to("R64"), Response)
        assert len(await orders_of(running)) == 5


async def test_a_fill_can_take_a_part_and_the_rest_trades_later() -> None:
    async with house() as running:
        client = await running.client()
        running.server.trouble.set({"partial_fill": {"times": 1}})
        first = (await client.done(buy("A1"))).order
        assert first is not None
        assert first.update.state is OrderState.PARTIAL
        assert 0 < first.update.filled < 10
        running.server.price("INFY", 150_100)
        done = [await client.hears(OrderReport) for _ in range(2)][-1]
        rest = 10 - first.update.filled
        assert done.update.state is OrderState.COMPLETE
        assert done.update.value_paise == first.update.filled * LAST + rest * 150_100
        assert [fill.quantity for fill in done.fills or ()] == [first.update.filled, rest]


async def test_a_fill_can_overtake_a_cancellation() -> None:
    async with house() as running:
        client = await running.client()
        order_id = (await client.done(buy("A1", limit_paise=149_000))).order_id or ""
        running.server.trouble.set({"late_fill": {"times": 1}, "late_fill_ms": 60_000})
        cancelled = (await client.done(CancelOrder(order_id))).order
        assert cancelled is not None
        assert cancelled.update.state is OrderState.CANCELLED
        (row,) = await orders_of(running)
        assert row == cancelled
        running.server.price("INFY", 148_900)
        late = [await client.hears(OrderReport) for _ in range(3)][-1]
        assert (late.update.state, late.update.value_paise) == (OrderState.COMPLETE, 10 * 148_900)
        assert late.seq > cancelled.seq
        _, answer = await running.call(GetPositions())
        assert isinstance(answer, Response)
        assert [position.quantity for position in answer.positions or ()] == [10]


async def test_a_cancelled_order_trades_no_more_when_its_time_is_over() -> None:
    async with house() as running:
        client = await running.client()
        order_id = (await client.done(buy("A1", limit_paise=149_000))).order_id or ""
        running.server.trouble.set({"late_fill": {"times": 1}, "late_fill_ms": 0})
        await client.done(CancelOrder(order_id))
        await trio.testing.wait_all_tasks_blocked(0.01)
        running.server.price("INFY", 148_900)
        (row,) = await orders_of(running)
        assert (row.update.state, row.update.filled) == (OrderState.CANCELLED, 0)


# --- over HTTP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "status", "accepted"),
    [("too_many", 429, 0), ("server_error", 500, 0), ("server_error_after", 500, 1), ("reject", 400, 0)],
)
async def test_over_http_a_failure_has_its_status(switch: str, status: int, accepted: int) -> None:
    async with house() as running:
        running.server.trouble.set({switch: {"times": 1}})
        assert (await running.call(buy("A1")))[0] == status
        assert len(await orders_of(running)) == accepted


@pytest.mark.parametrize(("switch", "accepted"), [("disconnect", 0), ("disconnect_after", 1)])
async def test_over_http_a_connection_can_be_cut_without_an_answer(switch: str, accepted: int) -> None:
    async with house() as running:
        running.server.trouble.set({switch: {"times": 1}})
        with pytest.raises(httpx.RemoteProtocolError):
            await running.call(buy("A1"))
        assert len(await orders_of(running)) == accepted


@pytest.mark.parametrize(("switch", "accepted"), [("lose_request", 0), ("lose_answer", 1), ("half_open", 0)])
async def test_over_http_an_answer_can_fail_to_come(switch: str, accepted: int) -> None:
    async with house() as running:
        running.server.trouble.set({switch: {"times": 1}})
        with trio.move_on_after(0.1) as waited:
            await running.call(buy("A1"))
        assert waited.cancelled_caught
        assert len(await orders_of(running)) == accepted


async def test_over_http_garbage_comes_instead_of_the_answer() -> None:
    async with house() as running:
        running.server.trouble.set({"garbage": {"times": 1}})
        answer = await running.http.get("/orders", headers={"Authorization": KEYS["anna"]})
        with pytest.raises(MalformedFrame):
            decode_message(answer.content)


async def test_trouble_is_set_read_and_cleared_over_http() -> None:
    async with house() as running:
        shown = await running.http.post("/trouble", json={"reject": {"chance": 1, "times": 3}, "delay_ms": 1})
        assert shown.json()["on"]["reject"]["times"] == 3
        assert (await running.call(buy("A1")))[0] == 400
        assert (await running.http.get("/trouble")).json()["happened"] == {"reject": 1}
        wrong = await running.http.post("/trouble", json={"reject": 7, "earthquake": 1})
        assert wrong.status_code == 400
        assert "earthquake" in wrong.json()["error"]
        await running.http.delete("/trouble")
        assert (await running.call(buy("A1")))[0] == 200
