"""When a request may go to the JSON broker: the order of importance, the call limits, the circuit breaker.

Owns the requests that wait for that, and nothing that was sent. What may go together goes in the order it came. Where
not all may, exits and cancellations come before protection, its modifications, and entries; an entry that would be
sent too old, or while the broker does not answer, is refused instead (orders.md, "Priority and limits"). Called by
WebSocketBroker. Times are machine time: limits and breaker count seconds of the broker's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import trio

from brokers.circuit_breaker import CircuitBreaker
from brokers.rate_limit import Call, RateLimiter
from effects import machine_s
from protocol.broker import CancelGtt, CancelOrder, ModifyGtt, ModifyOrder, PlaceGtt, PlaceOrder, Request
from protocol.clock import NS
from protocol.orders import Side

WAITING_MAX = 1_024
ENTRY_WAIT_NS = 5 * NS  # the router confirmed the price of an entry no longer ago than this

CIRCUIT_OPEN, TOO_LATE, QUEUE_FULL = "CIRCUIT_OPEN", "TOO_LATE", "QUEUE_FULL"


@attrs.frozen(eq=False)
class _Waiting:
    request: Request
    asked_ns: int


class Gate:
    """One account's. `send` takes what may go now, together; `refuse` what will not go, with code and reason."""

    def __init__(
        self,
        limiter: RateLimiter | None,
        breaker: CircuitBreaker,
        send: Callable[[Sequence[Request]], None],
        refuse: Callable[[Request, str, str], None],
    ) -> None:
        self._limiter = limiter
        self._breaker = breaker
        self._send = send
        self._refuse = refuse
        self._waiting: list[_Waiting] = []
        self._news = trio.lowlevel.ParkingLot()

    def add(self, requests: Sequence[Request]) -> None:
        """Send what may go at once; the rest waits for `run`."""
        now_ns = machine_ns()
        for request in requests:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append(_Waiting(request, now_ns))
            else:
                self._refuse(request, QUEUE_FULL, f"{WAITING_MAX} requests wait already")
        self._release()
        if self._waiting:
            self._news.unpark_all()

    def look_again(self) -> None:
        """The circuit breaker has opened or closed."""
        self._news.unpark_all()

    def clear(self, code: str, reason: str) -> None:
        """The line has gone or changed: nothing of what waits is sent."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._refuse(one.request, code, reason)

    async def run(self) -> None:
        """Send what waits when it may go, until cancelled."""
        while True:
            due_ns = self._release()
            with trio.move_on_after(float("inf") if due_ns is None else max(0.0, (due_ns - machine_ns()) / NS)):
                await self._news.park()

    def _release(self) -> int | None:
        """Send all that may go now. Returns when to look again, None: when there is news."""
        now_ns = machine_ns()
        going: set[_Waiting] = set()
        over: set[_Waiting] = set()
        looks: list[int] = []
        for one in sorted(self._waiting, key=lambda one: importance(one.request)):  # stable: first come, first served
            refusal = self._refusal(one, now_ns)
            if refusal is not None:
                over.add(one)
                self._refuse(one.request, *refusal)
                continue
            due_ns = self._due_ns(one, now_ns)
            if due_ns == now_ns:
                going.add(one)
                continue
            if due_ns is not None:
                looks.append(due_ns)
            if is_entry(one.request):
                looks.append(one.asked_ns + ENTRY_WAIT_NS)
        now = [one.request for one in self._waiting if one in going]
        self._waiting = [one for one in self._waiting if one not in going and one not in over]
        if now:
            self._send(now)
        return min(looks, default=None)

    def _refusal(self, one: _Waiting, now_ns: int) -> tuple[str, str] | None:
        """Code and reason why an entry is not sent at all."""
        if not is_entry(one.request):
            return None
        if self._breaker.open:
            return CIRCUIT_OPEN, "the broker did not answer lately: no entries until it does"
        if now_ns - one.asked_ns >= ENTRY_WAIT_NS:
            return TOO_LATE, "the call limits held it back until its price was too old"
        return None

    def _due_ns(self, one: _Waiting, now_ns: int) -> int | None:
        """`now_ns`: it goes, and is counted; a later instant, or None until there is news."""
        due_ns = self._breaker.next_ns(one.asked_ns, now_ns, urgent=is_urgent(one.request))
        if due_ns is None or due_ns > now_ns or self._limiter is None:
            return due_ns
        call = Call.GTT if isinstance(one.request, PlaceGtt | ModifyGtt | CancelGtt) else Call.ORDER
        due_ns = self._limiter.next_ns(call, 1, now_ns)
        if due_ns == now_ns:
            self._limiter.sent(call, 1, now_ns)
        return due_ns


def machine_ns() -> int:
    return round(machine_s() * NS)


def is_entry(request: Request) -> bool:
    return isinstance(request, PlaceOrder) and request.side is Side.BUY


def is_urgent(request: Request) -> bool:
    """An exit or a cancellation."""
    if isinstance(request, PlaceOrder):
        return request.side is Side.SELL
    return isinstance(request, ModifyOrder | CancelOrder | CancelGtt)


def importance(request: Request) -> int:
    """The smaller, the sooner. A modified order is an exit or a child that does not fill."""
    if is_urgent(request):
        return 0
    if isinstance(request, PlaceGtt):
        return 1
    return 2 if isinstance(request, ModifyGtt) else 3
