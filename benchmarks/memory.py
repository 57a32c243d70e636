"""What the whole process needs, by symbols: the tree with a full history, 90 positions held, prices played.

A fresh process per size tells the most memory that was resident in it; the growth from one size to the next
is the price of a symbol. Board and bars in progress, the market data of every tick, are measured apart.
"""

from __future__ import annotations

import resource
import sys
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import trio

from benchmarks.made_market import MadeMarket, universe_of
from benchmarks.runner import Figure, alone, cost
from benchmarks.scan import remember
from benchmarks.trail100 import Entering
from benchmarks.whole_tree import planted
from market.board import Board
from market.candles import Candles
from market.feeds.frame import Frame

NAME = "memory"
SIZES = (100, 1_000, 3_000)
POSITIONS = 90
FRAMES = 200
STEP = 5e-4
MEGABYTE = 1 << 20
KILOBYTE = 1 << 10


def used_bytes() -> int:
    """The most that was resident in this process, since it was started."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage there counts what the parent had when it made us
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * KILOBYTE
    peak_of_us = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_of_us if sys.platform == "darwin" else peak_of_us * KILOBYTE


def market_of(symbols: int) -> MadeMarket:
    """A random walk of all symbols, one frame of all per second, after 200 bars of each kind."""
    random = np.random.default_rng(7)
    prices = random.uniform(20_000, 200_000, symbols)
    rows = np.arange(symbols, dtype=np.int32)

    def frame(number: int, at_ns: int) -> Frame:
        nonlocal prices
        prices = prices * np.exp(random.normal(0, STEP, symbols))
        volume = np.full(symbols, 100 * (number + 1), dtype=np.int64)
        return Frame(at_ns, rows, np.rint(prices / 5).astype(np.int64) * 5, volume, True)

    return MadeMarket(
        universe_of(symbols),
        np.rint(prices).astype(np.int64),
        frame,
        frames=FRAMES,
        past=lambda history: remember(history, symbols, random),
    )


async def _play(symbols: int) -> None:
    market = market_of(symbols)
    entering = Entering(market.universe.symbols[:POSITIONS])
    with TemporaryDirectory() as directory, planted(Path(directory), market, heard=entering.heard) as whole:
        entering.begin(whole)
        async with trio.open_nursery() as nursery:
            await nursery.start(whole.tree.run)
            await whole.tree.playback.ended.wait()
            nursery.cancel_scope.cancel()


def whole_process(symbols: int) -> int:
    """Bytes of a process that has traded for a while."""
    trio.run(_play, symbols)
    return used_bytes()


def market_data(symbols: int) -> int:
    """Bytes of the board with one account's bands, and of the bars in progress."""
    tracemalloc.start()
    kept = (Board(symbols, layers=1), Candles(symbols))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept[0]) == symbols
    return used


def run(rounds: int) -> list[Figure]:
    used = {size: [alone(whole_process, size) for _ in range(rounds)] for size in SIZES}
    figures = [
        cost(
            f"memory_{size}",
            [each / MEGABYTE for each in used[size]],
            "MB",
            at_most=150 if size == SIZES[-1] else None,
            note=f"resident at most, {size:,} symbols, {POSITIONS} positions",
        )
        for size in SIZES
    ]
    small, large = SIZES[0], SIZES[-1]
    slopes = [
        (of_large - of_small) / (large - small) * 100 / KILOBYTE
        for of_small, of_large in zip(used[small], used[large], strict=True)
    ]
    data = [market_data(large) / large * 100 / KILOBYTE for _ in range(rounds)]
    return [
        *figures,
        cost("memory_per_100_symbols", slopes, "KB", note="of the whole process, 400 remembered bars each included"),
        cost("memory_market_data", data, "KB", at_most=50, note="board and bars in progress, per 100 symbols"),
    ]
