"""What a broker's server says on the JSON broker's wire: answers, updates and ticks, to text and back.

Owns the server's messages and their two directions. Never awaits, never sends. `decode_message` is used by the
WebSocket broker for frames and for HTTP answers alike, `encode_message` by a server. The requests are in
broker_wire_client.py, the rows in broker_wire_rows.py and broker_wire_books.py, the HTTP twin in
broker_wire_rest.py; all of it is described by broker.schema.json.

`decode_message` returns values or raises MalformedFrame (a RemoteProtocolError), nothing else; unknown fields are
ignored, an unknown type is a value to be counted.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import attrs

from protocol.broker import HoldingRow, Margins, PositionRow, Quote, TradeRow
from protocol.broker_wire_books import (
    holding_row,
    margins_row,
    position_row,
    quote_row,
    read_holding,
    read_margins,
    read_position,
    read_quote,
    read_trade,
    trade_row,
)
from protocol.broker_wire_fields import (
    Fields,
    Json,
    MalformedFrame,
    dump,
    ns_of_utc,
    paise_of_number,
    parse_object,
    rupee_number,
    rupee_number_or_none,
    utc_text,
)
from protocol.broker_wire_requests import UnknownType
from protocol.broker_wire_rows import (
    GttReport,
    OrderReport,
    gtt_row,
    order_row,
    read_gtt,
    read_leg,
    read_order,
)
from protocol.orders import ExitReason


class ErrorCode(Enum):
    """Codes of this protocol's own; a server may use others, which are its reasons for a refusal."""

    NOT_AUTHENTICATED = "NOT_AUTHENTICATED"
    MALFORMED = "MALFORMED"  # could not be read, so certainly not carried out
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    RATE_LIMITED = "RATE_LIMITED"  # too many requests: not carried out, ask again later (HTTP 429)
    SERVER_ERROR = "SERVER_ERROR"  # nobody knows whether it was carried out (HTTP 5xx)


@attrs.frozen(kw_only=True)
class Response:
    """A request was carried out. Only what it asked for is set; `request_id` is None only over HTTP.

    PLACE, MODIFY and CANCEL answer with the id and the row as it is now: `order` or `gtt`.
    """

    request_id: str | None
    order_id: str | None = None
    gtt_id: str | None = None
    order: OrderReport | None = None
    gtt: GttReport | None = None
    orders: tuple[OrderReport, ...] | None = None
    gtts: tuple[GttReport, ...] | None = None
    trades: tuple[TradeRow, ...] | None = None
    positions: tuple[PositionRow, ...] | None = None
    holdings: tuple[HoldingRow, ...] | None = None
    margins: Margins | None = None
    quotes: tuple[Quote, ...] | None = None


@attrs.frozen(kw_only=True)
class Refusal:
    """ERROR: a refusal with a code, or with SERVER_ERROR an answer that says nothing. None: no request is meant."""

    request_id: str | None
    code: str
    message: str

    @property
    def certain(self) -> bool:
        """Whether the request was certainly not carried out."""
        return self.code != ErrorCode.SERVER_ERROR.value


@attrs.frozen(kw_only=True)
class GttTriggered:
    """A GTT released its order. `trigger_paise` is that of the leg; `gtt` the whole row where the server sends it."""

    gtt_id: str
    symbol: str
    trigger_paise: int | None
    leg: ExitReason
    order_id: str | None
    gtt: GttReport | None


@attrs.frozen
class Tick:
    """A trade price; volume is the day's so far, -1 where it was not asked for."""

    symbol: str
    last_paise: int
    volume: int
    at_ns: int


@attrs.frozen
class Ticks:
    ticks: tuple[Tick, ...]


@attrs.frozen
class Pong:
    request_id: str | None


Message = Response | Refusal | OrderReport | GttTriggered | Ticks | Pong  # an OrderReport is an ORDER_UPDATE


# --- writing ------------------------------------------------------------------------------------------


def encode_message(message: Message, last_paise: Callable[[str], int] = lambda _: 0) -> str:
    """The frame of a message. `last_paise(symbol)`, 0 for none, values the rows of positions."""
    return dump(message_fields(message, last_paise))


def message_fields(message: Message, last_paise: Callable[[str], int]) -> Json:
    match message:
        case Response():
            return _response_fields(message, last_paise)
        case Refusal(request_id=request_id, code=code, message=text):
            return {"type": "ERROR", "request_id": request_id, "status": "ERROR", "code": code, "message": text}
        case OrderReport():
            return {"type": "ORDER_UPDATE", **order_row(message)}
        case GttTriggered():
            return {
                "type": "GTT_TRIGGERED",
                "gtt_id": message.gtt_id,
                "symbol": message.symbol,
                "trigger_price": rupee_number_or_none(message.trigger_paise),
                "leg": message.leg.value,
                "order_id": message.order_id,
                "gtt": None if message.gtt is None else gtt_row(message.gtt),
            }
        case Ticks(ticks):
            return {"type": "TICKS", "ticks": list(map(_tick_row, ticks))}
        case Pong(request_id):
            return {"type": "PONG", "request_id": request_id}


def _response_fields(response: Response, last_paise: Callable[[str], int]) -> Json:
    fields: Json = {"type": "RESPONSE", "request_id": response.request_id, "status": "SUCCESS"}
    if response.order_id is not None:
        fields["order_id"] = response.order_id
    if response.gtt_id is not None:
        fields["gtt_id"] = response.gtt_id
    if response.order is not None:
        fields["order"] = order_row(response.order)
    if response.gtt is not None:
        fields["gtt"] = gtt_row(response.gtt)
    if response.orders is not None:
        fields["orders"] = list(map(order_row, response.orders))
    if response.gtts is not None:
        fields["gtts"] = list(map(gtt_row, response.gtts))
    if response.trades is not None:
        fields["trades"] = list(map(trade_row, response.trades))
    if response.positions is not None:
        fields["positions"] = [position_row(row, last_paise(row.symbol) or None) for row in response.positions]
    if response.holdings is not None:
        fields["holdings"] = list(map(holding_row, response.holdings))
    if response.margins is not None:
        fields["margins"] = margins_row(response.margins)
    if response.quotes is not None:
        fields["quotes"] = list(map(quote_row, response.quotes))
    return fields


def _tick_row(tick: Tick) -> list[object]:
    volume = None if tick.volume < 0 else tick.volume
    return [tick.symbol, rupee_number(tick.last_paise), volume, utc_text(tick.at_ns)]


# --- reading ------------------------------------------------------------------------------------------


def decode_message(text: str | bytes) -> Message | UnknownType:
    """What a frame says. Raises MalformedFrame; of an answer it bears the request_id, so that the request can be
    given up at once.
    """
    fields = Fields(parse_object(text))
    request_id = None
    try:
        name = fields.text("type")
        request_id = fields.text_or_none("request_id")
        if name not in READERS:
            return UnknownType(name, request_id)
        return READERS[name](fields)
    except MalformedFrame as wrong:
        raise MalformedFrame(str(wrong), request_id) from None


def _response(fields: Fields) -> Response:
    if fields.text("status") != "SUCCESS":
        raise MalformedFrame("status: a RESPONSE is a SUCCESS, anything else an ERROR")
    return Response(
        request_id=fields.text_or_none("request_id"),
        order_id=fields.text_or_none("order_id"),
        gtt_id=fields.text_or_none("gtt_id"),
        order=None if fields.empty("order") else read_order(fields.part("order")),
        gtt=None if fields.empty("gtt") else read_gtt(fields.part("gtt")),
        orders=None if fields.empty("orders") else tuple(map(read_order, fields.parts("orders"))),
        gtts=None if fields.empty("gtts") else tuple(map(read_gtt, fields.parts("gtts"))),
        trades=None if fields.empty("trades") else tuple(map(read_trade, fields.parts("trades"))),
        positions=None if fields.empty("positions") else tuple(map(read_position, fields.parts("positions"))),
        holdings=None if fields.empty("holdings") else tuple(map(read_holding, fields.parts("holdings"))),
        margins=None if fields.empty("margins") else read_margins(fields.part("margins")),
        quotes=None if fields.empty("quotes") else tuple(map(read_quote, fields.parts("quotes"))),
    )


def _refusal(fields: Fields) -> Refusal:
    return Refusal(
        request_id=fields.text_or_none("request_id"), code=fields.text("code"), message=fields.message("message")
    )


def _gtt_triggered(fields: Fields) -> GttTriggered:
    return GttTriggered(
        gtt_id=fields.text("gtt_id"),
        symbol=fields.text("symbol"),
        trigger_paise=fields.price_or_none("trigger_price"),
        leg=read_leg(fields),
        order_id=fields.text_or_none("order_id"),
        gtt=None if fields.empty("gtt") else read_gtt(fields.part("gtt")),
    )


def _ticks(fields: Fields) -> Ticks:
    return Ticks(tuple(map(_read_tick, fields.items("ticks"))))


def _read_tick(row: object) -> Tick:
    if isinstance(row, list) and len(row) >= 4:
        symbol, price, volume, at = row[:4]
        known = volume is None or (isinstance(volume, int) and not isinstance(volume, bool) and volume >= 0)
        if isinstance(symbol, str) and isinstance(at, str) and known:
            try:
                return Tick(symbol, paise_of_number(price, "ticks"), -1 if volume is None else volume, ns_of_utc(at))
            except ValueError as wrong:
                raise MalformedFrame(f"ticks: {wrong}") from None
    raise MalformedFrame("ticks: a tick is [symbol, last_price, volume, time]")


READERS: dict[str, Callable[[Fields], Message]] = {
    "RESPONSE": _response,
    "ERROR": _refusal,
    "ORDER_UPDATE": read_order,
    "GTT_TRIGGERED": _gtt_triggered,
    "GTT_TRIGGER": _gtt_triggered,  # the alias that some servers use
    "TICKS": _ticks,
    "PONG": lambda fields: Pong(fields.text_or_none("request_id")),
}
