"""What the journal answers: to the router at recovery, to positions, to commands and the gateway.

Owns the queries. Changes nothing, so it also serves a process that only reads while another one trades.
Recovery looks at the few rows that are alive, through indices, however many trades are closed.
"""

from __future__ import annotations

from protocol.journal import EventRow
from protocol.orders import Gtt, Order
from protocol.rungs import Rung
from store.rows import (
    EVENT_COLUMNS,
    GTT_COLUMNS,
    ORDER_COLUMNS,
    RUNG_COLUMNS,
    gtt_of,
    order_of,
    rung_of,
)
from store.schema import LIVE_RUNGS, STANDING_GTTS, WORKING_ORDERS
from store.sqlite_file import SqliteFile

LIVE_RUNGS_OF_ALL = (
    f"SELECT {RUNG_COLUMNS} FROM trades WHERE ladder IN (SELECT ladder FROM trades WHERE {LIVE_RUNGS}"
    " UNION SELECT ladder FROM trades WHERE exit_ns >= ? AND exit_ns > 0)"
    " ORDER BY symbol, ladder, position_number, trade_id"
)
# The plus keeps SQLite from walking through everything the symbol ever traded: few rungs exited lately.
LIVE_RUNGS_OF_SYMBOL = (
    f"SELECT {RUNG_COLUMNS} FROM trades WHERE ladder IN"
    f" (SELECT ladder FROM trades INDEXED BY trades_live WHERE symbol = ? AND {LIVE_RUNGS}"
    " UNION SELECT ladder FROM trades WHERE exit_ns >= ? AND exit_ns > 0 AND +symbol = ?)"
    " ORDER BY ladder, position_number, trade_id"
)
WORKING = f"SELECT {ORDER_COLUMNS} FROM orders WHERE {WORKING_ORDERS} ORDER BY created_ns, client_id"
ENTRIES = f"SELECT {ORDER_COLUMNS} FROM orders WHERE ladder = ? AND purpose = 'entry' ORDER BY created_ns, client_id"
SINCE = f"SELECT {ORDER_COLUMNS} FROM orders WHERE updated_ns >= ? ORDER BY updated_ns, client_id"
ORDER_BY_KEY = f"SELECT {ORDER_COLUMNS} FROM orders WHERE key = ?"
KNOWS_ORDER = "SELECT 1 FROM orders WHERE client_id = ?"
GTT_BY_KEY = f"SELECT {GTT_COLUMNS} FROM gtts WHERE key = ?"
STANDING = f"SELECT {GTT_COLUMNS} FROM gtts WHERE {STANDING_GTTS}"
TRIGGERED_OF_OPEN_RUNGS = (
    f"SELECT ladder, position_number FROM trades INDEXED BY trades_live WHERE {LIVE_RUNGS} AND status = 'OPEN'"
)
LIVE_GTTS = (
    f"{STANDING} UNION SELECT {GTT_COLUMNS} FROM gtts WHERE (ladder, rung) IN ({TRIGGERED_OF_OPEN_RUNGS})"
    " AND state = 'TRIGGERED' ORDER BY created_ns, client_id"
)
EVENTS = f"SELECT seq, {EVENT_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
# Events are written in the order of time but for a step of the clock, so the newest is among the last.
LAST_MARKET_NS = (
    "SELECT MAX(at_ns) FROM (SELECT MAX(updated_ns) AS at_ns FROM orders"
    " UNION ALL SELECT MAX(updated_ns) FROM gtts"
    " UNION ALL SELECT MAX(at_ns) FROM (SELECT at_ns FROM events ORDER BY seq DESC LIMIT 1000))"
)


class JournalReads:
    """The queries on one account's journal. All raise StoreError when SQLite cannot answer."""

    def __init__(self, file: SqliteFile, mode: str) -> None:
        self.file = file
        self.mode = mode

    @property
    def database_id(self) -> str:
        """Four of A-Z and 0-9, drawn when the database was created, restored or rebuilt."""
        return self.meta("database_id") or ""

    @property
    def start_counter(self) -> int:
        """How often the database has been opened for writing."""
        return int(self.meta("start_counter") or 0)

    # --- recovery -------------------------------------------------------------------------------

    def live_rungs(self, cooled_after_ns: int) -> list[Rung]:
        """Every rung of each ladder that has a rung entering or open, or that sold since `cooled_after_ns`.

        By symbol, ladder, number.
        """
        return [rung_of(row) for row in self.file.rows(LIVE_RUNGS_OF_ALL, (cooled_after_ns,))]

    def rungs_of(self, symbol: str, cooled_after_ns: int) -> list[Rung]:
        """live_rungs of one symbol."""
        rows = self.file.rows(LIVE_RUNGS_OF_SYMBOL, (symbol, cooled_after_ns, symbol))
        return [rung_of(row) for row in rows]

    def working_orders(self) -> list[Order]:
        """Orders that may still trade or whose fate is unknown, oldest first."""
        return [order_of(row) for row in self.file.rows(WORKING)]

    def live_gtts(self) -> list[Gtt]:
        """GTTs that may still sell by themselves, and triggered ones of open rungs, oldest first."""
        return [gtt_of(row) for row in self.file.rows(LIVE_GTTS)]

    def entry_orders(self, ladder: str) -> list[Order]:
        """All entry orders of a ladder, oldest first: its attempts."""
        return [order_of(row) for row in self.file.rows(ENTRIES, (ladder,))]

    def order_by_key(self, key: str) -> Order | None:
        found = self.file.rows(ORDER_BY_KEY, (key,))
        return order_of(found[0]) if found else None

    def knows_order(self, client_id: str) -> bool:
        """Whether an order with this client id was ever written, whatever became of it."""
        return bool(self.file.rows(KNOWS_ORDER, (client_id,)))

    def gtt_by_key(self, key: str) -> Gtt | None:
        found = self.file.rows(GTT_BY_KEY, (key,))
        return gtt_of(found[0]) if found else None

    def last_market_ns(self) -> int:
        """The newest moment that an order, a GTT or an event bears, 0 when there is none."""
        return int(self.file.rows(LAST_MARKET_NS)[0][0] or 0)

    # --- books, reports, people -----------------------------------------------------------------

    def orders_since(self, at_ns: int) -> list[Order]:
        """Orders last changed at or after a moment, in the order of their change."""
        return [order_of(row) for row in self.file.rows(SINCE, (at_ns,))]

    def trades(
        self,
        *,
        first_ns: int | None = None,
        last_ns: int | None = None,
        symbol: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[Rung]:
        """Rungs that lived within first_ns .. last_ns, both inclusive, oldest first; `limit` keeps the last.

        A rung lives from the decision to enter to its last sale: a day's answer has what was carried into it.
        """
        wanted = {
            "created_ns <= ?": last_ns,
            f"({LIVE_RUNGS} OR max(created_ns, exit_ns) >= ?)": first_ns,
            "symbol = ?": symbol,
            "status = ?": status,
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        statement = f"SELECT {RUNG_COLUMNS} FROM trades {where} ORDER BY trade_id DESC LIMIT ?"
        rows = self.file.rows(statement, (*given.values(), -1 if limit is None else limit))
        return [rung_of(row) for row in reversed(rows)]

    def events(self, after: int = 0, limit: int = 500) -> list[tuple[int, EventRow]]:
        """The audit log from behind line `after`, at most `limit` lines, each with its number."""
        return [(row[0], EventRow(*row[1:])) for row in self.file.rows(EVENTS, (after, limit))]

    def meta(self, name: str) -> str | None:
        """A named text kept with the journal, None when it was never set."""
        return self.file.meta(name)

    def close(self) -> None:
        self.file.close()
