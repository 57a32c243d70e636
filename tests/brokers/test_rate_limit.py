"""No second and no minute, wherever it begins, holds more calls than the limit."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.rate_limit import Call, CallLimits, RateLimiter
from protocol.clock import MINUTE_NS, NS, at
from protocol.errors import LocalProtocolError

TEN_NS = at(date(2026, 11, 23), 36_000)


def fill(limiter: RateLimiter, call: Call, count: int, at_ns: int) -> int:
    """Send as many single calls as may go at one instant, at most `count`; how many went."""
    for sent in range(count):
        if not limiter.may_send(call, 1, at_ns):
            return sent
        limiter.sent(call, 1, at_ns)
    return count


def test_the_ninth_order_call_of_a_second_waits_for_the_first_to_grow_old() -> None:
    limiter = RateLimiter(CallLimits())
    half_past = TEN_NS + NS // 2
    assert fill(limiter, Call.ORDER, 20, half_past) == 8
    assert not limiter.may_send(Call.ORDER, 1, TEN_NS + NS), "a new calendar second, but not a whole second later"
    assert limiter.next_ns(Call.ORDER, 1, TEN_NS + NS) == half_past + NS
    assert fill(limiter, Call.ORDER, 20, half_past + NS) == 8


def test_several_calls_together_wait_until_all_of_them_fit() -> None:
    limiter = RateLimiter(CallLimits())
    limiter.sent(Call.ORDER, 4, TEN_NS)
    limiter.sent(Call.ORDER, 3, TEN_NS + NS // 4)
    assert limiter.next_ns(Call.ORDER, 1, TEN_NS + NS // 2) == TEN_NS + NS // 2
    assert limiter.next_ns(Call.ORDER, 5, TEN_NS + NS // 2) == TEN_NS + NS
    assert limiter.next_ns(Call.ORDER, 6, TEN_NS + NS // 2) == TEN_NS + NS + NS // 4


def test_a_minute_has_its_own_limit() -> None:
    limiter = RateLimiter(CallLimits(order_per_minute=20))
    for second in range(3):
        fill(limiter, Call.ORDER, 8, TEN_NS + second * NS)
    assert limiter.next_ns(Call.ORDER, 1, TEN_NS + 10 * NS) == TEN_NS + MINUTE_NS


def test_reads_leave_room_for_gtts_but_gtts_need_leave_none_for_reads() -> None:
    limiter = RateLimiter(CallLimits())
    assert fill(limiter, Call.READ, 20, TEN_NS) == 5
    assert fill(limiter, Call.GTT, 20, TEN_NS) == 3
    later = TEN_NS + 2 * NS
    assert fill(limiter, Call.GTT, 20, later) == 8
    assert limiter.next_ns(Call.READ, 1, later) == later + NS


def test_order_calls_and_gtt_calls_do_not_take_from_each_other() -> None:
    limiter = RateLimiter(CallLimits())
    fill(limiter, Call.ORDER, 8, TEN_NS)
    assert limiter.may_send(Call.GTT, 8, TEN_NS)


def test_entries_stop_before_exits_when_the_day_is_nearly_used_up() -> None:
    limiter = RateLimiter(CallLimits(order_per_day=10))
    limiter.placed(7, TEN_NS)
    assert limiter.may_place(1, TEN_NS, entry=True)
    limiter.placed(1, TEN_NS)
    assert not limiter.may_place(1, TEN_NS, entry=True)
    assert limiter.may_place(2, TEN_NS, entry=False)
    assert not limiter.may_place(3, TEN_NS, entry=False)
    assert limiter.may_place(8, TEN_NS + 24 * 60 * MINUTE_NS, entry=True), "a new day has its own allowance"


def test_calls_that_never_fit_and_calls_over_the_limit_are_errors_of_ours() -> None:
    limiter = RateLimiter(CallLimits())
    with pytest.raises(LocalProtocolError, match="1 to 8"):
        limiter.next_ns(Call.ORDER, 9, TEN_NS)
    limiter.sent(Call.ORDER, 8, TEN_NS)
    with pytest.raises(LocalProtocolError, match="over the limit"):
        limiter.sent(Call.ORDER, 1, TEN_NS)
    with pytest.raises(LocalProtocolError, match="backwards"):
        limiter.sent(Call.ORDER, 1, TEN_NS - 1)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * NS // 4), st.integers(1, 5)), max_size=80))
def test_neither_a_calendar_second_nor_a_rolling_one_ever_holds_too_many(
    waits: list[tuple[int, int]],
) -> None:
    limiter = RateLimiter(CallLimits(order_per_minute=60))
    now_ns = TEN_NS
    sent: list[int] = []
    for wait_ns, count in waits:
        now_ns = limiter.next_ns(Call.ORDER, count, now_ns + wait_ns)
        limiter.sent(Call.ORDER, count, now_ns)
        sent += [now_ns] * count
    assert max(Counter(at_ns // NS for at_ns in sent).values(), default=0) <= 8
    assert max(Counter(at_ns // MINUTE_NS for at_ns in sent).values(), default=0) <= 60
    for first in sent:
        assert sum(first <= at_ns < first + NS for at_ns in sent) <= 8
        assert sum(first <= at_ns < first + MINUTE_NS for at_ns in sent) <= 60
