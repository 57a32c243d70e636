"""The ladder's rules, held to the written ones with exact fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.money import round_down, round_up
from protocol.rungs import Protection, Rung, RungStatus
from strategy.ladder import (
    DEFAULT_RULES,
    at_stop,
    at_target,
    ladder_over,
    next_rung,
    quantity_for,
    square_off_due,
    stop_limit,
    stop_trigger,
    target_trigger,
    trailed_stop,
)

P1, P2, P3 = DEFAULT_RULES.rungs
TICKS = st.sampled_from([1, 5, 10, 50])


def rung(number: int = 1, price: int = 100_00, quantity: int = 30, **more: Any) -> Rung:
    """An open, protected rung bought at one price, with the stop and target it would have; tick 5 paise."""
    values: dict[str, Any] = {
        "ladder": "L1",
        "symbol": "INFY",
        "number": number,
        "status": RungStatus.OPEN,
        "rank": 3.0,
        "quantity": quantity,
        "cost_paise": price * quantity,
        "highest_paise": price,
        "protection": Protection.STANDING,
    } | more
    made = Rung(**values)
    rule = DEFAULT_RULES.rungs[number - 1]
    if made.open and "stop_paise" not in more:
        made = attrs.evolve(made, stop_paise=stop_trigger(made, rule, 5))
    if made.open and "target_paise" not in more:
        made = attrs.evolve(made, target_paise=target_trigger(made, rule, 5) or 0)
    return made


def exact_stop(of: Rung) -> Fraction:
    rule = DEFAULT_RULES.rungs[of.number - 1]
    base = Fraction(of.highest_paise) if rule.trailing else Fraction(of.cost_paise, of.quantity)
    return base * (1 - Fraction(rule.stop_bp, 10_000))


@st.composite
def any_rung(draw: st.DrawFn) -> Rung:
    """Bought in up to three fills at different prices."""
    fills = draw(st.lists(st.tuples(st.integers(1, 50), st.integers(90_00, 110_00)), min_size=1, max_size=3))
    quantity = sum(count for count, _ in fills)
    cost = sum(count * price for count, price in fills)
    highest = draw(st.integers(90_00, 130_00))
    return rung(draw(st.integers(1, 3)), quantity=quantity, cost_paise=cost, highest_paise=highest)


# --- quantity -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "quantity"), [(100_00, 30), (101_00, 29), (3_000_00, 1), (3_000_01, 0), (0, 0)])
def test_the_quantity_is_what_the_capital_of_a_position_buys_whole(last: int, quantity: int) -> None:
    assert quantity_for(last, 300_000) == quantity


# --- exits ----------------------------------------------------------------------------------------


@given(any_rung(), st.integers(80_00, 140_00), TICKS)
def test_stop_and_target_agree_with_exact_fractions(of: Rung, last: int, tick: int) -> None:
    rule = DEFAULT_RULES.rungs[of.number - 1]
    stop = exact_stop(of)
    assert at_stop(of, rule, last) == (last <= stop)
    assert stop_trigger(of, rule, tick) == stop // tick * tick
    if rule.target_bp is None:
        assert target_trigger(of, rule, tick) is None
        assert not at_target(of, rule, tick, last)
    else:
        target = -(-Fraction(of.cost_paise, of.quantity) * Fraction(105, 100) // tick) * tick
        assert target_trigger(of, rule, tick) == target
        assert at_target(of, rule, tick, last) == (last >= target)


def test_the_stop_uses_the_exact_average_and_not_a_rounded_one() -> None:
    of = rung(quantity=3, cost_paise=300_01)  # 100.00333 on average: the exact stop is 97.50325
    assert not at_stop(of, P1, 97_51)
    assert at_stop(of, P1, 97_50)
    assert stop_trigger(of, P1, 5) == 97_50
    assert target_trigger(of, P1, 5) == 105_05


@pytest.mark.parametrize(("trigger", "limit"), [(97_50, 96_50), (1_234_50, 1_222_15), (5, 5), (10, 5)])
def test_a_stop_limit_is_one_percent_lower_on_a_tick_and_never_zero(trigger: int, limit: int) -> None:
    assert stop_limit(trigger, DEFAULT_RULES, 5) == limit


# --- trail ----------------------------------------------------------------------------------------


@given(any_rung(), st.integers(80_00, 140_00), st.integers(80_00, 130_00), TICKS)
def test_a_trailing_stop_moves_when_it_lags_by_the_step_and_only_up(of: Rung, last: int, stop: int, tick: int) -> None:
    rule = DEFAULT_RULES.rungs[of.number - 1]
    if not rule.trailing:
        return
    of = attrs.evolve(of, stop_paise=stop)
    moved = trailed_stop(of, rule, DEFAULT_RULES, tick, last)
    if exact_stop(of) - stop >= max(tick, last // 1000):
        assert moved == exact_stop(of) // tick * tick
        assert moved > stop
    else:
        assert moved is None


def test_the_step_of_the_trail_is_a_tick_below_its_share_of_the_price() -> None:
    of = rung(2, price=40_00, highest_paise=40_10, stop_paise=39_00)
    assert trailed_stop(of, P2, DEFAULT_RULES, 10, 40_10) is None  # exact 39.0975 lags by less than the tick of 0.10
    assert trailed_stop(of, P2, DEFAULT_RULES, 5, 40_10) == 39_05


def test_nothing_is_trailed_while_no_stop_stands() -> None:
    assert trailed_stop(rung(2, stop_paise=0, highest_paise=120_00), P2, DEFAULT_RULES, 5, 120_00) is None
    assert trailed_stop(rung(1, stop_paise=0), P1, DEFAULT_RULES, 5, 100_00) is None


def test_a_fixed_stop_stays_whatever_the_price_does() -> None:
    of = rung(1, highest_paise=104_00)
    assert trailed_stop(of, P1, DEFAULT_RULES, 5, 104_00) is None


@given(TICKS, st.lists(st.integers(98_00, 102_00), min_size=2, max_size=6), st.booleans())
def test_a_fixed_stop_follows_the_average_entry_through_the_last_fill(
    tick: int, prices: list[int], lost_in_between: bool
) -> None:
    """Every state of the filling entry is looked at, or only the last: then stop and target are right."""
    first = rung(1, price=prices[0], quantity=10, entry_working=True)
    stop, target = stop_trigger(first, P1, tick), target_trigger(first, P1, tick) or 0
    for count in range(2, len(prices) + 1):
        working = count < len(prices)
        if lost_in_between and working:
            continue
        now = rung(
            1,
            quantity=10 * count,
            cost_paise=10 * sum(prices[:count]),
            stop_paise=stop,
            target_paise=target,
            entry_working=working,
        )
        moved = trailed_stop(now, P1, DEFAULT_RULES, tick, 100_00)
        wanted = stop_trigger(now, P1, tick), target_trigger(now, P1, tick)
        if moved is not None:
            stop, target = moved, target_trigger(now, P1, tick) or 0
        assert (stop, target) == wanted


def test_a_stop_that_a_person_raised_is_kept() -> None:
    of = rung(1, stop_paise=98_50)
    assert trailed_stop(of, P1, DEFAULT_RULES, 5, 101_00) is None


def test_a_target_that_must_follow_the_average_is_moved_beside_an_unmoved_stop() -> None:
    of = rung(1, quantity=30, cost_paise=30 * 100_00 + 29, stop_paise=97_50, target_paise=105_00)
    assert trailed_stop(of, P1, DEFAULT_RULES, 5, 100_00) == 97_50
    assert target_trigger(of, P1, 5) == 105_05


# --- the next rung --------------------------------------------------------------------------------


def test_rung_2_needs_more_than_a_quarter_percent() -> None:
    rungs = {1: rung(1, price=400_00)}
    assert next_rung(rungs, DEFAULT_RULES, 401_00) is None  # exactly 0.25 %
    assert next_rung(rungs, DEFAULT_RULES, 401_01) == 2


def test_rung_3_needs_a_mean_of_one_percent_inclusive() -> None:
    rungs = {1: rung(1, price=100_00), 2: rung(2, price=100_00, quantity=7)}
    assert next_rung(rungs, DEFAULT_RULES, 100_99) is None
    assert next_rung(rungs, DEFAULT_RULES, 101_00) == 3


@given(
    st.integers(90_00, 110_00),
    st.integers(1, 40),
    st.integers(90_00, 110_00),
    st.integers(1, 40),
    st.integers(80_00, 120_00),
)
def test_entry_conditions_agree_with_exact_fractions(price1: int, n1: int, price2: int, n2: int, last: int) -> None:
    first = rung(1, price=price1, quantity=n1)
    second = rung(2, price=price2, quantity=n2)
    gain1, gain2 = Fraction(last, price1) - 1, Fraction(last, price2) - 1
    at_exit1 = at_stop(first, P1, last) or at_target(first, P1, 5, last)
    wants_2 = gain1 > Fraction(25, 10_000) and not at_exit1
    assert next_rung({1: first}, DEFAULT_RULES, last) == (2 if wants_2 else None)
    wants_3 = (gain1 + gain2) / 2 >= Fraction(1, 100) and not at_exit1 and not at_stop(second, P2, last)
    assert next_rung({1: first, 2: second}, DEFAULT_RULES, last) == (3 if wants_3 else None)


def test_rung_3_can_follow_rung_2_at_the_same_price() -> None:
    first = rung(1, price=100_00)
    assert next_rung({1: first}, DEFAULT_RULES, 103_00) == 2
    assert next_rung({1: first, 2: rung(2, price=103_00)}, DEFAULT_RULES, 103_00) == 3


@pytest.mark.parametrize("status", [RungStatus.ENTERING, RungStatus.OPEN, RungStatus.CLOSED])
def test_a_rung_is_used_once_per_ladder(status: RungStatus) -> None:
    rungs = {1: rung(1), 2: rung(2, price=101_00), 3: rung(3, price=102_00, status=status)}
    assert next_rung(rungs, DEFAULT_RULES, 103_00) is None


def test_a_rung_whose_entry_failed_counts_as_unused() -> None:
    failed: dict[str, Any] = {"status": RungStatus.FAILED, "quantity": 0, "cost_paise": 0}
    assert next_rung({1: rung(1), 2: rung(2, **failed)}, DEFAULT_RULES, 101_00) == 2
    assert next_rung({1: rung(1), 2: rung(2), 3: rung(3, **failed)}, DEFAULT_RULES, 102_00) == 3


@pytest.mark.parametrize(
    "first",
    [
        rung(1, entry_working=True),
        rung(1, exit_working=True),
        rung(1, protection=Protection.FIRED),
        rung(1, status=RungStatus.CLOSED),
        rung(1, status=RungStatus.FAILED),
        rung(1, status=RungStatus.ENTERING),
    ],
)
def test_no_rung_is_built_on_a_first_rung_that_is_not_simply_open(first: Rung) -> None:
    assert next_rung({1: first}, DEFAULT_RULES, 101_00) is None
    assert next_rung({1: first, 2: rung(2)}, DEFAULT_RULES, 103_00) is None


def test_rung_3_waits_for_the_entry_of_rung_2() -> None:
    rungs = {1: rung(1), 2: rung(2, entry_working=True)}
    assert next_rung(rungs, DEFAULT_RULES, 103_00) is None
    assert next_rung({1: rung(1), 2: rung(2, status=RungStatus.CLOSED)}, DEFAULT_RULES, 103_00) is None


def test_no_new_rung_at_or_through_an_exit() -> None:
    assert next_rung({1: rung(1)}, DEFAULT_RULES, 104_99) == 2
    assert next_rung({1: rung(1)}, DEFAULT_RULES, 105_00) is None  # the target
    fallen = rung(2, price=90_00, highest_paise=104_00)  # its exact stop is 101.40
    assert next_rung({1: rung(1), 2: fallen}, DEFAULT_RULES, 101_40) is None
    assert next_rung({1: rung(1), 2: fallen}, DEFAULT_RULES, 101_41) == 3


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "over"),
    [
        ([], False),
        ([RungStatus.ENTERING], False),
        ([RungStatus.OPEN], False),
        ([RungStatus.FAILED], True),
        ([RungStatus.CLOSED], True),
        ([RungStatus.CLOSED, RungStatus.FAILED], True),
        ([RungStatus.CLOSED, RungStatus.OPEN], False),
        ([RungStatus.CLOSED, RungStatus.ENTERING], False),
    ],
)
def test_a_ladder_is_over_when_nothing_of_it_is_open_or_entering(statuses: list[RungStatus], over: bool) -> None:
    assert ladder_over({n: rung(n, status=status) for n, status in enumerate(statuses, 1)}) is over


def test_a_ladder_with_an_entry_still_working_is_not_over() -> None:
    assert not ladder_over({1: rung(1, status=RungStatus.CLOSED, entry_working=True)})


def test_square_off_sells_profitable_first_rungs_and_every_runner() -> None:
    first = rung(1, quantity=30, cost_paise=300_001, sold=10)
    assert not square_off_due(first, 100_00)  # 20 x 100.00 < 20/30 of 3,000.01
    assert square_off_due(first, 100_01)
    assert not square_off_due(rung(1), 100_00)  # neither gain nor loss stays
    assert square_off_due(rung(2), 50_00)
    assert square_off_due(rung(3), 50_00)


def test_a_stop_is_rounded_down_and_a_target_up() -> None:
    of = rung(price=123_45)
    assert stop_trigger(of, P1, 5) == round_down(123_45 * 975 // 1000, 5)
    assert target_trigger(of, P1, 5) == round_up(-(-123_45 * 105 // 100), 5)
