"""A circuit breaker in front of one broker: after five failures in a row, wait for a read that works. Pure.

Owns the count of failures and the times of the probes. Never sends the probe itself, and never counts a
refusal: a rejection or a 429 is an answer, so the line is alive (orders.md, "Priority and limits"). Called
by the broker's session, which tells what came back, and by the order router, which asks when a request may
go. Times in ns of whichever clock the caller uses throughout.

    CLOSED --5 failures in a row--> OPEN --probe answered--> CLOSED
                                      ^--probe failed: wait twice as long, 30 s at most
"""

from __future__ import annotations

import attrs

from protocol.clock import NS

FAILURES_TO_OPEN = 5
FIRST_PROBE_NS = NS
LONGEST_PROBE_NS = 30 * NS
URGENT_HOLD_NS = 2 * NS  # the longest that an exit or a cancellation is ever held back


@attrs.define
class CircuitBreaker:
    failures_in_a_row: int = 0
    opened: int = 0  # how often, for the health figures
    _probe_wait_ns: int = FIRST_PROBE_NS
    _probe_ns: int | None = None  # the next probe; None while closed

    @property
    def open(self) -> bool:
        return self._probe_ns is not None

    def failed(self, at_ns: int) -> None:
        """A timeout, a broken link or a 5xx, of a request or of a probe."""
        self.failures_in_a_row += 1
        if self._probe_ns is not None:
            if at_ns >= self._probe_ns:
                self._probe_wait_ns = min(2 * self._probe_wait_ns, LONGEST_PROBE_NS)
                self._probe_ns = at_ns + self._probe_wait_ns
        elif self.failures_in_a_row >= FAILURES_TO_OPEN:
            self.opened += 1
            self._probe_wait_ns = FIRST_PROBE_NS
            self._probe_ns = at_ns + FIRST_PROBE_NS

    def answered(self) -> None:
        """Any answer of the broker's, a rejection or a 429 included: the line works."""
        self.failures_in_a_row = 0
        self._probe_ns = None

    def probe_ns(self) -> int | None:
        """When a read is to be tried; None while closed."""
        return self._probe_ns

    def next_ns(self, asked_ns: int, at_ns: int, *, urgent: bool) -> int | None:
        """When a request asked for at `asked_ns` may go: `at_ns` is now; None until a probe was answered.

        `urgent` (an exit or a cancellation) goes at most 2 s after it was asked for, open or not.
        """
        if self._probe_ns is None:
            return at_ns
        return max(at_ns, asked_ns + URGENT_HOLD_NS) if urgent else None
