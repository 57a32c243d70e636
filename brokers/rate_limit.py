"""How many calls a broker may be sent, and when the next may go. Pure.

Owns the counting of calls over the last second and minute and over the day. Never orders the waiting calls
(exits before cancellations before ... is the order router's) and never sleeps. Called by the order router
and by brokers that poll. Times in market ns.

The exchange's second is Zerodha's calendar second (kite-facts, rate limits), ours rolls. One rule serves
both: every calendar second is also one of the rolling ones, so no more than N calls in any half-open span of
a second means no more than N in any calendar second; the same holds for minutes.
"""

from __future__ import annotations

from collections import deque
from datetime import date
from enum import Enum

import attrs

from protocol.clock import MINUTE_NS, NS, ist_date
from protocol.errors import LocalProtocolError


class Call(Enum):
    """What a call counts as: placing, modifying or cancelling an order; the same for a GTT; reading."""

    ORDER = "order"
    GTT = "gtt"
    READ = "read"


@attrs.frozen(kw_only=True)
class CallLimits:
    """Calls per span; the defaults keep below Kite's 10 a second, 400 a minute, 5,000 a day (orders.md).

    GTT calls and reads share `other_per_second`, of which `kept_for_gtts` are never taken by reads. Only
    placed orders count for the day; entries stop at `entry_share_bp` of it.
    """

    order_per_second: int = 8
    order_per_minute: int = 380
    order_per_day: int = 5_000
    entry_share_bp: int = 8_000
    other_per_second: int = 8
    kept_for_gtts: int = 3


class _Span:
    """Calls within the last span of time; at most `most` of them."""

    def __init__(self, most: int, span_ns: int) -> None:
        self.most = most
        self._span_ns = span_ns
        self._sent: deque[int] = deque(maxlen=most)  # only the newest `most` can ever hold a call back

    def next_ns(self, count: int, at_ns: int) -> int:
        """The first instant, not before `at_ns`, at which `count` more calls fit."""
        over = len(self._sent) + count - self.most
        return at_ns if over <= 0 else max(at_ns, self._sent[over - 1] + self._span_ns)

    def sent(self, count: int, at_ns: int) -> None:
        self._sent.extend([at_ns] * count)


class RateLimiter:
    """The calls of one account at one broker. Instants may not run backwards."""

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        others = _Span(limits.other_per_second, NS)
        reads = _Span(limits.other_per_second - limits.kept_for_gtts, NS)
        self._spans: dict[Call, tuple[_Span, ...]] = {
            Call.ORDER: (_Span(limits.order_per_second, NS), _Span(limits.order_per_minute, MINUTE_NS)),
            Call.GTT: (others,),
            Call.READ: (others, reads),
        }
        self._newest_ns = 0
        self._day = date.min
        self._placed_today = 0

    def next_ns(self, call: Call, count: int, at_ns: int) -> int:
        """When `count` calls may go together: `at_ns` itself, or the first later instant.

        Raises LocalProtocolError when so many never fit into one span.
        """
        fits = min(span.most for span in self._spans[call])
        if not 0 < count <= fits:
            raise LocalProtocolError(f"{count} {call.value} calls at once: 1 to {fits} can go together")
        return max(span.next_ns(count, at_ns) for span in self._spans[call])

    def may_send(self, call: Call, count: int, at_ns: int) -> bool:
        return self.next_ns(call, count, at_ns) == at_ns

    def sent(self, call: Call, count: int, at_ns: int) -> None:
        """Count calls that go out now. Raises LocalProtocolError when they may not."""
        if at_ns < self._newest_ns:
            raise LocalProtocolError(f"calls at {at_ns} after calls at {self._newest_ns}: time ran backwards")
        if not self.may_send(call, count, at_ns):
            raise LocalProtocolError(f"{count} {call.value} calls at {at_ns} are over the limit")
        self._newest_ns = at_ns
        for span in self._spans[call]:
            span.sent(count, at_ns)

    def placed(self, count: int, at_ns: int) -> None:
        """Count placed orders for the day's allowance (modifying, cancelling and GTTs do not count: kite-
        facts).
        """
        self._roll(at_ns)
        self._placed_today += count

    def may_place(self, count: int, at_ns: int, *, entry: bool) -> bool:
        """Whether the day's allowance has room; entries leave the last fifth of it to exits."""
        self._roll(at_ns)
        allowed = self._limits.order_per_day
        if entry:
            allowed = allowed * self._limits.entry_share_bp // 10_000
        return self._placed_today + count <= allowed

    def _roll(self, at_ns: int) -> None:
        if ist_date(at_ns) != self._day:
            self._day = ist_date(at_ns)
            self._placed_today = 0
