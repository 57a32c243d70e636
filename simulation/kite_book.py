"""The orders, trades and GTTs of the Kite server, and how Kite writes them.

Owns what is known of an order or a GTT beyond what the engine knows, and the field names of their rows
(kite.trade/docs/connect/v3; the mocks). Knows no rule of the exchange. Kept by kite_account.py and kite_gtts.py.
Amounts in rows are exact decimals of rupees.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from protocol.broker import GttUpdate, OrderUpdate, TradeRow
from protocol.clock import DAY_S, NS, ist_text, ist_time_text
from protocol.kite_values import rupees
from protocol.orders import WORKING, ExitReason, GttState, OrderState
from simulation.kite_rows import Row, average

GTT_LIVES_NS = 365 * DAY_S * NS


@attrs.define(eq=False, kw_only=True)
class OrderEntry:
    """An order of the day: what Kite was told, what the engine says, what happened to it."""

    order_id: str
    tag: str | None
    product: str
    order_type: str
    validity: str
    price_paise: int
    trigger_paise: int = 0
    protection: Decimal = Decimal(0)
    placed_ns: int
    token: int
    update: OrderUpdate
    placed_by: str
    gtt_id: int | None = None
    meta: Row = attrs.field(factory=dict)
    modifications: int = 0
    rejected_for: str = ""
    said_cancelled: bool = False  # on purpose: the exchange says so, and yet it can trade for a while
    history: list[Row] = attrs.field(factory=list)

    @property
    def status(self) -> str:
        return "CANCELLED" if self.said_cancelled and self.works else self.update.raw_status

    @property
    def works(self) -> bool:
        """Whether the engine may still trade it."""
        return self.update.state in WORKING


@attrs.define(eq=False, kw_only=True)
class GttEntry:
    """A GTT of the account. `above`: a single whose trigger lies above the price, which is a target alone."""

    trigger_id: int
    kind: str
    above: bool
    product: str
    last_paise: int
    created_ns: int
    token: int
    update: GttUpdate
    ended_as: str = ""  # disabled, expired, cancelled: how it ended when nobody deleted it
    child: OrderEntry | None = None


def order_row(entry: OrderEntry, status: str | None = None) -> Row:
    update = entry.update
    cancelled = entry.status == "CANCELLED"
    at_exchange = update.state is not OrderState.REJECTED
    remaining = update.quantity - update.filled
    return {
        "account_id": entry.placed_by,
        "placed_by": entry.placed_by,
        "order_id": entry.order_id,
        "exchange_order_id": f"13{entry.order_id[-14:]}" if at_exchange else None,
        "parent_order_id": None,
        "status": status or entry.status,
        "status_message": entry.rejected_for or None,
        "status_message_raw": f"RMS:{entry.rejected_for}" if entry.rejected_for else None,
        "order_timestamp": ist_text(max(update.at_ns, entry.placed_ns)),
        "exchange_update_timestamp": ist_text(update.at_ns) if at_exchange else None,
        "exchange_timestamp": ist_text(update.at_ns) if at_exchange else None,
        "variety": "regular",
        "modified": entry.modifications > 0,
        "exchange": "NSE",
        "tradingsymbol": update.symbol,
        "instrument_token": entry.token,
        "order_type": entry.order_type,
        "transaction_type": update.side.value,
        "validity": entry.validity,
        "validity_ttl": 0,
        "product": entry.product,
        "quantity": update.quantity,
        "disclosed_quantity": 0,
        "price": rupees(entry.price_paise),
        "trigger_price": rupees(entry.trigger_paise),
        "average_price": average(update.value_paise, update.filled),
        "filled_quantity": update.filled,
        "pending_quantity": remaining if entry.works and not cancelled else 0,
        "cancelled_quantity": remaining if cancelled else 0,
        "market_protection": entry.protection,
        "meta": entry.meta,
        "tag": entry.tag,
        "tags": [entry.tag] if entry.tag else [],
        "guid": f"guid{entry.order_id}",
    }


def trade_row(trade: TradeRow, entry: OrderEntry) -> Row:
    return {
        "trade_id": trade.trade_id,
        "order_id": entry.order_id,
        "exchange": "NSE",
        "tradingsymbol": trade.symbol,
        "instrument_token": entry.token,
        "product": entry.product,
        "average_price": rupees(trade.price_paise),
        "quantity": trade.quantity,
        "exchange_order_id": f"13{entry.order_id[-14:]}",
        "transaction_type": trade.side.value,
        "fill_timestamp": ist_text(trade.at_ns),
        "order_timestamp": ist_time_text(entry.placed_ns),
        "exchange_timestamp": ist_text(trade.at_ns),
    }


def gtt_row(entry: GttEntry, user_id: str) -> Row:
    update = entry.update
    legs = [leg for leg in (update.stop, update.target) if leg is not None]
    legs = legs[1:] if entry.above else legs
    fired = None if update.fired is None else int(update.fired is ExitReason.TARGET and len(legs) > 1)
    return {
        "id": entry.trigger_id,
        "user_id": user_id,
        "parent_trigger": None,
        "type": entry.kind,
        "created_at": ist_text(entry.created_ns),
        "updated_at": ist_text(max(update.at_ns, entry.created_ns)),
        "expires_at": ist_text(entry.created_ns + GTT_LIVES_NS),
        "status": _gtt_status(entry),
        "condition": {
            "exchange": "NSE",
            "last_price": rupees(entry.last_paise),
            "tradingsymbol": update.symbol,
            "trigger_values": [rupees(leg.trigger_paise) for leg in legs],
            "instrument_token": entry.token,
        },
        "orders": [
            {
                "exchange": "NSE",
                "tradingsymbol": update.symbol,
                "product": entry.product,
                "order_type": "LIMIT",
                "transaction_type": "SELL",
                "quantity": update.quantity,
                "price": rupees(leg.limit_paise),
                "result": _result(entry, leg.limit_paise) if place == fired else None,
            }
            for place, leg in enumerate(legs)
        ],
        "meta": None,
    }


def _gtt_status(entry: GttEntry) -> str:
    if entry.ended_as:
        return entry.ended_as
    if entry.update.state is GttState.CANCELLED:
        return "deleted"
    status: str = entry.update.state.value
    return status.lower()


def _result(entry: GttEntry, limit_paise: int) -> Row:
    child = entry.child
    assert child is not None, f"GTT {entry.trigger_id} fired without a child"
    failed = child.update.state is OrderState.REJECTED
    return {
        "account_id": child.placed_by,
        "exchange": "NSE",
        "tradingsymbol": child.update.symbol,
        "validity": "DAY",
        "product": child.product,
        "order_type": "LIMIT",
        "transaction_type": "SELL",
        "quantity": child.update.quantity,
        "price": rupees(limit_paise),
        "meta": f'{{"app_id":1,"gtt":{entry.trigger_id}}}',
        "timestamp": ist_text(child.placed_ns),
        "triggered_at": rupees(limit_paise),
        "order_result": {
            "status": "failed" if failed else "success",
            "order_id": child.order_id,
            "rejection_reason": child.rejected_for,
        },
    }
