"""One order's life and one GTT's life, as tables.

Owns the states, the transitions and the arithmetic of fills. Never sends anything and does not know who asks:
the order router drives these machines, the journal stores their values, the brokers report events.
An event that the table does not list raises and changes nothing.
"""

from __future__ import annotations

from enum import Enum

import attrs

from protocol.errors import LocalProtocolError


class Side(Enum):
    BUY = "BUY"
    SELL = "SELL"


class OrderType(Enum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"
    SL_M = "SL-M"


class OrderState(Enum):
    """INTENT waits in our queue; SENT may have reached the broker; UNKNOWN may or may not exist there."""

    INTENT = "INTENT"
    SENT = "SENT"
    OPEN = "OPEN"
    PARTIAL = "PARTIAL"
    UNKNOWN = "UNKNOWN"
    COMPLETE = "COMPLETE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    NOT_PLACED = "NOT_PLACED"
    LAPSED = "LAPSED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    LATE_FILL = "LATE_FILL"


WORKING = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.OPEN, OrderState.PARTIAL, OrderState.UNKNOWN})


class OrderEvent(Enum):
    """What can happen to an order. PART_FILLED and FILLED carry evidence and count in every state."""

    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    PART_FILLED = "part_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"
    ABSENT = "absent"
    LAPSED = "lapsed"
    REFUSED = "refused"
    EXPIRED = "expired"


def _order_table() -> dict[tuple[OrderState, OrderEvent], OrderState]:
    """orders.md, "One order's life", row by row."""
    state, event = OrderState, OrderEvent
    table = {
        (state.INTENT, event.SENT): state.SENT,
        (state.INTENT, event.REFUSED): state.REFUSED,
        (state.INTENT, event.EXPIRED): state.EXPIRED,
        (state.INTENT, event.ABSENT): state.NOT_PLACED,  # never sent: a restart found it in the queue
        (state.INTENT, event.ACKNOWLEDGED): state.OPEN,  # the broker knows it after all: adopted, alert
        (state.SENT, event.NO_ANSWER): state.UNKNOWN,
        (state.UNKNOWN, event.ABSENT): state.NOT_PLACED,
        (state.UNKNOWN, event.NO_ANSWER): state.UNKNOWN,
        (state.OPEN, event.NO_ANSWER): state.UNKNOWN,  # working today, and the broker's book does not know it
        (state.PARTIAL, event.NO_ANSWER): state.UNKNOWN,
        (state.PARTIAL, event.ACKNOWLEDGED): state.PARTIAL,
    }
    for alive in (state.SENT, state.OPEN, state.UNKNOWN):
        table[alive, event.ACKNOWLEDGED] = state.OPEN
    for alive in (state.SENT, state.OPEN, state.PARTIAL, state.UNKNOWN):
        table[alive, event.PART_FILLED] = state.PARTIAL
        table[alive, event.FILLED] = state.COMPLETE
        table[alive, event.CANCELLED] = state.CANCELLED
        table[alive, event.REJECTED] = state.REJECTED
        table[alive, event.LAPSED] = state.LAPSED
    for over in (
        state.INTENT,
        state.CANCELLED,
        state.REJECTED,
        state.NOT_PLACED,
        state.LAPSED,
        state.REFUSED,
        state.EXPIRED,
        state.LATE_FILL,
    ):
        # Real world possibility: a fill overtakes a cancel, or a reject turns out to have traded.
        table[over, event.PART_FILLED] = state.LATE_FILL
        table[over, event.FILLED] = state.COMPLETE
    return table


NEXT_ORDER_STATE = _order_table()


class Purpose(Enum):
    """Why an order exists; the order of the members is the router's priority, first served first."""

    EXIT = "exit"
    ENTRY = "entry"


class ExitReason(Enum):
    STOP = "stop"
    TARGET = "target"
    SQUARE_OFF = "square_off"
    SAFETY = "safety"
    PERSON = "person"


@attrs.frozen(kw_only=True)
class Order:
    """One order of ours, or the child of one of our GTTs. Quantities in shares, money in paise, times in ns.

    `value_paise` is the sum of price x quantity over its fills, exact; `decision_paise` the last price when it
    was decided, which reserves capital and judges slippage.
    """

    client_id: str
    key: str
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    purpose: Purpose
    ladder: str
    rung: int
    decision_paise: int
    created_ns: int
    updated_ns: int
    limit_paise: int | None = None
    trigger_paise: int | None = None
    state: OrderState = OrderState.SENT
    broker_id: str | None = None
    filled: int = 0
    value_paise: int = 0
    rank: float | None = None
    reason: ExitReason | None = None
    gtt_client_id: str | None = None
    message: str = ""

    @property
    def working(self) -> bool:
        return self.state in WORKING

    @property
    def pending(self) -> int:
        """Shares that may still trade."""
        return self.quantity - self.filled if self.working else 0

    def after(self, event: OrderEvent, at_ns: int, *, broker_id: str | None = None, message: str = "") -> Order:
        """The order after an event without a fill. Raises LocalProtocolError when the table forbids it."""
        state = NEXT_ORDER_STATE.get((self.state, event))
        if state is None:
            raise LocalProtocolError(f"order {self.client_id}: {event.value} is impossible in {self.state.value}")
        if self.filled and state is OrderState.OPEN:
            state = OrderState.PARTIAL  # acknowledged again after a doubt: what has filled stays filled
        elif self.filled and state is OrderState.NOT_PLACED:
            state = OrderState.CANCELLED  # gone from the book, but part of it had traded
        return attrs.evolve(
            self,
            state=state,
            updated_ns=at_ns,
            broker_id=broker_id or self.broker_id,
            message=message or self.message,
        )

    def filled_to(self, filled: int, value_paise: int, at_ns: int, broker_id: str | None = None) -> Order:
        """The order with cumulative fills; older evidence changes nothing, because filled never decreases."""
        if filled <= self.filled:
            return self
        assert filled <= self.quantity, f"{self.client_id}: {filled} filled of {self.quantity}"
        event = OrderEvent.FILLED if filled == self.quantity else OrderEvent.PART_FILLED
        moved = self.after(event, at_ns, broker_id=broker_id)
        return attrs.evolve(moved, filled=filled, value_paise=value_paise)


class GttState(Enum):
    """TRIGGERED means that the child order exists or was tried; it does not mean sold."""

    INTENT = "INTENT"
    ACTIVE = "ACTIVE"
    TRIGGERED = "TRIGGERED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


class GttEvent(Enum):
    ACCEPTED = "accepted"
    TRIGGERED = "triggered"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"
    ABSENT = "absent"


NEXT_GTT_STATE: dict[tuple[GttState, GttEvent], GttState] = {
    (GttState.INTENT, GttEvent.ACCEPTED): GttState.ACTIVE,
    (GttState.INTENT, GttEvent.REJECTED): GttState.REJECTED,
    (GttState.INTENT, GttEvent.NO_ANSWER): GttState.UNKNOWN,
    (GttState.INTENT, GttEvent.TRIGGERED): GttState.TRIGGERED,  # the trigger can overtake the acknowledgement
    (GttState.INTENT, GttEvent.CANCELLED): GttState.CANCELLED,
    (GttState.INTENT, GttEvent.ABSENT): GttState.CANCELLED,
    (GttState.ACTIVE, GttEvent.ACCEPTED): GttState.ACTIVE,
    (GttState.ACTIVE, GttEvent.TRIGGERED): GttState.TRIGGERED,
    (GttState.ACTIVE, GttEvent.CANCELLED): GttState.CANCELLED,
    (GttState.ACTIVE, GttEvent.REJECTED): GttState.REJECTED,
    (GttState.ACTIVE, GttEvent.NO_ANSWER): GttState.UNKNOWN,
    (GttState.UNKNOWN, GttEvent.ACCEPTED): GttState.ACTIVE,
    (GttState.UNKNOWN, GttEvent.TRIGGERED): GttState.TRIGGERED,
    (GttState.UNKNOWN, GttEvent.CANCELLED): GttState.CANCELLED,
    (GttState.UNKNOWN, GttEvent.REJECTED): GttState.REJECTED,
    (GttState.UNKNOWN, GttEvent.ABSENT): GttState.CANCELLED,
    (GttState.UNKNOWN, GttEvent.NO_ANSWER): GttState.UNKNOWN,
    (GttState.TRIGGERED, GttEvent.TRIGGERED): GttState.TRIGGERED,
    (GttState.CANCELLED, GttEvent.TRIGGERED): GttState.TRIGGERED,  # a trigger can overtake a cancellation
    (GttState.CANCELLED, GttEvent.CANCELLED): GttState.CANCELLED,
}


@attrs.frozen
class Leg:
    """One trigger of a GTT and the limit of the sell order it releases, in paise."""

    trigger_paise: int
    limit_paise: int


@attrs.frozen(kw_only=True)
class Gtt:
    """A sell that rests at the broker: a stop, or a stop and a target of which the first to trigger wins."""

    client_id: str
    key: str
    symbol: str
    quantity: int
    stop: Leg
    target: Leg | None
    ladder: str
    rung: int
    created_ns: int
    updated_ns: int
    state: GttState = GttState.INTENT
    gtt_id: str | None = None
    fired: ExitReason | None = None  # STOP or TARGET once triggered
    message: str = ""

    @property
    def standing(self) -> bool:
        """May still sell by itself: its quantity counts against what the rung holds."""
        return self.state in (GttState.INTENT, GttState.ACTIVE, GttState.UNKNOWN)

    def after(
        self,
        event: GttEvent,
        at_ns: int,
        *,
        gtt_id: str | None = None,
        fired: ExitReason | None = None,
        message: str = "",
    ) -> Gtt:
        """The GTT after an event. Raises LocalProtocolError when the table forbids it."""
        state = NEXT_GTT_STATE.get((self.state, event))
        if state is None:
            raise LocalProtocolError(f"GTT {self.client_id}: {event.value} is impossible in {self.state.value}")
        return attrs.evolve(
            self,
            state=state,
            updated_ns=at_ns,
            gtt_id=gtt_id or self.gtt_id,
            fired=fired or self.fired,
            message=message or self.message,
        )
