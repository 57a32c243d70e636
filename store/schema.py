"""The tables of the journal and of market.db, their indices, and the steps that bring a file up to date.

Owns the names and types of columns; rows.py fills them. The number of steps taken stands in SQLite's
user_version. A step is never edited once released: a change is a new step at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from protocol.errors import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database

# What the partial indices are about: the few rows that matter now, among all that ever were.
WORKING_ORDERS = "state IN ('INTENT', 'SENT', 'OPEN', 'PARTIAL', 'UNKNOWN')"
STANDING_GTTS = "state IN ('INTENT', 'ACTIVE', 'UNKNOWN')"
LIVE_RUNGS = "status IN ('ENTERING', 'OPEN')"

# The first nineteen as people know them: rupees, and IST as text. The exact values stand beside them.
TRADES: dict[str, Any] = {
    "trade_id": int,
    "symbol": str,
    "entry_time": str,
    "entry_price": float,
    "qty": int,
    "stop_loss": float,
    "target": float,
    "position_number": int,
    "status": str,
    "exit_time": str,
    "exit_price": float,
    "pnl": float,
    "highest_price_since_entry": float,
    "gtt_id": str,
    "execution_mode": str,
    "rank_gm_at_entry": float,
    "order_id": str,
    "central_trade_id": str,
    "created_at": str,
    "ladder": str,
    "cost_paise": int,
    "sold": int,
    "proceeds_paise": int,
    "entry_ns": int,
    "exit_ns": int,
    "entry_working": int,
    "exit_working": int,
    "protection": str,
    "stop_paise": int,
    "target_paise": int,
    "highest_paise": int,
    "reason": str,
    "attempts": int,
    "retry_ns": int,
    "created_ns": int,
}
TRADES_MAY_BE_EMPTY = frozenset(
    {
        "entry_time",
        "entry_price",
        "stop_loss",
        "target",
        "exit_time",
        "exit_price",
        "pnl",
        "highest_price_since_entry",
        "gtt_id",
        "rank_gm_at_entry",
        "order_id",
        "reason",
    }
)

ORDERS: dict[str, Any] = {
    "client_id": str,
    "key": str,
    "symbol": str,
    "side": str,
    "quantity": int,
    "order_type": str,
    "purpose": str,
    "ladder": str,
    "rung": int,
    "decision_paise": int,
    "created_ns": int,
    "updated_ns": int,
    "limit_paise": int,
    "trigger_paise": int,
    "state": str,
    "broker_id": str,
    "filled": int,
    "value_paise": int,
    "rank": float,
    "reason": str,
    "gtt_client_id": str,
    "message": str,
}
ORDERS_MAY_BE_EMPTY = frozenset({"limit_paise", "trigger_paise", "broker_id", "rank", "reason", "gtt_client_id"})

GTTS: dict[str, Any] = {
    "client_id": str,
    "key": str,
    "symbol": str,
    "quantity": int,
    "stop_trigger_paise": int,
    "stop_limit_paise": int,
    "target_trigger_paise": int,
    "target_limit_paise": int,
    "ladder": str,
    "rung": int,
    "created_ns": int,
    "updated_ns": int,
    "state": str,
    "gtt_id": str,
    "fired": str,
    "message": str,
}
GTTS_MAY_BE_EMPTY = frozenset({"target_trigger_paise", "target_limit_paise", "gtt_id", "fired"})

EVENTS: dict[str, Any] = {
    "seq": int,
    "at_ns": int,
    "actor": str,
    "kind": str,
    "symbol": str,
    "ref": str,
    "body": str,
}
META: dict[str, Any] = {"name": str, "value": str}

CANDLES: dict[str, Any] = {
    "symbol": str,
    "timeframe": str,
    "start_ns": int,
    "open": int,
    "high": int,
    "low": int,
    "close": int,
    "volume": int,
}
SCANS: dict[str, Any] = {"at_ns": int, "symbols": int}
RANKINGS: dict[str, Any] = {"at_ns": int, "symbol": str, "rank_gm": float, "rank_final": float, "note": str}
RANKINGS_MAY_BE_EMPTY = frozenset({"rank_gm", "rank_final"})


def _create(
    database: Database,
    name: str,
    columns: dict[str, Any],
    key: str | tuple[str, ...],
    may_be_empty: frozenset[str] = frozenset(),
) -> None:
    """A strict table: SQLite refuses a price with parts of a paisa instead of keeping it."""
    required = [column for column in columns if column not in may_be_empty]
    database.table(name).create(columns, pk=key, not_null=required, strict=True)


def _journal_tables(database: Database) -> None:
    _create(database, "trades", TRADES, "trade_id", TRADES_MAY_BE_EMPTY)
    trades = database.table("trades")
    trades.create_index(["symbol", "status"], index_name="trades_by_symbol_and_status")
    trades.create_index(["entry_time"], index_name="trades_by_entry_time")
    trades.create_index(["ladder"], index_name="trades_by_ladder")
    database.execute(f"CREATE INDEX trades_live ON trades (symbol, ladder) WHERE {LIVE_RUNGS}")
    database.execute("CREATE INDEX trades_by_exit ON trades (exit_ns) WHERE exit_ns > 0")

    _create(database, "orders", ORDERS, "client_id", ORDERS_MAY_BE_EMPTY)
    orders = database.table("orders")
    orders.create_index(["key"], index_name="orders_by_key", unique=True)
    orders.create_index(["ladder"], index_name="orders_by_ladder")
    orders.create_index(["updated_ns"], index_name="orders_by_update")
    database.execute(f"CREATE INDEX orders_working ON orders (symbol) WHERE {WORKING_ORDERS}")

    _create(database, "gtts", GTTS, "client_id", GTTS_MAY_BE_EMPTY)
    gtts = database.table("gtts")
    gtts.create_index(["key"], index_name="gtts_by_key", unique=True)
    gtts.create_index(["ladder", "rung"], index_name="gtts_by_rung")
    database.execute(f"CREATE INDEX gtts_standing ON gtts (symbol) WHERE {STANDING_GTTS}")

    _create(database, "events", EVENTS, "seq")
    for act in ("UPDATE", "DELETE"):
        database.execute(
            f"CREATE TRIGGER events_no_{act.lower()} BEFORE {act} ON events"
            " BEGIN SELECT RAISE(ABORT, 'events are never changed: the audit log only grows'); END"
        )
    _create(database, "meta", META, "name")


def _market_tables(database: Database) -> None:
    _create(database, "candles", CANDLES, ("symbol", "timeframe", "start_ns"))
    database.table("candles").create_index(["start_ns"], index_name="candles_by_start")
    _create(database, "scans", SCANS, "at_ns")
    _create(database, "rankings", RANKINGS, ("at_ns", "symbol"), RANKINGS_MAY_BE_EMPTY)
    _create(database, "meta", META, "name")


Step = Callable[["Database"], None]
JOURNAL_STEPS: tuple[Step, ...] = (_journal_tables,)
MARKET_STEPS: tuple[Step, ...] = (_market_tables,)


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps the database has taken; 0 is an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, steps: Sequence[Step], name: str) -> None:
    """Take the steps that the database has not taken yet, all of them or none.

    Raises StoreError when the file was written by a newer program, sqlite3.Error when SQLite refuses.
    """
    version = version_of(connection)
    if version > len(steps):
        raise StoreError(
            f"{name}: written by a newer version (schema {version}, this knows {len(steps)}): use that one"
        )
    if version == len(steps):
        return
    from sqlite_utils import Database  # 80 ms, and needed once in the life of a file

    database = Database(connection, recursive_triggers=False, execute_plugins=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[version:]:
            step(database)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
