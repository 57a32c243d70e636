"""`trades`: the rungs of the journal, as a table for people or as CSV with the columns of the `trades` table.

Reads the journal only, so it works beside the process that trades. Owns which columns are shown, and no
figure.
"""

from __future__ import annotations

import csv
import datetime
import os
import sys
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from commands.amounts import colour_of, grouped
from commands.cli import verb
from commands.journals import bounds_ns, journal_for_reading
from protocol.money import paise_from_rupees, rupee_text
from settings import Settings
from store.journal_reads import JournalReads

# The columns people know, in their order (architecture.md, "What is kept for the owner's habits").
COLUMNS = (
    "trade_id", "symbol", "entry_time", "entry_price", "qty", "stop_loss", "target", "position_number",
    "status", "exit_time", "exit_price", "pnl", "highest_price_since_entry", "gtt_id", "execution_mode",
    "rank_gm_at_entry", "order_id", "central_trade_id", "created_at",
)  # fmt: skip
_ROWS = f"SELECT reason, {', '.join(COLUMNS)} FROM trades ORDER BY trade_id"

Row = Mapping[str, object]


@verb()
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout, with the columns of the trades table.")
@click.option("--symbol", metavar="SYMBOL", help="Only this symbol.")
@click.option("--open/--closed", "is_open", default=None, help="Only rungs that are open, or that are closed.")
@click.option("--account", metavar="ID", help="The account; without it, the first of the settings.")
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Only rungs that lived on this day: bought, held or sold.",
)
def trades(
    settings: Settings,
    as_csv: bool,
    symbol: str | None,
    is_open: bool | None,
    account: str | None,
    day: datetime.datetime | None,
) -> None:
    """List the trades of the journal, the oldest first; one line is one rung of a ladder.

    PnL is gross of charges; `report` shows both. Prices are rupees, times IST.
    """
    with journal_for_reading(settings, account) as journal:
        rows = rows_of(journal, symbol=symbol, is_open=is_open, day=day.date() if day else None)
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([row[column] for column in COLUMNS] for row in rows)
    else:
        console = Console(width=None if os.isatty(1) else 100, highlight=False)
        console.print(_table(rows))
        console.print(_sums(rows))


def rows_of(journal: JournalReads, *, symbol: str | None, is_open: bool | None, day: datetime.date | None) -> list[Row]:
    """The rows of the trades table that were asked for, as they are stored: rupees and IST text."""
    first_ns, last_ns = bounds_ns(day) if day else (None, None)
    status = None if is_open is None else "OPEN" if is_open else "CLOSED"
    wanted = {
        rung.trade_id
        for rung in journal.trades(
            first_ns=first_ns, last_ns=last_ns, symbol=symbol.upper() if symbol else None, status=status
        )
    }
    rows = (dict(zip(("reason", *COLUMNS), row, strict=True)) for row in journal.file.rows(_ROWS))
    return [row for row in rows if row["trade_id"] in wanted]


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("id", "symbol", "", "qty", "bought", "at", "sold", "at", "pnl", ""):
        right = heading in ("id", "qty", "at", "pnl")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        pnl = _paise(row["pnl"])
        ended = row["reason"] if row["status"] == "CLOSED" else row["status"]
        table.add_row(
            str(row["trade_id"]),
            str(row["symbol"]),
            f"P{row['position_number']}",
            str(row["qty"]),
            _minute(row["entry_time"]),
            _price(row["entry_price"]),
            _minute(row["exit_time"], row["entry_time"]),
            _price(row["exit_price"]),
            Text("" if pnl is None else grouped(pnl, sign=True), style=colour_of(pnl or 0)),
            str(ended or "").lower().replace("_", "-"),
        )
    return table


def _sums(rows: Sequence[Row]) -> Text:
    gross = sum(_paise(row["pnl"]) or 0 for row in rows)
    counts = {status: sum(row["status"] == status for row in rows) for status in ("OPEN", "CLOSED")}
    return Text(
        f"{len(rows)} trades: {counts['OPEN']} open, {counts['CLOSED']} closed, gross {rupee_text(gross, sign=True)}",
        style="bold",
    )


def _paise(rupees: object) -> int | None:
    """What a rupee column holds; SQLite keeps two decimals of rupees exactly enough to be read back."""
    return None if rupees is None else paise_from_rupees(str(rupees))


def _price(rupees: object) -> str:
    paise = _paise(rupees)
    return "" if paise is None else grouped(paise)


def _minute(time: object, reference: object = None) -> str:
    """'11-23 10:15' of a stored time; the day is left out where the reference has the same."""
    text = str(time or "")
    return text[11:16] if reference and text[:10] == str(reference)[:10] else text[5:16]
