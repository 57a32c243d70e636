"""A recorded day for chaos: played undisturbed or with actors killed at chosen moments, and what is left of it.

Owns no promise; the tests beside it do. The tree is the real one, put together as `replay` does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
import trio

from actors.child import NodeInfo
from actors.tree import Tree
from commands.compose import in_memory, make_feed, plant, trading_calendar
from commands.configuration import load
from effects import Effects
from market.candles import CompletedBars
from market.feeds.frame import Feed, Frame, Item
from protocol.rungs import Rung
from settings import Settings

DATA = Path(__file__).parents[3] / "shared" / "data"
NSE2016 = DATA / "nse2016"
PATIENT = ("supervision.intensity=1000", "supervision.backoff_first_s=0.001", "supervision.backoff_max_s=0.001")

Kill = Callable[[Tree, int, Item], None]
"""Called before every item of the feed with its number; may kill."""


def day_settings(day: date, *overrides: str) -> Settings:
    """Settings of one recorded day; skips the test where the recordings are not there."""
    if not NSE2016.is_dir():
        pytest.skip(f"no recorded days: {NSE2016} is not there")
    implied: dict[str, Any] = {
        "market.feed": "recorded",
        "market.directory": str(NSE2016),
        "market.speed": "max",
        "market.first_day": day,
        "market.last_day": day,
    }
    return load(None, (*PATIENT, *overrides), implied=implied)


@attrs.define(eq=False)
class Records:
    """market.db in memory: what was recorded, by key, so that a bar written twice is one bar."""

    bars: dict[tuple[str, int], tuple[int, ...]] = attrs.Factory(dict)
    rankings: dict[int, tuple[tuple[str, float, float, str], ...]] = attrs.Factory(dict)

    def write_bars(self, bars: CompletedBars, symbols: Sequence[str]) -> None:
        columns = (bars.rows, bars.open, bars.high, bars.low, bars.close, bars.volume)
        for row, *values in zip(*(column.tolist() for column in columns), strict=True):
            self.bars[symbols[row], bars.start_ns] = tuple(values)

    def write_ranking(self, at_ns: int, rows: Sequence[tuple[str, float, float, str]]) -> None:
        self.rankings[at_ns] = tuple(rows)


@attrs.define(eq=False)
class WatchedFeed:
    """A feed that tells a killer before each of its items, once."""

    feed: Feed
    before: Callable[[int, Item], None]
    number: int = 0
    _told: Item | None = None

    @property
    def universe(self) -> Any:
        return self.feed.universe

    @property
    def interval_s(self) -> float:
        return self.feed.interval_s

    def peek(self) -> Item | None:
        item = self.feed.peek()
        if item is not None and item is not self._told:
            self._told = item
            self.number += 1
            self.before(self.number, item)
        return item

    def ack(self) -> None:
        self.feed.ack()

    def skip_to(self, at_ns: int) -> None:
        self.feed.skip_to(at_ns)

    def warm_up(self, history: Any, candles: Any) -> list[CompletedBars]:
        return self.feed.warm_up(history, candles)


@attrs.frozen(kw_only=True)
class Outcome:
    """What a day left: every rung, bar and ranking, and how often each actor was killed."""

    trades: tuple[Rung, ...]
    bars: dict[tuple[str, int], tuple[int, ...]]
    rankings: dict[int, tuple[tuple[str, float, float, str], ...]]
    restarts: Counter[str]
    alerts: tuple[str, ...]


def play(settings: Settings, kill: Kill | None = None, beside: Callable[[Tree], Any] | None = None) -> Outcome:
    """Play the day to its end. `beside` is an async function that runs next to the tree and may kill as well."""
    return trio.run(_play, settings, kill, beside)


async def _play(settings: Settings, kill: Kill | None, beside: Callable[[Tree], Any] | None) -> Outcome:
    effects = Effects(seed="chaos", threads=False)
    journals, records = in_memory(settings, effects), Records()
    alive: list[Tree] = []

    def before(number: int, item: Item) -> None:
        if kill is not None and alive:
            kill(alive[0], number, item)

    def gave_up(reason: str) -> None:
        raise AssertionError(reason)

    tree, _ = plant(
        settings,
        effects,
        journals=journals,
        records=records,
        log=lambda kind, actor, text: None,
        give_up_process=gave_up,
        out_of_disk=gave_up,
        feed=WatchedFeed(make_feed(settings, trading_calendar(settings), effects), before),
    )
    alive.append(tree)
    restarts: Counter[str] = Counter()
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        if beside is not None:
            nursery.start_soon(beside, tree)
        await tree.playback.ended.wait()
        restarts.update({node.name: node.restarts for node in nodes(tree.root.snapshot()) if node.restarts})
        nursery.cancel_scope.cancel()
    rungs = sorted(journals["main"].trades(), key=lambda rung: (rung.entry_ns, rung.symbol, rung.number))
    return Outcome(
        trades=tuple(comparable(rung) for rung in rungs),
        bars=records.bars,
        rankings=records.rankings,
        restarts=restarts,
        alerts=tuple(notice.text for notice in tree.notices),
    )


def comparable(rung: Rung) -> Rung:
    """The rung without the ids that count what was sent: everything that a person was paid for remains."""
    return attrs.evolve(rung, trade_id=0, gtt_id=None, entry_order=None)


def nodes(node: NodeInfo) -> Iterator[NodeInfo]:
    """The actors of the tree, depth first."""
    if node.kind == "supervisor":
        for child in node.children:
            yield from nodes(child)
    else:
        yield node


def random_killer(seed: int, *, every: int, kinds: Sequence[str] | None = None) -> Kill:
    """Kills a random living actor about every so many items, the same ones for the same seed."""
    chance = Random(f"killer/{seed}")

    def kill(tree: Tree, number: int, item: Item) -> None:
        if isinstance(item, Frame) and chance.randrange(every) == 0:
            names = [node.name for node in nodes(tree.root.snapshot())]
            wanted = [name for name in names if kinds is None or name.split(":")[0] in kinds]
            if wanted:
                tree.kill(chance.choice(wanted))

    return kill
