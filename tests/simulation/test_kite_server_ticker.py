"""The Kite server's ticker, and the trouble it and the REST side make when told to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import trio_websocket

from protocol.broker import OrderUpdate
from protocol.clock import NS
from protocol.kite_market import read_instruments
from protocol.kite_orders import read_order, read_orders
from protocol.kite_ticks import OrderPosted, Tick, TickerError, Unreadable, decode, decode_text
from protocol.orders import OrderState
from simulation.kite_market import INDEX_TOKEN
from tests.simulation.kite_desk import (
    INFY_TOKEN,
    KEY,
    LAST,
    TCS_TOKEN,
    Caller,
    Desk,
    make_desk,
    open_caller,
    open_desk,
    order,
)

HEARTBEAT = b"\x00"


class Listener:
    """A client of the ticker, over its socket."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.socket = socket

    async def wish(self, action: str, value: object) -> None:
        await self.socket.send_message(json.dumps({"a": action, "v": value}))

    async def next(self) -> bytes | str:
        """The next frame that is no heartbeat."""
        with trio.fail_after(3):
            while (frame := await self.socket.get_message()) == HEARTBEAT:
                pass
        message: bytes | str = frame
        return message

    async def ended(self) -> bool:
        """Whether the connection ends, whatever comes before."""
        with trio.move_on_after(3):
            try:
                while True:
                    await self.socket.get_message()
            except trio_websocket.ConnectionClosed:
                return True
        return False

    async def tick(self) -> Tick:
        """The next frame, of a single tick."""
        frame = await self.next()
        assert isinstance(frame, bytes)
        (tick,) = decode(frame)
        return tick

    async def told(self) -> OrderUpdate:
        """The next text frame's order."""
        while isinstance(frame := await self.next(), bytes):
            pass
        posted = decode_text(frame)
        assert isinstance(posted, OrderPosted), frame
        return read_order(posted.data)


@asynccontextmanager
async def listening(port: int, token: str) -> AsyncIterator[Listener]:
    resource = f"/?api_key={KEY}&access_token={token}"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        socket = await trio_websocket.wrap_client_stream(nursery, stream, "127.0.0.1", resource)
        yield Listener(socket)
        nursery.cancel_scope.cancel()


async def refusal(port: int, token: str) -> int:
    """The status with which a handshake is refused, 101 when it is not."""
    try:
        async with listening(port, token):
            return 101
    except* trio_websocket.ConnectionRejected as refused:
        (rejected,) = refused.exceptions
        assert isinstance(rejected, trio_websocket.ConnectionRejected)
        status: int = rejected.status_code
    return status


@pytest.fixture
async def at_desk() -> AsyncIterator[tuple[Desk, Caller, int]]:
    desk = make_desk()
    async with open_desk(desk) as port, open_caller(port) as caller:
        yield desk, caller, port


At = tuple[Desk, Caller, int]


# --- the ticker ---------------------------------------------------------------------------------------------


async def test_a_dead_token_gets_no_socket_and_an_open_socket_outlives_its_token(at_desk: At) -> None:
    desk, caller, port = at_desk
    async with listening(port, caller.token) as listener:
        await listener.wish("subscribe", [INFY_TOKEN])
        await listener.next()
        desk.exchange.logins.kill()
        desk.price("INFY", 150_100)
        assert (await listener.tick()).last_price == 150_100
        assert await refusal(port, caller.token) == 403


async def test_a_fourth_connection_is_refused(at_desk: At) -> None:
    desk, caller, port = at_desk
    async with listening(port, caller.token), listening(port, caller.token), listening(port, caller.token):
        assert await refusal(port, caller.token) == 429
        assert len(desk.server.ticker) == 3


async def test_each_mode_has_its_packets_and_a_later_subscription_keeps_the_mode(at_desk: At) -> None:
    desk, caller, port = at_desk
    async with listening(port, caller.token) as listener:
        seen = []
        for mode in ("ltp", "quote", "full"):
            await listener.wish("mode", [mode, [INFY_TOKEN]])
            seen.append(await listener.tick())
        assert [tick.mode for tick in seen] == ["ltp", "quote", "full"]
        assert {tick.last_price for tick in seen} == {LAST}
        full = seen[-1]
        assert full.exchange_timestamp == desk.clock.now_ns // NS
        assert full.depth is not None
        assert full.depth.buy[0].price < LAST < full.depth.sell[0].price
        await listener.wish("subscribe", [INFY_TOKEN])
        assert (await listener.tick()).mode == "full"
        await listener.wish("unsubscribe", [INFY_TOKEN])
        await listener.wish("subscribe", [999])  # unknown tokens are left out without a word
        await listener.wish("subscribe", [TCS_TOKEN])
        desk.price("INFY", 150_500)
        desk.price("TCS", 320_000)
        with trio.fail_after(3):
            assert (await listener.tick()).instrument_token == TCS_TOKEN


async def test_the_index_follows_the_shares(at_desk: At) -> None:
    desk, caller, port = at_desk
    for share in desk.exchange.market.shares:
        share.begin_day(100_000)
    async with listening(port, caller.token) as listener:
        await listener.wish("mode", ["full", [INDEX_TOKEN]])
        desk.price("INFY", 110_000)
        tick = await listener.tick()
        assert (tick.tradable, tick.last_price, tick.exchange_timestamp) == (False, 2_750_000, desk.clock.now_ns // NS)


async def test_a_quiet_line_bears_a_heartbeat(at_desk: At) -> None:
    _, caller, port = at_desk
    async with listening(port, caller.token) as listener:
        with trio.fail_after(5):
            assert await listener.socket.get_message() == HEARTBEAT


@pytest.mark.parametrize("message", ["{", "[]", '{"a":"sing","v":[1]}', '{"a":"mode","v":["loud",[1]]}', b"\xff"])
async def test_a_wish_that_is_none_is_answered_and_forgiven(at_desk: At, message: str | bytes) -> None:
    _, caller, port = at_desk
    async with listening(port, caller.token) as listener:
        await listener.socket.send_message(message)
        complaint = await listener.next()
        assert isinstance(complaint, str)
        assert isinstance(decode_text(complaint), TickerError)
        await listener.wish("subscribe", [INFY_TOKEN])
        assert (await listener.tick()).last_price == LAST


async def test_every_change_of_an_order_is_told_in_full(at_desk: At) -> None:
    desk, caller, port = at_desk
    async with listening(port, caller.token) as listener:
        order_id = await caller.place(order_type="LIMIT", price="1490.00", tag="PA01ABCD000100000001")
        opened = await listener.told()
        await caller.data("PUT", f"/orders/regular/{order_id}", price="1495.00")
        moved = await listener.told()
        desk.price("INFY", 149_500)
        filled = await listener.told()
        assert [update.state for update in (opened, moved, filled)] == [
            OrderState.OPEN,
            OrderState.OPEN,
            OrderState.COMPLETE,
        ]
        assert (moved.limit_paise, filled.value_paise) == (149_500, 10 * 149_500)
        assert {update.client_id for update in (opened, moved, filled)} == {"PA01ABCD000100000001"}
        assert filled == read_orders(await caller.data("GET", "/orders"))[0]


# --- trouble ------------------------------------------------------------------------------------------------


async def test_updates_are_dropped_doubled_turned_round_and_garbled(at_desk: At) -> None:
    _, caller, port = at_desk
    async with listening(port, caller.token) as listener:
        await caller.trouble(drop_update={"times": 1})
        await caller.place(tag="dropped")
        await caller.trouble(duplicate_update={"times": 1})
        await caller.place(tag="doubled")
        await caller.trouble(reorder_update={"times": 1})
        await caller.place(tag="late")
        await caller.place(tag="early")
        assert [(await listener.told()).client_id for _ in range(4)] == ["doubled", "doubled", "early", "late"]
        await caller.trouble(garbage={"times": 1, "only": ["ORDER_UPDATE"]})
        await caller.place(tag="last")
        garbled = await listener.next()
        assert isinstance(garbled, str)
        assert isinstance(decode_text(garbled), Unreadable)
        assert (await listener.told()).client_id == "last"


async def test_a_lost_answer_leaves_an_order_that_nobody_was_told_of(at_desk: At) -> None:
    _, caller, port = at_desk
    await caller.trouble(lose_answer={"times": 1, "only": ["POST /orders"]})
    async with listening(port, caller.token) as listener:
        with pytest.raises(httpx.ReadTimeout):
            await caller.client.post("/orders/regular", data=order(tag="lost"), headers=token_of(caller), timeout=0.2)
        await caller.place(tag="told")
        assert (await listener.told()).client_id == "told"
        rows = await caller.data("GET", "/orders")
        assert [(row["tag"], row["status"]) for row in rows] == [("lost", "COMPLETE"), ("told", "COMPLETE")]


@pytest.mark.parametrize(
    ("trouble", "carried_out"),
    [("disconnect", False), ("disconnect_after", True), ("lose_request", False), ("half_open", False)],
)
async def test_the_line_breaks_before_or_after(at_desk: At, trouble: str, carried_out: bool) -> None:
    _, caller, _ = at_desk
    await caller.trouble(**{trouble: {"times": 1, "only": ["POST /orders"]}})
    with pytest.raises((httpx.ReadTimeout, httpx.RemoteProtocolError)):
        await caller.client.post("/orders/regular", data=order(), headers=token_of(caller), timeout=0.2)
    assert len(await caller.data("GET", "/orders")) == carried_out


@pytest.mark.parametrize(
    ("trouble", "status", "carried_out"),
    [("reject", 400, 0), ("too_many", 429, 0), ("server_error", 502, 0), ("server_error_after", 502, 1)],
)
async def test_refusals_on_purpose(at_desk: At, trouble: str, status: int, carried_out: int) -> None:
    _, caller, _ = at_desk
    await caller.trouble(**{trouble: {"times": 1, "only": ["POST /orders"]}})
    assert (await caller.refused("POST", "/orders/regular", **order()))[0] == status
    assert len(await caller.data("GET", "/orders")) == carried_out


async def test_garbage_instead_of_an_answer(at_desk: At) -> None:
    _, caller, _ = at_desk
    await caller.trouble(garbage={"times": 1, "only": ["GET /orders"]})
    with pytest.raises(ValueError, match="Expecting value"):
        (await caller.ask("GET", "/orders")).json()
    assert await caller.data("GET", "/orders") == []


async def test_an_order_said_to_be_cancelled_can_still_trade_for_a_while(at_desk: At) -> None:
    desk, caller, _ = at_desk
    await caller.trouble(late_fill={"times": 2}, late_fill_ms=1_000)
    first = await caller.place(order_type="LIMIT", price="1490.00")
    second = await caller.place(order_type="LIMIT", price="1480.00")
    for order_id in (first, second):
        await caller.data("DELETE", f"/orders/regular/{order_id}")
        assert (await caller.order(order_id))["status"] == "CANCELLED"
    assert (await caller.refused("PUT", f"/orders/regular/{first}", price=1))[0] == 400
    desk.price("INFY", 149_000)
    assert (await caller.order(first))["status"] == "COMPLETE"
    desk.seconds = 1.0
    desk.price("INFY", 148_000)
    assert ((await caller.order(second))["status"], (await caller.order(second))["filled_quantity"]) == ("CANCELLED", 0)


async def test_a_fill_takes_a_part_when_told_to(at_desk: At) -> None:
    _, caller, _ = at_desk
    await caller.trouble(partial_fill={"times": 1})
    order_id = await caller.place(order_type="LIMIT", price="1505.00", quantity=100)
    row = await caller.order(order_id)
    assert row["status"] == "OPEN"
    assert 0 < row["filled_quantity"] < 100


async def test_a_wrong_lever_changes_nothing(at_desk: At) -> None:
    _, caller, _ = at_desk
    for path, wish in [
        ("/trouble", {"explode": 1}),
        ("/control/prices", {"NOSUCH": 1}),
        ("/control/day", {"start": "2026-11-21"}),
        ("/control/gtt", {"trigger_id": 1, "status": "asleep"}),
    ]:
        assert (await caller.client.post(path, json=wish)).status_code == 400
    assert (await caller.client.post("/control/unknown", json={})).status_code == 404
    state: dict[str, Any] = (await caller.client.get("/control/state")).json()
    assert (state["market_time"], state["logged_in"]) == ("2026-11-20 10:00:01", True)
    assert (await caller.client.delete("/trouble")).json()["on"] == {}


async def test_levers_move_prices_limits_and_days(at_desk: At) -> None:
    desk, caller, port = at_desk
    async with listening(port, caller.token) as listener:
        await listener.wish("mode", ["ltp", [INFY_TOKEN]])
        assert (await listener.tick()).last_price == LAST
        await caller.client.post("/control/prices", json={"INFY": 1501.5})
        assert (await listener.tick()).last_price == 150_150
        await caller.client.post("/control/limits", json={"INFY": [1400, 1600]})
        quote = (await caller.data("GET", "/quote?i=NSE:INFY"))["NSE:INFY"]
        assert (quote["lower_circuit_limit"], quote["upper_circuit_limit"]) == (1400, 1600)
        await caller.client.post("/control/day", json={"end": True})
        assert "closed" in (await caller.order(await caller.place()))["status_message"]
        await caller.client.post("/control/day", json={"start": "2026-11-23"})
        assert desk.exchange.day.isoformat() == "2026-11-23"
        await caller.client.post("/control/token", json={"dead": True})
        assert (await caller.ask("GET", "/orders")).status_code == 403
        await caller.client.post("/control/disconnect")
        assert await listener.ended()


async def test_the_instruments_file_is_read_by_our_own_reader_and_needs_no_login(at_desk: At) -> None:
    _, caller, _ = at_desk
    text = (await caller.client.get("/instruments/NSE")).text
    assert {row.symbol: row.tick_size_paise for row in read_instruments(text)} == {
        "INFY": 5,
        "TCS": 5,
        "NIFTY 50": None,
    }


def token_of(caller: Caller) -> dict[str, str]:
    return {"Authorization": f"token {KEY}:{caller.token}"}
