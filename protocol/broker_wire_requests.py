"""What a client may ask on the JSON broker's wire, as values.

Owns the requests that protocol/broker.py does not have: reads, subscriptions, and modifications as they are read.
Their texts are broker_wire_client.py (WebSocket) and broker_wire_rest.py (HTTP).

A modification is whole on our side (`ModifyOrder`, `ModifyGtt`) and may be partial on the wire: a missing field
leaves what is there, null takes it away. So it reads as `ChangeOrder`/`ChangeGtt`, whose `applied` makes it whole.
"""

from __future__ import annotations

from enum import Enum

import attrs

from protocol.broker import CancelGtt, CancelOrder, GttUpdate, ModifyGtt, ModifyOrder, PlaceGtt, PlaceOrder, Request
from protocol.broker_wire_fields import MalformedFrame
from protocol.broker_wire_rows import OrderReport
from protocol.orders import Leg, OrderType


class Mode(Enum):
    """How much a subscriber hears of a symbol: the last price, or the day's volume with it."""

    LTP = "LTP"
    QUOTE = "QUOTE"


@attrs.frozen
class Auth:
    api_key: str


@attrs.frozen
class GetOrders:
    """`since_ns`: only orders changed at or after that instant; None: everything the server keeps."""

    since_ns: int | None = None


@attrs.frozen(kw_only=True)
class GetOrder:
    """One order, by the broker's id or by ours; exactly one of them is given."""

    order_id: str | None = None
    client_order_id: str | None = None


@attrs.frozen
class GetGtts:
    pass


@attrs.frozen
class GetTrades:
    """`since_ns`: only trades at or after that instant; None: everything the server keeps."""

    since_ns: int | None = None


@attrs.frozen
class GetPositions:
    pass


@attrs.frozen
class GetHoldings:
    pass


@attrs.frozen
class GetMargins:
    pass


@attrs.frozen
class GetQuotes:
    symbols: tuple[str, ...]


@attrs.frozen
class Subscribe:
    symbols: tuple[str, ...]
    mode: Mode = Mode.LTP


@attrs.frozen
class Unsubscribe:
    symbols: tuple[str, ...]
    mode: Mode = Mode.LTP


@attrs.frozen
class Ping:
    pass


class Unchanged(Enum):
    """The field was not in the message: what is there stays."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
MaybePaise = int | Unchanged | None


@attrs.frozen(kw_only=True)
class ChangeOrder:
    """MODIFY_ORDER as it was read. None: unchanged."""

    order_id: str
    order_type: OrderType | None
    quantity: int | None
    limit_paise: MaybePaise
    trigger_paise: MaybePaise

    def applied(self, report: OrderReport) -> ModifyOrder:
        """The whole order as it shall be. A price that the new type has no use for goes with the old type."""
        kind = self.order_type or report.order_type or OrderType.LIMIT
        limit, trigger = self.limit_paise, self.trigger_paise
        if limit is UNCHANGED:
            limit = report.update.limit_paise if kind in (OrderType.LIMIT, OrderType.SL) else None
        if trigger is UNCHANGED:
            trigger = report.trigger_paise if kind in (OrderType.SL, OrderType.SL_M) else None
        return ModifyOrder(
            broker_id=self.order_id,
            quantity=report.update.quantity if self.quantity is None else self.quantity,
            order_type=kind,
            limit_paise=limit,
            trigger_paise=trigger,
        )


@attrs.frozen(kw_only=True)
class ChangeGtt:
    """MODIFY_GTT as it was read. None: unchanged; a target is taken away by a trigger of null."""

    gtt_id: str
    quantity: int | None
    trigger_paise: int | None
    limit_paise: int | None
    target_trigger_paise: MaybePaise
    target_limit_paise: MaybePaise

    def applied(self, gtt: GttUpdate, last_paise: int) -> ModifyGtt:
        """The whole GTT as it shall be."""
        stop = gtt.stop
        return ModifyGtt(
            gtt_id=self.gtt_id,
            quantity=gtt.quantity if self.quantity is None else self.quantity,
            stop=Leg(
                stop.trigger_paise if self.trigger_paise is None else self.trigger_paise,
                stop.limit_paise if self.limit_paise is None else self.limit_paise,
            ),
            target=self._target(gtt.target),
            last_paise=last_paise,
        )

    def _target(self, old: Leg | None) -> Leg | None:
        """A new target whose limit is not given sells at its trigger or better."""
        trigger, limit = self.target_trigger_paise, self.target_limit_paise
        if trigger is UNCHANGED:
            trigger = None if old is None else old.trigger_paise
        if trigger is None:
            return None
        if limit is UNCHANGED:
            limit = None if old is None else old.limit_paise
        return Leg(trigger, trigger if limit is None else limit)


Read = GetOrders | GetOrder | GetGtts | GetTrades | GetPositions | GetHoldings | GetMargins | GetQuotes
Body = Auth | Request | Read | Subscribe | Unsubscribe | Ping  # what a client writes
Changed = PlaceOrder | ChangeOrder | CancelOrder | PlaceGtt | ChangeGtt | CancelGtt  # the six, as a server reads them
ReadBody = Auth | Changed | Read | Subscribe | Unsubscribe | Ping


@attrs.frozen
class ClientRequest:
    """One request as the server reads it. `at_ns` is the client's clock."""

    request_id: str
    body: ReadBody
    at_ns: int


@attrs.frozen
class Batch:
    """Requests of one frame, to be answered one by one; one that cannot be read does not spoil the others."""

    request_id: str
    requests: tuple[ClientRequest | UnknownType | MalformedFrame, ...]


@attrs.frozen
class UnknownType:
    """A message of a type that this version does not know: to be counted and logged, never fatal."""

    name: str
    request_id: str | None
