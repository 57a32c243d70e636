"""Kite's rate limits, counted per calendar second, per minute and per day.

Owns the figures of kite-facts 2 (July 2026) and the counting. Never delays anything: what is too much is refused.
Called by kite_routes.py. Times in machine seconds, because limits protect a machine; the day is the market's.
"""

from __future__ import annotations

from collections import deque
from datetime import date

from protocol.kite_wire import Call

PER_SECOND = {Call.QUOTE: 1, Call.HISTORICAL: 3, Call.ORDER: 10, Call.GTT: 10, Call.READ: 10}
ORDERS_PER_MINUTE = 400
ORDERS_PER_DAY = 5_000


class RateLimits:
    """GTT calls and reads share one allowance, as at Kite. `on` False: nothing is ever too much."""

    def __init__(self, on: bool = True) -> None:
        self.on = on
        self._day = date.min
        self._placed_today = 0
        self._second: dict[Call, tuple[int, int]] = {}
        self._minute: deque[float] = deque()

    def admit(self, call: Call, at_s: float, day: date, *, places: bool) -> bool:
        """Count a call, if it may be made. `places`: a new order, which counts for the minute and the day,
        rejected or not.
        """
        if not self.on:
            return True
        group = Call.READ if call is Call.GTT else call
        second, count = self._second.get(group, (-1, 0))
        count = count + 1 if second == int(at_s) else 1
        if count > PER_SECOND[group] or (places and not self._place(at_s, day)):
            return False
        self._second[group] = (int(at_s), count)
        return True

    def _place(self, at_s: float, day: date) -> bool:
        if day != self._day:
            self._day, self._placed_today = day, 0
        while self._minute and self._minute[0] <= at_s - 60:
            self._minute.popleft()
        if len(self._minute) >= ORDERS_PER_MINUTE or self._placed_today >= ORDERS_PER_DAY:
            return False
        self._minute.append(at_s)
        self._placed_today += 1
        return True
