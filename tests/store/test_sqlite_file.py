"""The write-ahead log: brought home when idle or too long, never in the way of a commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import StoreError
from store.journal import Journal
from store.opening import OpenReport, open_for_reading
from store.sqlite_file import COMMITS_BETWEEN_LOOKS, SqliteFile, connect, prepare

Make = Callable[..., Any]
Opener = Callable[..., tuple[Journal, OpenReport]]


def test_the_log_is_cut_when_it_exceeds_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    connection = connect(path)
    prepare(connection, path)
    connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)")
    file = SqliteFile(connection, path, wal_limit_bytes=50_000)
    longest = 0
    for number in range(20 * COMMITS_BETWEEN_LOOKS):
        file.set_meta("n", str(number))
        longest = max(longest, file.wal_bytes())
    assert 50_000 < longest < 50_000 + COMMITS_BETWEEN_LOOKS * 8192
    assert file.meta("n") == str(number)
    assert file.wal_problem == ""
    file.close()


def test_a_reader_in_the_way_of_the_cut_is_left_alone(opener: Opener, an_order: Make) -> None:
    journal, _ = opener()
    journal.write([an_order(1)])
    assert journal.path is not None
    reader = open_for_reading(journal.path.parent, mode="paper")
    reader.file.connection.execute("BEGIN")
    assert reader.orders_since(0) == [an_order(1)]
    journal.write([an_order(2)])

    journal.file.shorten()
    assert journal.file.wal_problem == "a reader holds the log"
    assert not journal.checkpoint()
    assert reader.orders_since(0) == [an_order(1)]

    reader.file.connection.execute("COMMIT")
    assert journal.checkpoint()
    assert journal.file.wal_bytes() == 0
    assert reader.orders_since(0) == [an_order(1), an_order(2)]
    reader.close()


def test_a_checkpoint_runs_in_another_thread_while_writing_goes_on(opener: Opener, an_order: Make) -> None:
    journal, _ = opener()
    cut: list[bool] = []

    def keep_checkpointing() -> None:
        for _ in range(20):
            cut.append(journal.checkpoint())

    thread = threading.Thread(target=keep_checkpointing)
    thread.start()
    for number in range(300):
        journal.write([an_order(number)])
    thread.join()
    assert len(cut) == 20
    assert len(journal.orders_since(0)) == 300
    assert journal.checkpoint()
    assert journal.file.wal_bytes() == 0


def test_an_idle_checkpoint_waits_for_a_quiet_interval_and_is_made_once(opener: Opener, an_order: Make) -> None:
    journal, _ = opener()
    journal.write([an_order(1)])
    assert not journal.checkpoint_if_idle()
    journal.write([an_order(2)])
    assert not journal.checkpoint_if_idle()
    assert journal.checkpoint_if_idle()
    assert journal.file.wal_bytes() == 0
    assert not journal.checkpoint_if_idle()


def test_a_locked_database_is_named_and_the_next_write_works(opener: Opener, an_order: Make) -> None:
    journal, _ = opener(durability="power")
    assert journal.path is not None
    journal.file.connection.execute("PRAGMA busy_timeout=0")
    intruder = sqlite3.connect(journal.path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"momentum_strategy_paper.db: database is locked"):
        journal.write([an_order(1)], before_wire=True)
    intruder.execute("ROLLBACK")
    intruder.close()
    journal.write([an_order(1)])
    assert journal.working_orders() == [an_order(1)]


def test_a_checkpoint_of_a_file_that_is_gone_is_an_error_of_ours(opener: Opener) -> None:
    journal, _ = opener()
    assert journal.path is not None
    away = journal.path.with_name("away.db")
    journal.path.rename(away)
    with pytest.raises(StoreError, match="unable to open"):
        journal.checkpoint()
    away.rename(journal.path)
