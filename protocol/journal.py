"""What the router hands to the journal besides orders, GTTs and rungs themselves. Frozen values."""

from __future__ import annotations

import attrs

from protocol.orders import Gtt, Leg, Order
from protocol.rungs import Rung


@attrs.frozen
class EventRow:
    """One line of the append-only audit log. `ref` names what it is about, `body` is JSON text."""

    at_ns: int
    actor: str
    kind: str
    symbol: str
    ref: str
    body: str


@attrs.frozen
class StopMoved:
    """A trailing move: the wanted legs of a GTT and its rung's stop and highest, committed before the wire."""

    gtt_client_id: str
    trade_id: int
    stop: Leg
    target: Leg | None
    highest_paise: int
    at_ns: int


Change = Order | Gtt | Rung | EventRow | StopMoved
