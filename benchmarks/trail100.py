"""A hundred positions that trail: seeded ticks → ticker → position → router → journal → paper broker.

Owns the market of performance.md: a random walk of 100 instruments, one frame of all per second. Every
instrument is held from the first frame on; the stop follows at the broker tick by tick; whoever exits is
entered again at once, by the benchmark. What must come out of it is known exactly, and asserted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import numpy as np
import trio
from numpy.typing import NDArray

from benchmarks.made_market import TICK_PAISE, MadeMarket, universe_of
from benchmarks.runner import Figure, rate
from benchmarks.whole_tree import Planted, planted
from commands.log_files import days_of
from market.feeds.frame import Frame
from protocol.messages import Phase, Reservation

NAME = "trail100"
INSTRUMENTS = 100
FRAMES = 10_000
STEP = 5e-4  # standard deviation of a tick's return
QUANTITY = 3
STOP_MOVES = 25_611
EXITS = 411


def prices_of_trail100() -> NDArray[np.int64]:
    """Paise, one line per frame (performance.md, "trail100's data")."""
    random = np.random.default_rng(7)
    start = random.uniform(200, 2000, INSTRUMENTS)
    steps = random.normal(0, STEP, (FRAMES, INSTRUMENTS))
    rupees = start * np.exp(np.cumsum(steps, axis=0))
    return np.rint(rupees / 0.05).astype(np.int64) * TICK_PAISE


def market_of(prices: NDArray[np.int64]) -> MadeMarket:
    """All instruments in every frame; the first frame, in which everybody enters, is not measured."""
    frames, instruments = prices.shape
    rows = np.arange(instruments, dtype=np.int32)
    volume = np.full(instruments, -1, dtype=np.int64)

    def frame(number: int, at_ns: int) -> Frame:
        return Frame(at_ns, rows, prices[number], volume, True)

    return MadeMarket(universe_of(instruments), prices[0], frame, frames=frames, unmeasured=1)


class Entering:
    """Enters the symbols at the first frame, and again at the instant of their exit, when all else is done."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self._ladders = 0
        self._planted: Planted

    def begin(self, planted: Planted) -> None:
        self._planted = planted
        at_ns = planted.market.first_frame_ns
        planted.effects.market.alarm("benchmark enters", at_ns, Phase.SCAN, "", 0, self._enter_all)

    def heard(self, kind: str, actor: str, text: str) -> None:
        """A listener of the logs: the router tells exits there."""
        if kind == "strategy" and text.startswith("exited "):
            symbol = text.split("symbol=", 1)[1].split(" ", 1)[0]
            clock = self._planted.effects.market
            again = self._planted.enter_again
            clock.alarm(
                f"benchmark enters {symbol}", clock.now_ns, Phase.SCAN, symbol, 1, lambda: again(self._next(symbol))
            )

    def _enter_all(self) -> None:
        self._planted.enter([self._next(symbol) for symbol in self._symbols])

    def _next(self, symbol: str) -> Reservation:
        self._ladders += 1
        market = self._planted.market
        frame = market.peek()
        assert isinstance(frame, Frame), "entered within a frame that has every instrument"
        last_paise = frame.price_paise.item(market.universe.row(symbol))
        return self._planted.reservation(symbol, self._ladders, last_paise, QUANTITY)


@attrs.frozen
class Outcome:
    """One round: ticks per second of real time, and what was logged of it."""

    ticks_per_s: float
    stop_moves: int
    exits: int


async def play(prices: NDArray[np.int64]) -> Outcome:
    market = market_of(prices)
    entering = Entering(market.universe.symbols)
    with TemporaryDirectory() as directory:
        with planted(Path(directory), market, heard=entering.heard) as whole:
            entering.begin(whole)
            async with trio.open_nursery() as nursery:
                await nursery.start(whole.tree.run)
                await whole.tree.playback.ended.wait()
                nursery.cancel_scope.cancel()
        (day,) = days_of(whole.logs)
        return Outcome(
            ticks_per_s=(len(prices) - 1) * prices.shape[1] / market.seconds,
            stop_moves=(day / "trailing.log").read_text().count(" stop_moved "),
            exits=(day / "strategy.log").read_text().count(" exited "),
        )


def run(rounds: int) -> list[Figure]:
    prices = prices_of_trail100()
    outcomes = [trio.run(play, prices) for _ in range(rounds)]
    for outcome in outcomes:
        assert (outcome.stop_moves, outcome.exits) == (STOP_MOVES, EXITS), f"not what these prices lead to: {outcome}"
    note = f"{STOP_MOVES:,} stop moves, {EXITS} exits, each committed before it was sent; logs on"
    return [rate(NAME, [outcome.ticks_per_s for outcome in outcomes], "ticks/s", at_least=550_000, note=note)]
