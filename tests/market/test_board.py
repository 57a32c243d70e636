"""The board's promises: exact prices and extremes, each owner woken once and in order, nothing impossible."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.board import ALWAYS, NEVER, Board
from market.feeds.frame import Frame

NS = 1_000_000_000


class Sleeper:
    """An owner that remembers how it was woken."""

    def __init__(self, name: str = "", diary: list[str] | None = None) -> None:
        self.name = name
        self.diary = diary
        self.wakes: list[tuple[int, int, int, int]] = []

    def wake(self, last: int, highest: int, lowest: int, at_ns: int) -> None:
        self.wakes.append((last, highest, lowest, at_ns))
        if self.diary is not None:
            self.diary.append(self.name)


def frame_of(*ticks: tuple[int, int], at_ns: int = NS, volumes: list[int] | None = None) -> Frame:
    rows = [row for row, _ in ticks]
    return Frame(
        at_ns=at_ns,
        rows=np.array(rows, dtype=np.int32),
        price_paise=np.array([price for _, price in ticks], dtype=np.int64),
        volume=np.array(volumes if volumes is not None else [-1] * len(ticks), dtype=np.int64),
        unique=len(set(rows)) == len(rows),
    )


def play(board: Board, *ticks: tuple[int, int], at_ns: int = NS, layer: int = 0) -> int:
    accepted = board.apply(frame_of(*ticks, at_ns=at_ns))
    return board.wake_left(layer, accepted) if accepted is not None else 0


def test_a_frame_writes_price_volume_and_both_times() -> None:
    board = Board(rows=3, layers=1)
    frame = frame_of((0, 10_050), (2, 99_900), at_ns=7 * NS, volumes=[500, 20])
    assert board.apply(frame) is frame
    assert board.last.tolist() == [10_050, 0, 99_900]
    assert board.volume.tolist() == [500, -1, 20]
    assert board.exchange_ns.tolist() == board.received_ns.tolist() == [7 * NS, 0, 7 * NS]


def test_the_exchange_time_of_each_packet_is_kept_apart_from_its_arrival() -> None:
    board = Board(rows=3, layers=1)
    board.apply(attrs.evolve(frame_of((0, 100), (1, 100), at_ns=9 * NS), exchange_ns=np.array([8 * NS, 0])))
    assert board.exchange_ns.tolist() == [8 * NS, 9 * NS, 0]  # a packet without time counts by its arrival
    assert board.received_ns.tolist() == [9 * NS, 9 * NS, 0]
    assert board.age_ns(0, 10 * NS) == 2 * NS


def test_a_row_without_any_packet_is_older_than_every_limit() -> None:
    board = Board(rows=1, layers=1)
    now_ns = 1_800_000_000 * NS
    assert board.age_ns(0, now_ns) == now_ns


def test_a_tick_without_volume_keeps_the_volume_known() -> None:
    board = Board(rows=2, layers=1)
    board.apply(frame_of((0, 100), (1, 100), volumes=[70, 80]))
    board.apply(frame_of((0, 101), (1, 101), volumes=[-1, 90]))
    assert board.volume.tolist() == [70, 90]


def test_impossible_prices_are_dropped_and_counted_and_the_rest_is_used() -> None:
    board = Board(rows=4, layers=1)
    board.set_limits(np.array([8_000, 8_000, 8_000, -5]), np.array([12_000, 12_000, 12_000, 12_000]))
    frame = frame_of((0, 12_000), (1, 12_001), (2, 7_999), (3, 0), at_ns=3 * NS, volumes=[1, 2, 3, 4])
    accepted = board.apply(attrs.evolve(frame, exchange_ns=np.array([NS, NS, NS, NS])))
    assert accepted is not None
    assert (accepted.rows.tolist(), accepted.price_paise.tolist()) == ([0], [12_000])
    assert accepted.volume.tolist() == [1]
    assert board.last.tolist() == [12_000, 0, 0, 0]
    assert board.dropped.tolist() == [0, 1, 1, 1]
    assert board.exchange_ns.tolist() == [NS, 0, 0, 0]


def test_a_frame_of_impossible_prices_only_changes_nothing() -> None:
    board = Board(rows=2, layers=1)
    assert board.apply(frame_of((0, 0), (1, -5), (1, -5))) is None
    assert board.last.tolist() == [0, 0]
    assert board.dropped.tolist() == [1, 2]
    assert board.apply(frame_of()) is None


def test_an_owner_is_woken_at_its_edges_and_not_between_them() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()
    board.watch(0, 0, 9_750, 10_500, sleeper.wake)
    assert [play(board, (0, price)) for price in (10_000, 9_751, 10_499)] == [0, 0, 0]
    assert play(board, (0, 10_500), at_ns=5 * NS) == 1
    assert sleeper.wakes == [(10_500, 10_500, 9_751, 5 * NS)]
    assert play(board, (0, 9_750)) == 1


def test_extremes_start_again_at_the_last_price_after_a_wake() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()
    board.watch(0, 0, *ALWAYS, sleeper.wake)
    for price in (10_000, 10_200, 9_900):
        play(board, (0, price))
    assert [wake[:3] for wake in sleeper.wakes] == [
        (10_000, 10_000, 10_000),
        (10_200, 10_200, 10_000),
        (9_900, 10_200, 9_900),
    ]


def test_a_peak_inside_the_band_is_told_at_the_next_wake() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()
    board.watch(0, 0, 9_000, 11_000, sleeper.wake)
    for price in (10_000, 10_900, 9_500, 9_000):
        play(board, (0, price))
    assert [wake[:3] for wake in sleeper.wakes] == [(9_000, 10_900, 9_000)]


def test_watching_compares_at_once_and_wakes_who_is_outside() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()
    board.watch(0, 0, 5_000, 6_000, sleeper.wake)
    assert sleeper.wakes == []  # there is no price yet
    board.watch(0, 0, *NEVER, sleeper.wake)
    play(board, (0, 10_000), at_ns=4 * NS)
    play(board, (0, 10_100), at_ns=5 * NS)
    board.watch(0, 0, 10_000, 10_100, sleeper.wake)
    assert sleeper.wakes == [(10_100, 10_100, 10_000, 5 * NS)]
    board.watch(0, 0, 10_000, 10_101, sleeper.wake)
    assert len(sleeper.wakes) == 1


def test_an_owner_is_not_woken_again_by_the_price_it_has_seen() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()
    play(board, (0, 10_000))
    board.watch(0, 0, *ALWAYS, sleeper.wake, seen=10_000)
    assert sleeper.wakes == []
    play(board, (0, 10_000), at_ns=2 * NS)  # a new tick counts, be it at the same price
    assert sleeper.wakes == [(10_000, 10_000, 10_000, 2 * NS)]
    board.watch(0, 0, *ALWAYS, sleeper.wake, seen=9_999)
    assert len(sleeper.wakes) == 2


def test_who_takes_over_a_free_row_does_not_inherit_extremes() -> None:
    board, first, second = Board(rows=1, layers=1), Sleeper(), Sleeper()
    board.watch(0, 0, 1, 20_000, first.wake)
    for price in (10_000, 15_000, 12_000):
        play(board, (0, price))
    board.watch(0, 0, *NEVER, None)
    play(board, (0, 19_000))
    play(board, (0, 12_500))
    board.watch(0, 0, 12_000, 13_000, second.wake)
    play(board, (0, 13_000))
    assert second.wakes == [(13_000, 13_000, 12_500, NS)]
    assert first.wakes == []


def test_an_owner_that_dies_and_watches_again_keeps_its_extremes() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()
    board.watch(0, 0, 9_000, 20_000, sleeper.wake)
    play(board, (0, 15_000))
    play(board, (0, 10_000))
    board.watch(0, 0, 9_500, 20_000, sleeper.wake)
    play(board, (0, 9_500))
    assert sleeper.wakes == [(9_500, 15_000, 9_500, NS)]


def test_an_entry_starts_highest_and_lowest_again() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()
    board.watch(0, 0, 9_000, 20_000, sleeper.wake)
    play(board, (0, 15_000))
    play(board, (0, 10_000))
    board.reset_extremes(0, 0)
    play(board, (0, 9_000))
    assert sleeper.wakes == [(9_000, 10_000, 9_000, NS)]


def test_owners_are_woken_in_row_order_each_once() -> None:
    diary: list[str] = []
    board = Board(rows=4, layers=1)
    for row, name in enumerate("ABCD"):
        board.watch(0, row, *ALWAYS, Sleeper(name, diary).wake)
    assert play(board, (3, 10), (1, 10), (0, 10), (1, 12)) == 3
    assert diary == ["A", "B", "D"]


def test_an_edge_touched_only_by_an_earlier_tick_of_a_row_wakes_with_the_last() -> None:
    board, sleeper = Board(rows=2, layers=1), Sleeper()
    board.watch(0, 1, 9_000, 11_000, sleeper.wake)
    frame = frame_of((1, 10_000), (1, 11_000), (0, 5), (1, 8_000), (1, 10_500), volumes=[1, 2, 9, 3, 4])
    accepted = board.apply(attrs.evolve(frame, exchange_ns=np.array([1, 2, 3, 4, 5])))
    assert accepted is not None
    assert board.wake_left(0, accepted) == 1
    assert sleeper.wakes == [(10_500, 11_000, 8_000, NS)]
    assert board.volume.tolist() == [9, 4]
    assert board.exchange_ns.tolist() == [3, 5]


def test_layers_do_not_disturb_each_other() -> None:
    board, one, other = Board(rows=1, layers=3), Sleeper(), Sleeper()
    board.watch(0, 0, 9_000, 10_100, one.wake)
    board.watch(2, 0, 9_000, 10_300, other.wake)
    for price in (10_000, 10_200, 10_300):
        accepted = board.apply(frame_of((0, price)))
        assert accepted is not None
        for layer in range(3):
            board.wake_left(layer, accepted)
    assert [wake[:3] for wake in one.wakes] == [(10_200, 10_200, 10_000), (10_300, 10_300, 10_200)]
    assert [wake[:3] for wake in other.wakes] == [(10_300, 10_300, 10_000)]


def test_an_owner_without_wake_is_found_by_left() -> None:
    board = Board(rows=3, layers=1)
    board.watch(0, 2, 9_000, 11_000, None)
    board.watch(0, 1, 9_000, 11_000, None)
    frame = board.apply(frame_of((2, 8_000), (1, 11_000), (0, 1)))
    assert frame is not None
    assert board.left(0, frame) == [1, 2]
    assert board.wake_left(0, frame) == 0


def test_an_owner_whose_wake_raises_has_not_looked() -> None:
    board, sleeper = Board(rows=1, layers=1), Sleeper()

    def fail(last: int, highest: int, lowest: int, at_ns: int) -> None:
        raise RuntimeError("closed")

    board.watch(0, 0, 9_000, 11_000, fail)
    play(board, (0, 10_000))
    with pytest.raises(RuntimeError, match="closed"):
        play(board, (0, 11_500))
    board.watch(0, 0, 9_000, 13_000, sleeper.wake)
    play(board, (0, 8_000))
    assert sleeper.wakes == [(8_000, 11_500, 8_000, NS)]


def test_nobody_outside_can_write_on_the_board() -> None:
    board = Board(rows=2, layers=1)
    for name in ("last", "volume", "exchange_ns", "received_ns", "dropped"):
        array = getattr(board, name)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


TICKS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 30)), max_size=12)
BANDS = st.tuples(st.integers(-1, 30), st.integers(0, 31))
STEPS = st.lists(
    st.one_of(
        TICKS.map(lambda ticks: ("frame", ticks)),
        st.tuples(st.integers(0, 4), BANDS).map(lambda band: ("watch", band)),
        st.integers(0, 4).map(lambda row: ("free", row)),
        st.integers(0, 4).map(lambda row: ("reset", row)),
    ),
    max_size=25,
)


class PlainBoard:
    """One layer in plain Python, tick by tick: what the vectorised board must agree with."""

    def __init__(self) -> None:
        self.last = [0] * 5
        self.bands: dict[int, tuple[int, int]] = {}
        self.since_look: dict[int, list[int]] = {}
        self.woken: list[tuple[int, int, int, int]] = []

    def look(self, row: int) -> None:
        self.since_look[row] = [self.last[row]] if self.last[row] else []

    def wake(self, row: int) -> None:
        seen = self.since_look[row]
        self.woken.append((row, self.last[row], max(seen), min(seen)))
        self.look(row)

    def play(self, ticks: list[tuple[int, int]]) -> None:
        gone = set()
        for row, price in ticks:
            if not 1 <= price <= 25:
                continue
            self.last[row] = price
            if row in self.bands:
                self.since_look[row].append(price)
                low, high = self.bands[row]
                if price <= low or price >= high:
                    gone.add(row)
        for row in sorted(gone):
            self.wake(row)

    def watch(self, row: int, low: int, high: int) -> None:
        if row not in self.bands:
            self.look(row)
        self.bands[row] = (low, high)
        if self.last[row] and (self.last[row] <= low or self.last[row] >= high):
            self.wake(row)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_the_board_agrees_with_a_plain_one_tick_by_tick(steps: list[tuple[str, object]]) -> None:
    board, plain = Board(rows=5, layers=1), PlainBoard()
    board.set_limits(np.ones(5, dtype=np.int64), np.full(5, 25))
    woken: list[tuple[int, int, int, int]] = []
    for kind, what in steps:
        match what:
            case list():
                plain.play(what)
                play(board, *what)
            case (int(row), (int(low), int(high))):

                def wake(last: int, highest: int, lowest: int, at_ns: int, row: int = row) -> None:
                    woken.append((row, last, highest, lowest))

                plain.watch(row, low, high)
                board.watch(0, row, low, high, wake)
            case int(row) if kind == "free":
                plain.bands.pop(row, None)
                board.watch(0, row, *NEVER, None)
            case int(row):
                if row in plain.bands:
                    plain.look(row)
                board.reset_extremes(0, row)
        assert board.last.tolist() == plain.last
        assert woken == plain.woken
