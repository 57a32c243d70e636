"""Ranking a universe: the averages of 3,000 symbols with 200 bars each, Rank_GM, and the ordered picks."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.runner import Figure, cost
from market.candles import BAR_NS, CompletedBars
from market.history import BARS_15M, DAYS, History
from protocol.clock import DAY_S, NS
from strategy.ranking import rank, rank_final, select

NAME = "scan"
SYMBOLS = 3_000
SCANS_PER_ROUND = 20
MIN_RANK_GM = 2.5
ACCELERATION_WEIGHT = 0.3


def remember(history: History, symbols: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Fill the memory with the bars of a random walk. Returns the prices after the last of them, in paise."""
    price = random.uniform(20_000, 200_000, symbols)
    volume = np.full(symbols, 1_000, dtype=np.int64)
    rows = np.arange(symbols, dtype=np.int32)
    for add, bars, bar_ns in ((history.add_daily, DAYS, DAY_S * NS), (history.add_bars, BARS_15M, BAR_NS)):
        for number in range(bars):
            price = price * np.exp(random.normal(2e-4, 4e-3, symbols))
            paise = np.rint(price).astype(np.int64)
            add(CompletedBars((number + 1) * bar_ns, rows, paise, paise, paise, paise, volume))
    return np.rint(price).astype(np.int64)


def run(rounds: int) -> list[Figure]:
    random = np.random.default_rng(7)
    history = History(SYMBOLS)
    last = remember(history, SYMBOLS, random)
    earlier = random.normal(0, 1, SYMBOLS)
    eligible = random.random(SYMBOLS) < 0.9
    milliseconds = []
    picked = 0
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(SCANS_PER_ROUND):
            ranks = rank(last, history.sma_15m(), history.have_15m(), history.sma_daily(), history.have_daily())
            final = rank_final(ranks.rank_gm, earlier, ACCELERATION_WEIGHT)
            picked = len(select(final, MIN_RANK_GM, eligible))
        milliseconds.append((time.perf_counter() - began) * 1000 / SCANS_PER_ROUND)
    note = f"{SYMBOLS:,} symbols with {BARS_15M} bars of 15 minutes and {DAYS} of a day, {picked:,} picked"
    return [cost(NAME, milliseconds, "ms", at_most=50, note=note)]
