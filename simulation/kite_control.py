"""The Kite server's levers: what a test or a person at a second terminal may do to it while it runs.

Owns the paths /trouble and /control, which Kite does not have and which need no login (the server listens on the
loopback only). Never part of the wire under test. Called by kite_server.py.

POST /trouble, GET /trouble, DELETE /trouble    switches for trouble (trouble.py)
POST /control/prices     {"INFY": 1500.05}      one trade each
POST /control/limits     {"INFY": [1350, 1650]} the day's circuit limits
POST /control/day        {"end": true} or {"start": "2026-01-06"}
POST /control/disconnect {}                     cut every ticker connection
POST /control/token      {"dead": true}         the access token is dead from now on
POST /control/static_ip  {"refused": true}      orders are refused for their address
POST /control/gtt        {"trigger_id": 1, "status": "disabled"}
GET  /control/state      market time, login, connections
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from protocol.clock import ist_text
from protocol.errors import RemoteProtocolError
from protocol.kite_values import decode_json
from simulation.kite_exchange import KiteExchange
from simulation.kite_refusal import Refused, bad_input, paise
from simulation.kite_routes import JSON_TYPE, KiteRoutes, error_answer
from simulation.kite_ticker import Ticker
from simulation.one_port import HttpAnswer, HttpRequest
from simulation.trouble import TroubleError

GTT_ENDS = ("disabled", "expired", "cancelled", "rejected")


def is_control(request: HttpRequest) -> bool:
    return request.target.split("/")[1:2] in (["trouble"], ["control"])


class KiteControl:
    def __init__(self, exchange: KiteExchange, routes: KiteRoutes, ticker: Ticker) -> None:
        self._exchange = exchange
        self._routes = routes
        self._ticker = ticker

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Pull a lever. What is wrong is answered with 400 and changes nothing."""
        try:
            said = self._pull(request.method, request.target.partition("?")[0], _wish(request))
        except TroubleError as wrong:
            return error_answer(bad_input(str(wrong)))
        except Refused as refused:
            return error_answer(refused)
        return HttpAnswer(200, json.dumps(said).encode(), JSON_TYPE)

    def _pull(self, method: str, path: str, wish: dict[str, Any]) -> object:
        exchange, trouble = self._exchange, self._exchange.trouble
        match method, path:
            case "POST", "/trouble":
                trouble.set(json.loads(json.dumps(wish, default=float)))
            case "DELETE", "/trouble":
                trouble.clear()
            case "POST", "/control/prices":
                prices = {self._known(symbol): paise(price, symbol) for symbol, price in wish.items()}
                for symbol, price_paise in prices.items():
                    exchange.price(symbol, price_paise)
            case "POST", "/control/limits":
                for symbol, (lower, upper) in wish.items():
                    exchange.set_limits(self._known(symbol), paise(lower, symbol), paise(upper, symbol))
            case "POST", "/control/day":
                self._turn_the_day(wish)
            case "POST", "/control/disconnect":
                self._ticker.cut_all()
            case "POST", "/control/token":
                exchange.logins.kill()
            case "POST", "/control/static_ip":
                self._routes.static_ip_refused = bool(wish.get("refused", True))
            case "POST", "/control/gtt":
                if wish.get("status") not in GTT_ENDS:
                    raise bad_input(f"status is one of {', '.join(GTT_ENDS)}")
                exchange.gtts.delete(str(wish.get("trigger_id")), exchange.clock.now_ns, str(wish["status"]))
            case "GET", ("/trouble" | "/control/state"):
                pass
            case _:
                raise Refused(404, "GeneralException", f"{method} {path[:60]} is no lever of this server")
        return trouble.as_json() if path == "/trouble" else self._state()

    def _known(self, symbol: str) -> str:
        if symbol not in self._exchange.market.by_symbol:
            raise bad_input(f"{symbol[:40]!r} is not traded here")
        return symbol

    def _turn_the_day(self, wish: dict[str, Any]) -> None:
        if wish.get("end"):
            self._exchange.close_trading()
            return
        try:
            self._exchange.open_on(date.fromisoformat(str(wish.get("start"))))
        except ValueError:
            raise bad_input('right is {"end": true} or {"start": "2026-01-06"}, a trading day') from None

    def _state(self) -> dict[str, object]:
        exchange = self._exchange
        return {
            "market_time": ist_text(exchange.clock.now_ns),
            "logged_in": bool(exchange.logins.access_token),
            "ticker_connections": len(self._ticker),
            "static_ip_refused": self._routes.static_ip_refused,
            "orders": len(exchange.account.orders),
            "active_gtts": exchange.gtts.active,
        }


def _wish(request: HttpRequest) -> dict[str, Any]:
    if not request.content:
        return {}
    try:
        wish = decode_json(request.content)
    except RemoteProtocolError:
        wish = None
    if not isinstance(wish, dict):
        raise bad_input("a JSON object is needed")
    return wish
