"""Money is exact: rounding goes the way the trading rules say, and no amount loses a paisa."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.money import half_up, paise_from_rupees, round_down, round_up, rupee_text, rupees

PRICES = st.integers(1, 10**12)
TICKS = st.sampled_from([1, 5, 10, 50, 100, 500])


@given(PRICES, TICKS)
def test_a_stop_rounds_down_to_the_nearest_tick(price: int, tick: int) -> None:
    rounded = round_down(price, tick)
    assert rounded % tick == 0
    assert rounded <= price < rounded + tick


@given(PRICES, TICKS)
def test_a_target_rounds_up_to_the_nearest_tick(price: int, tick: int) -> None:
    rounded = round_up(price, tick)
    assert rounded % tick == 0
    assert rounded - tick < price <= rounded


@pytest.mark.parametrize(
    ("numerator", "denominator", "nearest"),
    [
        (1, 2, 1),
        (3, 2, 2),
        (-1, 2, -1),
        (-3, 2, -2),
        (1, 3, 0),
        (2, 3, 1),
        (0, 7, 0),
        (249, 100, 2),
        (250, 100, 3),
    ],
)
def test_halves_round_away_from_zero(numerator: int, denominator: int, nearest: int) -> None:
    assert half_up(numerator, denominator) == nearest


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**9))
def test_the_nearest_integer_is_at_most_a_half_away_and_has_the_same_sign(top: int, bottom: int) -> None:
    nearest = half_up(top, bottom)
    distance = abs(Fraction(top, bottom)) - abs(nearest)
    assert -Fraction(1, 2) <= distance < Fraction(1, 2)
    assert nearest * top >= 0


@given(st.integers(-(10**15), 10**15))
def test_paise_survive_the_way_to_rupees_and_back(paise: int) -> None:
    assert paise_from_rupees(Decimal(paise) / 100) == paise
    assert paise_from_rupees(f"{Decimal(paise) / 100:f}") == paise


@given(st.integers(-(10**12), 10**12))
def test_a_price_read_from_json_as_a_float_is_exact(paise: int) -> None:
    assert paise_from_rupees(rupees(paise)) == paise


@pytest.mark.parametrize(
    ("amount", "paise"),
    [
        ("1573.7", 157_370),
        (3000, 300_000),
        ("0.05", 5),
        (-12.5, -1_250),
        ("1e3", 100_000),
        (Decimal("7.10"), 710),
    ],
)
def test_rupees_become_paise(amount: str | float | Decimal, paise: int) -> None:
    assert paise_from_rupees(amount) == paise


@pytest.mark.parametrize("amount", ["0.001", 0.125, Decimal("1.005"), 1e-9])
def test_parts_of_a_paisa_are_refused(amount: str | float | Decimal) -> None:
    with pytest.raises(ValueError, match="at most two decimals"):
        paise_from_rupees(amount)


@pytest.mark.parametrize("amount", ["", "ten", "1,000", "₹5", "NaN", "inf", "-Infinity", "sNaN", True, float("nan")])
def test_what_is_no_amount_is_refused_by_name(amount: str | float) -> None:
    with pytest.raises(ValueError, match="is not a"):
        paise_from_rupees(amount)


@pytest.mark.parametrize("amount", ["1e999999", "-1e999999", "12345678901234567890123456789.001"])
def test_an_amount_too_large_to_be_exact_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        paise_from_rupees(amount)


@pytest.mark.parametrize(
    ("paise", "text"),
    [
        (0, "₹0.00"),
        (5, "₹0.05"),
        (-5, "-₹0.05"),
        (99_999, "₹999.99"),
        (100_000, "₹1,000.00"),
        (24_000_000, "₹2,40,000.00"),
        (-12_345_678_901, "-₹12,34,56,789.01"),
    ],
)
def test_amounts_are_written_with_indian_grouping(paise: int, text: str) -> None:
    assert rupee_text(paise) == text


def test_a_gain_bears_a_plus_where_asked_and_zero_bears_no_sign() -> None:
    assert [rupee_text(paise, sign=True) for paise in (150, 0, -150)] == ["+₹1.50", "₹0.00", "-₹1.50"]


@given(st.integers(-(10**18), 10**18))
def test_the_written_amount_can_be_read_back(paise: int) -> None:
    text = rupee_text(paise)
    assert paise_from_rupees(text.replace("₹", "").replace(",", "")) == paise
    groups = text.lstrip("-₹").split(".")[0].split(",")
    assert len(groups[0]) <= 3
    assert [len(group) for group in groups[1:]] == [2] * (len(groups) - 2) + [3] * (len(groups) > 1)
