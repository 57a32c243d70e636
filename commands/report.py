"""`report DAY`: what one account bought and sold on a day, what it earned and what that cost.

Owns the tables; the sums are day_report.py's. Reads the journal only, so it works beside the process that
trades.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from commands.amounts import colour_of, grouped
from commands.cli import verb
from commands.day_report import Day, Sale, SymbolDay, day_of, schedules_of, win_rate_text
from commands.journals import account_of, journal_for_reading
from commands.tables import plain_table, stdout_console, widen
from protocol.clock import ist_date, ist_time_text
from protocol.errors import PureAlphaError
from protocol.money import half_up, rupee_text
from protocol.orders import Order
from settings import Settings
from store.journal_reads import JournalReads
from strategy.day import DayStatistics


class EmptyJournal(PureAlphaError):
    """A journal in which nothing has happened has no newest day."""


class NotYet(PureAlphaError):
    """A day that the journal has not come to."""


def _day(_: click.Context, __: click.Parameter, text: str) -> datetime.date | None:
    if text == "today":
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a day such as 2026-11-23 nor the word today") from None


@verb()
@click.argument("day", default="today", callback=_day)
@click.option("--account", metavar="ID", help="The account; without it, the first of the settings.")
def report(settings: Settings, day: datetime.date | None, account: str | None) -> None:
    """Sum up one DAY: YYYY-MM-DD, or `today`, the newest day in the journal.

    Entries, exits, gross, charges, net and win rate, and the same per symbol. Charges are those of the
    settings' schedule in force on the day; days before the first schedule are charged by it. Fails with exit
    code 1 for a day that the journal has not come to.
    """
    with journal_for_reading(settings, account) as journal:
        newest = newest_day(journal)
        if day is not None and day > newest:
            raise NotYet(f"nothing has happened on {day} yet: the journal ends on {newest}")
        told = day_of(journal, day or newest, schedules_of(settings))
    console, parts = stdout_console(), list(parts_of(account_of(settings, account).id, told))
    widen(console, [part for part in parts if isinstance(part, Table)])
    for part in parts:
        console.print(part)


def newest_day(journal: JournalReads) -> datetime.date:
    """The day of the newest thing in the journal. Raises EmptyJournal."""
    newest_ns = journal.last_market_ns()
    if not newest_ns:
        raise EmptyJournal(f"nothing has happened yet in {journal.file.name}")
    return ist_date(newest_ns)


def parts_of(account: str, told: Day) -> Iterator[RenderableType]:
    """The report from top to bottom."""
    yield Text(f"{told.day:%A, %d %B %Y}, account {account}", style="bold")
    yield _sums(told)
    if told.bought:
        yield _bought(told.bought)
    if told.sold:
        yield _sold(told.sold)
    if told.symbols:
        yield _symbols(told.symbols, told.statistics)


def _sums(told: Day) -> Table:
    statistics = told.statistics
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    if not told.bought and not told.sold:
        table.add_row("nothing was traded", "")
    table.add_row("entries", str(statistics.entries))
    table.add_row("exits", str(statistics.trades))
    table.add_row("win rate", win_rate_text(statistics))
    for name, paise in (("gross", statistics.gross_paise), ("charges", statistics.charges_paise)):
        table.add_row(name, rupee_text(paise))
    table.add_row("net", Text(rupee_text(statistics.net_paise), style=colour_of(statistics.net_paise)))
    deployed = sum(rung.deployed_paise for rung in told.held)
    table.add_row("open at the end", f"{len(told.held)} rungs, cost {rupee_text(deployed)}")
    return table


def _bought(orders: Iterable[Order]) -> Table:
    table = plain_table(("time", "symbol", "rung"), ("qty", "price", "rank"), title="\nBought")
    for order in orders:
        rank = "-" if order.rank is None else f"{order.rank:.2f}"
        table.add_row(*_traded(order), rank)
    return table


def _sold(sales: Iterable[Sale]) -> Table:
    table = plain_table(("time", "symbol", "rung"), ("qty", "price", "gross", "reason"), title="\nSold")
    for sale in sales:
        gross = Text(grouped(sale.gross_paise, sign=True), style=colour_of(sale.gross_paise))
        reason = sale.order.reason.value if sale.order.reason else "-"
        table.add_row(*_traded(sale.order), gross, reason)
    return table


def _traded(order: Order) -> tuple[str, str, str, str, str]:
    price = grouped(half_up(order.value_paise, order.filled))
    return ist_time_text(order.updated_ns), order.symbol, f"P{order.rung}", str(order.filled), price


def _symbols(symbols: Iterable[SymbolDay], total: DayStatistics) -> Table:
    figures = ("entries", "exits", "wins", "gross", "charges", "net")
    table = plain_table(("symbol",), figures, title="\nPer symbol")
    for part in symbols:
        table.add_row(part.symbol, *_figures(part.statistics))
    table.add_row("total", *_figures(total), style="bold")
    return table


def _figures(statistics: DayStatistics) -> tuple[str | Text, ...]:
    return (
        str(statistics.entries),
        str(statistics.trades),
        str(statistics.wins),
        grouped(statistics.gross_paise),
        grouped(statistics.charges_paise),
        Text(grouped(statistics.net_paise), style=colour_of(statistics.net_paise)),
    )
