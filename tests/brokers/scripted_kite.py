"""Kite as a script, for the failures that no honest server shows on demand: HTTP answers made one by one.

Used with a clock that jumps, so that deadlines and pauses cost no time. What was asked stands in `calls`, with the
machine second at which it was asked. The ticker is out of reach here (test_kite_ticker.py has its own).
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import attrs
import httpx
import trio

from brokers.kite import KiteBroker
from brokers.kite_options import KiteOptions
from brokers.kite_token import TokenFile
from effects import Effects, MarketClock
from protocol.broker import Event, Request, RequestFailed, SessionChanged
from protocol.clock import NS, at, ist_text
from protocol.kite_wire import Login
from protocol.orders import Leg

DAY = date(2026, 11, 23)
TEN_NS = at(DAY, 36_000)
SIX_TOMORROW_NS = at(date(2026, 11, 24), 6 * 3600)
STOP = Leg(146_250, 144_750)
TARGET = Leg(157_500, 157_500)

Answer = Callable[["Asked"], Any]


@attrs.frozen
class Asked:
    at_s: float
    method: str
    path: str
    form: dict[str, str]
    token: str


@attrs.frozen
class Reply:
    status: int
    body: Any


def refusal(status: int, error_type: str, message: str) -> Reply:
    return Reply(status, {"status": "error", "error_type": error_type, "message": message})


TIMEOUT = "time-out"
CUT = "cut"
NO_CONNECTION = "no connection"
GARBAGE = Reply(200, b"<html>gateway</html>")


@attrs.define(eq=False)
class ScriptedKite:
    """`data` is what each path answers; `script` holds one-time replies that come first, by (method, path)."""

    data: dict[str, Any] = attrs.Factory(dict)
    script: defaultdict[tuple[str, str], deque[Any]] = attrs.Factory(lambda: defaultdict(deque))
    calls: list[Asked] = attrs.Factory(list)
    ids: int = 0

    def __attrs_post_init__(self) -> None:
        self.data |= {
            "/user/profile": {"user_id": "AB1234", "user_name": "A Trader", "meta": {"demat_consent": "consent"}},
            "/orders": [],
            "/trades": [],
            "/gtt/triggers": [],
            "/portfolio/positions": {"net": [], "day": []},
            "/portfolio/holdings": [],
        }

    def then(self, method: str, path: str, *replies: Any) -> None:
        self.script[method, path].extend(replies)

    def asked(self, method: str, path: str = "") -> list[Asked]:
        return [call for call in self.calls if call.method == method and call.path.startswith(path)]

    async def answer(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode()))
        token = request.headers.get("Authorization", "").rpartition(":")[2]
        asked = Asked(trio.current_time(), request.method, request.url.path, form, token)
        self.calls.append(asked)
        waiting = self.script[asked.method, asked.path]
        reply = waiting.popleft() if waiting else self._usual(asked)
        if callable(reply):
            reply = reply(asked)
        if reply == TIMEOUT:
            await trio.sleep_forever()
        if reply == CUT:
            raise httpx.ReadError("cut")
        if reply == NO_CONNECTION:
            raise httpx.ConnectError("nobody there")
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        return httpx.Response(reply.status, content=body)

    def _usual(self, asked: Asked) -> Reply:
        if asked.method == "GET" and asked.path in self.data:
            return success(self.data[asked.path])
        if asked.method == "GET":
            found = [row for row in self.data["/gtt/triggers"] if asked.path == f"/gtt/triggers/{row['id']}"]
            return success(found[0]) if found else refusal(404, "GeneralException", "no such GTT")
        self.ids += 1
        return success({"order_id": f"9{self.ids}"} if asked.path.startswith("/orders") else {"trigger_id": self.ids})


def success(data: Any) -> Reply:
    return Reply(200, {"status": "success", "data": data})


def order_row(order_id: str, tag: str | None, status: str = "OPEN", filled: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "BUY",
        "product": "CNC",
        "quantity": 10,
        "filled_quantity": filled,
        "average_price": 1500.05 if filled else 0,
        "price": 1500.05,
        "status": status,
        "status_message": None,
        "order_timestamp": "2026-11-23 10:00:01",
        "tag": tag,
        **more,
    }


def gtt_row(gtt_id: int, created_ns: int = TEN_NS, status: str = "active", **more: Any) -> dict[str, Any]:
    legs = [(STOP.trigger_paise, STOP.limit_paise), (TARGET.trigger_paise, TARGET.limit_paise)]
    return {
        "id": gtt_id,
        "type": "two-leg",
        "status": status,
        "created_at": ist_text(created_ns),
        "updated_at": ist_text(created_ns),
        "condition": {
            "exchange": "NSE",
            "tradingsymbol": "INFY",
            "trigger_values": [trigger / 100 for trigger, _ in legs],
            "last_price": 1500,
        },
        "orders": [
            {
                "exchange": "NSE",
                "tradingsymbol": "INFY",
                "transaction_type": "SELL",
                "product": "CNC",
                "order_type": "LIMIT",
                "quantity": 10,
                "price": limit / 100,
                "result": None,
            }
            for _, limit in legs
        ],
        **more,
    }


class Alone(Effects):
    """A world without a network: the ticker never connects, HTTP goes to the script."""

    async def connect_tcp(self, host: str, port: int, *, tls: bool = False) -> trio.abc.Stream:
        raise OSError("no network here")


@attrs.define(eq=False)
class Desk:
    """A Kite broker on a script, and what it said."""

    kite: ScriptedKite
    broker: KiteBroker
    clock: MarketClock
    tokens: TokenFile
    events: list[Event] = attrs.Factory(list)
    lines: list[str] = attrs.Factory(list)
    session: trio.CancelScope = attrs.Factory(trio.CancelScope)

    async def submit(self, *requests: Request, settle_s: float = 0.2) -> list[Event]:
        """Send, and wait; what was said meanwhile."""
        heard = len(self.events)
        self.events += self.broker.submit(requests)
        await trio.sleep(settle_s)
        return self.events[heard:]

    def failures(self) -> list[RequestFailed]:
        return [event for event in self.events if isinstance(event, RequestFailed)]

    def states(self) -> list[tuple[str, str]]:
        return [(event.state.value, event.reason) for event in self.events if isinstance(event, SessionChanged)]

    def log_in(self, access_token: str = "token-1", expires_ns: int = SIX_TOMORROW_NS) -> None:
        self.tokens.write(Login("AB1234", access_token, self.clock.now_ns, expires_ns, True))


@asynccontextmanager
async def desk_at(tmp_path: Path, *, logged_in: bool = True, **options: Any) -> Any:
    """A session of a broker on a script, READY unless nobody has logged in. Market time follows machine time."""
    began_s = trio.current_time()
    clock = MarketClock(source=lambda: TEN_NS + round((trio.current_time() - began_s) * NS))
    chosen = KiteOptions(
        api_key="key",
        api_secret="secret",
        token_file=tmp_path / "kite-token.json",
        **options,
    )
    kite = ScriptedKite()
    lines: list[str] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(kite.answer)) as client:
        broker = KiteBroker(chosen, Alone(market=clock), client, tell=lines.append)
        desk = Desk(kite, broker, clock, TokenFile(chosen.token_file, chosen.api_key), lines=lines)
        if logged_in:
            desk.log_in()
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[None]) -> None:
                with desk.session:
                    await broker.session(desk.events.append, task_status)

            await nursery.start(run)
            await trio.sleep(0.01)
            yield desk
            nursery.cancel_scope.cancel()


def sent_at(calls: Sequence[Asked]) -> list[float]:
    return [call.at_s for call in calls]
