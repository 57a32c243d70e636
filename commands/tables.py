"""Tables for a terminal of 80 columns or for a pipe, in which no figure is ever cut.

Pure layout. Used by status, trades, report and replay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

PIPE_COLUMNS = 80
WIDEST = 10_000  # more columns than any table has


def plain_table(words: Iterable[str], figures: Iterable[str], *, title: str = "") -> Table:
    """Columns of words on the left, then of figures on the right, with no lines between them."""
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in words:
        table.add_column(heading, no_wrap=True)
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def stdout_console() -> Console:
    """As wide as the terminal, or 80 columns where there is none."""
    return Console(width=None if os.isatty(1) else PIPE_COLUMNS, highlight=False)


def widen(console: Console, tables: Iterable[Table]) -> Console:
    """The console, wide enough for the tables: a terminal that is narrower wraps, and cuts no figure."""
    options = console.options.update(max_width=WIDEST)
    needed = [Measurement.get(console, options, table).maximum for table in tables]
    console.width = max(console.width, *needed, 0)
    return console
