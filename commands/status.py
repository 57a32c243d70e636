"""`status`: the living tree, the accounts and their open rungs, how fresh prices are, the last alerts.

Asks the running process over its local socket, once or every second; what the day has earned it sums up from the
journal, so that the process that trades need not. Owns when it asks and how failure is said; status_screen.py makes
the picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from functools import partial

import click
import trio
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from commands.cli import verb
from commands.day_report import day_of, schedules_of
from commands.gateway_client import NoAnswer, NobodyRuns, ask
from commands.journals import journal_for_reading
from commands.status_screen import figures, screen
from commands.tables import stdout_console, widen
from protocol.errors import StoreError
from settings import Settings
from strategy.day import DayStatistics

REFRESH_S = 1.0


@verb()
@click.option("--watch", is_flag=True, help="Ask again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="The answer as JSON: money in paise, times in ns.")
def status(settings: Settings, watch: bool, as_json: bool) -> None:
    """Show the running tree: actors, accounts and their open rungs, how fresh prices are, the last alerts.

    Per actor its state, how often it was restarted, the messages waiting in its mailbox, and its last crash.
    Positions at rest are listed by name only. Fails with exit code 1 when nothing runs.
    """
    console = stdout_console()
    if watch and not as_json:
        try:
            trio.run(_watch, settings, console)
        except KeyboardInterrupt:
            return
    else:
        result = trio.run(partial(ask, settings, "status"))
        if as_json:
            click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        else:
            shown = screen(result, earned(settings, result))
            widen(console, figures(shown)).print(shown)


def earned(settings: Settings, result: Mapping[str, object]) -> dict[str, DayStatistics]:
    """The market's day so far, by account; without an account whose journal cannot be read just now."""
    days: dict[str, DayStatistics] = {}
    for account in settings.accounts:
        try:
            day = date.fromisoformat(str(result.get("market_time", ""))[:10])
            with journal_for_reading(settings, account.id) as journal:
                days[account.id] = day_of(journal, day, schedules_of(settings)).statistics
        except (StoreError, ValueError):
            continue
    return days


async def _watch(settings: Settings, console: Console) -> None:
    """Refresh until cancelled. A process that ends or hangs meanwhile is said so, and waited for."""
    result = await ask(settings, "status")
    shown = screen(result, earned(settings, result), rungs_last=True)
    with Live(shown, console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            await trio.sleep(REFRESH_S)
            try:
                result = await ask(settings, "status")
                shown = screen(result, earned(settings, result), rungs_last=True)
                live.update(shown, refresh=True)
            except (NobodyRuns, NoAnswer) as problem:
                live.update(Group(Text(str(problem), style="bold red"), shown), refresh=True)
