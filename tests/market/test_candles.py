"""15-minute bars: drawn by hand, where every open, high, low, close and volume is known."""

from __future__ import annotations

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market.candles import BAR_NS, Candles, CompletedBars
from protocol.clock import NS, at

DAY = date(2016, 8, 16)
OPEN_NS = at(DAY, 9 * 3600 + 15 * 60)
CLOSE_NS = at(DAY, 15 * 3600 + 30 * 60)


def started(size: int = 3) -> Candles:
    candles = Candles(size)
    candles.start_day(OPEN_NS)
    return candles


def tick(candles: Candles, second: float, ticks: list[tuple[int, int, int]]) -> CompletedBars | None:
    """Apply (row, price, cumulative volume) at a second after the open; the bars completed before it."""
    at_ns = OPEN_NS + round(second * NS)
    rows, price, volume = (np.array(column) for column in zip(*ticks, strict=True))
    bars = candles.roll(at_ns)
    candles.apply(rows.astype(np.int32), price, volume, at_ns, len(set(rows.tolist())) == len(rows))
    return bars


def bar_of(bars: CompletedBars | None, row: int) -> tuple[int, int, int, int, int]:
    assert bars is not None
    place = bars.rows.tolist().index(row)
    return tuple(int(column[place]) for column in (bars.open, bars.high, bars.low, bars.close, bars.volume))  # type: ignore[return-value]


def test_a_bar_has_the_open_high_low_close_and_volume_of_its_ticks() -> None:
    candles = started()
    tick(candles, 0, [(0, 100, 10), (2, 500, 1)])
    tick(candles, 300, [(0, 90, 30)])
    tick(candles, 600, [(0, 120, 35), (2, 510, 4)])
    tick(candles, 899, [(0, 110, 50)])
    bars = tick(candles, 900, [(0, 111, 60)])
    assert bars is not None
    assert bars.start_ns == OPEN_NS
    assert bars.rows.tolist() == [0, 2]
    assert bar_of(bars, 0) == (100, 120, 90, 110, 50)
    assert bar_of(bars, 2) == (500, 510, 500, 510, 4)
    assert bar_of(candles.end_day(), 0) == (111, 111, 111, 111, 10)


def test_a_bar_is_completed_at_its_end_instant_and_only_once() -> None:
    candles = started()
    tick(candles, 10, [(0, 100, 1)])
    assert candles.roll(OPEN_NS + BAR_NS - 1) is None
    assert candles.roll(OPEN_NS + BAR_NS) is not None
    assert candles.roll(OPEN_NS + BAR_NS) is None
    assert candles.end_day() is None


def test_a_bar_without_a_tick_does_not_exist() -> None:
    candles = started()
    tick(candles, 0, [(0, 100, 1)])
    first = tick(candles, 5 * 900 + 1, [(1, 200, 7)])
    second = tick(candles, 6 * 900, [(0, 105, 4)])
    assert first is not None
    assert second is not None
    assert (first.start_ns, first.rows.tolist()) == (OPEN_NS, [0])
    assert (second.start_ns, second.rows.tolist()) == (OPEN_NS + 5 * BAR_NS, [1])


def test_the_last_bar_of_the_day_is_completed_at_the_close() -> None:
    candles = started()
    tick(candles, 375 * 60 - 15, [(1, 200, 7)])
    bars = candles.end_day()
    assert bars is not None
    assert bars.start_ns == CLOSE_NS - BAR_NS
    assert bar_of(bars, 1) == (200, 200, 200, 200, 0)  # what traded before its first tick is no bar's volume


def test_the_same_frame_again_counts_nothing_twice() -> None:
    candles = started()
    for _ in range(3):
        tick(candles, 20, [(0, 100, 10), (0, 130, 15), (0, 120, 15)])
    assert bar_of(candles.end_day(), 0) == (100, 130, 100, 120, 15)


def test_of_a_repeated_or_falling_volume_the_price_counts_and_the_volume_does_not() -> None:
    candles = started()
    tick(candles, 0, [(0, 100, 1000)])
    tick(candles, 1, [(0, 103, 1000)])
    tick(candles, 2, [(0, 99, 400)])
    tick(candles, 3, [(0, 101, 1010)])
    assert bar_of(candles.end_day(), 0) == (100, 103, 99, 101, 1010)


def test_after_a_hole_all_that_was_traded_since_the_last_good_volume_counts() -> None:
    candles = started()
    tick(candles, 0, [(0, 100, 50)])
    tick(candles, 1, [(0, 101, -1)])
    bars = tick(candles, 3600, [(0, 102, 450)])
    assert bar_of(bars, 0)[4] == 50
    assert bar_of(candles.end_day(), 0)[4] == 400


def test_a_new_day_starts_with_new_volumes_and_a_repeated_day_start_changes_nothing() -> None:
    candles = started()
    tick(candles, 0, [(0, 100, 5000)])
    candles.start_day(OPEN_NS)
    assert bar_of(candles.end_day(), 0)[4] == 5000
    next_open_ns = OPEN_NS + 24 * 3600 * NS
    candles.start_day(next_open_ns)
    candles.apply(np.array([0], dtype=np.int32), np.array([90]), np.array([70]), next_open_ns, True)
    assert bar_of(candles.end_day(), 0) == (90, 90, 90, 90, 70)


def test_an_empty_frame_changes_nothing() -> None:
    candles = started()
    nothing = np.zeros(0, dtype=np.int64)
    candles.apply(nothing.astype(np.int32), nothing, nothing, OPEN_NS, True)
    bars = candles.end_day()
    assert bars is not None
    assert len(bars) == 0


TICKS = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 500), st.integers(-1, 900)), min_size=1, max_size=6),
    min_size=1,
    max_size=12,
)


@given(TICKS)
def test_whole_frames_give_the_bar_that_single_ticks_give(frames: list[list[tuple[int, int, int]]]) -> None:
    candles = started()
    for second, frame in enumerate(frames):
        tick(candles, second, frame)
    bars = candles.end_day()
    for row in range(3):
        ticks = [(price, volume) for frame in frames for which, price, volume in frame if which == row]
        if not ticks:
            assert bars is not None
            assert row not in bars.rows
            continue
        prices = [price for price, _ in ticks]
        volume = max(0, *(volume for _, volume in ticks))
        assert bar_of(bars, row) == (prices[0], max(prices), min(prices), prices[-1], volume)
