"""Tiny days made by hand, with the answer worked out beside them: what the plain replay promises.

Every symbol's history is flat (100.00 unless told otherwise), so a price of 103.00 ranks 3.0 and buys
floor(3000 / 103) = 29 shares: P1's exact stop is 100.425 (broker: trigger 100.40, limit 99.35), its target
108.15. In the charges "89.61 > 90" reads "89.61 paise, rounded to 90".
"""

from __future__ import annotations

import csv
import gzip
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.reference.plain_charges import Order, day_charges
from tests.reference.plain_ranking import Ranking
from tests.reference.plain_replay import replay

TODAY, TOMORROW = date(2024, 1, 15), date(2024, 1, 16)
Bar = tuple[str, float, float, float, float]  # start, open, high, low, close


def flat(start: str, price: float) -> Bar:
    return (start, price, price, price, price)


def write_rows(path: Path, rows: list[list[Any]]) -> None:
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows(rows)


class Folder:
    """A data folder: 8 days of flat 15-minute bars (200 of them), 50 daily closes, and what a test adds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.minutes: list[list[Any]] = []
        self.daily: list[list[Any]] = []
        self.ticks: list[tuple[str, str, int]] = []
        self.symbols: list[str] = []

    def add(self, symbol: str, bars: list[Bar], *, history: float = 100.0, history_bars: int = 200) -> None:
        """`bars` begin at "HH:MM" of today, or at "+HH:MM" of tomorrow."""
        self.symbols.append(symbol)
        for number in range(history_bars):
            day, bar = TODAY - timedelta(days=8 - number // 25), number % 25
            start = datetime(day.year, day.month, day.day, 9, 15) + timedelta(minutes=15 * bar)
            self.minutes.append([symbol, start.strftime("%Y-%m-%d %H:%M"), *[history] * 4, 100])
        for back in range(1, 51):
            self.daily.append([symbol, TODAY - timedelta(days=back), *[history] * 4, 100])
        for start_text, *prices in bars:
            day = TOMORROW if start_text.startswith("+") else TODAY
            self.minutes.append([symbol, f"{day} {start_text.lstrip('+')}", *prices, 100])

    def replay(self, last: date = TODAY, **settings: Any) -> dict[str, Any]:
        header = ["symbol", "timestamp", "open", "high", "low", "close", "volume"]
        write_rows(self.path / "minute.csv.gz", [header, *self.minutes])
        write_rows(self.path / "daily.csv.gz", [header, *self.daily])
        lines = ["tradingsymbol,tick_size", *(f"{symbol},0.05" for symbol in self.symbols)]
        (self.path / "instruments.csv").write_text("\n".join(lines) + "\n")
        return replay(self.path, TODAY, last, **settings)

    def replay_ticks(self, ticks: list[tuple[str, str, float]]) -> dict[str, Any]:
        """`ticks`: (HH:MM:SS of today, symbol, rupees) in file order."""
        pyarrow = pytest.importorskip("pyarrow", reason="recorded ticks are Parquet files")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {
            "ts": pyarrow.array([datetime.fromisoformat(f"{TODAY} {at}") for at, *_ in ticks], pyarrow.timestamp("ms")),
            "symbol": pyarrow.array([symbol for _, symbol, _ in ticks]).dictionary_encode(),
            "ltp_paise": pyarrow.array([round(price * 100) for *_, price in ticks], pyarrow.int32()),
        }
        (self.path / "ticks").mkdir()
        parquet.write_table(pyarrow.table(columns), self.path / "ticks" / f"{TODAY}.parquet")
        return self.replay(ticks=True)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def exits(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            trade["symbol"],
            trade["rung"],
            (trade["exit_time"] or "")[11:],
            trade["exit_price"],
            trade["reason"],
        )
        for trade in result["trades"]
    ]


def entries(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (trade["symbol"], trade["rung"], trade["entry_time"][11:], trade["entry_price"], trade["qty"])
        for trade in result["trades"]
    ]


def test_a_stop_fills_at_its_tick_and_the_result_has_every_field(folder: Folder) -> None:
    # 100.45 is above the exact stop 100.425; 100.40 is not, and is the broker's trigger.
    folder.add("AAA", [flat("09:26", 103), ("09:27", 103, 103, 100.45, 100.45), ("09:28", 103, 103, 100.4, 101)])
    # Buy 298,700: brokerage 89.61 > 90, exchange 9.17 > 9, SEBI 0, stamp 8.96 > 9, GST 17.82 > 18 = 126.
    # Sell 291,160: brokerage 87.35 > 87, STT 72.79 > 73, exchange 8.94 > 9, SEBI 0, GST 17.28 > 17 = 186.
    day = {"rankings": 375, "entries": 1, "exits": 1, "gross": -75.4, "charges": 3.12, "net": -78.52}
    assert folder.replay() == {
        "days": [{"date": "2024-01-15"} | day],
        "total": day,
        "trades": [
            {
                "symbol": "AAA",
                "rung": "P1",
                "entry_time": "2024-01-15 09:26:00",
                "entry_price": 103.0,
                "qty": 29,
                "rank": 3.0,
                "exit_time": "2024-01-15 09:28:30",  # a falling bar shows its high at :15, its low at :30
                "exit_price": 100.4,
                "reason": "stop",
                "gross": -75.4,
                "charges": 3.12,
                "net": -78.52,
            }
        ],
    }


def test_a_target_fills_at_its_tick_and_the_symbol_cools_down_for_15_minutes(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103), flat("09:27", 109), flat("09:41", 109), flat("09:42", 109)])
    result = folder.replay()
    assert exits(result)[0] == ("AAA", "P1", "09:27:00", 109.0, "target")
    assert entries(result)[1] == ("AAA", "P1", "09:42:00", 109.0, 27)
    # The bar 09:15-09:30 closed at 109, so SMA200 = (199 x 100 + 109) / 200 = 100.045.
    assert result["trades"][1]["rank"] == pytest.approx(((1.09 * 109 / 100.045) ** 0.5 - 1) * 100, abs=1e-6)


def test_the_ladder_climbs_trails_and_is_squared_off(folder: Folder) -> None:
    folder.add(
        "AAA",
        [
            flat("09:26", 103),
            ("09:27", 103.25, 103.3, 103.25, 103.3),  # +0.24 % is not enough for P2, +0.29 % is
            ("09:28", 104.15, 104.2, 104.15, 104.2),  # mean +0.97 % is not enough for P3, +1.02 % is
            # 104.15 moved P2's broker stop from 100.70 to 101.50. 104.20 makes the exact stop 101.595: 9.5
            # paise more, less than one step (10), so 101.55 is left to the safety stop.
            ("09:29", 104.2, 104.2, 101.55, 101.55),
        ],
    )
    result = folder.replay()
    assert entries(result) == [
        ("AAA", "P1", "09:26:00", 103.0, 29),
        ("AAA", "P2", "09:27:30", 103.3, 29),
        ("AAA", "P3", "09:28:30", 104.2, 28),
    ]
    assert exits(result) == [
        ("AAA", "P1", "", None, None),  # losing at 15:10: carried
        ("AAA", "P2", "09:29:33", 101.55, "safety"),
        ("AAA", "P3", "15:10:00", 101.55, "square_off"),
    ]
    assert {trade["rank"] for trade in result["trades"]} == {3.0}
    assert result["trades"][0]["gross"] is None
    assert result["trades"][0]["charges"] > 0


def test_p3_may_follow_p2_at_the_same_price(folder: Folder) -> None:
    # At 105.10 P1 is +2.04 % and a P2 bought there 0 %: mean 1.02 %.
    folder.add("AAA", [flat("09:26", 103), flat("09:27", 105.1)])
    assert entries(folder.replay())[1:] == [
        ("AAA", "P2", "09:27:00", 105.1, 28),
        ("AAA", "P3", "09:27:00", 105.1, 28),
    ]


def test_a_winning_p1_is_sold_at_square_off(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103), flat("15:09", 103.05)])
    assert exits(folder.replay()) == [("AAA", "P1", "15:10:00", 103.05, "square_off")]


def test_a_gap_below_the_limit_is_sold_at_the_last_price_after_the_grace(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103), flat("09:27", 99.3)])
    assert exits(folder.replay()) == [("AAA", "P1", "09:27:10", 99.3, "stop")]


def test_a_carried_p1_stops_the_next_day_and_pays_delivery_charges(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103), flat("09:27", 102), flat("+09:15", 100.4)])
    result = folder.replay(TOMORROW)
    assert exits(result) == [("AAA", "P1", "09:15:00", 100.4, "stop")]
    # Buy 298,700: STT 298.7 > 299, exchange 9, stamp 44.8 > 45, GST 2 = 355.
    # Sell 291,160: STT 291, exchange 9, GST 2, depository 1,534 = 1,836.
    assert [day["charges"] for day in result["days"]] == [3.55, 18.36]
    assert result["trades"][0]["net"] == -75.4 - 21.91
    assert [day["gross"] for day in result["days"]] == [0.0, -75.4]


def test_a_carried_p1_may_get_its_p2_the_next_day(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103), flat("09:27", 102), flat("+09:25", 103.3), flat("+09:26", 103.3)])
    result = folder.replay(TOMORROW)
    assert entries(result)[1] == ("AAA", "P2", "09:26:00", 103.3, 29)
    assert result["trades"][1]["entry_time"] == "2024-01-16 09:26:00"


def test_the_best_rank_is_served_first_and_what_does_not_fit_is_skipped(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103)])
    folder.add("BBB", [flat("09:26", 104)])
    folder.add("CCC", [flat("09:26", 3150)], history=3000)  # rank 5, but one share costs more than a position
    folder.add("DDD", [flat("09:26", 5)], history=4.85)  # rank 3.09: Rs 3,000 buy 600 shares
    assert [entry[0] for entry in entries(folder.replay())] == ["AAA", "BBB", "DDD"]
    assert [entry[0] for entry in entries(folder.replay(capital=3_000))] == ["BBB"]
    assert [entry[0] for entry in entries(folder.replay(max_positions=2))] == ["BBB", "DDD"]
    assert [entry[0] for entry in entries(folder.replay(min_rank_gm=3.05))] == ["BBB", "DDD"]


def test_an_exit_frees_its_money_for_another_symbol_in_the_same_instant(folder: Folder) -> None:
    folder.add("BBB", [flat("09:26", 103), ("09:27", 103, 103, 100.4, 100.4)])  # stops at 09:27:30
    folder.add("AAA", [flat("09:26", 103), flat("09:27", 103.3)])  # asks for P2 from 09:27:00
    result = folder.replay(capital=6_000)
    assert entries(result)[2] == ("AAA", "P2", "09:27:30", 103.3, 29)
    assert exits(result)[1] == ("BBB", "P1", "09:27:30", 100.4, "stop")


def test_a_price_far_from_the_previous_close_is_not_seen(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103), ("09:27", 103, 120.05, 79.95, 103)])
    assert exits(folder.replay()) == [("AAA", "P1", "", None, None)]


def test_entries_begin_at_0926_and_end_at_1500_inclusive(folder: Folder) -> None:
    folder.add("AAA", [flat("09:25", 103)])
    folder.add("BBB", [flat("09:26", 103)])
    folder.add("CCC", [flat("15:00", 103)])
    folder.add("DDD", [flat("15:01", 103)])
    assert [entry[::2] for entry in entries(folder.replay())] == [
        ("BBB", "09:26:00", 29),
        ("CCC", "15:00:00", 29),
    ]


def test_without_200_bars_or_50_days_there_is_no_rank(folder: Folder) -> None:
    folder.add("AAA", [flat("09:26", 103)], history_bars=199)
    folder.add("BBB", [flat("09:26", 103)])
    folder.daily.pop()
    assert folder.replay()["trades"] == []


def test_the_safety_stop_counts_anew_after_a_tick_above(folder: Folder) -> None:
    folder.add("AAA", [])
    result = folder.replay_ticks(
        [
            ("09:26:00", "AAA", 103.0),
            ("09:26:10", "AAA", 103.3),  # P2: exact stop 100.7175, trigger 100.70
            ("09:26:11", "AAA", 103.35),  # exact stop 100.76625: the step is too small to move the trigger
            ("09:27:00", "AAA", 100.75),
            ("09:27:02", "AAA", 100.8),  # above: the grace begins again
            ("09:27:04", "AAA", 100.75),
            ("09:27:06", "AAA", 100.75),
        ]
    )
    assert exits(result)[1] == ("AAA", "P2", "09:27:07", 100.75, "safety")


def test_a_resting_stop_fills_at_the_first_tick_at_its_limit(folder: Folder) -> None:
    folder.add("AAA", [])
    result = folder.replay_ticks(
        [
            ("09:26:00", "AAA", 103.0),
            ("09:27:00", "AAA", 99.0),
            ("09:27:04", "AAA", 99.3),
            ("09:27:10", "AAA", 99.4),  # the frame comes before the timer of its instant
        ]
    )
    assert exits(result) == [("AAA", "P1", "09:27:10", 99.4, "stop")]


def test_the_broker_sees_every_tick_of_a_frame_and_the_position_looks_once(folder: Folder) -> None:
    folder.add("AAA", [])
    folder.add("BBB", [])
    result = folder.replay_ticks(
        [
            ("09:26:00", "AAA", 103.0),
            ("09:26:00", "BBB", 103.0),
            ("09:27:00", "AAA", 100.4),
            ("09:27:00", "AAA", 103.0),
            ("09:27:00", "BBB", 103.3),
            ("09:27:00", "BBB", 103.2),  # the last price is +0.19 %: no P2
        ]
    )
    assert exits(result) == [
        ("AAA", "P1", "09:27:00", 100.4, "stop"),
        ("BBB", "P1", "15:10:00", 103.2, "square_off"),
    ]


def test_a_stale_price_is_not_bought(folder: Folder) -> None:
    folder.add("AAA", [])
    folder.add("BBB", [])
    result = folder.replay_ticks([("09:25:54", "AAA", 103.0), ("09:25:55", "BBB", 103.0)])
    assert [entry[0] for entry in entries(result)] == ["BBB"]


def test_rank_gm_and_acceleration_give_the_worked_values() -> None:
    assert Ranking.rank(113_400, 105_000, 108_000) == pytest.approx(6.4894, abs=5e-5)  # 8 % and 5 %
    ranking = Ranking({"AAA": dict.fromkeys(range(200), 100)}, 0.3, sma50={"AAA": 100.0})
    now = 300 * 900
    assert ranking.final_ranks(now, {"AAA": 104})["AAA"] == pytest.approx(4.0)  # nothing earlier: no acceleration
    assert ranking.final_ranks(now + 900, {"AAA": 106})["AAA"] == pytest.approx(6.6)


def test_part_intraday_orders_are_charged_over_both_parts() -> None:
    # Bought 10 x 1,000.00, sold 4 x 1,010.00: four tenths of the buy are intraday, all of the sell is.
    buy = Order("AAA", "P1", is_buy=True, qty=10, price=100_000, at=1)
    sell = Order("AAA", "P2", is_buy=False, qty=4, price=101_000, at=2)
    # Buy: brokerage 120, STT 600, exchange 30.7 > 31, SEBI 1, stamp 90 + 12, GST 27.36 > 27.
    # Sell: brokerage 121.2 > 121, STT 101, exchange 12.4 > 12, SEBI 0.4 > 0, GST 23.94 > 24.
    assert day_charges([buy, sell]) == [881, 258]


def test_brokerage_is_capped_at_20_rupees_an_order() -> None:
    buy = Order("AAA", "P1", is_buy=True, qty=1_000, price=100_000, at=1)
    sell = Order("AAA", "P1", is_buy=False, qty=1_000, price=100_000, at=2)
    # Buy: 2000 + exchange 3070 + SEBI 100 + stamp 3000 + GST 930.6 > 931; sell: STT 25000 instead of stamp.
    assert day_charges([buy, sell]) == [9_101, 31_101]


def test_the_depository_charge_is_shared_by_quantity_and_adds_up() -> None:
    sells = [
        Order("AAA", rung, is_buy=False, qty=qty, price=10, at=at)
        for rung, qty, at in [("P3", 28, 9), ("P2", 29, 9), ("P1", 29, 5)]
    ]
    # STT on 280 and 290 paise rounds to 0. In (time, rung) order P1, P2, P3 the cumulative shares of 1,534
    # are 517.28 > 517, 1034.56 > 1035, 1534.
    assert day_charges(sells) == [499, 518, 517]
