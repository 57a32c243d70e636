"""A Kite server in the hands of a test: two shares, a market clock that only the test moves, clients without Kite.

Used by the test files beside it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

import attrs
import httpx
import trio

from effects import Effects, MarketClock
from market.instruments import Instrument, Universe
from protocol.clock import NS, at
from protocol.kite_wire import answer, headers, session_checksum
from simulation.kite_account import AccountOptions
from simulation.kite_exchange import KiteExchange
from simulation.kite_login import Logins
from simulation.kite_server import KiteServer

KEY, SECRET = "testkey", "testsecret"
DAY = date(2026, 11, 20)
TEN_O_CLOCK_NS = at(DAY, 10 * 3600)
INFY_TOKEN, TCS_TOKEN = 408065, 2953217
LAST = 150_000


@attrs.define(eq=False)
class Desk:
    """The server and its market. `seconds` is its machine clock, for the rate limits."""

    exchange: KiteExchange
    server: KiteServer
    clock: MarketClock
    seconds: float = 0.0

    def price(self, symbol: str, price_paise: int) -> None:
        """One trade, a second after the one before."""
        self.clock.advance_to(self.clock.now_ns + NS)
        self.exchange.price(symbol, price_paise)


def make_desk(
    options: AccountOptions | None = None,
    *,
    record: Path | None = None,
    rate_limits: bool = False,
    now_ns: int = TEN_O_CLOCK_NS,
) -> Desk:
    """INFY at 1,500.00 between 1,350.00 and 1,650.00, TCS without a price; logged out."""
    clock = MarketClock(now_ns)
    universe = Universe([Instrument("INFY", INFY_TOKEN, 5, name="Infosys"), Instrument("TCS", TCS_TOKEN, 5)])
    exchange = KiteExchange(
        universe,
        Effects(market=clock, seed="kite"),
        Logins(KEY, SECRET, "PA0001", Random("tokens")),
        options=options,
        record=record,
        machine_s=lambda: desk.seconds,
    )
    server = KiteServer(exchange, rate_limits=rate_limits, machine_s=lambda: desk.seconds)
    desk = Desk(exchange, server, clock)
    exchange.set_limits("INFY", 135_000, 165_000)
    desk.price("INFY", LAST)
    return desk


@attrs.define(eq=False)
class Caller:
    """A REST client of the server, logged in."""

    client: httpx.AsyncClient
    token: str = ""

    async def ask(self, method: str, target: str, **form: object) -> httpx.Response:
        body = urlencode({name: str(value) for name, value in form.items()})
        return await self.client.request(method, target, content=body, headers=headers(KEY, self.token))

    async def data(self, method: str, target: str, **form: object) -> Any:
        said = await self.ask(method, target, **form)
        assert said.status_code == 200, said.text
        return answer(said.status_code, said.content)

    async def refused(self, method: str, target: str, **form: object) -> tuple[int, str, str]:
        """Status, error type and message of an answer that must be an error."""
        said = await self.ask(method, target, **form)
        envelope = said.json()
        assert envelope["status"] == "error", said.text
        return said.status_code, envelope["error_type"], envelope["message"]

    async def log_in(self) -> None:
        said = await self.client.get("/connect/login", params={"v": "3", "api_key": KEY})
        request_token = httpx.URL(said.headers["location"]).params["request_token"]
        session = await self.data(
            "POST",
            "/session/token",
            api_key=KEY,
            request_token=request_token,
            checksum=session_checksum(KEY, request_token, SECRET),
        )
        self.token = session["access_token"]

    async def trouble(self, **switches: object) -> None:
        said = await self.client.post("/trouble", content=json.dumps(switches))
        assert said.status_code == 200, said.text

    async def place(self, **changed: object) -> str:
        order_id: str = (await self.data("POST", "/orders/regular", **order(**changed)))["order_id"]
        return order_id

    async def order(self, order_id: str) -> dict[str, Any]:
        rows = await self.data("GET", "/orders")
        (row,) = [row for row in rows if row["order_id"] == order_id]
        return dict(row)


def order(**changed: object) -> dict[str, object]:
    """A buy of ten INFY at market."""
    form: dict[str, object] = {
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "BUY",
        "order_type": "MARKET",
        "market_protection": -1,
        "quantity": 10,
        "product": "CNC",
        "validity": "DAY",
    }
    return form | changed


def gtt(
    triggers: tuple[float, ...] = (1462.5, 1575), prices: tuple[float, ...] = (1447.5, 1575), **changed: object
) -> dict[str, str]:
    """A stop and a target for ten INFY; `changed` changes each of its orders."""
    condition = {"exchange": "NSE", "tradingsymbol": "INFY", "trigger_values": list(triggers), "last_price": 1500}
    leg = {
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "SELL",
        "quantity": 10,
        "order_type": "LIMIT",
        "product": "CNC",
    }
    return {
        "type": "single" if len(triggers) == 1 else "two-leg",
        "condition": json.dumps(condition),
        "orders": json.dumps([leg | {"price": price} | changed for price in prices]),
    }


@asynccontextmanager
async def open_desk(desk: Desk) -> AsyncIterator[int]:
    """Serve the desk on a free port of the loopback, whose number is given; then its record is closed."""
    try:
        async with trio.open_nursery() as nursery:
            listeners = await Effects().listen_tcp(0)
            await nursery.start(desk.server.serve, listeners)
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()
    finally:
        desk.exchange.close()


@asynccontextmanager
async def open_caller(port: int, *, logged_in: bool = True) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=2) as client:
        caller = Caller(client)
        if logged_in:
            await caller.log_in()
        yield caller
