"""A whole small tree over a market made up by a test, put together as `run` and `replay` do it.

Three symbols, a frame every minute of one Monday. ALPHA's story makes a ladder of three rungs and ends it by its
stops, BETA's begins a ladder that is carried into the night, GAMMA is never ranked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from actors.child import NodeInfo
from actors.tree import Tree
from commands.compose import in_memory, plant
from commands.configuration import load
from effects import Effects
from market.feeds.frame import Frame, Item
from protocol.clock import MINUTE_NS
from protocol.rungs import Rung
from settings import MAIN_ACCOUNT, AccountSettings, Settings
from store.journal import Journal
from tests.fakes.actor_market import ListFeed, frame, instant, made_day, universe_of

UNIVERSE = universe_of("ALPHA", "BETA", "GAMMA")
PAST = (10_000, 10_000, 10_000)
SECOND_ACCOUNT = AccountSettings(id="second", user="owner", tag="02")
ALPHA = (
    ("09:15", 10_300),  # P1 at 09:26
    ("09:30", 10_340),  # P2
    ("09:40", 10_480),  # P3
    ("10:00", 10_200),  # P2's stop
    ("10:01", 10_040),  # P1's stop
    ("10:02", 9_900),  # P3's stop
)
BETA = (("09:15", 10_000), ("10:30", 10_280), ("10:31", 10_270))


def settings(*overrides: str, accounts: Sequence[AccountSettings] = (MAIN_ACCOUNT,)) -> Settings:
    """The defaults of a run as fast as possible."""
    patient = ("supervision.backoff_first_s=0.001", "supervision.backoff_max_s=0.001", "market.speed=max")
    return attrs.evolve(load(None, (*patient, *overrides)), accounts=tuple(accounts))


def story(last: str = "15:29") -> list[Item]:
    """The Monday, a frame per minute up to `last`; with the usual last one the day ends, else it stays open."""
    frames = list(_frames(last))
    whole = made_day(UNIVERSE, frames, previous_close=PAST)
    return whole if last == "15:29" else whole[:-1]


def _frames(last: str) -> Iterable[Frame]:
    for at_ns in range(instant("09:15"), instant(last) + 1, MINUTE_NS):
        alpha, beta = ([price for since, price in prices if instant(since) <= at_ns][-1] for prices in (ALPHA, BETA))
        yield frame(at_ns, (0, alpha), (1, beta), (2, 10_000))


@attrs.define(eq=False)
class Records:
    """market.db that keeps what it was given last."""

    bars: int = 0
    rankings: dict[int, tuple[tuple[str, float, float, str], ...]] = attrs.Factory(dict)

    def write_bars(self, bars: Any, symbols: Sequence[str]) -> None:
        self.bars += len(bars.rows)

    def write_ranking(self, at_ns: int, rows: Sequence[tuple[str, float, float, str]]) -> None:
        self.rankings[at_ns] = tuple(rows)


@attrs.define(eq=False)
class Planted:
    """A tree, what it was planted with, and what it said: (log, actor, text)."""

    tree: Tree
    feed: ListFeed
    journals: dict[str, Journal]
    records: Records
    lines: list[tuple[str, str, str]]
    gave_up: list[tuple[str, float]]  # why the process must end, and when (machine s)
    release: trio.Event  # set then: what would not end may end

    def trades(self, account: str = "main") -> list[tuple[str, int, int, int, str]]:
        """(symbol, rung, shares, cost in paise, why it ended) of every rung, in the order of entry."""
        rungs = sorted(self.journals[account].trades(), key=lambda rung: (rung.entry_ns, rung.symbol, rung.number))
        return [
            (rung.symbol, rung.number, rung.quantity, rung.cost_paise, rung.reason.value if rung.reason else "")
            for rung in rungs
        ]

    def rungs(self, account: str = "main") -> list[Rung]:
        return list(self.journals[account].trades())

    def said(self, log: str) -> list[tuple[str, str]]:
        return [(actor, text) for kind, actor, text in self.lines if kind == log]

    @asynccontextmanager
    async def living(self) -> AsyncIterator[trio.Nursery]:
        """The tree, ready; stopped in order at the end."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.tree.run)
            yield nursery
            nursery.cancel_scope.cancel()

    async def play(self) -> None:
        """To the end of what the feed has."""
        async with self.living():
            await self.tree.playback.ended.wait()


def planted(
    items: Sequence[Item],
    wanted: Settings | None = None,
    *,
    gateway_path: Path | None = None,
    interval_s: float = 60.0,
) -> Planted:
    wanted = wanted or settings()
    effects = Effects(seed="tree", threads=False)
    journals, records, lines = in_memory(wanted, effects), Records(), list[tuple[str, str, str]]()
    feed = ListFeed(UNIVERSE, items, interval_s=interval_s, past=PAST)
    gave_up: list[tuple[str, float]] = []
    release = trio.Event()

    def give_up(reason: str) -> None:
        gave_up.append((reason, trio.current_time()))
        release.set()

    tree, _ = plant(
        wanted,
        effects,
        journals=journals,
        records=records,
        log=lambda kind, actor, text: lines.append((kind, actor, text)),
        give_up_process=give_up,
        out_of_disk=give_up,
        gateway_path=gateway_path,
        feed=feed,
    )
    return Planted(tree, feed, journals, records, lines, gave_up, release)


def actors(node: NodeInfo) -> dict[str, NodeInfo]:
    """Every actor of the tree by name, in the order of the tree."""
    if node.kind != "supervisor":
        return {node.name: node}
    return {name: actor for child in node.children for name, actor in actors(child).items()}
