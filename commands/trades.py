"""`trades`: the rungs of the journal, as a table for people or as CSV with the columns of the `trades` table.

Reads the journal only, so it works beside the process that trades. Owns which columns are shown; charges are
day_report.py's.
"""

from __future__ import annotations

import csv
import datetime
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import click
from rich.table import Table
from rich.text import Text

from commands.amounts import colour_of, grouped
from commands.cli import verb
from commands.day_report import charges_by_order, schedules_of
from commands.journals import bounds_ns, journal_for_reading
from commands.tables import plain_table, stdout_console, widen
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
Charged = Mapping[object, int]  # charges in paise by central_trade_id, of all orders of the rung so far


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
    """List the trades of the journal, the oldest first, by the day they were bought; one line is one rung.

    Net is gross less the charges of the rung's orders. Prices are rupees, times IST; +1 behind the time of a sale
    means one day later. The CSV has the columns of the trades table, whose pnl is gross.
    """
    with journal_for_reading(settings, account) as journal:
        rows = rows_of(journal, symbol=symbol, is_open=is_open, day=day.date() if day else None)
        charges = charges_of(settings, journal, rows)
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([row[column] for column in COLUMNS] for row in rows)
    else:
        table = _table(rows, charges)
        console = widen(stdout_console(), [table])
        console.print(table)
        console.print(_sums(rows, charges))


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


def charges_of(settings: Settings, journal: JournalReads, rows: Sequence[Row]) -> Charged:
    """What the rungs have cost in charges, whichever days they were bought and sold on."""
    if not rows:
        return {}
    first_ns, _ = bounds_ns(min(_day(row["created_at"]) for row in rows))
    orders = journal.orders_since(first_ns)
    charges: Counter[object] = Counter()
    by_order = charges_by_order(orders, schedules_of(settings))
    for order in orders:
        if order.filled:
            charges[f"{order.ladder}:{order.rung}"] += by_order[order.client_id].total
    return charges


def _table(rows: Sequence[Row], charges: Charged) -> Table:
    table = plain_table((), ())
    table.padding = (0, 1, 0, 0)
    for heading in ("symbol", "", "qty", "bought", "at", "sold", "at", "gross", "net", ""):
        right = heading in ("qty", "at", "gross", "net")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    shown: datetime.date | None = None
    for row in rows:
        day = _day(row["entry_time"] or row["created_at"])
        if day != shown:
            shown = day
            table.add_row(Text(f"{day:%d %b %Y}", style="bold"))
        gross = _paise(row["pnl"])
        net = None if gross is None else gross - charges.get(row["central_trade_id"], 0)
        ended = row["reason"] if row["status"] == "CLOSED" else row["status"]
        table.add_row(
            str(row["symbol"]),
            f"P{row['position_number']}",
            str(row["qty"]),
            str(row["entry_time"] or "")[11:16],
            _price(row["entry_price"]),
            _sold(row["exit_time"], day),
            _price(row["exit_price"]),
            _gain(gross),
            _gain(net),
            str(ended or "").lower().replace("_", "-"),
        )
    return table


def _sums(rows: Sequence[Row], charges: Charged) -> Text:
    gross = sum(_paise(row["pnl"]) or 0 for row in rows)
    charged = sum(charges.get(row["central_trade_id"], 0) for row in rows)
    counts = {status: sum(row["status"] == status for row in rows) for status in ("OPEN", "CLOSED")}
    return Text(
        f"{len(rows)} trades: {counts['OPEN']} open, {counts['CLOSED']} closed\n"
        f"gross {rupee_text(gross, sign=True)}, charges {rupee_text(charged)}, "
        f"net {rupee_text(gross - charged, sign=True)}",
        style="bold",
    )


def _gain(paise: int | None) -> Text:
    return Text("") if paise is None else Text(grouped(paise, sign=True), style=colour_of(paise))


def _day(time: object) -> datetime.date:
    return datetime.date.fromisoformat(str(time)[:10])


def _paise(rupees: object) -> int | None:
    """What a rupee column holds; SQLite keeps two decimals of rupees exactly enough to be read back."""
    return None if rupees is None else paise_from_rupees(str(rupees))


def _price(rupees: object) -> str:
    paise = _paise(rupees)
    return "" if paise is None else grouped(paise)


def _sold(time: object, bought: datetime.date) -> str:
    """'14:00', or '09:30 +1' where it was sold a day later."""
    if not time:
        return ""
    days = (_day(time) - bought).days
    return str(time)[11:16] + (f" +{days}" if days else "")
