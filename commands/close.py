"""`close`: sells one rung at market, now; the rest of its ladder goes on by its rules."""

from __future__ import annotations

from functools import partial

import click
import trio

from commands.cli import asked_by, verb
from commands.gateway_client import ask
from settings import Settings

RUNGS = {"1": 1, "2": 2, "3": 3, "P1": 1, "P2": 2, "P3": 3}


@verb()
@click.argument("symbol")
@click.argument("rung", type=click.Choice(list(RUNGS), case_sensitive=False))
@click.option("--account", metavar="ID", help="The account; without it, the first of the settings.")
@asked_by
def close(settings: Settings, symbol: str, rung: str, account: str | None, who: str) -> None:
    """Sell one rung at market: close NCC P1.

    Its protection is cancelled at the broker first, and its exit is journalled with the reason `person`. Says
    that the sale is under way, not that it is done: `status` and `tail strategy` show that. Fails with exit code
    1 when the rung is not open or nothing runs.
    """
    wanted = {"symbol": symbol.upper(), "rung": RUNGS[rung.upper()], "account": account}
    result = trio.run(partial(ask, settings, "close", **wanted, who=who))
    click.echo(f"selling {result.get('selling', symbol)} of account {result.get('account', '-')} at market")
