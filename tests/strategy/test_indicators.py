"""Indicators against plain loops and values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike

from strategy.indicators import (
    Floats,
    atr,
    days_since_golden_cross,
    drawdown,
    ema,
    rsi,
    sma,
    sma_ratio,
    volume_ratio,
)

# Closes of the RSI example that StockCharts publishes: 70.53 at the 15th close and 66.32 at the 16th.
RSI_CLOSES = [
    44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245,
    45.8433, 46.0826, 45.8931, 46.0328, 45.6140, 46.2820, 46.2820, 46.0028,
]  # fmt: skip


def padded(*rows: list[float]) -> Floats:
    """One row per symbol, the shorter ones beginning with NaN."""
    width = max(len(row) for row in rows)
    return np.array([[np.nan] * (width - len(row)) + row for row in rows])


def test_sma_is_the_mean_of_the_newest_closes() -> None:
    assert sma([1, 2, 3, 4, 5], 2) == 4.5
    assert np.isnan(sma([1, 2], 3))


def test_ema_is_seeded_with_the_mean_of_the_first_closes() -> None:
    assert ema([2, 4, 6], 3) == 4.0
    assert ema([2, 4, 6, 10], 3) == 7.0  # 4 + (10 - 4) x 2/4
    assert ema([2, 4, 6, 10, 3], 3) == 5.0
    assert np.isnan(ema([2, 4], 3))


def test_rsi_has_the_published_values() -> None:
    assert float(rsi(RSI_CLOSES[:15])) == pytest.approx(70.53, abs=0.01)
    assert float(rsi(RSI_CLOSES)) == pytest.approx(66.32, abs=0.01)
    assert np.isnan(rsi(RSI_CLOSES[:14]))


def test_rsi_at_its_ends() -> None:
    assert rsi(list(range(1, 20))) == 100.0
    assert rsi(list(range(20, 1, -1))) == 0.0
    assert rsi([5] * 20) == 50.0


def test_atr_is_the_simple_mean_of_true_ranges_gaps_included() -> None:
    high, low, close = [10, 12, 20, 15], [9, 10, 18, 9], [10, 11, 19, 10]
    assert atr(high, low, close, n=3) == pytest.approx((2 + 9 + 10) / 3)
    assert np.isnan(atr(high, low, close, n=4))


def test_many_symbols_at_once_have_the_values_of_each_alone() -> None:
    random = np.random.default_rng(7)
    rows = [(1000 + random.normal(0, 10, length).cumsum()).tolist() for length in (60, 25, 14, 5, 60)]
    together = padded(*rows)
    indicators: list[Callable[[ArrayLike], Floats]] = [
        lambda closes: sma(closes, 20),
        lambda closes: ema(closes, 20),
        rsi,
        lambda closes: sma_ratio(closes, 5, 20),
    ]
    for indicator in indicators:
        alone = [float(indicator(row)) for row in rows]
        assert indicator(together) == pytest.approx(alone, nan_ok=True)
    alone = [float(days_since_golden_cross(row, 3, 9)) for row in rows]
    assert days_since_golden_cross(together, 3, 9) == pytest.approx(alone, nan_ok=True)


def test_sma_ratio_compares_the_shorter_average_to_the_longer() -> None:
    assert sma_ratio([1, 1, 4, 4], fast=2, slow=4) == pytest.approx(1.6)
    assert np.isnan(sma_ratio([1, 1, 4], fast=2, slow=4))


@pytest.mark.parametrize(
    ("closes", "days"),
    [
        ([5, 4, 3, 2, 9], 0),  # 2-day mean 5.5 over the 4-day mean 4.5; the day before 2.5 under 3.5
        ([5, 4, 3, 2, 9, 9], 1),
        ([5, 4, 3, 2, 9, 9, 9, 9, 9], 4),  # the averages meet again without crossing
        ([5, 4, 3, 2, 9, 1, 1, 1, 9], 0),  # the last of two crossings
        ([2, 2, 2, 2, 9], 0),  # from exactly 1
    ],
)
def test_days_since_the_last_golden_cross(closes: list[float], days: int) -> None:
    assert days_since_golden_cross(closes, fast=2, slow=4) == days


def test_a_golden_cross_outside_the_history_is_none() -> None:
    assert np.isnan(days_since_golden_cross([1, 2, 3, 4, 5, 6], fast=2, slow=4))  # above 1 all along
    assert np.isnan(days_since_golden_cross([5, 4, 3, 9], fast=2, slow=4))  # one ratio: nothing to compare


def test_volume_ratio_and_its_absence() -> None:
    assert volume_ratio([100, 100, 300, 300], short=2, long=4) == 1.5
    assert np.isnan(volume_ratio([0, 0, 0, 0], short=2, long=4))
    assert np.isnan(volume_ratio([100, 100], short=2, long=4))


def test_drawdown_is_percent_below_the_highest() -> None:
    assert drawdown([90, 100, 95], 95, n=3) == pytest.approx(5.0)
    assert drawdown([90, 100, 95], 120, n=3) == 0.0
    assert np.isnan(drawdown([90, 100], 95, n=3))
    highs = padded([120, 90, 100, 95], [100])
    assert drawdown(highs, [95, 95], n=3) == pytest.approx([5.0, np.nan], nan_ok=True)
