"""One recorded day, the whole universe, real actors, virtual clock, journal in memory: what a backtest costs.

Measured from the open to the end of the day: reading the recording and the averages of the days before come
once in a backtest, however many days it plays, and are told beside it.
"""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import trio

from actors.child import end_process
from benchmarks.runner import BenchmarkSkipped, Figure, cost, rate
from commands.compose import in_memory, plant, trading_calendar
from commands.logs import Logs
from commands.replay import CountedScans
from effects import Effects
from market.feeds.frame import DayStart, Frame
from market.feeds.recorded import RecordedFeed
from settings import LogSettings, MarketSettings, Settings

NAME = "backtest"
DAY = date(2016, 8, 30)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "nse2016"


class WatchedRecording(RecordedFeed):
    """A recording that notes when its day begins, and how many prices it plays."""

    began_s = 0.0
    ticks = 0

    def ack(self) -> None:
        item = self.peek()
        super().ack()
        if isinstance(item, DayStart):
            self.began_s = time.perf_counter()
        elif isinstance(item, Frame):
            self.ticks += len(item.rows)


@attrs.frozen
class Played:
    """One round: seconds of the day, seconds before it, prices played, rungs bought."""

    day_s: float
    start_s: float
    ticks: int
    entries: int


async def play(logs_in: Path) -> Played:
    began_s = time.perf_counter()
    settings = Settings(market=MarketSettings(speed=float("inf")), logs=LogSettings(directory=logs_in))
    effects = Effects(seed="benchmark", threads=False)
    feed = WatchedRecording(DATA, trading_calendar(settings), first_day=DAY, last_day=DAY)
    journals = in_memory(settings, effects)
    logs = Logs(
        settings.logs.directory,
        market_time=True,
        clock_ns=lambda: effects.market.now_ns,
        rotation_mb=settings.logs.rotation_mb,
        keep_days=None,
        console_level="ERROR",
        console=None,
    )
    tree, _ = plant(
        settings,
        effects,
        journals=journals,
        records=CountedScans(),
        log=logs.line,
        give_up_process=end_process,
        out_of_disk=end_process,
        feed=feed,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        await tree.playback.ended.wait()
        ended_s = time.perf_counter()
        nursery.cancel_scope.cancel()
    logs.close()
    entries = sum(len(journal.trades()) for journal in journals.values())
    return Played(ended_s - feed.began_s, feed.began_s - began_s, feed.ticks, entries)


def run(rounds: int) -> list[Figure]:
    if not DATA.is_dir():
        raise BenchmarkSkipped(f"the recording {DATA} is not there")
    with TemporaryDirectory() as directory:
        played = [trio.run(play, Path(directory)) for _ in range(rounds)]
    start_s = sorted(each.start_s for each in played)[rounds // 2]
    note = f"{DAY}, {played[0].ticks:,} ticks, {played[0].entries} entries; {start_s:.2f} s before the open"
    return [
        cost(NAME, [each.day_s for each in played], "s/day", at_most=1, note=note),
        rate("backtest_ticks", [each.ticks / each.day_s for each in played], "ticks/s", at_least=150_000),
    ]
