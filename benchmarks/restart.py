"""An actor killed under load → its next incarnation ready, its state recovered from a journal with a past.

The market of trail100 plays as fast as it can, 100 positions trail, and one after the other of them, or the
order router, is killed. Measured from the kill to the supervisor's word that the next one is ready, which it
is only after it has read the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from actors.tree import position_name
from benchmarks.made_market import DAY
from benchmarks.past_trades import write_past
from benchmarks.runner import Figure, cost
from benchmarks.trail100 import Entering, market_of, prices_of_trail100
from benchmarks.whole_tree import ACCOUNT, planted

NAME = "restart"
CLOSED_TRADES = 10_000
POSITIONS_KILLED = 100
ROUTER_KILLED = 30  # a round; each time among three or four positions
PAUSE_S = 0.005  # between two kills: the market goes on, and a new router has compared the broker's books
WAIT_S = 10.0
ROUTER = f"order_router:{ACCOUNT}"


class Stopwatch:
    """Listens to the logs for the word that the awaited actor is ready."""

    def __init__(self, entering: Entering) -> None:
        self._entering = entering
        self._awaited = ""
        self._ready_ns = 0
        self._ready = trio.Event()

    def heard(self, kind: str, actor: str, text: str) -> None:
        if kind == "access" and actor == self._awaited and text == "started":
            self._ready_ns = time.perf_counter_ns()
            self._ready.set()
        self._entering.heard(kind, actor, text)

    def start(self, actor: str) -> int:
        self._awaited, self._ready = actor, trio.Event()
        return time.perf_counter_ns()

    async def stop(self, began_ns: int) -> float:
        """Milliseconds until the actor was ready."""
        with trio.fail_after(WAIT_S):
            await self._ready.wait()
        return (self._ready_ns - began_ns) / 1e6


async def restarts(directory: Path) -> tuple[list[float], list[float]]:
    """One round: milliseconds of every position's and every router's restart."""
    market = market_of(prices_of_trail100())
    symbols = market.universe.symbols
    entering = Entering(symbols)
    watch = Stopwatch(entering)
    names = [position_name(ACCOUNT, symbol) for symbol in symbols[:POSITIONS_KILLED]]
    every = -(-len(names) // ROUTER_KILLED)
    positions: list[float] = []
    routers: list[float] = []
    with planted(
        directory,
        market,
        prepare=lambda journal: write_past(journal, symbols, DAY, closed=CLOSED_TRADES, opened=0),
        heard=watch.heard,
    ) as whole:
        entering.begin(whole)
        async with trio.open_nursery() as nursery:
            await nursery.start(whole.tree.run)
            await market.under_way.wait()
            for number, name in enumerate(names):
                await _time_a_kill(whole.tree.kill, name, watch, positions)
                if number % every == 0:
                    await _time_a_kill(whole.tree.kill, ROUTER, watch, routers)
            assert not market.ended.is_set(), "the market went on to the last kill"
            nursery.cancel_scope.cancel()
    return positions, routers


async def _time_a_kill(kill: Callable[[str], bool], name: str, watch: Stopwatch, milliseconds: list[float]) -> None:
    await trio.sleep(PAUSE_S)
    began_ns = watch.start(name)
    assert kill(name), f"{name} was alive"
    milliseconds.append(await watch.stop(began_ns))


def run(rounds: int) -> list[Figure]:
    positions: list[float] = []
    routers: list[float] = []
    for _ in range(rounds):
        with TemporaryDirectory() as directory:
            of_positions, of_routers = trio.run(restarts, Path(directory))
        positions += of_positions
        routers += of_routers
    note = f"{CLOSED_TRADES:,} closed trades, 100 positions trailing"
    return [
        cost("restart_position", positions, "ms", p99_at_most=2, note=note),
        cost("restart_router", routers, "ms", p99_at_most=10, note=note),
    ]
