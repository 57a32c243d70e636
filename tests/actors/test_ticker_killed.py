"""A ticker that is killed goes on in the middle of the instant: apply once, match once, wake once."""

from __future__ import annotations

from typing import Any

import trio

from tests.fakes.actor_market import instant, made_day
from tests.fakes.actor_ticker import UNIVERSE, TickerWorld, frames, woken


def busy_day() -> TickerWorld:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000), ("09:20:01", 10_050), ("09:30:02", 9_990))))
    world.watch_all()
    for number in range(3):
        world.alarm(f"between {number}", instant("09:25:00") + number)
    world.alarm("with a frame", instant("09:20:01"))
    return world


def remembered(world: TickerWorld) -> tuple[Any, ...]:
    """What a day leaves behind: what was heard in which order, and every bar."""
    bars = [(bars.start_ns, bars.close.tolist(), bars.volume.tolist()) for bars in world.recorder.posted]
    return [entry for entry in world.heard if entry[0] != "woke"], woken(world.heard), bars


async def test_killed_at_any_moment_it_goes_on_in_the_middle_of_the_instant() -> None:
    calm = busy_day()
    await calm.play()
    for steps in range(200):
        world = busy_day()
        async with world.others() as nursery:
            with trio.CancelScope() as life:
                async with trio.open_nursery() as lives:
                    lives.start_soon(world.serve_ticker)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    life.cancel()
            nursery.start_soon(world.serve_ticker)
            await world.playback.ended.wait()
        assert remembered(world) == remembered(calm), f"killed after {steps} steps"


async def test_killed_again_and_again_it_still_applies_matches_and_wakes_once() -> None:
    calm = busy_day()
    await calm.play()
    world = busy_day()
    async with world.others():
        while not world.playback.ended.is_set():
            with trio.CancelScope() as life:
                async with trio.open_nursery() as lives:
                    await lives.start(world.serve_ticker)
                    for _ in range(7):
                        await trio.lowlevel.checkpoint()
                    life.cancel()
    assert remembered(world) == remembered(calm)
