"""The command line of the JSON broker's server.

Owns the options and what they build: feed, market, server, listeners. Called by `python -m simulation.broker_server`.
"""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import click
import trio

from effects import Effects
from market.calendar import TradingCalendar
from market.feeds.frame import Feed
from market.feeds.recorded import RecordedFeed
from market.feeds.simulated import SimulatedFeed
from market.instruments import Instrument, Universe
from protocol.clock import at
from protocol.errors import MarketDataError
from protocol.money import paise_from_rupees
from simulation.broker_exchange import ExchangeOptions, ServerAccount
from simulation.broker_market import ServerMarket
from simulation.broker_record import RecordError
from simulation.broker_server import BrokerServer
from simulation.trouble import Trouble

FIRST_DAY = "2026-01-05"
OPENS_S = 10 * 3600  # where the clock of a market without a feed stands first
BY_HAND_TICK_PAISE = 5


def _accounts(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[ServerAccount, ...]:
    """The accounts of NAME:KEY or NAME:KEY:RUPEES."""
    accounts = []
    for value in values:
        name, _, rest = value.partition(":")
        key, _, rupees = rest.partition(":")
        if not name or not key:
            raise click.BadParameter(f"{value!r} is not NAME:KEY or NAME:KEY:RUPEES", param=option)
        try:
            cash = paise_from_rupees(rupees) if rupees else None
        except ValueError as wrong:
            raise click.BadParameter(str(wrong), param=option) from None
        accounts.append(ServerAccount(name=name, api_key=key, cash_paise=cash))
    return tuple(accounts)


def _speed(context: click.Context, option: click.Parameter, value: str) -> float:
    try:
        speed = math.inf if value == "max" else float(value)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise click.BadParameter(f"{value!r} is neither a number above zero nor max", param=option)
    return speed


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="On 127.0.0.1; 0 takes any free one.")
@click.option(
    "--account",
    "accounts",
    callback=_accounts,
    metavar="NAME:KEY[:RUPEES]",
    multiple=True,
    default=["demo:demo"],
    show_default=True,
    help="An account and the api key that opens it, with the cash it begins with; may be given several times.",
)
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Play this folder of recorded bars.")
@click.option("--ticks", is_flag=True, help="With --data: play its recorded ticks instead of its minute bars.")
@click.option("--symbols", help="No feed: these symbols, at prices set with POST /control/prices.")
@click.option("--first-day", default=FIRST_DAY, show_default=True, help="The market's first day; --data has its own.")
@click.option(
    "--speed", callback=_speed, metavar="X|max", default="60", show_default=True, help="Market seconds per second."
)
@click.option("--seed", default="0", show_default=True, help="Of the simulated market and of chance.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Remember accounts in this file.")
@click.option("--always-open", is_flag=True, help="Trade at any hour.")
@click.option("--wall-clock", is_flag=True, help="Stamp everything with the system's time; implies --always-open.")
@click.option("--slippage-bp", type=click.IntRange(0, 1000), default=0, show_default=True)
@click.option("--gtt-min-distance-bp", type=click.IntRange(0, 1000), default=0, show_default=True)
def command(
    port: int,
    accounts: tuple[ServerAccount, ...],
    data: Path | None,
    ticks: bool,
    symbols: str | None,
    first_day: str,
    speed: float,
    seed: str,
    record: Path | None,
    always_open: bool,
    wall_clock: bool,
    slippage_bp: int,
    gtt_min_distance_bp: int,
) -> None:
    """A JSON broker over a simulated market, to try a strategy against: WebSocket and HTTP on one port."""
    effects = Effects(seed=seed)
    calendar = TradingCalendar()
    try:
        feed = None if symbols else _feed(data, ticks, first_day, effects, calendar)
        start = date.fromisoformat(first_day) if not isinstance(feed, RecordedFeed) else feed.days[0]
        market = ServerMarket(
            feed.universe if feed is not None else _by_hand(symbols or ""),
            calendar,
            start_ns=at(start, OPENS_S if feed is None else 0),
            always_open=always_open or wall_clock,
            clock=effects.wall_ns if wall_clock else None,
        )
        server = BrokerServer(
            accounts,
            market,
            record=record,
            trouble=Trouble(seed),
            options=ExchangeOptions(slippage_bp=slippage_bp, gtt_min_distance_bp=gtt_min_distance_bp),
        )
        if feed is not None and server.exchange.resumed_ns and not wall_clock:
            feed.skip_to(server.exchange.resumed_ns)
    except (MarketDataError, RecordError, ValueError) as wrong:
        raise click.ClickException(str(wrong)) from None
    try:
        trio.run(_serve, server, effects, port, feed, speed)
    except* KeyboardInterrupt:
        click.echo("stopped")
    except* OSError as failures:
        raise click.ClickException(f"port {port} cannot be listened on: {failures.exceptions[0]}") from None


async def _serve(server: BrokerServer, effects: Effects, port: int, feed: Feed | None, speed: float) -> None:
    listeners = await effects.listen_tcp(port)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        taken = listeners[0].socket.getsockname()[1]
        click.echo(f"listening on 127.0.0.1:{taken}: ws://127.0.0.1:{taken} and http://127.0.0.1:{taken}")
        if feed is not None:
            await server.play(feed, speed)
            click.echo("the recording is over; orders and books are still served")


def _feed(data: Path | None, ticks: bool, first_day: str, effects: Effects, calendar: TradingCalendar) -> Feed:
    if data is not None:
        return RecordedFeed(data, calendar, ticks=ticks)
    return SimulatedFeed(effects.np_rng, calendar, first_day=date.fromisoformat(first_day))


def _by_hand(symbols: str) -> Universe:
    names = [name.strip() for name in symbols.split(",") if name.strip()]
    return Universe(Instrument(name, token, BY_HAND_TICK_PAISE) for token, name in enumerate(names, 1))


def main() -> None:
    """Run the command line; ends the process."""
    command()
