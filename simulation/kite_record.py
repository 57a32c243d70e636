"""What the Kite server accepted, filled and let in, line by line in a file, and read back after a restart.

Owns the form of the record: JSON lines, each {kind: newest state of one thing}, appended before anybody is told. Never
decides anything. Written and read by kite_exchange.py. A killed process loses nothing the operating system had; a
last line that was cut off is left out.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import attrs
from cattrs.preconf.json import make_converter

from protocol.broker import HoldingRow, TradeRow
from simulation.kite_book import GttEntry, OrderEntry

_convert = make_converter()
_convert.register_unstructure_hook(Decimal, str)
_convert.register_structure_hook(Decimal, lambda text, _: Decimal(text))


@attrs.define
class Remembered:
    """The state of the newest day on record."""

    run: int = 0
    at_ns: int = 0
    cash_paise: int | None = None
    holdings: list[HoldingRow] = attrs.field(factory=list)
    orders: dict[str, OrderEntry] = attrs.field(factory=dict)
    trades: list[TradeRow] = attrs.field(factory=list)
    gtts: dict[int, GttEntry] = attrs.field(factory=dict)
    access_token: str = ""
    login_ns: int = 0


class Record:
    """`path` None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _cut_off_half_a_line(path)
            self._file = path.open("a", encoding="utf-8")

    def began(self, run: int, at_ns: int) -> None:
        self._write("run", {"run": run, "at_ns": at_ns})

    def day(self, at_ns: int, cash_paise: int | None, holdings: tuple[HoldingRow, ...]) -> None:
        rows = [_convert.unstructure(row) for row in holdings]
        self._write("day", {"at_ns": at_ns, "cash_paise": cash_paise, "holdings": rows})

    def order(self, entry: OrderEntry) -> None:
        self._write("order", _convert.unstructure(entry) | {"history": []})

    def trade(self, trade: TradeRow) -> None:
        self._write("trade", _convert.unstructure(trade))

    def gtt(self, entry: GttEntry) -> None:
        child = entry.child.order_id if entry.child is not None else None
        self._write("gtt", _convert.unstructure(attrs.evolve(entry, child=None)) | {"child_id": child})

    def login(self, access_token: str, login_ns: int) -> None:
        self._write("login", {"access_token": access_token, "login_ns": login_ns})

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, kind: str, fields: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps({kind: fields}) + "\n")
            self._file.flush()


def _cut_off_half_a_line(path: Path) -> None:
    """A process that died while it wrote leaves half a line, to which nothing may be appended."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            path.write_bytes(content[:whole])


def remembered(path: Path | None) -> Remembered:
    """What a record says; of one that is not there, nothing. Raises ValueError naming a line that is wrong."""
    found = Remembered()
    if path is None or not path.exists():
        return found
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            _recall(found, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as wrong:
            if number < len(lines):
                raise ValueError(f"{path}:{number} is no line of a record: {wrong}") from None
    return found


def _recall(found: Remembered, line: dict[str, Any]) -> None:
    ((kind, fields),) = line.items()
    if kind == "run":
        found.run, found.at_ns = fields["run"], max(found.at_ns, fields["at_ns"])
    elif kind == "day":
        found.at_ns, found.cash_paise = fields["at_ns"], fields["cash_paise"]
        found.holdings = [_convert.structure(row, HoldingRow) for row in fields["holdings"]]
        found.orders.clear()
        found.trades.clear()
    elif kind == "order":
        entry = _convert.structure(fields, OrderEntry)
        found.orders[entry.order_id] = entry
        found.at_ns = max(found.at_ns, entry.update.at_ns)
    elif kind == "trade":
        found.trades.append(_convert.structure(fields, TradeRow))
    elif kind == "gtt":
        child = found.orders.get(fields.pop("child_id"))
        gtt = _convert.structure(fields, GttEntry)
        gtt.child = child
        found.gtts[gtt.trigger_id] = gtt
    else:
        found.access_token, found.login_ns = fields["access_token"], fields["login_ns"]
