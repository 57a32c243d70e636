"""Inside the quiet band nothing can happen: walked by brute force, price by price."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.rungs import Protection, Rung, RungStatus
from strategy.ladder import (
    ALWAYS_LEFT,
    DEFAULT_RULES,
    NEVER_LEFT,
    LadderRules,
    at_stop,
    at_target,
    next_rung,
    quiet_band,
    stop_trigger,
    target_trigger,
    trailed_stop,
)


def open_rung(
    number: int, price: int, quantity: int, highest: int, tick: int, rules: LadderRules, lag: int = 0
) -> Rung:
    rung = Rung(
        ladder="L1",
        symbol="INFY",
        number=number,
        status=RungStatus.OPEN,
        rank=3.0,
        quantity=quantity,
        cost_paise=price * quantity,
        highest_paise=max(price, highest),
        protection=Protection.STANDING,
    )
    rule = rules.rungs[number - 1]
    stop = stop_trigger(rung, rule, tick) - (lag // tick * tick if rule.trailing else 0)
    return attrs.evolve(rung, stop_paise=max(stop, tick), target_paise=target_trigger(rung, rule, tick) or 0)


def happens(rungs: dict[int, Rung], rules: LadderRules, tick: int, last: int, want_entry: bool) -> bool:
    """Whether a look at this price would do anything."""
    for number, rung in rungs.items():
        rule = rules.rungs[number - 1]
        if at_stop(rung, rule, last) or at_target(rung, rule, tick, last):
            return True
        if trailed_stop(rung, rule, rules, tick, last) is not None:
            return True
    return want_entry and next_rung(rungs, rules, last) is not None


def seen(rungs: dict[int, Rung], last: int) -> dict[int, Rung]:
    """The rungs after a price: each highest raised to it."""
    return {n: attrs.evolve(rung, highest_paise=max(rung.highest_paise, last)) for n, rung in rungs.items()}


@st.composite
def ladders(draw: st.DrawFn) -> tuple[dict[int, Rung], LadderRules, int, int]:
    """Rungs, rules, tick and a last price that is not above any highest."""
    tick = draw(st.sampled_from([1, 5, 10]))
    rules = attrs.evolve(DEFAULT_RULES, trail_step_bp=draw(st.sampled_from([0, 10, 10, 35])))
    if draw(st.booleans()):
        first = attrs.evolve(rules.rungs[0], trailing=True)
        rules = attrs.evolve(rules, rungs=(first, *rules.rungs[1:]))
    price = draw(st.integers(20_00, 400_00))
    last = price * draw(st.integers(96_00, 106_00)) // 100_00
    rungs = {}
    for number in range(1, draw(st.integers(1, 3)) + 1):
        bought = price * draw(st.integers(98_00, 103_00)) // 100_00
        highest = max(last, bought, price * draw(st.integers(98_00, 107_00)) // 100_00)
        lag = draw(st.integers(0, 2 * tick + price // 800))
        rungs[number] = open_rung(number, bought, draw(st.integers(1, 40)), highest, tick, rules, lag)
    return rungs, rules, tick, last


@given(ladders(), st.booleans(), st.integers(0, 1 << 30))
def test_nothing_happens_at_any_price_inside_the_band(
    drawn: tuple[dict[int, Rung], LadderRules, int, int], want_entry: bool, seed: int
) -> None:
    rungs, rules, tick, last = drawn
    low, high = quiet_band(rungs, rules, tick, last, want_entry)
    if happens(rungs, rules, tick, last, want_entry):
        assert low >= high
        return
    if low >= high:
        return
    assert low < last < high
    for price in {*range(low + 1, high, max(1, (high - low) // 200)), low + 1, high - 1}:
        assert not happens(seen(rungs, price), rules, tick, price, want_entry), (low, price, high)


@given(ladders(), st.booleans(), st.integers(0, 1 << 30))
def test_nothing_happens_on_any_path_inside_the_band(
    drawn: tuple[dict[int, Rung], LadderRules, int, int], want_entry: bool, seed: int
) -> None:
    """The price may first climb, raising every highest unseen, and then fall: still nothing happens."""
    rungs, rules, tick, last = drawn
    low, high = quiet_band(rungs, rules, tick, last, want_entry)
    if low >= high:
        return
    edge_to_edge = seen(rungs, high - 1)
    for price in {high - 1, last, low + 1}:
        assert not happens(edge_to_edge, rules, tick, price, want_entry), (low, price, high)
    walk = random.Random(seed)
    for _ in range(30):
        price = walk.randint(low + 1, high - 1)
        rungs = seen(rungs, price)
        assert not happens(rungs, rules, tick, price, want_entry), (low, price, high)


@given(ladders(), st.booleans())
def test_a_price_at_which_nothing_happens_is_never_left_out_for_good(
    drawn: tuple[dict[int, Rung], LadderRules, int, int], want_entry: bool
) -> None:
    """The band is empty only when something does happen: an idle position sleeps."""
    rungs, rules, tick, last = drawn
    low, high = quiet_band(rungs, rules, tick, last, want_entry)
    if low >= high and not happens(rungs, rules, tick, last, want_entry):
        # a condition of the next rung that holds at an exit's price is the one exception
        assert want_entry
        assert next_rung(rungs, rules, last) is None


def test_the_band_of_a_first_rung_is_its_stop_and_the_next_rungs_price() -> None:
    rungs = {1: open_rung(1, 100_00, 30, 100_00, 5, DEFAULT_RULES)}
    assert quiet_band(rungs, DEFAULT_RULES, 5, 100_00, want_entry=True) == (97_50, 100_26)
    assert quiet_band(rungs, DEFAULT_RULES, 5, 100_00, want_entry=False) == (97_50, 105_00)


def test_the_band_of_a_runner_ends_at_the_next_step_of_its_trail() -> None:
    rungs = {2: open_rung(2, 1000_00, 3, 1000_00, 5, DEFAULT_RULES)}
    low, high = quiet_band(rungs, DEFAULT_RULES, 5, 1000_00, want_entry=False)
    assert (low, high) == (975_96, 1001_00)  # the step is 97 paise at the stop's price, 100 at the last


def test_near_its_stop_a_runner_sleeps_until_the_stop_or_a_new_high() -> None:
    rungs = {2: open_rung(2, 1000_00, 3, 1000_00, 5, DEFAULT_RULES)}
    assert quiet_band(rungs, DEFAULT_RULES, 5, 975_50, want_entry=False) == (975_00, 1000_01)


@pytest.mark.parametrize("last", [0, 97_50, 97_00, 105_00])
def test_a_price_at_an_exit_is_looked_at_every_time(last: int) -> None:
    rungs = {1: open_rung(1, 100_00, 30, 105_00, 5, DEFAULT_RULES)}
    assert quiet_band(rungs, DEFAULT_RULES, 5, last, want_entry=False) == ALWAYS_LEFT


def test_an_open_rung_without_protection_is_looked_at_every_time() -> None:
    rung = attrs.evolve(open_rung(1, 100_00, 30, 100_00, 5, DEFAULT_RULES), protection=Protection.NONE, stop_paise=0)
    assert quiet_band({1: rung}, DEFAULT_RULES, 5, 100_00, want_entry=False) == ALWAYS_LEFT


def test_a_refused_entry_is_looked_at_every_time() -> None:
    rungs = {1: open_rung(1, 100_00, 30, 101_00, 5, DEFAULT_RULES)}
    assert quiet_band(rungs, DEFAULT_RULES, 5, 101_00, want_entry=True) == ALWAYS_LEFT


def test_no_price_matters_to_rungs_that_are_closed_entering_or_being_sold() -> None:
    rung = open_rung(1, 100_00, 30, 100_00, 5, DEFAULT_RULES)
    for idle in (
        attrs.evolve(rung, status=RungStatus.CLOSED),
        attrs.evolve(rung, status=RungStatus.ENTERING),
        attrs.evolve(rung, exit_working=True),
        attrs.evolve(rung, protection=Protection.FIRED),
    ):
        assert quiet_band({1: idle}, DEFAULT_RULES, 5, 90_00, want_entry=True) == NEVER_LEFT
