"""Whatever is asked, whenever router, session or process die: journal and paper exchange agree to the share and paisa.

Each test is a plain function of its seed. The exchange is slow and fills in parts, so that deaths find requests on
their way; what it had on the way when the process died was never placed.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio

from brokers.paper import PaperOptions
from protocol.orders import ExitReason, OrderState
from protocol.rungs import Protection, Rung
from tests.fakes.router_stage import PRICE, RouterStage

STEPS = 150
SYMBOL = "INFY"


class Chance:
    """A random user of one router: asks what a position could ask, and pulls plugs."""

    def __init__(self, stage: RouterStage, seed: int, *, process: bool) -> None:
        self._stage = stage
        self._chance = Random(f"router/{seed}")
        self._process = process
        self._price = PRICE
        self._asked = 0

    async def step(self) -> None:
        actions = [self._ask] * 8 + [self._tick] * 6 + [self._wait] * 3 + [self._die, self._reconnect]
        if self._process:
            actions.append(self._process_dies)
        await self._chance.choice(actions)()

    async def _ask(self) -> None:
        stage, chance = self._stage, self._chance
        self._asked += 1
        rungs = {rung.number: rung for rung in stage.journal.trades(symbol=SYMBOL) if rung.open}
        ladder = next((rung.ladder for rung in rungs.values()), f"{SYMBOL}-{self._asked}")
        number = chance.choice((1, 2, 3)) if rungs else 1
        rung = rungs.get(number)
        if rung is None:
            quantity = chance.randrange(1, 30)
            await stage.say(
                stage.enter(number, ladder=ladder, attempt=self._asked, quantity=quantity, last_paise=self._price)
            )
        elif chance.random() < 0.3:
            await stage.say(stage.leave(chance.choice((ExitReason.SQUARE_OFF, ExitReason.PERSON)), number, ladder))
        else:
            stop = self._price * chance.randrange(950, 1_000) // 5_000 * 5
            wish = stage.protect if rung.protection is Protection.NONE else stage.move
            await stage.say(wish(stop=stop, number=number, target=None, ladder=ladder))

    async def _tick(self) -> None:
        self._price = max(5_000, self._price + 5 * self._chance.randrange(-400, 401))
        await self._stage.tick(INFY=self._price)

    async def _wait(self) -> None:
        await self._stage.after(self._chance.choice((0.1, 0.25, 1, 7, 31)))
        await self._stage.tick(INFY=self._price)

    async def _die(self) -> None:
        await self._stage.die()

    async def _reconnect(self) -> None:
        await self._stage.disconnect()
        await self._stage.say(*[self._stage.leave(ExitReason.PERSON, 1)] * self._chance.randrange(2))
        await self._stage.after(self._chance.choice((0, 1, 8)))
        await self._stage.connect()

    async def _process_dies(self) -> None:
        await self._stage.process_dies(later_s=self._chance.choice((1, 20)))


async def assert_true(stage: RouterStage) -> None:
    """What is owned at the exchange is what the open rungs hold, and no sell could sell more."""
    books = await stage.broker.books()
    owned = sum(row.quantity for row in books.positions if row.symbol == SYMBOL)
    rungs = [rung for rung in stage.journal.trades(symbol=SYMBOL) if rung.open]
    assert owned == sum(rung.held for rung in rungs)
    for rung in rungs:
        assert selling(stage, rung) <= rung.held, f"{rung} could be sold twice"
    filled = {row.client_id: (row.filled, row.value_paise) for row in books.orders if row.client_id}
    for order in stage.orders():
        if order.client_id in filled:
            assert (order.filled, order.value_paise) == filled[order.client_id]


def selling(stage: RouterStage, rung: Rung) -> int:
    """Σ working sells of a rung: its GTTs and its exits on the way or at work."""
    place = (rung.ladder, rung.number)
    guards = sum(gtt.quantity for gtt in stage.gtts() if gtt.standing and (gtt.ladder, gtt.rung) == place)
    exits = sum(
        order.pending
        for order in stage.journal.working_orders()
        if order.purpose.value == "exit"
        and order.state is not OrderState.INTENT
        and (order.ladder, order.rung) == place
    )
    return guards + exits


async def play(stage: RouterStage, seed: int, *, process: bool) -> None:
    user = Chance(stage, seed, process=process)
    for _ in range(STEPS):
        await user.step()
        if stage.told_everything():
            await assert_true(stage)
    await stage.after(120)
    await stage.disconnect()
    await stage.connect()
    await assert_true(stage)
    assert stage.out_of_disk == []
    assert not [alert for alert in stage.alerts() if "impossible" in alert or "oversold" in alert]


@pytest.mark.parametrize("seed", range(12))
async def test_a_router_that_dies_at_any_step_keeps_the_books(
    seed: int, made: list[RouterStage], nursery: trio.Nursery
) -> None:
    latency_ms = (0, 150)[seed % 2]
    stage = RouterStage(nursery, options=PaperOptions(latency_ms=latency_ms, partial_fills=seed % 3 > 0))
    made.append(stage)
    await stage.begin()
    await play(stage, seed, process=False)


@pytest.mark.parametrize("seed", range(8))
async def test_a_process_that_dies_at_any_step_keeps_the_books(
    seed: int, made: list[RouterStage], nursery: trio.Nursery, tmp_path: Path
) -> None:
    options = PaperOptions(latency_ms=(0, 150)[seed % 2], partial_fills=seed % 3 > 0)
    stage = RouterStage(nursery, options=options, directory=tmp_path / "var")
    made.append(stage)
    await stage.begin()
    await play(stage, seed, process=True)
