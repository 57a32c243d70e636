"""What an account refuses to buy, in which words, and how slots and capital are kept."""

from __future__ import annotations

from datetime import date
from typing import Any

import attrs
import pytest

from protocol.clock import MINUTE_NS, NS, at
from protocol.orders import Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Rung, RungStatus
from strategy.risk import (
    Circumstances,
    Entry,
    Exposure,
    OrderPace,
    RiskLimits,
    committed_paise,
    refusal,
    reserve,
    within_hours,
)

DAY = date(2026, 11, 23)
TEN = at(DAY, 36_000)
LIMITS = RiskLimits(surveillance=frozenset({"RISKY"}), gtts_allowed=250)
ENTRY = Entry(ladder="L1", rung=1, symbol="INFY", quantity=30, last_paise=100_00, at_ns=TEN)
WORKING = Order(
    client_id="o1",
    key="L1:1:entry:1",
    symbol="INFY",
    side=Side.BUY,
    quantity=30,
    order_type=OrderType.LIMIT,
    purpose=Purpose.ENTRY,
    ladder="L1",
    rung=1,
    decision_paise=100_00,
    created_ns=TEN,
    updated_ns=TEN,
)
OPEN = Rung(
    ladder="L1",
    symbol="INFY",
    number=1,
    status=RungStatus.OPEN,
    rank=3.0,
    quantity=30,
    cost_paise=3_003_00,
)


def reason_for(entry: Entry = ENTRY, exposure: Exposure | None = None, **around: Any) -> str | None:
    return refusal(entry, LIMITS, exposure or Exposure(), OrderPace(30), Circumstances(**around))


def filled_up(slots: int, paise: int) -> Exposure:
    """An exposure of so many rungs, one of which holds all the money."""
    exposure = Exposure()
    for number in range(slots):
        exposure.hold("other", number, paise if number == 0 else 0)
    return exposure


def test_an_ordinary_entry_is_not_refused() -> None:
    assert reason_for() is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"quantity": 0}, "price above capital per position"),
        ({"last_paise": 0}, "no price yet"),
        ({"quantity": 10_001, "last_paise": 1_00}, "order quantity: 10001 shares, at most 10000"),
        ({"quantity": 1_001}, "order value: ₹1,00,100.00, at most ₹1,00,000.00"),
        ({"limit_paise": 120_01}, "distance: limit ₹120.01 is more than 20 % from the last price ₹100.00"),
        ({"limit_paise": 79_99}, "distance: limit ₹79.99 is more than 20 % from the last price ₹100.00"),
        ({"symbol": "RISKY"}, "on the surveillance list"),
        ({"symbol": "INFY-BE"}, "series BE: only EQ is traded"),
        ({"at_ns": at(DAY, 33_959)}, "outside entry hours: 09:26:00 to 15:00:00"),
        ({"at_ns": at(DAY, 54_000) + 1}, "outside entry hours: 09:26:00 to 15:00:00"),
    ],
)
def test_a_refusal_says_what_was_wrong_with_the_entry(changed: dict[str, Any], reason: str) -> None:
    assert reason_for(attrs.evolve(ENTRY, **changed)) == reason


@pytest.mark.parametrize(
    ("around", "reason"),
    [
        ({"kill_switch": True}, "kill switch is on"),
        ({"not_trading": "reconciling"}, "reconciling"),
        ({"blocked": "frozen until explained"}, "frozen until explained"),
        ({"series": "BE"}, "series BE: only EQ is traded"),
        ({"price_ns": TEN - 5 * NS - 1}, "stale price: 5.0 s old, at most 5 s"),
        ({"gtts_standing": 226}, "broker GTTs: 226 of 250 in use, entries stop above 90 %"),
        ({"funds_paise": 2_999_99}, "broker funds: needs ₹3,000.00, available ₹2,999.99"),
        (
            {"lower_circuit_paise": 95_00, "upper_circuit_paise": 105_00},
            "daily band of 5 % or less: ₹95.00 to ₹105.00",
        ),
    ],
)
def test_a_refusal_says_what_stood_in_the_way(around: dict[str, Any], reason: str) -> None:
    assert reason_for(**around) == reason


@pytest.mark.parametrize(
    "changed",
    [
        {"limit_paise": 120_00},
        {"quantity": 1_000},
        {"symbol": "BAJAJ-AUTO"},
        {"symbol": "MCDOWELL-N"},
        {"at_ns": at(DAY, 33_960)},
        {"at_ns": at(DAY, 54_000)},
    ],
)
def test_every_limit_of_an_entry_may_be_reached(changed: dict[str, Any]) -> None:
    assert reason_for(attrs.evolve(ENTRY, **changed)) is None


def test_every_limit_around_an_entry_may_be_reached() -> None:
    around: dict[str, Any] = {"price_ns": TEN - 5 * NS, "gtts_standing": 225, "funds_paise": 3_000_00}
    assert reason_for(**around, lower_circuit_paise=94_95, upper_circuit_paise=105_05) is None


def test_the_last_slot_and_the_last_rupee_may_be_used_but_no_more() -> None:
    assert reason_for(exposure=filled_up(89, 23_700_000)) is None
    assert reason_for(exposure=filled_up(90, 0)) == "no free slot: 90 of 90 rungs in use"
    assert reason_for(exposure=filled_up(1, 23_700_001)) == "capital: needs ₹3,000.00, free ₹2,999.99"


def test_entry_hours_are_inclusive_to_the_nanosecond() -> None:
    assert within_hours(at(DAY, 54_000), 33_960, 54_000)
    assert not within_hours(at(DAY, 54_000) + 1, 33_960, 54_000)
    assert within_hours(at(DAY, 33_960), 33_960, 54_000)
    assert not within_hours(at(DAY, 33_960) - 1, 33_960, 54_000)


def test_a_reservation_is_made_in_the_step_that_checks_it() -> None:
    exposure, limits = Exposure(), attrs.evolve(LIMITS, max_positions=1)
    assert reserve(ENTRY, limits, exposure, OrderPace(30)) is None
    assert (exposure.slots, exposure.deployed_paise) == (1, 3_000_00)
    other = attrs.evolve(ENTRY, ladder="L2", symbol="TCS")
    assert reserve(other, limits, exposure, OrderPace(30)) == "no free slot: 1 of 1 rungs in use"
    assert (exposure.slots, exposure.deployed_paise) == (1, 3_000_00)


def test_a_rungs_own_reservation_is_replaced_and_not_added_to() -> None:
    exposure, limits = Exposure(), attrs.evolve(LIMITS, max_positions=1, capital_paise=3_050_00)
    assert reserve(ENTRY, limits, exposure, OrderPace(30)) is None
    assert reserve(attrs.evolve(ENTRY, last_paise=101_00), limits, exposure, OrderPace(30)) is None
    assert (exposure.slots, exposure.deployed_paise) == (1, 3_030_00)


def test_capital_follows_an_entry_from_its_reservation_to_its_last_sold_share() -> None:
    exposure = Exposure()
    exposure.hold("L1", 1, 3_000_00)
    part = attrs.evolve(WORKING, state=OrderState.PARTIAL, filled=10, value_paise=1_001_00)
    opening = attrs.evolve(OPEN, quantity=10, cost_paise=1_001_00, entry_working=True)
    done = attrs.evolve(WORKING, state=OrderState.COMPLETE, filled=30, value_paise=3_003_00)
    steps: list[tuple[Rung | None, Order | None, int, int]] = [
        (None, WORKING, 1, 3_000_00),
        (opening, part, 1, 1_001_00 + 20 * 100_00),
        (OPEN, done, 1, 3_003_00),
        (attrs.evolve(OPEN, sold=20), done, 1, 1_001_00),
        (attrs.evolve(OPEN, sold=30, status=RungStatus.CLOSED), done, 0, 0),
        (attrs.evolve(OPEN, sold=30, status=RungStatus.CLOSED), None, 0, 0),
    ]
    for rung, entry, slots, deployed in steps:
        exposure.follow("L1", 1, rung, entry)
        assert (exposure.slots, exposure.deployed_paise) == (slots, deployed)


@pytest.mark.parametrize("state", [OrderState.INTENT, OrderState.SENT, OrderState.OPEN, OrderState.UNKNOWN])
def test_an_entry_queued_working_or_unknown_binds_its_slot(state: OrderState) -> None:
    assert committed_paise(None, attrs.evolve(WORKING, state=state)) == 3_000_00


@pytest.mark.parametrize("state", [OrderState.REJECTED, OrderState.CANCELLED, OrderState.NOT_PLACED])
def test_an_entry_that_ended_unfilled_binds_nothing(state: OrderState) -> None:
    failed = attrs.evolve(OPEN, status=RungStatus.FAILED, quantity=0, cost_paise=0)
    assert committed_paise(failed, attrs.evolve(WORKING, state=state)) is None


def test_an_exit_order_binds_no_capital() -> None:
    leaving = attrs.evolve(WORKING, purpose=Purpose.EXIT, side=Side.SELL)
    assert committed_paise(OPEN, leaving) == 3_003_00


def test_a_runaway_loop_is_stopped_for_its_symbol_until_a_minute_has_passed() -> None:
    pace, limits = OrderPace(2), attrs.evolve(LIMITS, max_orders_per_minute_per_symbol=2)

    def reason_at(at_ns: int, symbol: str = "INFY") -> str | None:
        return refusal(attrs.evolve(ENTRY, at_ns=at_ns, symbol=symbol), limits, Exposure(), pace)

    pace.note("INFY", TEN)
    assert reason_at(TEN) is None
    pace.note("INFY", TEN + NS)
    assert reason_at(TEN + MINUTE_NS - 1) == "order rate: 2 orders in INFY within a minute"
    assert reason_at(TEN + MINUTE_NS - 1, "TCS") is None
    assert reason_at(TEN + MINUTE_NS) is None
    pace.note("INFY", TEN + MINUTE_NS)
    assert reason_at(TEN + MINUTE_NS) is not None
