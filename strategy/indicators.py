"""Indicators over completed bars, for many symbols at once.

Owns the definitions. Never asks for history and never decides anything. Called by the scan; served by the
API.

A series is an array (..., bars), oldest first: one symbol's, or one row per symbol. Where symbols know
different numbers of bars, shorter rows begin with NaN. The results drop the last axis and are NaN with too
little history. Prices in paise; the results are for people and scores, so floats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def sma(closes: ArrayLike, n: int) -> Floats:
    """Simple moving average: the mean of the last n closes."""
    values = _series(closes)
    if values.shape[-1] < n:
        return _none(values)
    return np.asarray(values[..., -n:].mean(axis=-1))


def ema(closes: ArrayLike, n: int) -> Floats:
    """Exponential moving average: the mean of the first n closes, then += (close - EMA) x 2 / (n + 1)."""
    return _smoothed(_series(closes), n, 2 / (n + 1))


def rsi(closes: ArrayLike, n: int = 14) -> Floats:
    """Relative strength index, 0..100.

    J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978): the first average gain and loss
    are means of n changes, then average += (change - average) / n; RSI = 100 - 100 / (1 + gain / loss), 100
    without any loss. A series that never moved has neither gain nor loss and stands in the middle, at 50.
    """
    values = _series(closes)
    changes = np.diff(values, axis=-1)
    gain = _smoothed(np.maximum(changes, 0), n, 1 / n)
    loss = _smoothed(np.maximum(-changes, 0), n, 1 / n)
    return np.where(gain + loss == 0, 50.0, 100 * _divided(gain, gain + loss))


def atr(high: ArrayLike, low: ArrayLike, close: ArrayLike, n: int = 14) -> Floats:
    """Average true range in paise: the simple mean of the last n true ranges, each the largest of high - low,
    |high - previous close| and |low - previous close| (Wilder 1978). Needs n + 1 bars.
    """
    highs, lows, closes = _series(high), _series(low), _series(close)
    before = closes[..., :-1]
    ranges = np.maximum(highs[..., 1:], before) - np.minimum(lows[..., 1:], before)
    return sma(ranges, n)


def sma_ratio(closes: ArrayLike, fast: int = 50, slow: int = 200) -> Floats:
    """SMA50 / SMA200 of the closes: above 1 the shorter average is the higher one."""
    return _divided(sma(closes, fast), sma(closes, slow))


def days_since_golden_cross(daily_closes: ArrayLike, fast: int = 50, slow: int = 200) -> Floats:
    """Bars since SMA50 / SMA200 last crossed above 1 (the bar before was at or below 1); 0 = at the last bar.

    NaN when it did not cross within the closes given: at least slow + 1 are needed.
    """
    values = _series(daily_closes)
    if values.shape[-1] < slow + 1:
        return _none(values)
    slow_means = _rolling_mean(values, slow)
    fast_means = _rolling_mean(values, fast)[..., slow - fast :]
    crossed = (fast_means[..., 1:] > slow_means[..., 1:]) & (fast_means[..., :-1] <= slow_means[..., :-1])
    bars_ago = np.argmax(crossed[..., ::-1], axis=-1)
    return np.where(crossed.any(axis=-1), bars_ago, np.nan)


def volume_ratio(daily_volumes: ArrayLike, short: int = 5, long: int = 200) -> Floats:
    """Mean volume of the last 5 days / mean of the last 200; NaN when nothing traded."""
    return _divided(sma(daily_volumes, short), sma(daily_volumes, long))


def drawdown(high_15m: ArrayLike, last: ArrayLike, n: int = 200) -> Floats:
    """Percent that the last price is below the highest of the last n fifteen-minute bars, or 0."""
    values = _series(high_15m)
    if values.shape[-1] < n:
        return _none(values)
    price = np.asarray(last, dtype=np.float64)
    highest = np.maximum(values[..., -n:].max(axis=-1), price)
    return 100 * _divided(highest - price, highest)


def _series(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _none(values: Floats) -> Floats:
    return np.full(values.shape[:-1], np.nan)


def _smoothed(values: Floats, n: int, weight: float) -> Floats:
    """The mean of a row's first n values, then average += (value - average) x weight for each later one."""
    bars = values.shape[-1]
    average = _none(values)
    if bars < n:
        return average
    seeded_at = np.isnan(values).sum(axis=-1) + n - 1
    for bar in range(n - 1, bars):
        average += (values[..., bar] - average) * weight
        starts = seeded_at == bar
        if starts.any():
            average = np.where(starts, values[..., bar - n + 1 : bar + 1].mean(axis=-1), average)
    return average


def _rolling_mean(values: Floats, n: int) -> Floats:
    """Means of every n neighbours: (..., bars - n + 1). Exact for whole paise, whose sums stay below 2^53."""
    unknown = np.isnan(values)
    sums = _rolling_sum(np.where(unknown, 0.0, values), n) / n
    return np.where(_rolling_sum(unknown.astype(np.float64), n) > 0, np.nan, sums)


def _rolling_sum(values: Floats, n: int) -> Floats:
    sums = np.cumsum(values, axis=-1)
    return np.concatenate((sums[..., n - 1 : n], sums[..., n:] - sums[..., :-n]), axis=-1)


def _divided(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator, NaN where that is not above zero."""
    answer = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=answer, where=denominator > 0)
    return answer
