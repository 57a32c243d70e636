"""Kite's GTTs: how our stops and targets are written, how its list is read.

Owns the form of a GTT on Kite's wire: a condition and a list of orders, both JSON inside a form. Never sends
anything. Called by brokers/kite.py. Kite's GTTs carry no tag: whoever places one remembers its id.

Ours are LIMIT sells with the limit beyond the trigger, single (the stop) or two-leg ([stop, target]: Kite wants
the lower trigger first). Source: kite.trade/docs/connect/v3/gtt and kite-facts 2 and 8.
"""

from __future__ import annotations

import attrs
import msgspec

from protocol.broker import CancelGtt, GttUpdate, ModifyGtt, PlaceGtt
from protocol.clock import NS
from protocol.errors import RemoteProtocolError
from protocol.kite_orders import OrderStyle, read_side
from protocol.kite_values import (
    Row,
    instant,
    price_paise,
    row_of,
    rows_of,
    rupees,
    symbol_of,
    text,
    text_or_nothing,
    whole,
)
from protocol.kite_wire import Call, HttpRequest, path_part
from protocol.orders import ExitReason, GttState, Leg, Side

SINGLE, TWO_LEG = "single", "two-leg"
CREATED_BEFORE_SENT_NS = 2 * NS  # Kite's times are whole seconds of its own clock
STATE = {
    "active": GttState.ACTIVE,
    "triggered": GttState.TRIGGERED,
    "disabled": GttState.CANCELLED,
    "expired": GttState.CANCELLED,
    "cancelled": GttState.CANCELLED,
    "deleted": GttState.CANCELLED,
    "rejected": GttState.REJECTED,
}
_json = msgspec.json.Encoder(decimal_format="number")


# --- ours, written --------------------------------------------------------------------------------


def place_gtt(request: PlaceGtt, style: OrderStyle) -> HttpRequest:
    return HttpRequest(Call.GTT, "POST", "/gtt/triggers", form=_form(request, request.symbol, style))


def modify_gtt(request: ModifyGtt, symbol: str, style: OrderStyle) -> HttpRequest:
    """Kite wants everything again, the symbol and the last price included."""
    return HttpRequest(Call.GTT, "PUT", _gtt_path(request.gtt_id), form=_form(request, symbol, style))


def cancel_gtt(request: CancelGtt) -> HttpRequest:
    return HttpRequest(Call.GTT, "DELETE", _gtt_path(request.gtt_id))


def one_gtt(gtt_id: str) -> HttpRequest:
    """By its id a GTT can always be read; the list drops what has been over for a week."""
    return HttpRequest(Call.GTT, "GET", _gtt_path(gtt_id))


def _gtt_path(gtt_id: str) -> str:
    return f"/gtt/triggers/{path_part(gtt_id)}"


def _form(request: PlaceGtt | ModifyGtt, symbol: str, style: OrderStyle) -> tuple[tuple[str, str], ...]:
    legs = [request.stop] if request.target is None else [request.stop, request.target]
    condition = {
        "exchange": style.exchange,
        "tradingsymbol": symbol,
        "trigger_values": [rupees(leg.trigger_paise) for leg in legs],
        "last_price": rupees(request.last_paise),
    }
    orders = [
        {
            "exchange": style.exchange,
            "tradingsymbol": symbol,
            "transaction_type": Side.SELL.value,
            "quantity": request.quantity,
            "order_type": "LIMIT",
            "product": style.product,
            "price": rupees(leg.limit_paise),
        }
        for leg in legs
    ]
    return (
        ("type", SINGLE if request.target is None else TWO_LEG),
        ("condition", _json.encode(condition).decode()),
        ("orders", _json.encode(orders).decode()),
    )


# --- the list -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class KiteGtt:
    """A GTT of the account, whoever placed it. Only one of side SELL is a GttUpdate as we mean it."""

    update: GttUpdate
    side: Side
    exchange: str
    product: str
    status: str
    created_ns: int
    child_ids: tuple[str, ...]


def read_gtt_id(data: object) -> str:
    """Of the answer to placing, modifying or deleting one."""
    return text(row_of(data, "the answer"), "trigger_id")


def read_gtts(data: object) -> tuple[KiteGtt, ...]:
    return tuple(read_gtt(row) for row in rows_of(data, "the list of GTTs"))


def read_gtt(data: object) -> KiteGtt:
    """One GTT. An unknown status counts as active: the next reading settles it."""
    row = row_of(data, "a GTT")
    condition = row_of(row.get("condition"), "the condition")
    exchange, status = text(condition, "exchange"), text(row, "status")
    orders = [row_of(order, "a leg") for order in rows_of(row.get("orders"), "the legs")]
    legs = _legs(condition, orders, exchange)
    fired = _fired(orders)
    child_id, reason = _child(orders[fired]) if fired is not None else (None, "")
    state = STATE.get(status, GttState.ACTIVE)
    children = [_child(order)[0] for order in orders]
    update = GttUpdate(
        gtt_id=text(row, "id"),
        client_id=None,
        symbol=symbol_of(exchange, text(condition, "tradingsymbol")),
        state=state,
        quantity=whole(orders[0], "quantity"),
        stop=legs[0],
        target=legs[1] if len(legs) > 1 else None,
        at_ns=instant(row, "updated_at"),
        fired=None if fired is None else (ExitReason.STOP, ExitReason.TARGET)[fired],
        child_id=child_id,
        message=reason or ("" if state in (GttState.ACTIVE, GttState.TRIGGERED) and status in STATE else status),
    )
    return KiteGtt(
        update=update,
        side=read_side(orders[0]),
        exchange=exchange,
        product=text_or_nothing(orders[0], "product"),
        status=status,
        created_ns=instant(row, "created_at"),
        child_ids=tuple(child for child in children if child is not None),
    )


def matches(gtt: KiteGtt, request: PlaceGtt, sent_ns: int) -> bool:
    """Whether this may be what an unanswered placement became: the same sell, created no earlier than it was sent
    (orders.md, GTTs). Whether it is linked to another rung is for the caller to know.
    """
    update = gtt.update
    return (
        gtt.side is Side.SELL
        and update.symbol == request.symbol
        and update.quantity == request.quantity
        and update.stop == request.stop
        and update.target == request.target
        and gtt.created_ns >= sent_ns - CREATED_BEFORE_SENT_NS
    )


def _legs(condition: Row, orders: list[dict[str, object]], exchange: str) -> list[Leg]:
    triggers = rows_of(condition.get("trigger_values"), "trigger_values")
    if len(triggers) != len(orders) or len(orders) not in (1, 2):
        raise RemoteProtocolError(f"a GTT of {len(triggers)} triggers and {len(orders)} orders")
    return [
        Leg(price_paise({"trigger": trigger}, "trigger", exchange), price_paise(order, "price", exchange))
        for trigger, order in zip(triggers, orders, strict=True)
    ]


def _fired(orders: list[dict[str, object]]) -> int | None:
    return next((leg for leg, order in enumerate(orders) if order.get("result") is not None), None)


def _child(order: Row) -> tuple[str | None, str]:
    """The id of the order a leg released, None when it came to none, and why."""
    result = order.get("result")
    if result is None:
        return None, ""
    outcome = row_of(row_of(result, "a leg's result").get("order_result"), "a leg's order_result")
    order_id = outcome.get("order_id")
    return text(outcome, "order_id") if order_id else None, text_or_nothing(outcome, "rejection_reason")
