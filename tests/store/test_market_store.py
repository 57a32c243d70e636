"""market.db: candles and rankings come back as they were written; a corrupt file is begun anew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.clock import MINUTE_NS
from protocol.errors import StoreBusy, StoreError
from store.market_store import Bar, MarketStore, Ranked, Ranking
from store.opening import open_market_for_reading, open_market_store

SYMBOLS = ("HDFC", "INFY", "TCS")
QUARTER = 15 * MINUTE_NS


@attrs.frozen(eq=False)
class Bars:
    """Bars as the market hands them over."""

    start_ns: int
    rows: NDArray[np.int32]
    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]
    volume: NDArray[np.int64]


def bars(start_ns: int, rows: list[int], close: int = 150_010) -> Bars:
    def each(value: int) -> NDArray[np.int64]:
        return np.full(len(rows), value, np.int64) + np.arange(len(rows))

    return Bars(
        start_ns,
        np.array(rows, np.int32),
        each(150_000),
        each(150_050),
        each(149_990),
        each(close),
        each(900),
    )


@pytest.fixture
def store() -> Iterator[MarketStore]:
    made, _ = open_market_store(None)
    yield made
    made.close()


def test_bars_come_back_by_time_and_symbol(store: MarketStore, nine: int) -> None:
    store.write_bars(bars(nine + QUARTER, [1]), SYMBOLS)
    store.write_bars(bars(nine, [1, 2]), SYMBOLS)
    infy = Bar("INFY", nine, 150_000, 150_050, 149_990, 150_010, 900)
    tcs = Bar("TCS", nine, 150_001, 150_051, 149_991, 150_011, 901)
    assert store.bars(None, nine, nine + QUARTER) == [infy, tcs, infy._replace(start_ns=nine + QUARTER)]
    assert store.bars(None, nine + 1, nine + QUARTER) == [infy._replace(start_ns=nine + QUARTER)]
    assert store.bars("TCS", nine, nine) == [tcs]
    assert store.bars("HDFC", nine, nine) == []


def test_bars_written_twice_are_kept_once_as_last_written(store: MarketStore, nine: int) -> None:
    store.write_bars(bars(nine, [1]), SYMBOLS)
    store.write_bars(bars(nine, [1], close=150_040), SYMBOLS)
    (bar,) = store.bars("INFY", nine, nine)
    assert bar.close == 150_040


def test_a_ranking_comes_back_best_first_and_unranked_last(store: MarketStore, nine: int) -> None:
    rows = [
        ("TCS", 3.5, 3.9, ""),
        ("HDFC", math.nan, math.nan, "not enough history"),
        ("INFY", 6.48, 7.23, ""),
    ]
    store.write_ranking(nine, rows)
    expected = Ranking(
        nine,
        (
            Ranked("INFY", 6.48, 7.23, ""),
            Ranked("TCS", 3.5, 3.9, ""),
            Ranked("HDFC", None, None, "not enough history"),
        ),
    )
    assert store.last_ranking() == expected


def test_a_scan_that_ranked_nothing_is_the_last_ranking_all_the_same(store: MarketStore, nine: int) -> None:
    assert store.last_ranking() is None
    store.write_ranking(nine, [("INFY", 6.48, 7.23, "")])
    store.write_ranking(nine + MINUTE_NS, [])
    assert store.last_ranking() == Ranking(nine + MINUTE_NS, ())
    assert [ranking.at_ns for ranking in store.rankings(nine, nine + MINUTE_NS)] == [nine, nine + MINUTE_NS]


def test_a_scan_of_the_same_instant_replaces_itself(store: MarketStore, nine: int) -> None:
    store.write_ranking(nine, [("INFY", 6.0, 7.0, ""), ("TCS", 5.0, 5.0, "")])
    store.write_ranking(nine, [("TCS", 5.5, 5.5, "")])
    assert store.rankings(nine, nine) == [Ranking(nine, (Ranked("TCS", 5.5, 5.5, ""),))]


def test_a_bar_of_a_row_without_a_symbol_leaves_nothing_half_written(store: MarketStore, nine: int) -> None:
    with pytest.raises(IndexError):
        store.write_bars(bars(nine, [1, 7]), SYMBOLS)
    assert store.bars(None, 0, 2 * nine) == []


def test_named_texts_are_kept(store: MarketStore) -> None:
    store.set_meta("history", "2026-01-02")
    assert store.meta("history") == "2026-01-02"
    assert store.meta("nothing") is None


def test_market_data_outlives_the_process_and_is_read_beside_it(tmp_path: Path, nine: int) -> None:
    store, report = open_market_store(tmp_path)
    assert report.created
    store.write_bars(bars(nine, [1]), SYMBOLS)
    reader = open_market_for_reading(tmp_path)
    assert len(reader.bars("INFY", nine, nine)) == 1
    with pytest.raises(StoreError, match="readonly"):
        reader.set_meta("a", "b")
    reader.close()
    assert not store.checkpoint_if_idle()
    assert store.checkpoint_if_idle()
    store.close()
    again, report = open_market_store(tmp_path)
    assert not report.created
    assert len(again.bars("INFY", nine, nine)) == 1
    again.close()


def test_a_second_process_cannot_write_market_data(tmp_path: Path) -> None:
    store, _ = open_market_store(tmp_path)
    with pytest.raises(StoreBusy, match=r"market.db is in use by process"):
        open_market_store(tmp_path)
    store.close()


def test_a_corrupt_market_file_is_set_aside_and_begun_anew(tmp_path: Path, nine: int) -> None:
    (tmp_path / "market.db").write_bytes(b"no database" * 500)
    store, report = open_market_store(tmp_path, now_ns=nine)
    assert store.last_ranking() is None
    assert report.set_aside == tmp_path / "market.db.corrupt-20260105-093000"
    assert report.remarks[0].endswith("begun anew, empty")
    store.close()
