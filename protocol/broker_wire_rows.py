"""The rows of the JSON broker's orders and GTTs.

Owns their layout (broker.schema.json describes the same). Called by broker_wire.py; the other books are in
broker_wire_books.py. Pairs of functions: `…_row` writes, `read_…` reads and raises MalformedFrame. An ORDER_UPDATE
is an order's row with a type.
"""

from __future__ import annotations

import attrs

from protocol.broker import GttUpdate, OrderUpdate
from protocol.broker_wire_fields import (
    Fields,
    Json,
    MalformedFrame,
    paise_of_number,
    rupee_number,
    rupee_number_or_none,
    utc_text,
)
from protocol.money import half_up
from protocol.orders import ExitReason, GttState, Leg, OrderState, OrderType, Side

# What the wire calls a state. PENDING is accepted and not in the market yet: it waits for its trigger.
STATUS = {
    "PENDING": OrderState.OPEN,
    "OPEN": OrderState.OPEN,
    "PARTIAL": OrderState.PARTIAL,
    "COMPLETE": OrderState.COMPLETE,
    "CANCELLED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "FAILED": OrderState.REJECTED,
}
GTT_STATUS = frozenset({GttState.ACTIVE, GttState.TRIGGERED, GttState.CANCELLED, GttState.REJECTED})
LEGS = frozenset({ExitReason.STOP, ExitReason.TARGET})


@attrs.frozen
class Fill:
    """One trade of an order; price in paise."""

    trade_id: str
    quantity: int
    price_paise: int


@attrs.frozen(kw_only=True)
class OrderReport:
    """An order as the broker has it, with what only this wire says of it.

    `seq` rises with every change of the order; `fills` are all of them so far, None when the server does not list
    them; `update.raw_status` is the status as it stood on the wire; times are 0 where the server gives none.
    """

    update: OrderUpdate
    order_type: OrderType | None
    trigger_paise: int | None
    fills: tuple[Fill, ...] | None
    seq: int
    placed_ns: int


@attrs.frozen(kw_only=True)
class GttReport:
    update: GttUpdate
    placed_ns: int


# --- orders -------------------------------------------------------------------------------------------


def order_row(report: OrderReport) -> Json:
    update = report.update
    average = half_up(update.value_paise, update.filled) if update.filled else None
    working = update.state in (OrderState.OPEN, OrderState.PARTIAL)
    return {
        "order_id": update.broker_id,
        "client_order_id": update.client_id,
        "gtt_id": update.gtt_id,
        "symbol": update.symbol,
        "side": update.side.value,
        "status": update.raw_status if STATUS.get(update.raw_status) is update.state else update.state.value,
        "order_type": None if report.order_type is None else report.order_type.value,
        "quantity": update.quantity,
        "price": rupee_number_or_none(update.limit_paise),
        "trigger_price": rupee_number_or_none(report.trigger_paise),
        "filled_qty": update.filled,
        "filled_price": rupee_number_or_none(average),
        "filled_value": rupee_number(update.value_paise),
        "fills": [[fill.trade_id, fill.quantity, rupee_number(fill.price_paise)] for fill in report.fills or ()],
        "pending_qty": update.quantity - update.filled if working else 0,
        "message": update.message,
        "seq": report.seq,
        "time": utc_text(update.at_ns),
        "placed_at": utc_text(report.placed_ns),
    }


def read_order(fields: Fields) -> OrderReport:
    """Only what broker-protocol.md lists is needed; `quantity` is filled_qty + pending_qty where it is missing.

    A status nobody knows is kept verbatim and counts as working (orders.md).
    """
    status = fields.text("status")
    filled = fields.whole("filled_qty")
    value_paise = fields.price("filled_value")
    quantity = fields.whole_or_none("quantity")
    if quantity is None:
        quantity = filled + fields.whole("pending_qty")
    if not 0 <= filled <= quantity or (filled > 0) != (value_paise > 0):
        raise MalformedFrame(f"filled_qty: {filled} of {quantity} for {value_paise} paise is impossible")
    state = STATUS.get(status, OrderState.OPEN)
    if state is OrderState.COMPLETE and filled < quantity:
        raise MalformedFrame(f"status: {status} with {filled} of {quantity} filled")
    if state in (OrderState.OPEN, OrderState.PARTIAL):
        state = OrderState.PARTIAL if filled else OrderState.OPEN
    fills = None if fields.empty("fills") else tuple(map(_read_fill, fields.items("fills")))
    if fills is not None:
        listed = sum(fill.quantity for fill in fills)
        worth = sum(fill.quantity * fill.price_paise for fill in fills)
        if (listed, worth) != (filled, value_paise):
            raise MalformedFrame(f"fills: {listed} for {worth} paise, the order says {filled} for {value_paise} paise")
    update = OrderUpdate(
        broker_id=fields.text("order_id"),
        client_id=fields.text_or_none("client_order_id"),
        gtt_id=fields.text_or_none("gtt_id"),
        symbol=fields.text("symbol"),
        side=fields.choice("side", Side),
        state=state,
        quantity=quantity,
        filled=filled,
        value_paise=value_paise,
        at_ns=fields.time_or_none("time") or 0,
        limit_paise=fields.price_or_none("price"),
        message=fields.message("message"),
        raw_status=status,
    )
    return OrderReport(
        update=update,
        order_type=fields.choice_or_none("order_type", OrderType),
        trigger_paise=fields.price_or_none("trigger_price"),
        fills=fills,
        seq=fields.whole_or_none("seq") or 0,
        placed_ns=fields.time_or_none("placed_at") or 0,
    )


def _read_fill(value: object) -> Fill:
    if isinstance(value, list) and len(value) >= 3:
        trade_id, quantity, price = value[:3]
        if isinstance(trade_id, str) and isinstance(quantity, int) and quantity > 0:
            return Fill(trade_id, quantity, paise_of_number(price, "fills"))
    raise MalformedFrame("fills: a fill is [trade_id, quantity, price]")


# --- GTTs ---------------------------------------------------------------------------------------------


def gtt_row(report: GttReport) -> Json:
    update = report.update
    target = update.target
    return {
        "gtt_id": update.gtt_id,
        "client_order_id": update.client_id,
        "symbol": update.symbol,
        "side": Side.SELL.value,
        "status": update.state.value,
        "quantity": update.quantity,
        "trigger_price": rupee_number(update.stop.trigger_paise),
        "limit_price": rupee_number(update.stop.limit_paise),
        "target_trigger_price": None if target is None else rupee_number(target.trigger_paise),
        "target_limit_price": None if target is None else rupee_number(target.limit_paise),
        "leg": None if update.fired is None else update.fired.value,
        "order_id": update.child_id,
        "message": update.message,
        "time": utc_text(update.at_ns),
        "placed_at": utc_text(report.placed_ns),
    }


def read_gtt(fields: Fields) -> GttReport:
    """A status nobody knows reads as UNKNOWN, its word in the message."""
    status, message = fields.text("status"), fields.message("message")
    known = {state.value: state for state in GTT_STATUS}
    state = known.get(status, GttState.UNKNOWN)
    if state is GttState.UNKNOWN:
        message = f"{status}: {message}"
    update = GttUpdate(
        gtt_id=fields.text("gtt_id"),
        client_id=fields.text_or_none("client_order_id"),
        symbol=fields.text("symbol"),
        state=state,
        quantity=fields.whole("quantity"),
        stop=Leg(fields.price("trigger_price"), fields.price("limit_price")),
        target=read_target(fields, "target_trigger_price", "target_limit_price"),
        at_ns=fields.time_or_none("time") or 0,
        fired=None if fields.empty("leg") else read_leg(fields),
        child_id=fields.text_or_none("order_id"),
        message=message,
    )
    return GttReport(update=update, placed_ns=fields.time_or_none("placed_at") or 0)


def read_target(fields: Fields, trigger: str, limit: str) -> Leg | None:
    """The second leg: both prices or neither."""
    if fields.empty(trigger) and fields.empty(limit):
        return None
    return Leg(fields.price(trigger), fields.price(limit))


def read_leg(fields: Fields) -> ExitReason:
    leg = fields.choice("leg", ExitReason)
    if leg not in LEGS:
        raise MalformedFrame(f"leg: expected stop or target, got {leg.value}")
    return leg
