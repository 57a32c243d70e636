"""History: rings of bars whose averages must be those of the naive computation."""

from __future__ import annotations

import numpy as np
import pytest

from market.candles import CompletedBars
from market.history import HIGHEST_PRICE_PAISE, History


def bars(number: int, closes: dict[int, int]) -> CompletedBars:
    """The number-th bars of some rows; open, high and low tell their own column."""
    close = np.array(list(closes.values()), dtype=np.int64)
    rows = np.array(list(closes), dtype=np.int32)
    return CompletedBars(number, rows, close + 1, close + 2, close - 1, close, close * 10)


def test_averages_are_those_of_the_last_closes_and_nan_while_there_are_fewer() -> None:
    rng = np.random.default_rng(5)
    history = History(4, bars_15m=20, days=20, sma_15m_bars=20, sma_days=5)
    closes: dict[int, list[int]] = {row: [] for row in range(4)}
    for number in range(1, 60):
        traded = {row: int(rng.integers(100, 200)) for row in range(4) if rng.random() < (row + 1) / 5}
        history.add_bars(bars(number, traded))
        history.add_daily(bars(number, traded))
        for row, close in traded.items():
            closes[row].append(close)
        naive_15m = [np.mean(c[-20:]) if len(c) >= 20 else np.nan for c in closes.values()]
        naive_daily = [np.mean(c[-5:]) if len(c) >= 5 else np.nan for c in closes.values()]
        np.testing.assert_array_equal(history.sma_15m(), naive_15m)
        np.testing.assert_array_equal(history.sma_daily(), naive_daily)
        assert history.have_15m().tolist() == [min(len(c), 20) for c in closes.values()]
        assert history.previous_close().tolist() == [c[-1] if c else 0 for c in closes.values()]
    for row in range(4):
        assert history.closes_15m(row).tolist() == closes[row][-20:]
        assert history.closes_daily(row).tolist() == closes[row][-20:]


def test_a_bar_that_is_known_already_is_left_out() -> None:
    history = History(2, sma_15m_bars=2)
    history.add_bars(bars(1, {0: 100}))
    history.add_bars(bars(2, {0: 110, 1: 50}))
    for again in (1, 2):
        history.add_bars(bars(again, {0: 999, 1: 999}))
    assert history.closes_15m(0).tolist() == [100, 110]
    assert history.closes_15m(1).tolist() == [50]
    assert history.sma_15m()[0] == 105
    assert history.newest_15m_ns == 2


def test_series_give_all_columns_oldest_first() -> None:
    history = History(1, days=3, sma_days=2)
    for number in range(1, 6):
        history.add_daily(bars(number, {0: 100 * number}))
    series = history.daily(0)
    assert series.start_ns.tolist() == [3, 4, 5]
    assert series.close.tolist() == [300, 400, 500]
    assert series.open.tolist() == [301, 401, 501]
    assert series.high.tolist() == [302, 402, 502]
    assert series.low.tolist() == [299, 399, 499]
    assert series.volume.tolist() == [3000, 4000, 5000]
    assert history.bars_15m(0).close.tolist() == []
    assert history.have_daily().tolist() == [3]
    assert history.newest_daily_ns == 5


def test_a_price_too_high_to_be_stored_is_refused() -> None:
    with pytest.raises(ValueError, match="price outside"):
        History(1).add_bars(bars(1, {0: HIGHEST_PRICE_PAISE}))
