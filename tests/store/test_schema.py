"""The tables as people know them, and steps from one version to the next that happen whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from protocol.errors import StoreError
from protocol.orders import GttState, OrderState
from store import schema
from store.journal import Journal
from store.schema import migrate, version_of

KNOWN_COLUMNS = [
    "trade_id", "symbol", "entry_time", "entry_price", "qty", "stop_loss", "target", "position_number",
    "status", "exit_time", "exit_price", "pnl", "highest_price_since_entry", "gtt_id", "execution_mode",
    "rank_gm_at_entry", "order_id", "central_trade_id", "created_at",
]  # fmt: skip


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    yield made
    made.close()


def first(database: Database) -> None:
    database.table("one").create({"a": int})


def second(database: Database) -> None:
    database.table("one").add_column("b", str)


def broken(database: Database) -> None:
    database.table("three").create({"c": int})
    raise RuntimeError("power off")


def test_the_trades_table_begins_with_the_columns_people_know(journal: Journal) -> None:
    columns = [row[1] for row in journal.file.rows("PRAGMA table_info(trades)")]
    assert columns[: len(KNOWN_COLUMNS)] == KNOWN_COLUMNS


def test_trades_are_indexed_by_symbol_and_status_and_by_entry_time(journal: Journal) -> None:
    found = set()
    for row in journal.file.rows("PRAGMA index_list(trades)"):
        found.add(tuple(column[2] for column in journal.file.rows(f"PRAGMA index_info({row[1]})")))
    assert {("symbol", "status"), ("entry_time",)} <= found


def test_the_partial_indices_name_the_states_that_the_protocol_calls_alive() -> None:
    working = [state.value for state in OrderState if f"'{state.value}'" in schema.WORKING_ORDERS]
    assert working == ["INTENT", "SENT", "OPEN", "PARTIAL", "UNKNOWN"]
    standing = [state.value for state in GttState if f"'{state.value}'" in schema.STANDING_GTTS]
    assert standing == ["INTENT", "ACTIVE", "UNKNOWN"]


def test_steps_are_taken_once(connection: sqlite3.Connection) -> None:
    migrate(connection, (first,), "a.db")
    migrate(connection, (first,), "a.db")
    assert version_of(connection) == 1


def test_an_older_file_takes_only_the_new_steps_and_keeps_its_rows(connection: sqlite3.Connection) -> None:
    migrate(connection, (first,), "a.db")
    connection.execute("INSERT INTO one (a) VALUES (7)")
    migrate(connection, (first, second), "a.db")
    assert version_of(connection) == 2
    assert connection.execute("SELECT a, b FROM one").fetchall() == [(7, None)]


def test_a_migration_that_dies_halfway_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate(connection, (first,), "a.db")
    with pytest.raises(RuntimeError, match="power off"):
        migrate(connection, (first, second, broken), "a.db")
    assert version_of(connection) == 1
    assert [row[0] for row in connection.execute("SELECT sql FROM sqlite_master")] == [
        'CREATE TABLE "one" (\n   "a" INTEGER\n)'
    ]


def test_a_file_from_the_future_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection, (first, second), "a.db")
    with pytest.raises(StoreError, match=r"a.db: written by a newer version \(schema 2, this knows 1\)"):
        migrate(connection, (first,), "a.db")
