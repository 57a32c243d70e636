"""Kite's orders: how ours are written, how its order book, trade book and postbacks are read.

Owns every field of an order on Kite's wire and what its statuses mean. Never sends anything. Called by
brokers/kite.py. Prices in paise, times in ns; a child order of a GTT carries no tag.

A status we do not know counts as working and is kept as it is: Kite's list is open-ended. Filled quantity and
average price decide what a fill was worth until the trade book, which is exact, has been read too.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING

import attrs

from protocol.broker import CancelOrder, ModifyOrder, OrderUpdate, PlaceOrder, TradeRow
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.kite_values import (
    NUMBER_MAX,
    Row,
    amount,
    decode_json,
    gtt_named_by,
    half_up_paise,
    newest_instant,
    price_paise,
    row_of,
    rows_of,
    rupees_text,
    symbol_of,
    text,
    text_or_nothing,
    whole,
)
from protocol.kite_wire import Call, HttpRequest, path_part
from protocol.orders import OrderState, OrderType, Side

if TYPE_CHECKING:
    from protocol.kite_gtts import KiteGtt

TAG = re.compile(r"[0-9A-Za-z]{1,20}")
OUR_TAG = re.compile(r"PA[0-9A-Z]{18}")  # a client order id (orders.md)
OVER = {
    "COMPLETE": OrderState.COMPLETE,
    "CANCELLED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
}
AT_MARKET = frozenset({OrderType.MARKET, OrderType.SL_M})


@attrs.frozen(kw_only=True)
class OrderStyle:
    """How this account trades at Kite. Protection is the percentage a market order may move away from the last
    price; -1 lets Kite choose (0.5 % above 500 rupees), which is enough for an entry and too tight for an exit.
    Kite refuses 0.
    """

    exchange: str = "NSE"
    product: str = "CNC"
    variety: str = "regular"
    validity: str = "DAY"
    entry_protection_percent: int = -1
    exit_protection_percent: int = 3


# --- ours, written --------------------------------------------------------------------------------


def place_order(request: PlaceOrder, style: OrderStyle) -> HttpRequest:
    """Raises LocalProtocolError when the client id is no tag of Kite's: alphanumeric, at most 20 characters."""
    if not TAG.fullmatch(request.client_id):
        raise LocalProtocolError(f"{request.client_id!r} is no tag: 1 to 20 letters and digits are")
    percent = style.entry_protection_percent if request.side is Side.BUY else style.exit_protection_percent
    form = (
        ("exchange", style.exchange),
        ("tradingsymbol", request.symbol),
        ("transaction_type", request.side.value),
        ("product", style.product),
        *_terms(request, style, percent),
        ("tag", request.client_id),
    )
    return HttpRequest(Call.ORDER, "POST", f"/orders/{style.variety}", form=form)


def modify_order(request: ModifyOrder, style: OrderStyle) -> HttpRequest:
    """The whole order as it shall be. Only exits are ever turned into market orders."""
    form = _terms(request, style, style.exit_protection_percent)
    return HttpRequest(Call.ORDER, "PUT", _order_path(style, request.broker_id), form=form)


def cancel_order(request: CancelOrder, style: OrderStyle) -> HttpRequest:
    return HttpRequest(Call.ORDER, "DELETE", _order_path(style, request.broker_id))


def order_history(order_id: str) -> HttpRequest:
    """The states an order went through today, oldest first."""
    return HttpRequest(Call.READ, "GET", f"/orders/{path_part(order_id)}")


def order_trades(order_id: str) -> HttpRequest:
    return HttpRequest(Call.READ, "GET", f"/orders/{path_part(order_id)}/trades")


def _order_path(style: OrderStyle, order_id: str) -> str:
    return f"/orders/{style.variety}/{path_part(order_id)}"


def _terms(request: PlaceOrder | ModifyOrder, style: OrderStyle, percent: int) -> tuple[tuple[str, str], ...]:
    terms = [
        ("order_type", request.order_type.value),
        ("quantity", str(request.quantity)),
        ("validity", style.validity),
    ]
    if request.limit_paise is not None:
        terms.append(("price", rupees_text(request.limit_paise)))
    if request.trigger_paise is not None:
        terms.append(("trigger_price", rupees_text(request.trigger_paise)))
    if request.order_type in AT_MARKET:
        if not (percent == -1 or 0 < percent <= 100):
            raise LocalProtocolError(f"market protection {percent} is neither -1 nor a percentage up to 100")
        terms.append(("market_protection", str(percent)))
    return tuple(terms)


# --- answers to ours ------------------------------------------------------------------------------


@attrs.frozen
class Placed:
    """What a placement answered. Kite slices an order beyond the freeze quantity if asked to; we never ask."""

    order_id: str
    children: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def read_placed(data: object) -> Placed:
    """Also of a modification and a cancellation; a sliced order comes as a list or with children."""
    slices = data if isinstance(data, list) else [data, *rows_of(row_of(data, "the answer").get("children"), "slices")]
    ids, errors = [], []
    for part in (row_of(part, "a slice") for part in slices):
        if "order_id" in part:
            ids.append(text(part, "order_id"))
        else:
            errors.append(text_or_nothing(row_of(part.get("error"), "a slice's error"), "message"))
    if not ids:
        raise RemoteProtocolError("the answer names no order")
    return Placed(ids[0], tuple(ids[1:]), tuple(errors))


# --- the books ------------------------------------------------------------------------------------


def read_orders(data: object) -> tuple[OrderUpdate, ...]:
    """The order book of the day, or the history of one order."""
    return tuple(read_order(row) for row in rows_of(data, "the order book"))


def read_order(data: object) -> OrderUpdate:
    """One order as Kite has it: of the book, of a history, of a postback, of the ticker's text frame."""
    row = row_of(data, "an order")
    exchange = text(row, "exchange")
    status = text(row, "status")
    quantity, filled = whole(row, "quantity"), whole(row, "filled_quantity")
    if not 0 <= filled <= quantity:
        raise RemoteProtocolError(f"filled_quantity is {filled} of {quantity}")
    gtt_id = gtt_named_by(row.get("meta"))
    return OrderUpdate(
        broker_id=text(row, "order_id"),
        client_id=_client_id(row) if gtt_id is None else None,
        gtt_id=gtt_id,
        symbol=symbol_of(exchange, text(row, "tradingsymbol")),
        side=read_side(row),
        state=_state(status, quantity, filled),
        quantity=quantity,
        filled=filled,
        value_paise=_value_paise(row, filled),
        at_ns=newest_instant(row, "order_timestamp", "exchange_timestamp", "exchange_update_timestamp"),
        limit_paise=price_paise(row, "price", exchange) or None,
        message=text_or_nothing(row, "status_message"),
        raw_status=status,
    )


def read_trades(data: object) -> tuple[TradeRow, ...]:
    """The trade book of the day, or the trades of one order. Kite's trades carry no tag."""
    return tuple(_read_trade(row_of(row, "a trade")) for row in rows_of(data, "the trade book"))


def exact_values(orders: Iterable[OrderUpdate], trades: Iterable[TradeRow]) -> tuple[OrderUpdate, ...]:
    """The orders with the value of their trades, wherever the trades account for all that was filled."""
    sums: dict[str, tuple[int, int]] = {}
    for trade in trades:
        quantity, value = sums.get(trade.broker_id, (0, 0))
        sums[trade.broker_id] = (quantity + trade.quantity, value + trade.quantity * trade.price_paise)
    exact = []
    for order in orders:
        quantity, value = sums.get(order.broker_id, (0, 0))
        known = quantity == order.filled and quantity > 0
        exact.append(attrs.evolve(order, value_paise=value) if known else order)
    return tuple(exact)


def linked_children(orders: Iterable[OrderUpdate], gtts: Sequence[KiteGtt]) -> tuple[OrderUpdate, ...]:
    """The orders with the GTT that names them as its child; whether a child's own meta says so is not certain."""
    parents = {child: gtt.update.gtt_id for gtt in gtts for child in gtt.child_ids}
    return tuple(
        attrs.evolve(order, gtt_id=parents[order.broker_id], client_id=None) if order.broker_id in parents else order
        for order in orders
    )


def read_side(row: Row) -> Side:
    try:
        return Side(text(row, "transaction_type"))
    except ValueError:
        raise RemoteProtocolError(f"transaction_type is {row['transaction_type']!r}, neither BUY nor SELL") from None


def _read_trade(row: Row) -> TradeRow:
    exchange = text(row, "exchange")
    quantity = whole(row, "quantity")
    if quantity <= 0:
        raise RemoteProtocolError(f"a trade of {quantity} shares")
    return TradeRow(
        trade_id=text(row, "trade_id"),
        broker_id=text(row, "order_id"),
        client_id=None,
        symbol=symbol_of(exchange, text(row, "tradingsymbol")),
        side=read_side(row),
        quantity=quantity,
        price_paise=price_paise(row, "average_price", exchange),
        at_ns=newest_instant(row, "fill_timestamp", "exchange_timestamp"),
    )


def _state(status: str, quantity: int, filled: int) -> OrderState:
    state = OVER.get(status)
    if state is OrderState.COMPLETE and filled < quantity:
        state = None  # older than its own status: the next reading settles it
    if state is not None:
        return state
    return OrderState.PARTIAL if filled else OrderState.OPEN


def _value_paise(row: Row, filled: int) -> int:
    if not filled:
        return 0
    value = amount(row, "average_price") * Decimal(filled)
    if not 0 <= value < NUMBER_MAX // 100:
        raise RemoteProtocolError(f"average_price is {row['average_price']} for {filled} shares")
    return half_up_paise(value)


def _client_id(row: Row) -> str | None:
    """The order's tag; ours first, because Kite adds tags of its own (mktp, autoslice)."""
    tags = [tag for tag in (row.get("tag"), *_tags(row)) if isinstance(tag, str) and tag]
    ours = [tag for tag in tags if OUR_TAG.fullmatch(tag)]
    return next(iter(ours), text_or_nothing(row, "tag") or None)


def _tags(row: Row) -> list[object]:
    tags = row.get("tags")
    return tags if isinstance(tags, list) else []


# --- postbacks ------------------------------------------------------------------------------------


def postback_checksum(order_id: str, order_timestamp: str, api_secret: str) -> str:
    """SHA-256 of order_id + order_timestamp + api_secret, as hex (docs, Postbacks). It does not cover the body:
    a postback is a signal to read the book, never the truth.
    """
    return sha256(f"{order_id}{order_timestamp}{api_secret}".encode()).hexdigest()


def read_postback(body: bytes, api_secret: str) -> OrderUpdate:
    """The order of an HTTP postback. Raises RemoteProtocolError when its checksum is not Kite's."""
    row = row_of(decode_json(body), "the postback")
    expected = postback_checksum(text(row, "order_id"), text(row, "order_timestamp"), api_secret)
    if not hmac.compare_digest(expected.encode(), text_or_nothing(row, "checksum").encode(errors="replace")):
        raise RemoteProtocolError("the postback's checksum is wrong: it does not come from Kite")
    return read_order(row)
