"""When a request may go: in order where all may, by importance where not, never an entry at an old price."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing

from brokers.circuit_breaker import CircuitBreaker
from brokers.rate_limit import CallLimits, RateLimiter
from brokers.websocket_gate import CIRCUIT_OPEN, QUEUE_FULL, TOO_LATE, WAITING_MAX, Gate, machine_ns
from protocol.broker import CancelGtt, CancelOrder, ModifyGtt, ModifyOrder, PlaceGtt, PlaceOrder, Request
from protocol.orders import Leg, OrderType, Side

LEG = Leg(146_250, 144_750)
GTT = PlaceGtt(client_id="G", symbol="INFY", quantity=1, stop=LEG, target=None, last_paise=150_000)
MOVE = ModifyGtt(gtt_id="1", quantity=1, stop=LEG, target=None, last_paise=150_000)
LOWER = ModifyOrder(broker_id="9", quantity=1, order_type=OrderType.LIMIT, limit_paise=140_000)


def order(client_id: str, side: Side = Side.BUY) -> PlaceOrder:
    return PlaceOrder(client_id=client_id, symbol="INFY", side=side, quantity=1, order_type=OrderType.MARKET)


@attrs.define(eq=False)
class Setup:
    gate: Gate
    breaker: CircuitBreaker
    sent: list[Sequence[Request]]
    refused: list[tuple[Request, str]]


def setup(limits: CallLimits | None = None) -> Setup:
    breaker = CircuitBreaker()
    sent: list[Sequence[Request]] = []
    refused: list[tuple[Request, str]] = []
    gate = Gate(
        RateLimiter(limits) if limits else None,
        breaker,
        sent.append,
        lambda request, code, _: refused.append((request, code)),
    )
    return Setup(gate, breaker, sent, refused)


async def passed(clock: trio.testing.MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_what_may_go_together_goes_at_once_in_the_order_it_came() -> None:
    made = setup(CallLimits())
    made.gate.add([order("A"), GTT, order("B", Side.SELL), CancelGtt("1")])
    assert made.sent == [[order("A"), GTT, order("B", Side.SELL), CancelGtt("1")]]


async def test_over_the_limit_the_most_important_go_first(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    made = setup(CallLimits(order_per_second=2))
    nursery.start_soon(made.gate.run)
    made.gate.add([order("A"), order("B"), order("C"), LOWER, order("D", Side.SELL), CancelOrder("7")])
    assert made.sent == [[LOWER, order("D", Side.SELL)]]
    await passed(mock_clock, 0.99)
    assert len(made.sent) == 1
    await passed(mock_clock, 0.01)
    assert made.sent[1:] == [[order("A"), CancelOrder("7")]]
    await passed(mock_clock, 1.0)
    assert made.sent[2:] == [[order("B"), order("C")]]
    assert made.refused == []


async def test_gtt_calls_have_a_limit_of_their_own() -> None:
    made = setup(CallLimits(order_per_second=1, other_per_second=4))
    made.gate.add([MOVE, GTT, GTT, CancelGtt("1"), GTT, order("A")])
    assert made.sent == [[GTT, GTT, CancelGtt("1"), GTT, order("A")]]


async def test_an_entry_that_waited_too_long_is_refused_and_an_exit_never_is(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    made = setup(CallLimits(order_per_minute=1))
    nursery.start_soon(made.gate.run)
    made.gate.add([order("X", Side.SELL)])
    made.gate.add([order("Y", Side.SELL), order("A")])
    await trio.testing.wait_all_tasks_blocked()
    await passed(mock_clock, 4.9)
    assert made.refused == []
    await passed(mock_clock, 0.1)
    assert made.refused == [(order("A"), TOO_LATE)]
    await passed(mock_clock, 55.0)
    assert made.sent == [[order("X", Side.SELL)], [order("Y", Side.SELL)]]


async def test_while_the_broker_does_not_answer_only_exits_and_cancellations_go_after_two_seconds(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    made = setup()
    nursery.start_soon(made.gate.run)
    for _ in range(5):
        made.breaker.failed(machine_ns())
    made.gate.add([order("A"), GTT, MOVE, order("X", Side.SELL), CancelGtt("1")])
    assert (made.sent, made.refused) == ([], [(order("A"), CIRCUIT_OPEN)])
    await trio.testing.wait_all_tasks_blocked()
    await passed(mock_clock, 2.0)
    assert made.sent == [[order("X", Side.SELL), CancelGtt("1")]]
    made.breaker.answered()
    made.gate.look_again()
    await trio.testing.wait_all_tasks_blocked()
    assert made.sent[1:] == [[GTT, MOVE]]


async def test_what_waits_when_the_line_goes_is_told_that_it_was_not_sent() -> None:
    made = setup(CallLimits(order_per_second=1))
    made.gate.add([order("A"), order("B"), order("C")])
    made.gate.clear("NOT_CONNECTED", "the line broke")
    assert made.refused == [(order("B"), "NOT_CONNECTED"), (order("C"), "NOT_CONNECTED")]
    made.gate.clear("NOT_CONNECTED", "again")
    assert len(made.refused) == 2


async def test_the_queue_is_bounded() -> None:
    made = setup(CallLimits(order_per_minute=1))
    exits = [order(str(place), Side.SELL) for place in range(WAITING_MAX + 1)]
    made.gate.add(exits)
    assert made.refused == [(exits[-1], QUEUE_FULL)]


@pytest.mark.parametrize("limits", [None, CallLimits()])
async def test_nothing_to_send_sends_nothing(limits: CallLimits | None) -> None:
    made = setup(limits)
    made.gate.add([])
    assert (made.sent, made.refused) == ([], [])
