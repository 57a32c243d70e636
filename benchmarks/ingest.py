"""Kite's bytes → decoder → the real ticker and board → 270 sleeping owners woken through their mailboxes.

Owns the market that is measured here and in ingest_sparse.py: a random walk of 3,000 instruments, in whole
frames of Kite's ticker. Wake-ups are handled before the next frame, as in a replay. There are no orders.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import trio
from numpy.typing import NDArray

from actors.actor import Actor, serve
from actors.mailbox import Address, InFlight
from actors.ticker import Playback, Ticker, TickerParts
from benchmarks.made_market import TICK_PAISE, MadeMarket, universe_of
from benchmarks.runner import Figure, rate
from effects import MarketClock
from market.board import Board
from market.candles import Candles
from market.feeds.frame import Frame
from market.history import History
from market.instruments import Universe
from protocol.clock import NS
from protocol.kite_ticks import FULL, QUOTE, FrameDecoder, packet_dtype
from protocol.messages import Wake

NAME = "ingest"
INSTRUMENTS = 3_000
OWNERS = 270
TICKS_PER_FRAME = 300
FRAMES = 2_000
STEP = 5e-4  # standard deviation of a tick's return
BAND_BP = 10  # an owner sleeps until the price moved by a trail step, up or down
FRAME_NS = NS // 10  # one update per instrument and second, as Kite sends


@attrs.frozen
class Speed:
    """One round: frames and ticks per second of real time, and how many owners were woken."""

    frames_per_s: float
    ticks_per_s: float
    wakes: int


def kite_frames(
    universe: Universe, sizes: Sequence[int], length: int, seed: int
) -> tuple[list[bytes], NDArray[np.int64]]:
    """One frame of packets of the given body length for each size, and the first prices in paise by row."""
    random = np.random.default_rng(seed)
    token = np.array([instrument.token for instrument in universe], dtype=np.int64)
    first = random.uniform(20_000, 200_000, len(universe))
    price, volume = first.copy(), np.zeros(len(universe), dtype=np.int64)
    frames = []
    for number, size in enumerate(sizes):
        rows = random.choice(len(universe), size, replace=False)
        price[rows] *= np.exp(random.normal(0, STEP, size))
        volume[rows] += 100
        packets = np.zeros(size, dtype=packet_dtype(length))
        packets["length"] = length
        packets["token"] = token[rows]
        packets["price"] = np.rint(price[rows] / TICK_PAISE) * TICK_PAISE
        packets["volume"] = volume[rows]
        if length == FULL:
            packets["time"] = 1_795_000_000 + number // 10
        frames.append(size.to_bytes(2, "big") + packets.tobytes())
    return frames, np.rint(first).astype(np.int64)


def kite_market(universe: Universe, frames: Sequence[bytes], first: NDArray[np.int64]) -> MadeMarket:
    """Recorded Kite frames, decoded when the ticker looks at them."""
    decoder = FrameDecoder(universe.rows_by_token)

    def decoded(number: int, at_ns: int) -> Frame:
        ticks = decoder.decode_into(frames[number])
        assert ticks is not None, "every frame is about instruments of the universe"
        return Frame(at_ns, ticks.rows, ticks.price_paise, ticks.volume, ticks.unique)

    return MadeMarket(universe, first, decoded, frames=len(frames), frame_ns=FRAME_NS)


class Sleeper(Actor):
    """An owner that does what a position does with a price: look, and sleep in the band around it."""

    def __init__(self, address: Address, board: Board, row: int) -> None:
        super().__init__(address)
        self._board = board
        self._row = row
        self.woken = 0

    async def recover(self) -> None:
        self._sleep(self._board.last.item(self._row))

    async def handle(self, message: object) -> None:
        assert isinstance(message, Wake)
        self.woken += 1
        self._sleep(message.last_paise)

    def _sleep(self, last: int) -> None:
        step = last * BAND_BP // 10_000
        self._board.watch(0, self._row, last - step, last + step, self.address.wake, seen=last)


async def play(sizes: Sequence[int], length: int, seed: int) -> Speed:
    """One round: all frames through a fresh tree."""
    universe = universe_of(INSTRUMENTS)
    frames, first = kite_frames(universe, sizes, length, seed)
    board, in_flight = Board(len(universe), layers=1), InFlight()
    feed = kite_market(universe, frames, first)
    begin = trio.Event()
    parts = TickerParts(
        feed=feed,
        board=board,
        candles=Candles(len(universe)),
        history=History(len(universe)),
        clock=MarketClock(),
        exchanges=(),
        layers=1,
        in_flight=in_flight,
        recorder=Address("candle_recorder"),  # not read, hence outside the count that the ticker waits for
        playback=Playback(),
        speed=float("inf"),
        begin=begin,
    )
    sleepers: list[Sleeper] = []
    watched = np.sort(np.random.default_rng(seed).choice(len(universe), OWNERS, replace=False)).tolist()
    async with trio.open_nursery() as nursery:
        for row in watched:

            def sleeper(address: Address, row: int = row) -> Sleeper:
                sleepers.append(Sleeper(address, board, row))
                return sleepers[-1]

            await nursery.start(serve, sleeper, Address(f"position:{universe.symbols[row]}", in_flight=in_flight))
        await nursery.start(serve, lambda address: Ticker(address, parts), Address("ticker", in_flight=in_flight))
        begin.set()
        await feed.ended.wait()
        nursery.cancel_scope.cancel()
    woken = sum(sleeper.woken for sleeper in sleepers)
    return Speed(len(frames) / feed.seconds, sum(sizes) / feed.seconds, woken)


def run(rounds: int) -> list[Figure]:
    """Full packets, which freshness needs, are what the budget is held to; quote packets are shown beside."""
    figures = []
    for name, length, at_least in ((NAME, FULL, 2_000_000), (f"{NAME}_quote", QUOTE, None)):
        speeds = [trio.run(play, [TICKS_PER_FRAME] * FRAMES, length, seed) for seed in range(rounds)]
        woken = sum(speed.wakes for speed in speeds) / (rounds * FRAMES)
        note = f"{length}-byte packets, {woken:.1f} wakes per frame"
        samples = [speed.ticks_per_s for speed in speeds]
        figures.append(rate(name, samples, "ticks/s", at_least=at_least, note=note))
    return figures
