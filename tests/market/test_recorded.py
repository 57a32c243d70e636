"""The recorded market: days drawn by hand, broken recordings, and the real data where it is present."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path

import attrs
import numpy as np
import pytest

from market.calendar import TradingCalendar
from market.candles import Candles, CompletedBars
from market.feeds.frame import DayEnd, DayStart, Feed, Frame, Item
from market.feeds.recorded import RecordedFeed
from market.feeds.recorded_data import RecordingError
from market.feeds.recorded_day import Defects
from market.history import History
from protocol.clock import NS, from_ist_text, ist_text

DATA = Path(__file__).parents[3] / "shared" / "data"
CALENDAR = TradingCalendar()
MONDAY, TUESDAY = date(2016, 8, 22), date(2016, 8, 23)

INSTRUMENTS = (
    "instrument_token,tradingsymbol,name,tick_size,lot_size,instrument_type,segment\n"
    "1,AAA,A,0.05,1,EQ,NSE\n2,BBB,B,0.05,1,EQ,NSE\n3,CCC,C,0.05,1,EQ,NSE\n"
)
DAILY = ("AAA,2016-08-19,99,101,98,100.00,1000", "BBB,2016-08-19,199,201,198,200.05,2000")


def recording(folder: Path, minutes: Iterable[str], daily: Iterable[str] = DAILY) -> Path:
    """A recording of these lines: `symbol,timestamp,open,high,low,close,volume`."""
    header = "symbol,{},open,high,low,close,volume\n"
    with gzip.open(folder / "minute.csv.gz", "wt") as file:
        file.write(header.format("timestamp") + "".join(line + "\n" for line in minutes))
    with gzip.open(folder / "daily.csv.gz", "wt") as file:
        file.write(header.format("date") + "".join(line + "\n" for line in daily))
    (folder / "instruments.csv").write_text(INSTRUMENTS)
    return folder


Tick = tuple[str, str, int, int]


def ticks_recording(folder: Path, day: date, ticks: Sequence[Tick]) -> None:
    """Recorded ticks (time, symbol, paise, cumulative volume) of a day."""
    pyarrow = pytest.importorskip("pyarrow", reason="recorded ticks are read with pyarrow")
    from pyarrow import parquet

    (folder / "ticks").mkdir(exist_ok=True)
    times, symbols, paise, volume = zip(*ticks, strict=True)
    columns = {
        "ts": pyarrow.array([datetime.fromisoformat(f"{day}T{time}") for time in times], pyarrow.timestamp("ms")),
        "symbol": pyarrow.array(symbols).dictionary_encode(),
        "ltp_paise": pyarrow.array(paise, pyarrow.int32()),
        "cum_volume": pyarrow.array(volume, pyarrow.int64()),
    }
    parquet.write_table(pyarrow.table(columns), folder / "ticks" / f"{day}.parquet")


@attrs.define
class Played:
    """What a run over a feed gave, kept the way the ticker keeps it."""

    history: History
    items: list[Item] = attrs.field(factory=list)
    bars: list[CompletedBars] = attrs.field(factory=list)
    warm_bars: list[CompletedBars] = attrs.field(factory=list)

    def frames(self) -> list[Frame]:
        return [item for item in self.items if isinstance(item, Frame)]

    def ticks(self, feed: Feed) -> list[tuple[str, str, int, int]]:
        """(time of day, symbol, paise, cumulative volume) of every tick in the order played."""
        return [
            (ist_text(frame.at_ns)[11:], feed.universe.symbols[row], price, volume)
            for frame in self.frames()
            for row, price, volume in zip(
                frame.rows.tolist(), frame.price_paise.tolist(), frame.volume.tolist(), strict=True
            )
        ]


def play(feed: Feed) -> Played:
    candles = Candles(len(feed.universe))
    played = Played(History(len(feed.universe)))
    while (item := feed.peek()) is not None:
        assert feed.peek() is item
        played.items.append(item)
        bars = None
        if isinstance(item, DayStart):
            candles.start_day(item.session.open_ns)
            played.warm_bars += feed.warm_up(played.history, candles)
        elif isinstance(item, Frame):
            bars = candles.roll(item.at_ns)
            candles.apply(item.rows, item.price_paise, item.volume, item.at_ns, item.unique)
        else:
            bars = candles.end_day()
        if bars is not None:
            played.bars.append(bars)
            played.history.add_bars(bars)
        feed.ack()
    return played


def test_a_minute_plays_open_then_the_extreme_against_its_direction_then_the_other_then_close(
    tmp_path: Path,
) -> None:
    lines = [
        "AAA,2016-08-22 09:15,100,102.5,99,101,10",
        "BBB,2016-08-22 09:15,200,203,198,199,8",
        "AAA,2016-08-22 09:16,101,101,101,101,3",
    ]
    feed: Feed = RecordedFeed(recording(tmp_path, lines), CALENDAR)
    played = play(feed)
    assert played.ticks(feed) == [
        ("09:15:00", "AAA", 10000, 2),
        ("09:15:00", "BBB", 20000, 2),
        ("09:15:15", "AAA", 9900, 5),
        ("09:15:15", "BBB", 20300, 4),
        ("09:15:30", "AAA", 10250, 7),
        ("09:15:30", "BBB", 19800, 6),
        ("09:15:45", "AAA", 10100, 10),
        ("09:15:45", "BBB", 19900, 8),
        ("09:16:00", "AAA", 10100, 10),
        ("09:16:15", "AAA", 10100, 11),
        ("09:16:30", "AAA", 10100, 12),
        ("09:16:45", "AAA", 10100, 13),
    ]
    assert [len(frame.rows) for frame in played.frames()] == [2, 2, 2, 2, 1, 1, 1, 1]
    assert all(frame.unique for frame in played.frames())
    assert feed.interval_s == 15.0


def test_a_day_starts_with_the_previous_closes_and_ends_at_the_close_of_the_session(tmp_path: Path) -> None:
    lines = ["AAA,2016-08-22 09:20,100,100,100,100,1", "CCC,2016-08-22 09:20,50,50,50,50,1"]
    played = play(RecordedFeed(recording(tmp_path, lines), CALENDAR))
    start, end = played.items[0], played.items[-1]
    assert isinstance(start, DayStart)
    assert isinstance(end, DayEnd)
    assert ist_text(start.at_ns) == "2016-08-22 09:15:00"
    assert start.previous_close.tolist() == [10000, 0]
    assert ist_text(end.at_ns) == "2016-08-22 15:30:00"
    assert end.session.day == MONDAY


def test_what_cannot_be_played_is_left_out_and_counted(tmp_path: Path) -> None:
    lines = [
        "AAA,2016-08-22 09:10,100,100,100,100,1",
        "AAA,2016-08-22 09:15,100,120,80,100,4",
        "AAA,2016-08-22 09:16,100,120.05,79.95,100,4",
        "AAA,2016-08-22 09:16,100,110,90,100,4",
        "AAA,2016-08-22 09:17,100,100,0,100,4",
        "AAA,2016-08-22 09:20,100,100,100,100,4",
        "AAA,2016-08-22 15:30,100,100,100,100,4",
        "CCC,2016-08-22 09:15,900,900,100,100,1",
    ]
    feed = RecordedFeed(recording(tmp_path, lines), CALENDAR)
    prices = [(time, price) for time, symbol, price, _ in play(feed).ticks(feed) if symbol == "AAA"]
    assert ("09:15:15", 8000) in prices
    assert ("09:15:30", 12000) in prices
    assert [price for time, price in prices if time.startswith("09:16")] == [10000, 10000]
    assert [price for time, price in prices if time.startswith("09:17")] == [10000, 10000, 10000]
    assert feed.defects == Defects(holes=1, repeated_bars=1, dropped_prices=3, outside_session=8)


def test_recorded_ticks_play_one_frame_per_second_in_the_order_of_the_file(tmp_path: Path) -> None:
    recording(tmp_path, [])
    ticks: list[Tick] = [
        ("09:14:59", "AAA", 10000, 90),
        ("09:15:00", "AAA", 10000, 100),
        ("09:15:01", "AAA", 10010, 120),
        ("09:15:01", "AAA", 10005, 110),
        ("09:15:01", "AAA", 10005, 130),
        ("09:17:00", "AAA", 10020, 130),
        ("15:30:00", "AAA", 10030, 150),
        ("09:15:01", "BBB", 20000, 5),
        ("09:15:01", "BBB", 20000, 5),
        ("09:15:02", "BBB", 90000, 6),
    ]
    ticks_recording(tmp_path, MONDAY, ticks)
    feed = RecordedFeed(tmp_path, CALENDAR, ticks=True)
    played = play(feed)
    assert played.ticks(feed) == [
        ("09:15:00", "AAA", 10000, 100),
        ("09:15:01", "AAA", 10010, 120),
        ("09:15:01", "AAA", 10005, 120),
        ("09:15:01", "AAA", 10005, 130),
        ("09:15:01", "BBB", 20000, 5),
        ("09:15:01", "BBB", 20000, 5),
        ("09:17:00", "AAA", 10020, 130),
    ]
    assert [frame.unique for frame in played.frames()] == [True, False, True]
    assert feed.defects == Defects(duplicates=1, backwards_volume=1, holes=1, dropped_prices=1, outside_session=2)
    assert feed.interval_s == 1.0
    bars = played.bars[0]
    assert bars.volume.tolist() == [130, 5]
    assert bars.close.tolist() == [10020, 20000]


def two_days() -> list[str]:
    """Every other minute from 09:15 to 09:53 of two symbols on two days."""
    lines = []
    for day, base in ((MONDAY, 100), (TUESDAY, 105)):
        for symbol, more in (("AAA", 0), ("BBB", 100)):
            for minute in range(15, 55, 2):
                price = base + more + minute % 7
                lines.append(f"{symbol},{day} 09:{minute},{price},{price + 1},{price - 1},{price},4")
    return lines


def test_a_restart_finds_the_history_that_an_unbroken_run_has(tmp_path: Path) -> None:
    folder = recording(tmp_path, two_days(), [*DAILY, "AAA,2016-08-22,1,2,1,104,1", "BBB,2016-08-22,1,2,1,204,1"])
    unbroken = play(RecordedFeed(folder, CALENDAR))
    at_ns = from_ist_text("2016-08-23 09:41:20")
    again = RecordedFeed(folder, CALENDAR)
    again.skip_to(at_ns)
    restarted = play(again)
    start = restarted.items[0]
    assert isinstance(start, DayStart)
    assert start.at_ns == at_ns
    assert start.session.day == TUESDAY
    assert start.previous_close.tolist() == [10400, 20400]
    later = [frame for frame in unbroken.frames() if frame.at_ns >= at_ns]
    assert [frame.at_ns for frame in restarted.frames()] == [frame.at_ns for frame in later]
    assert len(restarted.warm_bars) == 1
    for row in range(2):
        for one, other in (
            (unbroken.history.bars_15m(row), restarted.history.bars_15m(row)),
            (unbroken.history.daily(row), restarted.history.daily(row)),
        ):
            for name in ("start_ns", "open", "high", "low", "close", "volume"):
                assert getattr(one, name).tolist() == getattr(other, name).tolist()


def test_warming_up_twice_changes_nothing(tmp_path: Path) -> None:
    feed = RecordedFeed(recording(tmp_path, two_days()), CALENDAR)
    feed.skip_to(from_ist_text("2016-08-23 09:50:00"))
    item = feed.peek()
    assert isinstance(item, DayStart)
    history, candles = History(2), Candles(2)
    for completed in (2, 0):
        candles.start_day(item.session.open_ns)
        assert len(feed.warm_up(history, candles)) == completed
    assert history.have_15m().tolist() == [5, 5]
    assert history.have_daily().tolist() == [1, 1]
    bars = candles.end_day()
    assert bars is not None
    assert bars.volume.tolist() == [12, 12]  # of the minutes 09:45, 09:47 and 09:49


def test_a_restart_after_the_close_goes_on_with_the_next_day_and_after_the_last_there_is_nothing(
    tmp_path: Path,
) -> None:
    folder = recording(tmp_path, two_days())
    evening = RecordedFeed(folder, CALENDAR)
    evening.skip_to(from_ist_text("2016-08-22 15:30:01"))
    item = evening.peek()
    assert isinstance(item, DayStart)
    assert item.session.day == TUESDAY
    over = RecordedFeed(folder, CALENDAR)
    over.skip_to(from_ist_text("2016-08-23 15:30:01"))
    assert over.peek() is None
    with pytest.raises(ValueError, match="already playing"):
        evening.skip_to(0)


def test_only_the_days_asked_for_are_played_and_the_earlier_ones_are_history(tmp_path: Path) -> None:
    folder = recording(tmp_path, two_days())
    feed = RecordedFeed(folder, CALENDAR, first_day=TUESDAY)
    assert feed.days == (TUESDAY,)
    played = play(feed)
    assert played.history.have_15m().tolist() == [6, 6]
    assert RecordedFeed(folder, CALENDAR, last_day=MONDAY).days == (MONDAY,)


def test_a_recording_that_cannot_be_played_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nowhere is not a folder"):
        RecordedFeed(tmp_path / "nowhere", CALENDAR)
    with pytest.raises(RecordingError, match=r"has no minute bars .*; it holds nothing"):
        RecordedFeed(tmp_path, CALENDAR)
    folder = recording(tmp_path, two_days())
    with pytest.raises(RecordingError, match="first day 2016-08-24 comes after the last day 2016-08-23"):
        RecordedFeed(folder, CALENDAR, first_day=date(2016, 8, 24), last_day=TUESDAY)
    with pytest.raises(RecordingError, match="from 2016-08-24 to the end; it has 2 days, 2016-08-22 to 2016-08-23"):
        RecordedFeed(folder, CALENDAR, first_day=date(2016, 8, 24))
    with pytest.raises(RecordingError, match=r"no recorded ticks .*it holds daily.csv.gz, instruments.csv, minute"):
        RecordedFeed(folder, CALENDAR, ticks=True)
    (folder / "daily.csv.gz").unlink()
    with pytest.raises(RecordingError, match=r"has no daily bars \(daily.csv.gz\); it holds instruments.csv, minute"):
        RecordedFeed(folder, CALENDAR)
    (folder / "instruments.csv").unlink()
    with pytest.raises(RecordingError, match=r"instruments.csv cannot be read: No such file"):
        RecordedFeed(folder, CALENDAR)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("AAA,2016-08-22 09:15,100,101,99,many,4", r"minute.csv.gz: could not convert string 'many'"),
        ("AAA,2016-08-22 09:15,100,101,99", r"minute.csv.gz: .*columns"),
        ("AAA,yesterday,100,101,99,100,4", r"minute.csv.gz: .*yesterday"),
        (
            "AAA,2016-08-22 09:15,100,101.005,99,100,4",
            r"minute.csv.gz:2: high is 101.005, no price in rupees",
        ),
        ("AAA,2016-08-22 09:15,100,nan,99,100,4", r"minute.csv.gz:2: high is nan"),
        ("DDD,2016-08-22 09:15,100,101,99,100,4", r"instruments.csv: no instrument for DDD, whose prices"),
        (
            "AAA,2016-08-21 09:15,100,101,99,100,4",
            r"prices of 2016-08-21, a day on which the market was closed",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(RecordingError, match=complaint):
        RecordedFeed(recording(tmp_path, [line]), CALENDAR)


def test_an_empty_file_a_damaged_file_and_a_missing_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="the recording is empty"):
        RecordedFeed(recording(tmp_path, []), CALENDAR)
    (tmp_path / "minute.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(RecordingError, match=r"minute.csv.gz cannot be read: Not a gzipped file"):
        RecordedFeed(tmp_path, CALENDAR)
    with gzip.open(tmp_path / "minute.csv.gz", "wt") as file:
        file.write("symbol,time,open,high,low,close,volume\n")
    with pytest.raises(RecordingError, match="column timestamp is missing; found symbol, time, open"):
        RecordedFeed(tmp_path, CALENDAR)


def test_recorded_ticks_without_pyarrow_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording(tmp_path, [])
    ticks_recording(tmp_path, MONDAY, [("09:15:00", "AAA", 10000, 1)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RecordingError, match="needs pyarrow: pip install pyarrow"):
        RecordedFeed(tmp_path, CALENDAR, ticks=True)


# --- the real data ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nse2016() -> Path:
    folder = DATA / "nse2016"
    if not folder.is_dir():
        pytest.skip(f"the recorded data is not there: {folder}")
    return folder


def test_a_real_day_has_1500_frames_and_25_bars_of_100_symbols(nse2016: Path) -> None:
    day = date(2016, 8, 30)
    feed = RecordedFeed(nse2016, CALENDAR, first_day=day, last_day=day)
    played = play(feed)
    assert len(played.frames()) == 1500
    assert {len(frame.rows) for frame in played.frames()} == {100}
    assert [len(bars) for bars in played.bars] == [100] * 25
    assert feed.defects == Defects()


def test_real_averages_are_those_of_a_naive_computation(nse2016: Path) -> None:
    feed = RecordedFeed(nse2016, CALENDAR, first_day=date(2016, 9, 9))
    start = feed.peek()
    assert isinstance(start, DayStart)
    history, candles = History(len(feed.universe)), Candles(len(feed.universe))
    candles.start_day(start.session.open_ns)
    feed.warm_up(history, candles)

    closes: dict[str, dict[str, int]] = {"RELIANCE": {}, "TCS": {}}
    with gzip.open(nse2016 / "minute.csv.gz", "rt") as lines:
        for line in lines:
            symbol, timestamp, _, _, _, close, _ = line.split(",")
            if symbol in closes and "2016" in timestamp and timestamp < "2016-09-09":
                quarter = f"{timestamp[:13]}.{int(timestamp[14:16]) // 15}"
                closes[symbol][quarter] = round(float(close) * 100)
    daily: dict[str, list[int]] = {"RELIANCE": [], "TCS": []}
    with gzip.open(nse2016 / "daily.csv.gz", "rt") as lines:
        for line in lines:
            symbol, day, _, _, _, close, _ = line.split(",")
            if symbol in daily and day < "2016-09-09":
                daily[symbol].append(round(float(close) * 100))
    for symbol in closes:
        row = feed.universe.row(symbol)
        naive = list(closes[symbol].values())[-200:]
        assert history.closes_15m(row).tolist() == naive
        assert history.sma_15m()[row] == sum(naive) / 200
        assert history.sma_daily()[row] == sum(daily[symbol][-50:]) / 50
        assert start.previous_close[row] == daily[symbol][-1]


def test_an_unbroken_replay_and_a_start_in_the_middle_know_the_same_past(nse2016: Path) -> None:
    unbroken = play(RecordedFeed(nse2016, CALENDAR, first_day=date(2016, 9, 7), last_day=date(2016, 9, 8)))
    feed = RecordedFeed(nse2016, CALENDAR, first_day=date(2016, 9, 9))
    assert isinstance(feed.peek(), DayStart)
    history = History(len(feed.universe))
    feed.warm_up(history, Candles(len(feed.universe)))
    np.testing.assert_array_equal(history.sma_15m(), unbroken.history.sma_15m())


def test_a_real_day_of_ticks_plays_with_its_defects_counted() -> None:
    pytest.importorskip("pyarrow", reason="recorded ticks are read with pyarrow")
    folder = DATA / "nse2021"
    if not folder.is_dir():
        pytest.skip(f"the recorded data is not there: {folder}")
    day = date(2021, 6, 1)
    feed = RecordedFeed(folder, CALENDAR, first_day=day, last_day=day, ticks=True)
    assert len(feed.universe) == 50
    start = feed.peek()
    assert isinstance(start, DayStart)
    assert np.count_nonzero(start.previous_close) == 50
    feed.ack()
    frames, ticks, last_ns = 0, 0, 0
    while isinstance(item := feed.peek(), Frame):
        assert item.at_ns > last_ns
        last_ns = item.at_ns
        frames += 1
        ticks += len(item.rows)
        feed.ack()
    assert (frames, ticks) == (21_847, 857_019)
    assert feed.defects.holes >= 50  # the collector was down for 38 minutes
    assert feed.defects.backwards_volume > 0
    assert last_ns < start.session.close_ns
    assert last_ns % NS == 0
