"""One account's journal: what the router commits before the wire, and updates before a position knows.

Owns writing. The order router is its only caller for that; queries are in journal_reads.py, files and their
opening in opening.py. Each write is one transaction: all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from protocol.errors import StoreError
from protocol.journal import Change, EventRow, StopMoved
from protocol.orders import Gtt, Order
from protocol.rungs import Rung
from store.files import Reserve
from store.journal_reads import JournalReads
from store.rows import (
    INSERT_EVENT,
    MOVE_GTT,
    MOVE_RUNG,
    UPSERT_GTT,
    UPSERT_ORDER,
    UPSERT_RUNG,
    event_row,
    gtt_row,
    order_row,
    rung_row,
    stop_rows,
)
from store.sqlite_file import Row, SqliteFile

DURABILITIES = ("process", "power")


class Journal(JournalReads):
    """The journal open for writing; opening.py makes it."""

    def __init__(
        self, file: SqliteFile, mode: str, *, durability: str = "process", reserve: Reserve | None = None
    ) -> None:
        super().__init__(file, mode)
        self._database_id = super().database_id
        self._start_counter = super().start_counter
        self._before_wire = file.durable_transaction if durability == "power" else file.transaction
        self._reserve = reserve
        (last,) = file.rows("SELECT MAX(trade_id) FROM trades")[0]
        self._last_trade_id: int = last or 0
        self._latest_ns = self.last_market_ns()

    @property
    def database_id(self) -> str:
        """Four of A-Z and 0-9, drawn when the database was created, restored or rebuilt."""
        return self._database_id

    @property
    def start_counter(self) -> int:
        """How often the database has been opened for writing, this time included; no two lives share one."""
        return self._start_counter

    @property
    def path(self) -> Path | None:
        """The database's file; None in memory."""
        return self.file.path

    def next_trade_id(self) -> int:
        """A number that no rung of this journal bears yet; each call gives another."""
        self._last_trade_id += 1
        return self._last_trade_id

    def write(self, changes: Sequence[Change], *, before_wire: bool = False) -> None:
        """Commit all changes in one transaction, in their order. With `before_wire` and durability "power"
        the disk has them when this returns.

        Orders, GTTs and rungs replace what their client id or trade id had; a rung without a trade id (0) has
        no row and is passed over. Raises StoreFull when there is no room, StoreError when SQLite refuses or
        an id or key already belongs to something else; then nothing was written.
        """
        if not changes:
            return
        created_ns = 0
        with self._before_wire if before_wire else self.file.transaction:
            for change in changes:
                if isinstance(change, StopMoved):
                    gtt, rung = stop_rows(change)
                    self._put(MOVE_GTT, gtt, change, "there is no such GTT")
                    self._put(MOVE_RUNG, rung, change, "there is no such trade")
                elif isinstance(change, EventRow):
                    self.file.execute(INSERT_EVENT, event_row(change))
                elif isinstance(change, Order):
                    self._put(UPSERT_ORDER, order_row(change), change, "its key, ladder or symbol was another")
                elif isinstance(change, Gtt):
                    self._put(UPSERT_GTT, gtt_row(change), change, "its key, rung or symbol was another")
                elif isinstance(change, Rung):
                    if change.trade_id:
                        created_ns = created_ns or self._moment(changes)
                        row = rung_row(change, self.mode, created_ns)
                        self._put(UPSERT_RUNG, row, change, "its ladder or symbol was another")
                else:
                    assert_never(change)

    def _put(self, statement: str, row: Row, change: Change, otherwise: str) -> None:
        """Change exactly one row; `otherwise` says what is wrong when there is none to change."""
        if self.file.execute(statement, row).rowcount != 1:
            raise StoreError(f"{self.file.name}: {otherwise}, nothing was written: {change}")

    def _moment(self, changes: Sequence[Change]) -> int:
        """When new rungs of a batch were created: the newest time it tells, never before an earlier batch."""
        for change in changes:
            if isinstance(change, EventRow | StopMoved):
                told_ns = change.at_ns
            elif isinstance(change, Rung):
                told_ns = max(change.entry_ns, change.exit_ns)
            else:
                told_ns = change.updated_ns
            self._latest_ns = max(self._latest_ns, told_ns)
        return self._latest_ns

    def set_meta(self, name: str, value: str) -> None:
        """Keep a named text with the journal, in a transaction of its own."""
        self.file.set_meta(name, value)

    def free_reserve(self) -> None:
        """Give the reserve file's space back to the disk, so that exits can still be written."""
        if self._reserve is not None:
            self._reserve.free()

    def checkpoint(self) -> bool:
        """Bring the log into the database: for a thread, when idle (SqliteFile.checkpoint)."""
        return self.file.checkpoint()

    def checkpoint_if_idle(self) -> bool:
        """checkpoint() when nothing was written since the last call: for a thread, every few seconds."""
        return self.file.checkpoint_if_idle()
