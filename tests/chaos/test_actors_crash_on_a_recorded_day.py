"""A handler that raises, before its work or after it, is restarted and its message handled again: nothing changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from random import Random
from typing import Any

import pytest

from actors.candle_recorder import CandleRecorder
from actors.order_router import OrderRouter
from actors.position import Position
from actors.scanner import Scanner
from tests.chaos.recorded_day import day_settings, play
from tests.chaos.test_actors_killed_on_a_recorded_day import DAY, SCARCE, undisturbed

Handler = Callable[..., Awaitable[Any]]


class Injected(Exception):
    """The crash of these tests."""


def crashing(handler: Handler, chance: Random, *, every: int, done: list[str]) -> Handler:
    """The handler, raising now and then: half the time before the work, half the time after it, unacknowledged."""

    @wraps(handler)
    async def wrapped(self: Any, message: Any) -> Any:
        strikes, before = chance.randrange(every) == 0, chance.randrange(2) == 0
        if strikes:
            done.append(self.address.name)
        if strikes and before:
            raise Injected("before the work")
        answer = await handler(self, message)
        if strikes:
            raise Injected("after the work")
        return answer

    return wrapped


@pytest.mark.parametrize(
    ("actor", "method", "every"),
    [
        (Position, "handle", 150),
        (OrderRouter, "handle_batch", 60),
        (Scanner, "handle", 12),
        (CandleRecorder, "handle", 12),
    ],
)
def test_crashes_all_day_long_change_nothing(
    monkeypatch: pytest.MonkeyPatch, actor: type, method: str, every: int
) -> None:
    calm = undisturbed(*SCARCE)
    done: list[str] = []
    chance = Random(f"crashes of {actor.__name__}")
    monkeypatch.setattr(actor, method, crashing(getattr(actor, method), chance, every=every, done=done))
    disturbed = play(day_settings(DAY, *SCARCE))
    assert len(done) >= 10
    assert disturbed.trades == calm.trades
    assert disturbed.bars == calm.bars
    assert disturbed.rankings == calm.rankings
