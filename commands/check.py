"""`check`: what would run with this configuration. Reads nothing but the settings; starts nothing.

A wrong configuration never gets here: cli.py has named every problem and ended with exit code 2. What only
the disk knows, whether a recording is where the settings say, is asked here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from commands.cli import EXIT_CONFIGURATION, verb
from commands.tables import stdout_console
from protocol.clock import NS, clock_text
from protocol.money import rupee_text
from settings import MarketSettings, RungSettings, Settings

Row = tuple[str, str]


@verb()
def check(settings: Settings) -> int:
    """Say what would run, or everything that is wrong with the configuration (exit code 2)."""
    missing = list(_missing(settings))
    for problem in missing:
        click.echo(problem, err=True)
    if missing:
        return EXIT_CONFIGURATION
    console = stdout_console()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, value in rows(settings):
        table.add_row(name, Text(value))
    console.print(table)
    return 0


def rows(settings: Settings) -> Iterator[Row]:
    """What will run, line by line: what it is, and its figures."""
    yield "market", _market(settings.market)
    for account in settings.accounts:
        yield (
            f"account {account.id}",
            f"user {account.user}, broker {account.broker}, order tag {account.tag}",
        )
    yield from _strategy(settings)
    yield "broker", _broker(settings)
    yield "risk", _risk(settings)
    storage, logs, health = settings.storage, settings.logs, settings.health
    yield (
        "storage",
        f"{storage.directory}, durability {storage.durability}, backups {storage.backup_days} days",
    )
    yield "logs", f"{logs.directory}, kept {logs.keep_days} days, console from {logs.console_level}"
    yield (
        "health",
        f"price stale after {_seconds(health.stale_symbol_ns)}, feed after {_seconds(health.stale_feed_ns)}, "
        f"then polled every {_seconds(health.poll_interval_ns)} or more",
    )
    charges = ", ".join(schedule.effective_from.isoformat() for schedule in settings.charges)
    yield "charges", f"schedules from {charges}"
    dashboard = settings.dashboard
    yield "dashboard", f"http://{dashboard.host}:{dashboard.port}" if dashboard.enabled else "off"


def _missing(settings: Settings) -> Iterator[str]:
    market = settings.market
    if market.feed == "recorded" and not Path(market.directory or "").is_dir():
        yield f"market.directory = {market.directory}: should be the folder of a recording"
    for key, folder in (("storage", settings.storage.directory), ("logs", settings.logs.directory)):
        if folder.exists() and not folder.is_dir():
            yield f"{key}.directory = {folder}: should be a folder; this is a file"


def _market(market: MarketSettings) -> str:
    speed = "as fast as possible" if math.isinf(market.speed) else f"at {market.speed:g} × speed"
    if market.feed == "simulated":
        return f"simulated from {market.start_day}, seed {market.seed}, {speed}"
    kind = "ticks" if market.ticks else "minute bars"
    days = f"{market.first_day or 'the first day'} to {market.last_day or 'the last day'}"
    return f"recorded {kind} of {market.directory}, {days}, {speed}"


def _strategy(settings: Settings) -> Iterator[Row]:
    strategy = settings.strategy
    yield (
        "capital",
        f"{rupee_text(strategy.capital_paise)}, {rupee_text(strategy.capital_per_position_paise)} a rung, "
        f"at most {strategy.max_positions} rungs",
    )
    yield (
        "scan",
        f"every {_seconds(strategy.scan_interval_ns)}, Rank_GM above {strategy.min_rank_gm:g}, "
        f"acceleration × {strategy.acceleration_weight:g}",
    )
    yield (
        "hours",
        f"entries {clock_text(strategy.first_entry_second)} to {clock_text(strategy.last_entry_second)}, "
        f"square-off {clock_text(strategy.square_off_second)} IST, "
        f"a symbol again after {_seconds(strategy.reentry_cooldown_ns)}",
    )
    for name, rung in (("P1", strategy.p1), ("P2", strategy.p2), ("P3", strategy.p3)):
        yield name, _rung(rung)


def _rung(rung: RungSettings) -> str:
    stop = f"stop {_percent(rung.stop_bp)}" + (" below the highest price, trailing" if rung.trail else " fixed")
    target = f"target {_percent(rung.target_bp)}" if rung.target_bp else "no target"
    entry = f", entered at a gain of {_percent(rung.entry_pnl_bp)}" if rung.entry_pnl_bp else ""
    return f"{stop}, {target}{entry}"


def _broker(settings: Settings) -> str:
    broker = settings.broker
    fills = "partial fills" if broker.partial_fills else "whole fills"
    return f"{broker.type}, latency {broker.latency_ms} ms, slippage {broker.slippage_bps} bp, {fills}"


def _risk(settings: Settings) -> str:
    risk = settings.risk
    switch = "ON: no entries" if risk.kill_switch else f"off (file {settings.kill_switch_path})"
    return (
        f"an order at most {rupee_text(risk.max_order_value_paise)} and {risk.max_order_quantity} shares, "
        f"within {_percent(risk.max_distance_bp)} of the price, "
        f"{len(risk.surveillance)} symbols never bought, kill switch {switch}"
    )


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / NS:g} s"


def _percent(basis_points: int) -> str:
    return f"{basis_points / 100:g} %"
