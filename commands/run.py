"""`python -m supervisor`: the whole tree, until it is told to stop.

Owns the process around the tree: logs, signals, exit codes. The first Ctrl-C or SIGTERM stops every actor in order,
the second ends the process at once; what is open stays protected at the broker either way.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from signal import SIGINT, SIGTERM

import trio
from rich.console import Console

from commands.cli import EXIT_CANNOT_WRITE, EXIT_FAILED, EXIT_SECOND_INTERRUPT, EXIT_WOULD_NOT_STOP, verb
from commands.compose import Opened, opened
from commands.logs import Logs
from effects import Effects, exit_at_once, signals
from protocol.clock import ist_text
from settings import Settings

FLUSH_S = 0.25


@verb()
def run(settings: Settings) -> int:
    """Run the whole tree and trade.

    With no configuration a simulated market day is traded on paper at 60 times its speed. Ctrl-C stops in order;
    the same command goes on where the last one stopped.
    """
    return trio.run(_process, settings)


async def _process(settings: Settings) -> int:
    console = Console()
    effects = Effects(seed=str(settings.market.seed))
    logs = Logs(
        settings.logs.directory,
        market_time=True,
        clock_ns=lambda: effects.market.now_ns or effects.wall_ns(),
        rotation_mb=settings.logs.rotation_mb,
        keep_days=settings.logs.keep_days,
        console_level=settings.logs.console_level,
        console=console,
    )

    def ends(code: int, reason: str) -> None:
        logs.line("errors", "supervisor", f"alert {reason}")
        logs.close()
        exit_at_once(code)

    try:
        with (
            signals(SIGINT, SIGTERM) as arrived,
            opened(
                settings,
                effects,
                log=logs.line,
                give_up_process=lambda reason: ends(EXIT_WOULD_NOT_STOP, reason),
                out_of_disk=lambda reason: ends(EXIT_CANNOT_WRITE, reason),
            ) as everything,
        ):
            _greet(console, settings, everything)
            return await _live(logs, everything, arrived)
    finally:
        logs.close()


async def _live(logs: Logs, everything: Opened, arrived: AsyncIterator[int]) -> int:
    """The tree beside what the process needs, until a signal stops it or it gives up (exit 1)."""
    tree, code = everything.tree, 0
    for remark in everything.remarks:
        logs.line("errors", "supervisor", f"alert {remark}")
    async with trio.open_nursery() as around:
        around.start_soon(_flush, logs)
        with trio.CancelScope() as living:
            around.start_soon(_stop_on_signal, arrived, living, logs)
            around.start_soon(_tell_the_end, tree.playback.ended, logs)
            try:
                await tree.run()
            except* Exception as group:
                code = EXIT_FAILED
                text = "; ".join(str(error) for error in group.exceptions)
                logs.line("errors", "supervisor", f"alert the tree gave up: {text}")
        logs.line("strategy", "supervisor", "stopped")
        around.cancel_scope.cancel()
    return code


async def _flush(logs: Logs) -> None:
    while True:
        await trio.sleep(FLUSH_S)
        logs.flush()


async def _stop_on_signal(arrived: AsyncIterator[int], living: trio.CancelScope, logs: Logs) -> None:
    stopping = False
    async for number in arrived:
        if stopping:
            exit_at_once(EXIT_SECOND_INTERRUPT)
        stopping = True
        logs.line("strategy", "supervisor", f"stopping signal={number}")
        living.cancel()


async def _tell_the_end(ended: trio.Event, logs: Logs) -> None:
    await ended.wait()
    logs.line("strategy", "supervisor", "the recording is over: nothing more will happen, Ctrl-C ends")


def _greet(console: Console, settings: Settings, everything: Opened) -> None:
    """What runs, where its files are, and how to look at it."""
    market = settings.market
    speed = "as fast as possible" if math.isinf(market.speed) else f"{market.speed:g} × speed"
    recorded = f" of {market.directory}" if market.feed == "recorded" else ""
    universe, begins = everything.feed.universe, ist_text(everything.effects.market.now_ns)
    lines = (
        f"[bold]Pure Alpha[/] trades on paper: {market.feed} market{recorded}, {len(universe)} symbols, {speed}",
        f"[dim]from {begins} IST; files in {settings.storage.directory}, logs in {settings.logs.directory}[/]",
        "[dim]in a second terminal: python -m supervisor status, tail, close; Ctrl-C stops[/]",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
