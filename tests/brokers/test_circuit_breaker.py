"""Five failures in a row open the breaker, an answered probe closes it, an exit waits 2 s at most."""

from __future__ import annotations

from brokers.circuit_breaker import CircuitBreaker
from protocol.clock import NS


def opened(at_ns: int = 0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.failed(at_ns)
    return breaker


def test_four_failures_and_an_answer_leave_it_closed() -> None:
    breaker = CircuitBreaker()
    for _ in range(3):
        for _ in range(4):
            breaker.failed(0)
        breaker.answered()
    assert not breaker.open
    assert breaker.next_ns(0, 7, urgent=False) == 7
    assert breaker.probe_ns() is None


def test_the_fifth_failure_in_a_row_opens_it_and_asks_for_a_probe() -> None:
    breaker = opened(10 * NS)
    assert breaker.open
    assert breaker.opened == 1
    assert breaker.next_ns(10 * NS, 10 * NS, urgent=False) is None
    assert breaker.probe_ns() == 11 * NS


def test_an_answered_probe_closes_it() -> None:
    breaker = opened()
    breaker.answered()
    assert not breaker.open
    breaker.failed(NS)
    assert not breaker.open, "counting begins anew"


def test_failed_probes_come_ever_later_up_to_half_a_minute() -> None:
    breaker = opened()
    waits = []
    for _ in range(7):
        probe_ns = breaker.probe_ns()
        assert probe_ns is not None
        breaker.failed(probe_ns)
        next_ns = breaker.probe_ns()
        assert next_ns is not None
        waits.append((next_ns - probe_ns) // NS)
    assert waits == [2, 4, 8, 16, 30, 30, 30]
    assert breaker.opened == 1


def test_a_failure_before_the_probe_is_due_does_not_put_it_off() -> None:
    breaker = opened()
    breaker.failed(NS // 2)
    assert breaker.probe_ns() == NS


def test_an_exit_or_a_cancel_goes_two_seconds_after_it_was_asked_for() -> None:
    breaker = opened()
    assert breaker.next_ns(NS, NS, urgent=True) == 3 * NS
    assert breaker.next_ns(NS, 5 * NS, urgent=True) == 5 * NS


def test_a_breaker_that_opens_again_probes_after_a_second_again() -> None:
    breaker = opened()
    breaker.failed(NS)
    breaker.answered()
    for _ in range(5):
        breaker.failed(100 * NS)
    assert breaker.opened == 2
    assert breaker.probe_ns() == 101 * NS
