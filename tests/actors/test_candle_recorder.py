"""The candle recorder alone: a bar written twice is one bar, and a failing market.db costs history, never an actor."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from actors.candle_recorder import CandleRecorder
from actors.mailbox import Address
from effects import MarketClock
from market.candles import CompletedBars
from protocol.errors import StoreError, StoreFull
from protocol.messages import AskSnapshot, Notice, Ranked, Severity
from store.opening import open_market_store
from tests.fakes.actor_market import flat_bars, instant

SYMBOLS = ("ALPHA", "BETA")


class Failing:
    """A market.db that takes nothing until it is repaired."""

    def __init__(self, problem: StoreError) -> None:
        self.problem: StoreError | None = problem
        self.written = 0

    def write_bars(self, bars: CompletedBars, symbols: Sequence[str]) -> None:
        self._write()

    def write_ranking(self, at_ns: int, rows: Sequence[tuple[str, float, float, str]]) -> None:
        self._write()

    def _write(self) -> None:
        if self.problem is not None:
            raise self.problem
        self.written += 1


async def test_bars_and_rankings_are_written_and_a_repeat_changes_nothing() -> None:
    store, _ = open_market_store(None)
    notices: list[Notice] = []
    recorder = CandleRecorder(Address("candle_recorder"), store, SYMBOLS, MarketClock(), notices.append)
    bars = flat_bars(instant("09:15:00"), (10_000, 20_000))
    ranked = Ranked(instant("09:30:00"), (("BETA", 3.0, 3.5, ""), ("ALPHA", 2.6, 2.6, "open")))
    for message in (bars, bars, ranked, ranked):
        await recorder.handle(message)
    (bar,) = store.bars("ALPHA", 0, instant("15:30:00"))
    assert (bar.close, bar.volume) == (10_000, 1_000)
    last = store.last_ranking()
    assert last is not None
    assert last.at_ns == ranked.at_ns
    assert not notices
    store.close()


@pytest.mark.parametrize("problem", [StoreError("database disk image is malformed"), StoreFull("disk full")])
async def test_a_failing_file_is_told_and_the_next_bar_is_tried(problem: StoreError) -> None:
    store, notices = Failing(problem), list[Notice]()
    clock = MarketClock(instant("09:30:00"))
    recorder = CandleRecorder(Address("candle_recorder"), store, SYMBOLS, clock, notices.append)
    await recorder.handle(flat_bars(instant("09:15:00"), (10_000, 20_000)))
    await recorder.handle(Ranked(instant("09:30:00"), ()))
    assert [(notice.severity, notice.text) for notice in notices] == [
        (Severity.ALERT, f"market.db takes no more: {problem}")
    ] * 2
    assert notices[0].at_ns == clock.now_ns
    store.problem = None
    await recorder.handle(flat_bars(instant("09:30:00"), (10_000, 20_000)))
    assert store.written == 1
    assert await recorder.handle(AskSnapshot()) == {"bars_written": 1, "rankings_written": 0}
