"""A broker server on a real socket, and plain clients of it, for the tests beside this file.

The market trades INFY (last price 1,500.00, limits 1,350.00 to 1,650.00) and TCS (no price yet), by hand, on a Monday
at ten. Every frame that goes either way is held against the schema.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import TypeVar

import attrs
import httpx
import trio
import trio_websocket

from market.calendar import TradingCalendar
from market.instruments import Instrument, Universe
from protocol.broker import PlaceGtt, PlaceOrder, Request
from protocol.broker_wire import Message, Pong, Refusal, Response, decode_message
from protocol.broker_wire_client import encode_request
from protocol.broker_wire_requests import Auth, Body, Read, UnknownType
from protocol.broker_wire_rest import rest_call
from protocol.clock import NS, at
from protocol.orders import Leg, OrderType, Side
from simulation.broker_exchange import ExchangeOptions, ServerAccount
from simulation.broker_market import ServerMarket
from simulation.broker_server import BrokerServer
from simulation.trouble import Trouble
from tests.protocol.broker_wire_schema import checked

Kind = TypeVar("Kind")

MONDAY = date(2026, 1, 5)
AT_NS = at(MONDAY, 10 * 3600)
LAST = 150_000
PATIENCE_S = 5  # nothing here takes long; a test that waits in vain says so
KEYS = {"anna": "key of anna", "bala": "key of bala"}
SYMBOLS = Universe([Instrument("INFY", 1, 5), Instrument("TCS", 2, 5)])


@attrs.define(eq=False)
class Client:
    """A WebSocket client that only sends and hears. `heard` is what came unasked, oldest first."""

    websocket: trio_websocket.WebSocketConnection
    heard: list[object] = attrs.field(factory=list)
    _ids: count[int] = attrs.field(factory=count)

    async def say(self, text: str) -> None:
        await self.websocket.send_message(text)

    async def next(self) -> Message | UnknownType:
        with trio.fail_after(PATIENCE_S):
            return decode_message(checked("message", str(await self.websocket.get_message())))

    async def ask(self, body: Body) -> Message | UnknownType:
        """Send a request and wait for its answer."""
        request_id = f"R{next(self._ids)}"
        await self.say(checked("request", encode_request(request_id, body, AT_NS)))
        return await self.answer_to(request_id)

    async def answer_to(self, request_id: str) -> Message | UnknownType:
        while True:
            message = await self.next()
            if isinstance(message, (Response, Refusal, Pong)) and message.request_id == request_id:
                return message
            self.heard.append(message)

    async def done(self, body: Body) -> Response:
        """As ask, of something that must succeed."""
        answer = await self.ask(body)
        assert isinstance(answer, Response), answer
        return answer

    async def hears(self, kind: type[Kind]) -> Kind:
        """The next unasked message of a kind."""
        for message in self.heard:
            if isinstance(message, kind):
                self.heard.remove(message)
                return message
        while True:
            message = await self.next()
            if isinstance(message, kind):
                return message
            self.heard.append(message)

    async def silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes for a while."""
        with trio.move_on_after(seconds):
            self.heard.append(decode_message(await self.websocket.get_message()))
            return False
        return True

    async def ends(self) -> None:
        """Wait until the server closes the connection, whatever it says before."""
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    await self.websocket.get_message()
                except trio_websocket.ConnectionClosed:
                    return


@attrs.define(eq=False)
class House:
    """A server that runs, and doors to it."""

    server: BrokerServer
    port: int
    nursery: trio.Nursery
    http: httpx.AsyncClient
    streams: list[trio.SocketStream]

    async def connect(self) -> Client:
        with trio.fail_after(PATIENCE_S):
            self.streams.append(await trio.open_tcp_stream("127.0.0.1", self.port))
            websocket = await trio_websocket.wrap_client_stream(
                self.nursery, self.streams[-1], "127.0.0.1", "/", max_message_size=1 << 24
            )
        return Client(websocket)

    async def client(self, account: str = "anna") -> Client:
        """A connection that is logged in."""
        client = await self.connect()
        await client.done(Auth(KEYS[account]))
        return client

    async def call(self, body: Request | Read, account: str = "anna") -> tuple[int, Message | UnknownType]:
        """A request over HTTP: status and answer."""
        call = rest_call(body, "R1", AT_NS)
        headers = {"Authorization": KEYS[account]}
        answer = await self.http.request(call.method, call.target, content=call.content, headers=headers)
        return answer.status_code, decode_message(checked("message", answer.text))


def new_server(record: Path | None = None, *, cash_paise: int | None = None, min_distance_bp: int = 0) -> BrokerServer:
    accounts = [ServerAccount(name=name, api_key=key, cash_paise=cash_paise) for name, key in KEYS.items()]
    market = ServerMarket(SYMBOLS, TradingCalendar(), start_ns=AT_NS)
    options = ExchangeOptions(gtt_min_distance_bp=min_distance_bp)
    return BrokerServer(accounts, market, record=record, trouble=Trouble("tests"), options=options)


@asynccontextmanager
async def opened(server: BrokerServer) -> AsyncIterator[House]:
    """The server on a free port of the loopback, until the block ends."""
    streams: list[trio.SocketStream] = []
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(server.serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False) as http:
            yield House(server, port, nursery, http, streams)
        nursery.cancel_scope.cancel()
    for stream in streams:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def house(record: Path | None = None, *, cash_paise: int | None = None) -> AsyncIterator[House]:
    """A new server whose market has begun to trade."""
    server = new_server(record, cash_paise=cash_paise)
    server.limits("INFY", 135_000, 165_000)
    server.price("INFY", LAST)
    async with opened(server) as running:
        yield running


def buy(client_id: str, quantity: int = 10, limit_paise: int | None = None, symbol: str = "INFY") -> PlaceOrder:
    return PlaceOrder(
        client_id=client_id,
        symbol=symbol,
        side=Side.BUY,
        quantity=quantity,
        order_type=OrderType.MARKET if limit_paise is None else OrderType.LIMIT,
        limit_paise=limit_paise,
    )


def sell_stop(client_id: str, trigger_paise: int) -> PlaceOrder:
    return PlaceOrder(
        client_id=client_id,
        symbol="INFY",
        side=Side.SELL,
        quantity=10,
        order_type=OrderType.SL_M,
        trigger_paise=trigger_paise,
    )


def gtt(client_id: str, *, target: Leg | None = Leg(157_500, 157_500)) -> PlaceGtt:  # noqa: B008  a frozen value
    return PlaceGtt(
        client_id=client_id, symbol="INFY", quantity=10, stop=Leg(146_250, 144_750), target=target, last_paise=LAST
    )


def seconds_after_start(seconds: int) -> int:
    return AT_NS + seconds * NS
