"""A market made up by a test: a few symbols, frames as the test lists them, and enough past for a ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np

from market.calendar import Session, TradingCalendar
from market.candles import BAR_NS, Candles, CompletedBars
from market.feeds.frame import DayEnd, DayStart, Frame, Item
from market.history import History
from market.instruments import Instrument, Universe
from protocol.clock import NS, at, second_from_text

MONDAY = date(2026, 1, 5)
DAYS_OF_PAST = 60
BARS_OF_PAST = 220


def universe_of(*symbols: str, tick: int = 5) -> Universe:
    return Universe(
        Instrument(symbol=symbol, token=token, tick_size_paise=tick) for token, symbol in enumerate(symbols, start=1)
    )


def instant(text: str, day: date = MONDAY) -> int:
    """Market ns of `HH:MM:SS`."""
    return at(day, second_from_text(text))


def session_of(day: date = MONDAY) -> Session:
    session = TradingCalendar().session(day)
    assert session is not None, f"{day} is no trading day"
    return session


def frame(at_ns: int, *ticks: tuple[int, int], volume: int = -1) -> Frame:
    """Ticks are (row, price in paise), in this order."""
    rows = [row for row, _ in ticks]
    return Frame(
        at_ns,
        np.array(rows, np.int32),
        np.array([price for _, price in ticks], np.int64),
        np.full(len(rows), volume, np.int64),
        len(set(rows)) == len(rows),
    )


def made_day(
    universe: Universe, frames: Iterable[Frame], *, day: date = MONDAY, previous_close: Sequence[int] = ()
) -> list[Item]:
    """The day's start, these frames, its end."""
    session = session_of(day)
    closes = np.array(previous_close or [0] * len(universe), np.int64)
    return [DayStart(session.open_ns, session, closes), *frames, DayEnd(session.close_ns, session)]


def every_second(
    universe: Universe, prices: Mapping[str, Sequence[tuple[str, int]]], first: str, last: str
) -> list[Frame]:
    """A frame each second from `first` to `last`: every symbol at the newest price listed for it (from, price)."""
    begins, ends = instant(first), instant(last)
    frames = []
    for at_ns in range(begins, ends + NS, NS):
        ticks = []
        for row, symbol in enumerate(universe.symbols):
            known = [price for since, price in prices.get(symbol, ()) if instant(since) <= at_ns]
            if known:
                ticks.append((row, known[-1]))
        frames.append(frame(at_ns, *ticks))
    return frames


class ListFeed:
    """Plays items from a list; `past` is the price every symbol had in the days before, by row."""

    def __init__(
        self, universe: Universe, items: Iterable[Item], *, interval_s: float = 1.0, past: Sequence[int] = ()
    ) -> None:
        self.universe = universe
        self.interval_s = interval_s
        self.items = list(items)
        self.place = 0
        self._past = past

    def peek(self) -> Item | None:
        return self.items[self.place] if self.place < len(self.items) else None

    def ack(self) -> None:
        assert self.place < len(self.items), "nothing is in hand"
        self.place += 1

    def skip_to(self, at_ns: int) -> None:
        while isinstance(item := self.peek(), Frame) and item.at_ns < at_ns:
            self.place += 1

    def warm_up(self, history: History, candles: Candles) -> list[CompletedBars]:
        item = self.peek()
        assert isinstance(item, DayStart), "warm_up belongs to a day's start"
        if self._past:
            fill_past(history, self._past, item.session.open_ns)
        return []


def fill_past(history: History, closes: Sequence[int], open_ns: int) -> None:
    """60 days and 220 quarters of an hour before the open, every bar at its symbol's one price."""
    for days in range(DAYS_OF_PAST, 0, -1):
        history.add_daily(flat_bars(open_ns - days * 24 * 3600 * NS, closes))
    for bars in range(BARS_OF_PAST, 0, -1):
        history.add_bars(flat_bars(open_ns - bars * BAR_NS, closes))


def flat_bars(start_ns: int, closes: Sequence[int]) -> CompletedBars:
    """One bar per symbol that has no length: open, high, low and close are the same."""
    price = np.array(closes, np.int64)
    return CompletedBars(
        start_ns=start_ns,
        rows=np.arange(len(closes), dtype=np.int32),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=np.full(len(closes), 1_000, np.int64),
    )
