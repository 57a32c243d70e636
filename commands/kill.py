"""`kill`: ends one actor of the running process; its supervisor starts the next incarnation."""

from __future__ import annotations

from functools import partial

import click
import trio

from commands.cli import verb
from commands.gateway_client import ConnectionClosed, ask
from settings import Settings

GATEWAY = "gateway"


@verb()
@click.argument("actor")
def kill(settings: Settings, actor: str) -> None:
    """End one ACTOR, so that its supervisor starts it again.

    ACTOR is a name that `status` shows: order_router, broker, ticker, scanner, position:INFY … Of several
    accounts the first is meant, unless the name says which: order_router:main, position:second/INFY. Fails
    with exit code 1 when no such actor lives, or when nothing runs; supervisors cannot be killed.
    """
    try:
        killed = trio.run(partial(ask, settings, "kill", actor=actor)).get("killed", actor)
    except ConnectionClosed:
        if actor != GATEWAY:
            raise
        killed = actor  # who would have answered is gone, as was asked
    click.echo(f"killed {killed}: its supervisor starts it again")
