"""The HTTP twin of the JSON broker's wire: which method and path a request has, both ways.

Owns the routes. Never opens a connection. A client asks `rest_call` what to send (with its api key in the
`Authorization` header), a server asks `read_rest` what was sent; bodies and answers are the JSON of the WebSocket
(broker_wire_client.py, broker_wire.py). HTTP pairs an answer with its request, so ids may be missing.

    POST /orders   PUT /orders/{id}   DELETE /orders/{id}   GET /orders[?since=][?client_order_id=]   GET /orders/{id}
    POST /gtts     PUT /gtts/{id}     DELETE /gtts/{id}     GET /gtts
    GET /trades[?since=]   GET /positions   GET /holdings   GET /margins   GET /quotes?symbols=A,B

Status: 200 for a RESPONSE; for an ERROR 400 (refused: certainly not carried out), 401 NOT_AUTHENTICATED, 404 for a
path that is none, 429 RATE_LIMITED, 500 SERVER_ERROR.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode

import attrs

from protocol.broker import CancelGtt, CancelOrder, ModifyGtt, ModifyOrder, PlaceGtt, PlaceOrder, Request
from protocol.broker_wire import ErrorCode
from protocol.broker_wire_client import READERS, request_fields
from protocol.broker_wire_fields import Fields, Json, MalformedFrame, dump, parse_object, utc_text
from protocol.broker_wire_requests import (
    ClientRequest,
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

STATUS_OF_CODE = {
    ErrorCode.NOT_AUTHENTICATED.value: 401,
    ErrorCode.RATE_LIMITED.value: 429,
    ErrorCode.SERVER_ERROR.value: 500,
}
REFUSED_STATUS = 400
PARTS_MAX = 2  # of a path: the book and an id

ROUTES = {
    ("POST", "orders", False): "PLACE_ORDER",
    ("PUT", "orders", True): "MODIFY_ORDER",
    ("DELETE", "orders", True): "CANCEL_ORDER",
    ("GET", "orders", False): "GET_ORDERS",
    ("GET", "orders", True): "GET_ORDER",
    ("POST", "gtts", False): "PLACE_GTT",
    ("PUT", "gtts", True): "MODIFY_GTT",
    ("DELETE", "gtts", True): "CANCEL_GTT",
    ("GET", "gtts", False): "GET_GTTS",
    ("GET", "trades", False): "GET_TRADES",
    ("GET", "positions", False): "GET_POSITIONS",
    ("GET", "holdings", False): "GET_HOLDINGS",
    ("GET", "margins", False): "GET_MARGINS",
    ("GET", "quotes", False): "GET_QUOTES",
}
ID_FIELD = {"orders": "order_id", "gtts": "gtt_id"}


class NoSuchPath(MalformedFrame):
    """Nothing is served under this method and path."""


@attrs.frozen
class RestCall:
    """What to send: `target` is path and query, `content` the JSON body, "" for none."""

    method: str
    target: str
    content: str


def rest_call(body: Request | Read, request_id: str, at_ns: int) -> RestCall:
    """The HTTP call of a request."""
    name, fields = request_fields(body)
    content = dump({"type": name, "request_id": request_id, "timestamp": utc_text(at_ns), **fields})
    match body:
        case PlaceOrder():
            return RestCall("POST", "/orders", content)
        case ModifyOrder():
            return RestCall("PUT", f"/orders/{quote(body.broker_id, safe='')}", content)
        case CancelOrder(order_id):
            return RestCall("DELETE", f"/orders/{quote(order_id, safe='')}", "")
        case PlaceGtt():
            return RestCall("POST", "/gtts", content)
        case ModifyGtt():
            return RestCall("PUT", f"/gtts/{quote(body.gtt_id, safe='')}", content)
        case CancelGtt(gtt_id):
            return RestCall("DELETE", f"/gtts/{quote(gtt_id, safe='')}", "")
        case GetOrder(order_id=str() as order_id):
            return RestCall("GET", f"/orders/{quote(order_id, safe='')}", "")
        case GetQuotes(symbols):
            return _get("quotes", {"symbols": ",".join(symbols)})
        case GetOrders() | GetOrder():
            return _get("orders", fields)
        case GetTrades():
            return _get("trades", fields)
        case GetGtts():
            return _get("gtts", fields)
        case GetPositions():
            return _get("positions", fields)
        case GetHoldings():
            return _get("holdings", fields)
        case GetMargins():
            return _get("margins", fields)


def _get(book: str, query: Mapping[str, object]) -> RestCall:
    return RestCall("GET", f"/{book}?{urlencode(query)}" if query else f"/{book}", "")


def read_rest(method: str, target: str, content: bytes) -> ClientRequest:
    """What an HTTP call asks; request_id is "" where the body bears none. Raises NoSuchPath or MalformedFrame."""
    path, _, query = target.partition("?")
    parts = path.strip("/").split("/")
    book = parts[0]
    name = ROUTES.get((method, book, len(parts) == PARTS_MAX)) if len(parts) <= PARTS_MAX else None
    if name is None:
        raise NoSuchPath(f"nothing is served at {method} {path[:100]}")
    values: Json = parse_object(content) if content else {}
    values.update(_query(query))
    if len(parts) == PARTS_MAX:
        values[ID_FIELD[book]] = unquote(parts[1])
    elif name == "GET_ORDERS" and "client_order_id" in values:
        name = "GET_ORDER"
    fields = Fields(values)
    request_id = fields.text_or_none("request_id") or ""
    return ClientRequest(request_id, READERS[name](fields), fields.time_or_none("timestamp") or 0)


def _query(query: str) -> Json:
    try:
        values: Json = dict(parse_qsl(query, max_num_fields=20))
    except ValueError as wrong:
        raise MalformedFrame(f"query: {wrong}") from None
    symbols = values.get("symbols")
    if isinstance(symbols, str):
        values["symbols"] = symbols.split(",")
    return values


def status_of(code: str) -> int:
    """The HTTP status of an ERROR with this code."""
    return STATUS_OF_CODE.get(code, REFUSED_STATUS)
