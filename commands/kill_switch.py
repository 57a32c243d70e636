"""`kill-switch`: stops every new entry of every account, or lets them go on; what is open stays protected."""

from __future__ import annotations

from functools import partial

import click
import trio

from commands.cli import asked_by, verb
from commands.gateway_client import ask
from settings import Settings


@verb()
@click.argument("position", type=click.Choice(["on", "off"]))
@asked_by
def kill_switch(settings: Settings, position: str, who: str) -> None:
    """Stop new entries (on), or let them go on (off).

    Stops, targets, trailing and the square-off work on. Holds for all accounts, until `off` and over restarts, and
    is journalled. The kill-switch file stops entries as well, whatever is said here. Fails with exit code 1 when
    nothing runs or an account does not confirm.
    """
    trio.run(partial(ask, settings, "kill_switch", on=position == "on", who=who))
    file = settings.kill_switch_path
    if position == "on":
        click.echo("kill switch on: no new entries; what is open stays protected")
    elif file.exists():
        click.echo(f"kill switch off, but entries stay stopped while {file} exists")
    else:
        click.echo("kill switch off: entries go on")
