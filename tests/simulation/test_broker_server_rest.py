"""The broker server over HTTP: the same operations, on the same port, with the api key in a header."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import trio

from protocol.broker import CancelGtt, CancelOrder, ModifyGtt, ModifyOrder, Request
from protocol.broker_wire import Refusal, Response, decode_message
from protocol.broker_wire_requests import (
    GetGtts,
    GetHoldings,
    GetMargins,
    GetOrder,
    GetOrders,
    GetPositions,
    GetQuotes,
    GetTrades,
    Read,
)
from protocol.broker_wire_rows import OrderReport
from protocol.orders import GttState, Leg, OrderState, OrderType
from tests.protocol.broker_wire_schema import checked
from tests.simulation.broker_house import KEYS, LAST, House, buy, gtt, house


async def done(running: House, body: Request | Read) -> Response:
    status, answer = await running.call(body)
    assert isinstance(answer, Response), answer
    assert status == 200
    return answer


async def test_every_operation_is_there_over_http() -> None:
    async with house() as running:
        bought = (await done(running, buy("A1"))).order
        assert bought is not None
        resting = await done(running, buy("A2", limit_paise=149_000))
        order_id = resting.order_id or ""
        wanted = ModifyOrder(broker_id=order_id, quantity=5, order_type=OrderType.LIMIT, limit_paise=148_000)
        modified = (await done(running, wanted)).order
        assert modified is not None
        assert (modified.update.quantity, modified.update.limit_paise) == (5, 148_000)
        cancelled = (await done(running, CancelOrder(order_id))).order
        assert cancelled is not None
        assert cancelled.update.state is OrderState.CANCELLED
        assert (await done(running, GetOrders())).orders == (bought, cancelled)
        assert (await done(running, GetOrder(client_order_id="A1"))).order == bought
        assert (await done(running, GetOrder(order_id=order_id))).order == cancelled
        placed = (await done(running, gtt("G1"))).gtt
        assert placed is not None
        stop = Leg(147_000, 145_500)
        moved = ModifyGtt(gtt_id=placed.update.gtt_id, quantity=10, stop=stop, target=None, last_paise=LAST)
        assert (await done(running, moved)).gtt is not None
        ended = (await done(running, CancelGtt(placed.update.gtt_id))).gtt
        assert ended is not None
        assert (ended.update.state, ended.update.stop) == (GttState.CANCELLED, stop)
        assert (await done(running, GetGtts())).gtts == (ended,)
        assert len((await done(running, GetTrades())).trades or ()) == 1
        assert len((await done(running, GetPositions())).positions or ()) == 1
        assert (await done(running, GetHoldings())).holdings == ()
        assert (await done(running, GetMargins())).margins is not None
        assert [quote.last_paise for quote in (await done(running, GetQuotes(("INFY", "TCS")))).quotes or ()] == [LAST]


async def test_an_order_placed_over_http_is_told_over_the_websocket() -> None:
    async with house() as running:
        client = await running.client()
        await done(running, buy("A1"))
        assert (await client.hears(OrderReport)).update.client_id == "A1"


@pytest.mark.parametrize("header", [None, "a wrong key", "Bearer a wrong key"])
async def test_without_its_key_nothing_is_served(header: str | None) -> None:
    async with house() as running:
        headers = {} if header is None else {"Authorization": header}
        answer = await running.http.get("/orders", headers=headers)
        refusal = decode_message(checked("message", answer.text))
        assert isinstance(refusal, Refusal)
        assert (answer.status_code, refusal.code) == (401, "NOT_AUTHENTICATED")


async def test_a_key_may_come_as_a_bearer() -> None:
    async with house() as running:
        answer = await running.http.get("/orders", headers={"Authorization": f"Bearer {KEYS['anna']}"})
        assert answer.status_code == 200


async def test_a_refusal_is_a_400_and_an_unknown_path_a_404() -> None:
    async with house() as running:
        assert (await running.call(CancelOrder("nobody's")))[0] == 400
        answer = await running.http.get("/nowhere", headers={"Authorization": KEYS["anna"]})
        assert answer.status_code == 404
        answer = await running.http.post("/orders", headers={"Authorization": KEYS["anna"]}, content=b"{")
        assert answer.status_code == 400


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (b"hello, is this the broker?\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 4"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n", b"HTTP/1.1 413"),
        (b"GET /" + b"x" * 70_000, b"HTTP/1.1 4"),
        (HANDSHAKE + b"\x00\x01\x02 these are no frames", b"HTTP/1.1 101"),
        (HANDSHAKE + b"\x82\x85\x00\x00\x00\x00\xff\xfe\xfd\xfc\xfb", b"HTTP/1.1 101"),
        (b"", b""),
    ],
    ids=["words", "half an upgrade", "too long a body", "too long a head", "no frames", "binary", "nothing"],
)
async def test_what_is_no_request_at_all_ends_its_own_connection_only(said: bytes, answered: bytes) -> None:
    async with house() as running:
        stream = await trio.open_tcp_stream("127.0.0.1", running.port)
        heard = bytearray()
        with trio.move_on_after(0.2), suppress(trio.BrokenResourceError):
            await stream.send_all(said)
            await stream.send_eof()
            while more := await stream.receive_some():
                heard += more
        await trio.aclose_forcefully(stream)
        assert heard.startswith(answered)
        assert (await running.call(GetOrders()))[0] == 200


# --- the controls ---------------------------------------------------------------------------------------


async def test_prices_limits_and_days_are_set_over_http() -> None:
    async with house() as running:
        await done(running, buy("A1"))
        await running.http.post("/control/limits", json={"TCS": [2700, 3300.05]})
        status = (await running.http.post("/control/prices", json={"TCS": 3000, "INFY": 1510.05})).json()
        assert status["now"] == "2026-01-05T04:30:03Z"
        quotes = (await done(running, GetQuotes(("INFY", "TCS")))).quotes or ()
        assert [(quote.last_paise, quote.upper_circuit_paise) for quote in quotes] == [
            (151_005, 165_000),
            (300_000, 330_005),
        ]
        await running.http.post("/control/day", json={"end": True})
        assert (await running.http.post("/control/day", json={"start": "2026-01-06"})).json()["day"] == "2026-01-06"
        books = (await running.http.get("/control/books?account=anna")).text
        whole = decode_message(checked("message", books))
        assert isinstance(whole, Response)
        assert [holding.t1_quantity for holding in whole.holdings or ()] == [10]
        assert len(whole.orders or ()) == len(whole.trades or ()) == 1


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/control/prices", {"NOSUCH": 1}),
        ("/control/prices", {"INFY": 0}),
        ("/control/prices", {"INFY": "a lot"}),
        ("/control/limits", {"NOSUCH": [1, 2]}),
        ("/control/limits", {"INFY": [1]}),
        ("/control/day", {"start": "2026-01-04"}),
        ("/control/day", {"start": "tomorrow"}),
        ("/trouble", [1]),
    ],
)
async def test_a_control_that_cannot_be_followed_says_why(path: str, content: object) -> None:
    async with house() as running:
        answer = await running.http.post(path, content=json.dumps(content))
        assert answer.status_code == 400
        assert answer.json()["error"]


async def test_an_unknown_control_or_account_is_told() -> None:
    async with house() as running:
        assert (await running.http.get("/control/weather")).status_code == 404
        assert "anna" in (await running.http.get("/control/books?account=carl")).json()["error"]


async def test_every_connection_can_be_cut() -> None:
    async with house() as running:
        client = await running.client()
        assert (await running.http.get("/control/state")).json()["connections"] == ["anna"]
        await running.http.post("/control/disconnect")
        await client.ends()
        assert (await running.http.get("/control/state")).json()["connections"] == []
