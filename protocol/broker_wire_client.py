"""What a client says on the JSON broker's wire: every request of broker-protocol.md, to text and back.

Owns the requests' two directions. Never awaits, never sends. `encode_request` is used by the WebSocket broker,
`decode_request` by a broker's server; the answers are in broker_wire.py, the same requests over HTTP in
broker_wire_rest.py, the values in broker_wire_requests.py.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.broker import CancelGtt, CancelOrder, ModifyGtt, ModifyOrder, PlaceGtt, PlaceOrder
from protocol.broker_wire_fields import (
    Fields,
    Json,
    MalformedFrame,
    dump,
    parse_object,
    rupee_number,
    rupee_number_or_none,
    utc_text,
)
from protocol.broker_wire_requests import (
    UNCHANGED,
    Auth,
    Batch,
    Body,
    ChangeGtt,
    ChangeOrder,
    ClientRequest,
    GetGtts,
    GetHoldings,
    GetMargins,
    GetOrder,
    GetOrders,
    GetPositions,
    GetQuotes,
    GetTrades,
    MaybePaise,
    Mode,
    Ping,
    ReadBody,
    Subscribe,
    UnknownType,
    Unsubscribe,
)
from protocol.broker_wire_rows import read_target
from protocol.orders import Leg, OrderType, Side

BATCH_MAX = 256  # requests in one frame


# --- writing ------------------------------------------------------------------------------------------


def encode_request(request_id: str, body: Body, at_ns: int) -> str:
    """The frame of one request. `request_id` is a uuid of the caller's, `at_ns` its clock."""
    return dump(_request(request_id, body, at_ns))


def encode_batch(request_id: str, requests: list[tuple[str, Body]], at_ns: int) -> str:
    """One frame for requests that go together: (request_id, body) each, BATCH_MAX at most."""
    assert 0 < len(requests) <= BATCH_MAX, f"{len(requests)} requests in a batch: 1 to {BATCH_MAX} are possible"
    members = [_request(member_id, body, at_ns) for member_id, body in requests]
    return dump({"type": "BATCH", "request_id": request_id, "timestamp": utc_text(at_ns), "requests": members})


def _request(request_id: str, body: Body, at_ns: int) -> Json:
    name, fields = request_fields(body)
    return {"type": name, "request_id": request_id, "timestamp": utc_text(at_ns), **fields}


def request_fields(body: Body) -> tuple[str, Json]:
    """The type of a request and its own fields, without the envelope."""
    match body:
        case Auth(api_key):
            return "AUTH", {"api_key": api_key}
        case PlaceOrder():
            return "PLACE_ORDER", {
                "client_order_id": body.client_id,
                "symbol": body.symbol,
                "side": body.side.value,
                "quantity": body.quantity,
                "order_type": body.order_type.value,
                "price": rupee_number_or_none(body.limit_paise),
                "trigger_price": rupee_number_or_none(body.trigger_paise),
            }
        case ModifyOrder():
            return "MODIFY_ORDER", {
                "order_id": body.broker_id,
                "quantity": body.quantity,
                "order_type": body.order_type.value,
                "price": rupee_number_or_none(body.limit_paise),
                "trigger_price": rupee_number_or_none(body.trigger_paise),
            }
        case CancelOrder(order_id):
            return "CANCEL_ORDER", {"order_id": order_id}
        case PlaceGtt():
            return "PLACE_GTT", {
                "client_order_id": body.client_id,
                "symbol": body.symbol,
                "side": Side.SELL.value,
                "quantity": body.quantity,
                "trigger_price": rupee_number(body.stop.trigger_paise),
                "limit_price": rupee_number(body.stop.limit_paise),
                **_target("target_trigger_price", "target_limit_price", body.target),
            }
        case ModifyGtt():
            return "MODIFY_GTT", {
                "gtt_id": body.gtt_id,
                "new_quantity": body.quantity,
                "new_trigger_price": rupee_number(body.stop.trigger_paise),
                "new_limit_price": rupee_number(body.stop.limit_paise),
                **_target("new_target_trigger_price", "new_target_limit_price", body.target),
            }
        case CancelGtt(gtt_id):
            return "CANCEL_GTT", {"gtt_id": gtt_id}
        case GetOrders(since_ns):
            return "GET_ORDERS", {} if since_ns is None else {"since": utc_text(since_ns)}
        case GetOrder(order_id=None):
            return "GET_ORDER", {"client_order_id": body.client_order_id}
        case GetOrder():
            return "GET_ORDER", {"order_id": body.order_id}
        case GetTrades(since_ns):
            return "GET_TRADES", {} if since_ns is None else {"since": utc_text(since_ns)}
        case GetQuotes(symbols):
            return "GET_QUOTES", {"symbols": list(symbols)}
        case Subscribe(symbols, mode):
            return "SUBSCRIBE", {"symbols": list(symbols), "mode": mode.value}
        case Unsubscribe(symbols, mode):
            return "UNSUBSCRIBE", {"symbols": list(symbols), "mode": mode.value}
        case GetGtts():
            return "GET_GTTS", {}
        case GetPositions():
            return "GET_POSITIONS", {}
        case GetHoldings():
            return "GET_HOLDINGS", {}
        case GetMargins():
            return "GET_MARGINS", {}
        case Ping():
            return "PING", {}


def _target(trigger: str, limit: str, leg: Leg | None) -> Json:
    if leg is None:
        return {trigger: None, limit: None}
    return {trigger: rupee_number(leg.trigger_paise), limit: rupee_number(leg.limit_paise)}


# --- reading ------------------------------------------------------------------------------------------


def decode_request(text: str | bytes) -> ClientRequest | Batch | UnknownType:
    """What a frame asks. Raises MalformedFrame, with the request_id where one can be read."""
    fields = Fields(parse_object(text))
    request_id = _request_id(fields)
    try:
        if fields.text("type") == "BATCH":
            return Batch(
                request_id or fields.text("request_id"), tuple(map(_member, fields.items("requests", BATCH_MAX)))
            )
        return _client_request(fields, request_id)
    except MalformedFrame as wrong:
        raise MalformedFrame(str(wrong), request_id) from None


def _member(value: object) -> ClientRequest | UnknownType | MalformedFrame:
    """One request of a batch; what cannot be read is a value here, so that it can be answered in its place."""
    request_id = None
    try:
        fields = Fields(value, "requests")
        request_id = _request_id(fields)
        return _client_request(fields, request_id)
    except MalformedFrame as wrong:
        return MalformedFrame(str(wrong), request_id)


def _client_request(fields: Fields, request_id: str | None) -> ClientRequest | UnknownType:
    name = fields.text("type")
    if name == "BATCH":
        raise MalformedFrame("type: a BATCH holds no other BATCH")
    if name not in READERS:
        return UnknownType(name, request_id)
    at_ns = fields.time_or_none("timestamp") or 0
    return ClientRequest(request_id or fields.text("request_id"), READERS[name](fields), at_ns)


def _request_id(fields: Fields) -> str | None:
    try:
        return fields.text_or_none("request_id")
    except MalformedFrame:
        return None


def _place_order(fields: Fields) -> PlaceOrder:
    return PlaceOrder(
        client_id=fields.text("client_order_id"),
        symbol=fields.text("symbol"),
        side=fields.choice("side", Side),
        quantity=fields.whole("quantity"),
        order_type=fields.choice("order_type", OrderType),
        limit_paise=fields.price_or_none("price"),
        trigger_paise=fields.price_or_none("trigger_price"),
    )


def _modify_order(fields: Fields) -> ChangeOrder:
    return ChangeOrder(
        order_id=fields.text("order_id"),
        order_type=fields.choice_or_none("order_type", OrderType),
        quantity=fields.whole_or_none("quantity"),
        limit_paise=_maybe_price(fields, "price"),
        trigger_paise=_maybe_price(fields, "trigger_price"),
    )


def _place_gtt(fields: Fields) -> PlaceGtt:
    side = fields.choice("side", Side)
    if side is not Side.SELL:
        raise MalformedFrame("side: a GTT sells what is held, so it is SELL")
    return PlaceGtt(
        client_id=fields.text("client_order_id"),
        symbol=fields.text("symbol"),
        quantity=fields.whole("quantity"),
        stop=Leg(fields.price("trigger_price"), fields.price("limit_price")),
        target=read_target(fields, "target_trigger_price", "target_limit_price"),
        last_paise=0,  # not on this wire: the server knows the last price
    )


def _modify_gtt(fields: Fields) -> ChangeGtt:
    return ChangeGtt(
        gtt_id=fields.text("gtt_id"),
        quantity=fields.whole_or_none("new_quantity"),
        trigger_paise=fields.price_or_none("new_trigger_price"),
        limit_paise=fields.price_or_none("new_limit_price"),
        target_trigger_paise=_maybe_price(fields, "new_target_trigger_price"),
        target_limit_paise=_maybe_price(fields, "new_target_limit_price"),
    )


def _maybe_price(fields: Fields, name: str) -> MaybePaise:
    return fields.price_or_none(name) if fields.has(name) else UNCHANGED


def _get_order(fields: Fields) -> GetOrder:
    order_id, client_id = fields.text_or_none("order_id"), fields.text_or_none("client_order_id")
    if (order_id is None) == (client_id is None):
        raise MalformedFrame("GET_ORDER names either order_id or client_order_id")
    return GetOrder(order_id=order_id, client_order_id=client_id)


def _mode(fields: Fields) -> Mode:
    return fields.choice_or_none("mode", Mode) or Mode.LTP


READERS: dict[str, Callable[[Fields], ReadBody]] = {
    "AUTH": lambda fields: Auth(fields.text("api_key")),
    "PLACE_ORDER": _place_order,
    "MODIFY_ORDER": _modify_order,
    "CANCEL_ORDER": lambda fields: CancelOrder(fields.text("order_id")),
    "PLACE_GTT": _place_gtt,
    "MODIFY_GTT": _modify_gtt,
    "CANCEL_GTT": lambda fields: CancelGtt(fields.text("gtt_id")),
    "GET_ORDERS": lambda fields: GetOrders(fields.time_or_none("since")),
    "GET_ORDER": _get_order,
    "GET_GTTS": lambda _: GetGtts(),
    "GET_TRADES": lambda fields: GetTrades(fields.time_or_none("since")),
    "GET_POSITIONS": lambda _: GetPositions(),
    "GET_HOLDINGS": lambda _: GetHoldings(),
    "GET_MARGINS": lambda _: GetMargins(),
    "GET_QUOTES": lambda fields: GetQuotes(fields.texts("symbols")),
    "SUBSCRIBE": lambda fields: Subscribe(fields.texts("symbols"), _mode(fields)),
    "UNSUBSCRIBE": lambda fields: Unsubscribe(fields.texts("symbols"), _mode(fields)),
    "PING": lambda _: Ping(),
}
