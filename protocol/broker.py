"""What the router asks of a broker and what a broker says, whichever broker it is.

Owns the vocabulary of the `Broker` port. Knows no wire format: brokers translate. Frozen values only.
Quantities in shares, prices in paise, times in market nanoseconds.
"""

from __future__ import annotations

from enum import Enum

import attrs

from protocol.orders import ExitReason, GttState, Leg, OrderState, OrderType, Side


@attrs.frozen(kw_only=True)
class PlaceOrder:
    client_id: str
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    limit_paise: int | None = None
    trigger_paise: int | None = None


@attrs.frozen(kw_only=True)
class ModifyOrder:
    """The whole order as it shall be; quantity is the total, fills included."""

    broker_id: str
    quantity: int
    order_type: OrderType
    limit_paise: int | None = None
    trigger_paise: int | None = None


@attrs.frozen
class CancelOrder:
    broker_id: str


@attrs.frozen(kw_only=True)
class PlaceGtt:
    client_id: str
    symbol: str
    quantity: int
    stop: Leg
    target: Leg | None
    last_paise: int


@attrs.frozen(kw_only=True)
class ModifyGtt:
    """The whole GTT as it shall be: a modify resends both legs with the current last price."""

    gtt_id: str
    quantity: int
    stop: Leg
    target: Leg | None
    last_paise: int


@attrs.frozen
class CancelGtt:
    gtt_id: str


Request = PlaceOrder | ModifyOrder | CancelOrder | PlaceGtt | ModifyGtt | CancelGtt


@attrs.frozen(kw_only=True)
class OrderUpdate:
    """An order as the broker has it now: cumulative, so the newest wins and a repeat changes nothing.

    `client_id` is None for the child of a GTT (then `gtt_id` names it) and for orders that are not ours.
    """

    broker_id: str
    client_id: str | None
    gtt_id: str | None
    symbol: str
    side: Side
    state: OrderState
    quantity: int
    filled: int
    value_paise: int
    at_ns: int
    limit_paise: int | None = None
    message: str = ""
    raw_status: str = ""


@attrs.frozen(kw_only=True)
class GttUpdate:
    """A GTT as the broker has it now. `child_id` is the order it released, `fired` the leg."""

    gtt_id: str
    client_id: str | None
    symbol: str
    state: GttState
    quantity: int
    stop: Leg
    target: Leg | None
    at_ns: int
    fired: ExitReason | None = None
    child_id: str | None = None
    message: str = ""


@attrs.frozen(kw_only=True)
class RequestFailed:
    """A request that did not do what it asked. `reached` False: certainly not carried out; True: nobody knows."""

    request: Request
    reached: bool
    code: str
    message: str
    at_ns: int


class SessionState(Enum):
    """The states of an account's connection, as people see them; orders go out only in READY."""

    CONNECTING = "CONNECTING"
    LOGIN_NEEDED = "LOGIN_NEEDED"
    READY = "READY"


@attrs.frozen
class SessionChanged:
    state: SessionState
    reason: str
    at_ns: int


@attrs.frozen
class Resync:
    """Updates were lost or too many: the books are to be read."""

    reason: str


Event = OrderUpdate | GttUpdate | RequestFailed | SessionChanged | Resync


@attrs.frozen(kw_only=True)
class TradeRow:
    """One fill in the broker's trade book."""

    trade_id: str
    broker_id: str
    client_id: str | None
    symbol: str
    side: Side
    quantity: int
    price_paise: int
    at_ns: int


@attrs.frozen(kw_only=True)
class PositionRow:
    """Net of today's trades in a symbol, signed; `bought`/`sold` with their values for the day."""

    symbol: str
    quantity: int
    bought: int
    bought_value_paise: int
    sold: int
    sold_value_paise: int


@attrs.frozen(kw_only=True)
class HoldingRow:
    """Shares owned from earlier days: settled and T1 (bought yesterday, not yet delivered)."""

    symbol: str
    quantity: int
    t1_quantity: int
    average_paise: int


@attrs.frozen
class Margins:
    available_paise: int
    used_paise: int


@attrs.frozen(kw_only=True)
class Quote:
    symbol: str
    last_paise: int
    at_ns: int
    volume: int = -1
    lower_circuit_paise: int | None = None
    upper_circuit_paise: int | None = None


@attrs.frozen(kw_only=True)
class Books:
    """Everything reconciliation compares, read together."""

    orders: tuple[OrderUpdate, ...]
    gtts: tuple[GttUpdate, ...]
    trades: tuple[TradeRow, ...]
    positions: tuple[PositionRow, ...]
    holdings: tuple[HoldingRow, ...]
    at_ns: int


@attrs.frozen(kw_only=True)
class BrokerTraits:
    """What differs between brokers and the router must know. Calls per second are None where unlimited."""

    name: str
    entry_type: OrderType
    gtt_min_distance_bp: int = 0
    order_calls_per_second: int | None = None
    order_calls_per_minute: int | None = None
    absent_after_s: int = 120  # how long an order that the book does not show stays UNKNOWN
