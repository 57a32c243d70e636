"""Copies of databases: made while they are in use, checked, found again, thrown away when old.

Owns the folder `backups/` beside the databases. A copy gets its name only when it is complete, and bears no
database id: restored by the program or by hand, it begins with a new one: no client order id is used twice.
Every function may run in a thread; none reads a clock.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from protocol.clock import DAY_S, MINUTE_NS, NS, from_ist_text
from store.files import private_directory, private_file, stamp
from store.sqlite_file import connect, store_errors

FOLDER = "backups"
STAMP_PATTERN = "[0-9]" * 8 + "-" + "[0-9]" * 6
START_INTERVAL_NS = 60 * MINUTE_NS  # a process that is restarted again and again must not fill the disk
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def damage_of(connection: sqlite3.Connection) -> str | None:
    """What SQLite's quick check finds wrong with the database, None when it is sound.

    Raises sqlite3.Error when the file cannot be read at all, which says nothing about its content.
    """
    try:
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:  # the lowest byte is the primary code
            return str(error)
        raise
    return None if answer == "ok" else str(answer)


def back_up(database: Path, *, now_ns: int, keep_days: int) -> Path:
    """Copy a database, in use or not, to `backups/<name>.<stamp>.db`; drop copies older than `keep_days`.

    The newest copy is always kept. Returns its path. Raises StoreFull, StoreError; then there is no new copy.
    """
    folder = database.parent / FOLDER
    copy = folder / f"{database.stem}.{stamp(now_ns)}.db"
    with store_errors(copy.name):
        private_directory(folder)
        copy_database(database, copy)
        for older in backups_of(database)[1:]:
            if now_ns - taken_ns(older) > keep_days * DAY_S * NS:
                older.unlink()
    return copy


def back_up_at_start(database: Path, *, now_ns: int, keep_days: int) -> Path | None:
    """back_up(), unless the newest copy is less than an hour old: then None."""
    for newest in backups_of(database)[:1]:
        if 0 <= now_ns - taken_ns(newest) < START_INTERVAL_NS:
            return None
    return back_up(database, now_ns=now_ns, keep_days=keep_days)


def backups_of(database: Path) -> list[Path]:
    """The database's copies, newest first."""
    return sorted((database.parent / FOLDER).glob(f"{database.stem}.{STAMP_PATTERN}.db"), reverse=True)


def taken_ns(backup: Path) -> int:
    """When a copy was made, to the second, from its name."""
    day, second = backup.name.split(".")[-2].split("-")
    return from_ist_text(f"{day[:4]}-{day[4:6]}-{day[6:]} {second[:2]}:{second[2:4]}:{second[4:]}")


def newest_good_backup(database: Path) -> Path | None:
    """The newest copy that passes the check; damaged ones are passed over. Raises sqlite3.Error."""
    for backup in backups_of(database):
        connection = connect(backup, read_only=True)
        try:
            if damage_of(connection) is None:
                return backup
        finally:
            connection.close()
    return None


def copy_database(source: Path, target: Path) -> None:
    """Copy by SQLite's online backup, the log's content included. The target appears complete or not at all.

    Raises sqlite3.Error, OSError.
    """
    partial = Path(f"{target}.partial")
    partial.unlink(missing_ok=True)
    private_file(partial)
    try:
        with_source, with_target = connect(source, read_only=True), connect(partial)
        try:
            with_source.backup(with_target)
            with_target.execute("PRAGMA journal_mode=DELETE")  # one file, which needs no log beside it
            with_target.execute("DELETE FROM meta WHERE name = 'database_id'")
        finally:
            with_target.close()
            with_source.close()
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
