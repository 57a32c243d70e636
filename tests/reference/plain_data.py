"""Loads recorded market data for the plain replay: bars, ticks, daily closes, tick sizes of one folder.

It owns the layout of the files (see each function) and the way a minute bar plays as four ticks. It drops
only what lies outside continuous trading, and decides nothing. Called by plain_replay.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import attrs
import numpy as np

DAY_S = 86_400
OPEN, CLOSE = 33_300, 55_800  # continuous trading in seconds of the day, 09:15 <= t < 15:30 IST
BAR_S = 900  # 09:15 is a multiple of 15 minutes after midnight, so `at // BAR_S` numbers the bars

Frames = dict[int, list[tuple[str, int]]]  # second of the day -> (symbol, price in paise), in the order they play
DailyCloses = dict[str, list[int]]  # symbol -> closes in paise, ascending by date


@attrs.frozen
class MinuteBar:
    """Prices in paise; `second` of the day at which the minute begins, IST."""

    symbol: str
    day: date
    second: int
    open: int
    high: int
    low: int
    close: int


def paise(rupees: str) -> int:
    amount = float(rupees) * 100
    if abs(amount - round(amount)) > 1e-4:
        raise ValueError(f"price {rupees} is not a whole number of paise")
    return round(amount)


def read_rows(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        yield from rows


def read_tick_sizes(data: Path) -> dict[str, int]:
    """Tick size in paise by symbol, from instruments.csv."""
    with (data / "instruments.csv").open(newline="") as file:
        return {row["tradingsymbol"]: paise(row["tick_size"]) for row in csv.DictReader(file)}


def read_daily_closes(data: Path) -> list[tuple[date, str, int]]:
    """(date, symbol, close in paise), ascending by date, from daily.csv.gz."""
    rows = read_rows(data / "daily.csv.gz")
    return sorted((date.fromisoformat(day), symbol, paise(close)) for symbol, day, *_, close, _volume in rows)


def closes_before(daily: list[tuple[date, str, int]], day: date) -> DailyCloses:
    closes: DailyCloses = defaultdict(list)
    for when, symbol, close in daily:
        if when < day:
            closes[symbol].append(close)
    return dict(closes)


def read_minute_bars(data: Path, last: date) -> list[MinuteBar]:
    """All minute bars up to and including the day `last`, by time, then symbol."""
    path = next(
        (data / name for name in ("minute.csv.gz", "minute_from_ticks.csv.gz") if (data / name).exists()),
        None,
    )
    if path is None:
        raise FileNotFoundError(f"{data} has neither minute.csv.gz nor minute_from_ticks.csv.gz")
    bars = []
    end = f"{last} 24"  # sorts after every minute of that day
    for symbol, start, *prices in sorted(read_rows(path), key=itemgetter(1, 0)):
        second = int(start[11:13]) * 3600 + int(start[14:16]) * 60
        if start < end and OPEN <= second < CLOSE:
            open_, high, low, close = map(paise, prices[:4])
            bars.append(MinuteBar(symbol, date.fromisoformat(start[:10]), second, open_, high, low, close))
    return bars


def closes_15_minutes(bars: list[MinuteBar]) -> dict[str, dict[int, int]]:
    """Symbol -> number of the 15-minute bar -> its close, in time order; no minute, no bar."""
    closes: dict[str, dict[int, int]] = defaultdict(dict)
    for bar in bars:
        closes[bar.symbol][(bar.day.toordinal() * DAY_S + bar.second) // BAR_S] = bar.close
    return closes


def frames_of_bars(bars: list[MinuteBar], day: date) -> Frames:
    """The bars of a day as ticks: open at :00, the extremes at :15 and :30, close at :45. A rising bar sees
    its low first, a falling one its high."""
    frames: Frames = defaultdict(list)
    for bar in (bar for bar in bars if bar.day == day):
        extremes = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
        for quarter, price in enumerate((bar.open, *extremes, bar.close)):
            frames[bar.second + 15 * quarter].append((bar.symbol, price))
    return dict(frames)


def tick_days(data: Path) -> list[date]:
    return sorted(date.fromisoformat(path.stem) for path in (data / "ticks").glob("*.parquet"))


def frames_of_ticks(data: Path, day: date) -> Frames:
    """The recorded ticks of a day: one frame per timestamp, in file order within it. Columns ts (IST, whole
    seconds), symbol, ltp_paise. Ticks outside continuous trading are left out."""
    from pyarrow import parquet  # only recorded ticks need it

    table = parquet.read_table(data / "ticks" / f"{day}.parquet", columns=["ts", "symbol", "ltp_paise"])
    stamps = table["ts"].to_numpy().astype("datetime64[ns]").astype(np.int64)
    if np.any(stamps % 1_000_000_000):
        raise ValueError(f"ticks of {day} are finer than one second; this replay is for whole seconds")
    seconds = stamps // 1_000_000_000 - (day - date(1970, 1, 1)).days * DAY_S
    order = np.argsort(seconds, kind="stable")
    order = order[(seconds[order] >= OPEN) & (seconds[order] < CLOSE)]
    symbols = table["symbol"].combine_chunks().dictionary_encode()
    names = np.array(symbols.dictionary.to_pylist(), dtype=object)[symbols.indices.to_numpy()[order]]
    ticks = list(zip(names.tolist(), table["ltp_paise"].to_numpy()[order].tolist(), strict=True))
    starts = np.flatnonzero(np.diff(seconds[order], prepend=-1))
    bounds = [*starts.tolist(), len(ticks)]
    ordered = seconds[order]
    return {int(ordered[a]): ticks[a:b] for a, b in pairwise(bounds)}
