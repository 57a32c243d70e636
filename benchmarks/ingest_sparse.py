"""The market of ingest.py in frames of 1 to 10 ticks, as a live feed often sends: what a frame costs."""

from __future__ import annotations

import numpy as np
import trio

from benchmarks.ingest import play
from benchmarks.runner import Figure, rate
from protocol.kite_ticks import FULL

NAME = "ingest_sparse"
FRAMES = 20_000


def run(rounds: int) -> list[Figure]:
    sizes = np.random.default_rng(0).integers(1, 11, FRAMES).tolist()
    speeds = [trio.run(play, sizes, FULL, seed) for seed in range(rounds)]
    woken = sum(speed.wakes for speed in speeds) / (rounds * FRAMES)
    samples = [speed.frames_per_s for speed in speeds]
    note = f"1 to 10 ticks per frame, {woken:.2f} wakes per frame"
    return [rate(NAME, samples, "frames/s", at_least=40_000, note=note)]
