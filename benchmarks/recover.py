"""From the start of the process to trading, with 10,000 closed and 90 open trades in the journal.

A fresh Python each time: imports, opening and checking the journal, its backup, the simulated market up to the
instant at which the journal ended, the tree, the reconciliation with the broker's books. Trading begins when
the order router says so.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import trio

from actors.child import end_process
from benchmarks.past_trades import write_past
from benchmarks.runner import Figure, alone, cost
from benchmarks.whole_tree import ACCOUNT, settings_for
from commands.compose import opened
from commands.logs import Logs
from effects import Effects
from market.feeds.simulated_symbols import simulated_universe
from protocol.messages import AskSnapshot
from settings import MarketSettings, Settings
from store.opening import open_journal

NAME = "recover"
CLOSED_TRADES = 10_000
OPEN_TRADES = 90
ASK_S = 5.0


def settings_of(directory: Path) -> Settings:
    """Those of `python -m supervisor`, with files of the benchmark's own."""
    ours, usual = settings_for(directory), Settings()
    return attrs.evolve(usual, storage=ours.storage, logs=ours.logs, risk=usual.risk, market=MarketSettings())


def prepare(directory: Path) -> None:
    """The journal that every round begins with."""
    settings, effects = settings_of(directory), Effects(seed="benchmark")
    journal, _ = open_journal(
        settings.storage.directory,
        account=ACCOUNT,
        mode="paper",
        chance=effects.rng("database ids"),
        now_ns=effects.wall_ns(),
        reserve_mb=settings.storage.reserve_mb,
    )
    symbols = simulated_universe().symbols
    write_past(journal, symbols, settings.market.start_day, closed=CLOSED_TRADES, opened=OPEN_TRADES)
    journal.close()


def begin_trading(directory: Path, asked_ns: int) -> tuple[float, int]:
    """Seconds since `asked_ns`, when the process was asked for, and how many rungs it guards."""
    rungs = trio.run(_until_trading, directory)
    return (time.monotonic_ns() - asked_ns) / 1e9, rungs


async def _until_trading(directory: Path) -> int:
    settings = settings_of(directory)
    effects = Effects(seed=str(settings.market.seed))
    logs = Logs(
        settings.logs.directory,
        market_time=True,
        clock_ns=lambda: effects.market.now_ns or effects.wall_ns(),
        rotation_mb=settings.logs.rotation_mb,
        keep_days=settings.logs.keep_days,
        console_level=settings.logs.console_level,
        console=None,
    )
    rungs = 0
    with opened(settings, effects, log=logs.line, give_up_process=end_process, out_of_disk=end_process) as everything:
        router = everything.tree.accounts[ACCOUNT].router
        async with trio.open_nursery() as nursery:
            await nursery.start(everything.tree.run)
            while (state := await router.ask(AskSnapshot(), ASK_S))["state"] != "TRADING":
                await trio.lowlevel.checkpoint()
            rungs = len(state["rungs"])
            nursery.cancel_scope.cancel()
    logs.close()
    return rungs


def run(rounds: int) -> list[Figure]:
    seconds = []
    with TemporaryDirectory() as directory:
        prepared = Path(directory) / "prepared"
        prepare(prepared)
        for number in range(rounds):
            own = Path(directory) / str(number)
            shutil.copytree(prepared, own)
            taken, rungs = alone(begin_trading, own, time.monotonic_ns())
            assert rungs == OPEN_TRADES, f"{rungs} of {OPEN_TRADES} rungs were taken up"
            seconds.append(taken)
    note = f"a new process, {CLOSED_TRADES:,} closed and {OPEN_TRADES} open trades"
    return [cost(NAME, seconds, "s", at_most=2, note=note)]
