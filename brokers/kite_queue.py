"""The requests of one account on their way to Kite: in the router's order, within the limits, bounded.

Owns which request goes next and which are in flight. Requests that concern one symbol (or one id nobody knows) are
a line: they go one after the other, in order. Lines do not wait for each other, so an exit never stands behind
somebody else's time-out. Never talks to Kite (kite_requests.py does).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import attrs
import trio

from effects import machine_s
from protocol.broker import Request
from protocol.clock import NS

WAITING_MAX = 512
LOOK_AGAIN_NS = NS  # what waits for further notice is looked at, in case it is too late by then
IN_FLIGHT_MAX = 4  # connections of the HTTP client


@attrs.frozen(eq=False)
class Queued:
    """A request, the line it belongs to, and when it was asked for, in ns of machine time."""

    request: Request
    line: str
    asked_ns: int


class Gate(Protocol):
    """Who says when a request may go (kite_gate.py)."""

    def wait_ns(self, queued: Queued) -> int | None: ...

    def too_late(self, queued: Queued) -> bool: ...


class RequestQueue:
    """One account's. It is empty after `close`, and what is submitted then waits for the next `run`."""

    def __init__(self) -> None:
        self._waiting: list[Queued] = []
        self._in_flight: list[Queued] = []
        self._news = trio.Event()

    def __len__(self) -> int:
        """Requests without an answer yet."""
        return len(self._waiting) + len(self._in_flight)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= WAITING_MAX

    def requests(self) -> Iterable[Request]:
        return [queued.request for queued in (*self._in_flight, *self._waiting)]

    def add(self, request: Request, line: str) -> None:
        self._waiting.append(Queued(request, line, round(machine_s() * NS)))
        self.look_again()

    def look_again(self) -> None:
        """Something that held a request back may have gone."""
        self._news.set()

    def close(self) -> tuple[list[Request], list[Request]]:
        """What was never sent, and what was and has no answer; nothing of it is sent any more."""
        unsent, unanswered = self._waiting, self._in_flight
        self._waiting, self._in_flight = [], []
        return [queued.request for queued in unsent], [queued.request for queued in unanswered]

    async def run(
        self,
        send: Callable[[Request], Awaitable[None]],
        gate: Gate,
        refuse: Callable[[Request], None],
    ) -> None:
        """Send until cancelled. What is too late while it waits is refused instead."""
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                for queued in [queued for queued in self._waiting if gate.too_late(queued)]:
                    self._waiting.remove(queued)
                    refuse(queued.request)
                soonest_ns = math.inf
                held = {queued.line for queued in self._in_flight}
                for queued in tuple(self._waiting):
                    if len(self._in_flight) >= IN_FLIGHT_MAX:
                        break
                    wait = None if queued.line in held else gate.wait_ns(queued)
                    if wait == 0:
                        self._waiting.remove(queued)
                        self._in_flight.append(queued)
                        nursery.start_soon(self._send, queued, send)
                    elif wait is not None:
                        soonest_ns = min(soonest_ns, wait)
                    held.add(queued.line)
                if self._waiting:
                    soonest_ns = min(soonest_ns, LOOK_AGAIN_NS)
                with trio.move_on_after(soonest_ns / NS):
                    await self._news.wait()

    async def _send(self, queued: Queued, send: Callable[[Request], Awaitable[None]]) -> None:
        await send(queued.request)  # cut off in the middle it stays in flight: nobody knows what became of it
        self._in_flight.remove(queued)
        self.look_again()
