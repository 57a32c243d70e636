"""Rank_GM by its worked values, its gaps and its order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from strategy.ranking import RankResult, acceleration, rank, rank_final, select


def rank_of(pct_15m: float, pct_daily: float) -> float:
    """Rank_GM of one symbol at 1,000.00 that stands so many percent above its two averages."""
    last = np.array([1000_00])
    averages = np.array([1000_00 / (1 + pct_15m / 100)]), np.array([1000_00 / (1 + pct_daily / 100)])
    return float(rank(last, averages[0], np.array([200]), averages[1], np.array([50])).rank_gm[0])


@pytest.mark.parametrize(
    ("pct_15m", "pct_daily", "expected"),
    [(8.0, 5.0, 6.489436), (0.0, 0.0, 0.0), (5.0, 8.0, 6.489436), (-10.0, -10.0, -10.0)],
)
def test_rank_gm_has_its_worked_values(pct_15m: float, pct_daily: float, expected: float) -> None:
    assert rank_of(pct_15m, pct_daily) == pytest.approx(expected, abs=1e-6)


def five_symbols() -> RankResult:
    """Ranked, too few fifteen-minute closes, too few days, no price, an average of zero."""
    return rank(
        last=np.array([108_00, 108_00, 108_00, 0, 108_00]),
        sma_15m=np.array([100_00.0, np.nan, 100_00.0, 100_00.0, 0.0]),
        have_15m=np.array([200, 199, 200, 200, 200]),
        sma_daily=np.array([100_00.0, 100_00.0, np.nan, 100_00.0, 100_00.0]),
        have_daily=np.array([50, 50, 12, 50, 50]),
    )


def test_a_symbol_without_enough_history_has_no_rank_and_a_reason() -> None:
    result = five_symbols()
    assert result.rank_gm[0] == pytest.approx(8.0)
    assert np.isnan(result.rank_gm[1:]).all()
    assert [result.reason(row) for row in range(5)] == [
        None,
        "not enough history (have 199, need 200)",
        "not enough history (have 12, need 50)",
        "no price yet",
        "no rank: an average is not above zero",
    ]


def test_acceleration_is_the_change_in_a_quarter_of_an_hour_and_else_zero() -> None:
    now, earlier = np.array([6.48, 5.0, np.nan]), np.array([3.97, np.nan, 1.0])
    assert acceleration(now, None).tolist() == [0.0, 0.0, 0.0]
    assert acceleration(now, earlier) == pytest.approx([2.51, 0.0, 0.0])


def test_rank_final_adds_the_weighted_acceleration() -> None:
    final = rank_final(np.array([6.48, 5.0, np.nan]), np.array([3.97, np.nan, 1.0]), 0.3)
    assert final[0] == pytest.approx(7.233)  # 7.23 as a person reads it
    assert final[1] == 5.0
    assert math.isnan(final[2])


def test_picks_are_strictly_above_the_minimum_best_first_and_equal_ones_by_name() -> None:
    final = np.array([2.5, 3.0, np.nan, 7.0, 3.0, 2.51])  # rows are in name order
    assert select(final, 2.5).tolist() == [3, 1, 4, 5]
    eligible = np.array([True, False, True, True, True, True])
    assert select(final, 2.5, eligible).tolist() == [3, 4, 5]
    assert select(final, 8.0).tolist() == []
