"""`python -m supervisor replay`: recorded days on paper, as fast as they can be played.

Owns the run of a replay and its JSON report. The tree is the real one, on a journal in memory; only the feed and
the speed differ from a live run. Two replays of the same days give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import click
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from commands.amounts import colour_of, grouped
from commands.cli import EXIT_CANNOT_WRITE, EXIT_WOULD_NOT_STOP, verb
from commands.compose import in_memory, plant
from commands.day_report import charges_by_order, schedules_of
from commands.logs import Logs
from commands.tables import plain_table, stdout_console, widen
from effects import Effects, exit_at_once
from market.candles import CompletedBars
from market.feeds.recorded import RecordedFeed
from protocol.clock import ist_date, ist_text
from protocol.errors import PureAlphaError
from protocol.money import half_up, rupees
from protocol.rungs import Rung
from settings import Settings
from store.journal_reads import JournalReads


@attrs.define(eq=False)
class CountedScans:
    """market.db of a replay: counts the scans of each day and keeps no bars, because the recording has them."""

    scans: Counter[date] = attrs.Factory(Counter)

    def write_bars(self, bars: CompletedBars, symbols: Sequence[str]) -> None:
        """Nothing: the feed can make them again."""

    def write_ranking(self, at_ns: int, rows: Sequence[tuple[str, float, float, str]]) -> None:
        self.scans[ist_date(at_ns)] += 1


@attrs.frozen(kw_only=True)
class Played:
    """What a replay leaves: per account its journal, the scans, and the days that were played."""

    journals: Mapping[str, JournalReads]
    scans: Mapping[date, int]
    days: tuple[date, ...]


def implied(data: Path, first: Any, last: Any, speed: str, ticks: bool, **broker: Any) -> dict[str, Any]:
    """The settings that a replay's options stand for."""
    wanted: dict[str, Any] = {
        "market.feed": "recorded",
        "market.directory": str(data),
        "market.speed": "max" if speed == "max" else float(speed),
        "market.ticks": ticks,
    }
    if first is not None:
        wanted["market.first_day"] = first.date()
    if last is not None:
        wanted["market.last_day"] = last.date()
    for key in ("latency_ms", "slippage_bps", "partial_fills"):
        if broker.get(key):
            wanted[f"broker.{key}"] = broker[key]
    return wanted


def _speed(_: click.Context, __: click.Parameter, value: str) -> str:
    if value != "max":
        try:
            if not 0 < float(value) < math.inf:
                raise ValueError
        except ValueError:
            raise click.BadParameter(f"{value!r} is neither a number above 0 nor max") from None
    return value


@verb(implied=implied)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder of the recording.",
)
@click.option(
    "--from",
    "first",
    type=click.DateTime(["%Y-%m-%d"]),
    help="First day to play; earlier days are the warm-up.",
)
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last day to play.")
@click.option("--speed", default="max", callback=_speed, show_default=True, help="Market seconds per second, or max.")
@click.option("--ticks", is_flag=True, help="Play recorded ticks instead of minute bars.")
@click.option("--latency-ms", type=click.IntRange(min=0), default=0, help="Market time from an order to the exchange.")
@click.option("--slippage-bps", type=click.IntRange(min=0), default=0, help="Market orders fill this much worse.")
@click.option("--partial-fills", is_flag=True, help="Orders fill in parts.")
@click.option(
    "--json",
    "report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write days, total and trades to this file.",
)
def replay(settings: Settings, report: Path | None, **_: Any) -> None:
    """Play recorded days on paper and sum them up.

    The days before --from are the warm-up of the averages. Nothing is written but the logs and the --json file.
    """
    console = Console(stderr=True)
    played = trio.run(play, settings, console)
    result = {account: summary_of(settings, played, journal) for account, journal in played.journals.items()}
    first = next(iter(result.values()))
    if report is not None:
        shown = first if len(result) == 1 else {"accounts": result}
        report.write_text(json.dumps(shown, indent=1) + "\n")
    for account, summary in result.items():
        show(stdout_console(), account, summary)


async def play(settings: Settings, console: Console) -> Played:
    """Run the tree until the recording is over."""
    effects = Effects(seed=str(settings.market.seed), threads=False)
    records = CountedScans()
    journals = in_memory(settings, effects)
    logs = Logs(
        settings.logs.directory / "replay",
        market_time=True,
        clock_ns=lambda: effects.market.now_ns,
        rotation_mb=settings.logs.rotation_mb,
        keep_days=None,
        console_level="ERROR",
        console=None,
    )

    def ends(code: int, reason: str) -> None:
        logs.close()
        console.print(f"[bold red]{reason}[/]")
        exit_at_once(code)

    tree, feed = plant(
        settings,
        effects,
        journals=journals,
        records=records,
        log=logs.line,
        give_up_process=lambda reason: ends(EXIT_WOULD_NOT_STOP, reason),
        out_of_disk=lambda reason: ends(EXIT_CANNOT_WRITE, reason),
    )
    assert isinstance(feed, RecordedFeed)
    gave_up: PureAlphaError | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            await _watch(feed, tree.playback.ended, effects, console)
            nursery.cancel_scope.cancel()
    except* PureAlphaError as group:
        gave_up = _first(group)
    finally:
        logs.close()
    if gave_up is not None:
        raise gave_up
    return Played(journals=journals, scans=dict(records.scans), days=feed.days)


def _first(group: BaseExceptionGroup[PureAlphaError]) -> PureAlphaError:
    """Why the tree gave up: the innermost error, as it would be without nurseries around it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, PureAlphaError)
    return error


async def _watch(feed: RecordedFeed, ended: trio.Event, effects: Effects, console: Console) -> None:
    """A progress bar over the days until the recording is over."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("playing", total=len(feed.days))
        while not ended.is_set():
            today = ist_date(effects.market.now_ns)
            done = sum(day < today for day in feed.days)
            progress.update(task, completed=done, description=str(today))
            with trio.move_on_after(0.2):
                await ended.wait()
        progress.update(task, completed=len(feed.days))


# --- the report ---------------------------------------------------------------------------------------


def summary_of(settings: Settings, played: Played, journal: JournalReads) -> dict[str, Any]:
    """The JSON report of one account: money in rupees, times in IST; open trades have null exit fields."""
    rungs = sorted(journal.trades(), key=lambda rung: (rung.entry_ns, rung.symbol, rung.number))
    orders = [order for order in journal.orders_since(0) if order.filled]
    charges = charges_by_order(orders, schedules_of(settings))
    by_rung: Counter[tuple[str, int]] = Counter()
    by_day: Counter[date] = Counter()
    for order in orders:
        by_rung[order.ladder, order.rung] += charges[order.client_id].total
        by_day[ist_date(order.updated_ns)] += charges[order.client_id].total
    days = [_day(day, rungs, by_day[day], played.scans.get(day, 0)) for day in played.days]
    return {
        "days": days,
        "total": _total(days),
        "trades": [_trade(rung, by_rung[rung.ladder, rung.number]) for rung in rungs],
    }


def _day(day: date, rungs: Sequence[Rung], charges_paise: int, scans: int) -> dict[str, Any]:
    exited = [rung for rung in rungs if rung.exit_ns and ist_date(rung.exit_ns) == day]
    gross = sum(rung.pnl_paise for rung in exited)
    return {
        "date": day.isoformat(),
        "rankings": scans,
        "entries": sum(ist_date(rung.entry_ns) == day for rung in rungs),
        "exits": len(exited),
        "gross": rupees(gross),
        "charges": rupees(charges_paise),
        "net": rupees(gross - charges_paise),
    }


def _total(days: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = {key: sum(day[key] for day in days) for key in ("rankings", "entries", "exits")}
    return counts | {key: round(sum(day[key] for day in days), 2) for key in ("gross", "charges", "net")}


def _trade(rung: Rung, charges_paise: int) -> dict[str, Any]:
    closed = bool(rung.exit_ns)
    return {
        "symbol": rung.symbol,
        "rung": f"P{rung.number}",
        "entry_time": ist_text(rung.entry_ns),
        "entry_price": rupees(half_up(rung.cost_paise, rung.quantity)),
        "qty": rung.quantity,
        "rank": round(rung.rank, 6),
        "exit_time": ist_text(rung.exit_ns) if closed else None,
        "exit_price": rupees(half_up(rung.proceeds_paise, rung.sold)) if closed else None,
        "reason": rung.reason.value if closed and rung.reason else None,
        "gross": rupees(rung.pnl_paise) if closed else None,
        "charges": rupees(charges_paise),
        "net": rupees(rung.pnl_paise - charges_paise) if closed else None,
    }


def show(console: Console, account: str, summary: Mapping[str, Any]) -> None:
    """The days and their sum as a table of at most 80 columns."""
    counts, money = ("rankings", "entries", "exits"), ("gross", "charges", "net")
    table = plain_table(("day",), ("scans", "entries", "exits", *money), title=f"account {account}, in rupees")
    for day in (*summary["days"], {"date": "total", **summary["total"]}):
        paise = {key: round(day[key] * 100) for key in money}
        table.add_row(
            day["date"],
            *(str(day[key]) for key in counts),
            *(Text(grouped(paise[key]), style="" if key == "charges" else colour_of(paise[key])) for key in money),
            style="bold" if day["date"] == "total" else "",
        )
    widen(console, [table]).print(table)
