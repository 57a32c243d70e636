"""When a request may go to Kite: the limits, the circuit breaker, the age of its price, the GTTs left.

Owns what is held back and what is refused for that. Pure but for the machine's clock; keeps no queue. Called by the
broker when something is submitted and by the queue before something is sent.
"""

from __future__ import annotations

from brokers.kite_memory import KiteMemory
from brokers.kite_options import KiteOptions
from brokers.kite_queue import Queued
from brokers.kite_rest import KiteRest
from brokers.matching_orders import NEEDS_LIMIT, NEEDS_TRIGGER
from effects import machine_s
from protocol.broker import CancelGtt, CancelOrder, ModifyGtt, ModifyOrder, PlaceGtt, PlaceOrder, Request
from protocol.clock import NS
from protocol.kite_wire import Call
from protocol.orders import Side

ALLOWANCE_IN_USE_MAX = 90  # percent of the GTT allowance; beyond it nothing is entered that could not be protected


class KiteGate:
    """One account's."""

    def __init__(self, rest: KiteRest, memory: KiteMemory, options: KiteOptions) -> None:
        self._rest = rest
        self._memory = memory
        self._options = options

    def entry_refused(self, request: Request) -> tuple[str, str] | None:
        """Code and text of why this may not be entered now; None for everything that is no entry."""
        if not is_entry(request):
            return None
        if self._rest.breaker.open:
            return "CIRCUIT_OPEN", "Kite did not answer lately: no entries until it does"
        used, allowed = self._memory.active_gtts, self._options.gtt_allowance
        if used * 100 > allowed * ALLOWANCE_IN_USE_MAX:
            return "GTT_ALLOWANCE", f"{used} of {allowed} GTTs are in use: no entries"
        return None

    def wait_ns(self, queued: Queued) -> int | None:
        """How long a request has to wait, None until further notice; 0 takes its place in the limits."""
        wait = self._rest.breaker_wait_ns(queued.asked_ns, urgent=_is_urgent(queued.request))
        if wait is None or wait > 0:
            return wait
        call = Call.GTT if isinstance(queued.request, PlaceGtt | ModifyGtt | CancelGtt) else Call.ORDER
        wait = self._rest.wait_ns(call)
        if wait <= 0:
            self._rest.take(call)
        return max(0, wait)

    def too_late(self, queued: Queued) -> bool:
        """An entry is never sent at an old price."""
        return is_entry(queued.request) and machine_s() - queued.asked_ns / NS > self._options.entry_wait_s


def malformed(request: Request) -> tuple[str, str] | None:
    """Code and text of what Kite would read as a price of zero. Tick sizes and circuits are Kite's to judge."""
    if isinstance(request, PlaceOrder | ModifyOrder):
        if request.order_type in NEEDS_LIMIT and request.limit_paise is None:
            return "INVALID_INPUT", f"a {request.order_type.value} order needs a limit"
        if request.order_type in NEEDS_TRIGGER and request.trigger_paise is None:
            return "INVALID_INPUT", f"a {request.order_type.value} order needs a trigger"
    return None


def is_entry(request: Request) -> bool:
    return isinstance(request, PlaceOrder) and request.side is Side.BUY


def _is_urgent(request: Request) -> bool:
    """An exit or a cancellation, which a circuit breaker holds back for 2 s at most."""
    if isinstance(request, PlaceOrder):
        return request.side is Side.SELL
    return isinstance(request, ModifyOrder | CancelOrder | CancelGtt)
