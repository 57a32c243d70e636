"""A day on which actors are killed ends with the same trades, bars and rankings as the undisturbed day."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from random import Random

import pytest
import trio

from actors.tree import Tree
from market.feeds.frame import Item
from tests.chaos.recorded_day import Outcome, day_settings, nodes, play, random_killer

DAY = date(2016, 8, 26)
SCARCE = ("strategy.capital=60000", "strategy.max_positions=15")
KINDS = (
    "ticker",
    "poller",
    "candle_recorder",
    "broker",
    "order_router",
    "position",
    "scanner",
    "health_monitor",
)


@lru_cache
def undisturbed(*overrides: str) -> Outcome:
    return play(day_settings(DAY, *overrides))


def assert_same(disturbed: Outcome, calm: Outcome) -> None:
    assert disturbed.trades == calm.trades
    assert disturbed.bars == calm.bars
    assert disturbed.rankings == calm.rankings
    assert not [alert for alert in disturbed.alerts if "crashed" in alert or "gave up" in alert]


def test_the_undisturbed_day_trades() -> None:
    calm = undisturbed()
    assert len(calm.trades) > 50
    assert {rung.number for rung in calm.trades} == {1, 2, 3}
    assert not calm.restarts


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_actor_killed_all_day_long_changes_nothing(kind: str) -> None:
    disturbed = play(day_settings(DAY), random_killer(1, every=40, kinds=[kind]))
    assert sum(count for name, count in disturbed.restarts.items() if name.startswith(kind)) >= 10
    assert_same(disturbed, undisturbed())


def test_every_actor_killed_at_least_once_with_scarce_capital_changes_nothing() -> None:
    killed: set[str] = set()

    def kill(tree: Tree, number: int, item: Item) -> None:
        """After 10:00 each living actor in turn, one every fifth item."""
        if number > 200 and number % 5 == 0:
            names = [node.name for node in nodes(tree.root.snapshot())]
            fresh = [name for name in names if name not in killed]
            if fresh and tree.kill(fresh[0]):
                killed.add(fresh[0])

    disturbed = play(day_settings(DAY, *SCARCE), kill)
    assert {name.split(":")[0] for name in killed} == set(KINDS)
    assert_same(disturbed, undisturbed(*SCARCE))


def test_kills_in_the_middle_of_an_instant_change_nothing() -> None:
    """Between two items the killer of the other tests strikes; this one strikes at any step of the scheduler."""
    chance = Random("mid-instant")

    async def assassin(tree: Tree) -> None:
        while True:
            for _ in range(chance.randrange(1, 60)):
                await trio.lowlevel.checkpoint()
            names = [node.name for node in nodes(tree.root.snapshot())]
            tree.kill(chance.choice(names))
            await trio.sleep(0.004)

    disturbed = play(day_settings(DAY, *SCARCE), beside=assassin)
    assert sum(disturbed.restarts.values()) >= 50
    assert_same(disturbed, undisturbed(*SCARCE))
