"""One open SQLite file: its connection, its transactions, its write-ahead log.

Owns when a commit reaches the disk and what SQLite's errors are called here. Knows no table but `meta`. Used
by the journal and market.db. Never creates, moves or copies a file (files.py, backups.py).

Durability: commits go to the write-ahead log without fsync, which survives the death of the process. A
durable transaction syncs the log, which survives a power loss, with everything committed before it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from protocol.errors import StoreError, StoreFull
from store.files import FileLock

PAGE_BYTES = 1024  # a stop move dirties single rows: 10 % less time and a third of the log of 4096
BUSY_TIMEOUT_S = 2.0  # the longest wait for the brief lock of an off-thread checkpoint
COMMITS_BETWEEN_LOOKS = 64  # a look at the log's size costs a system call
IN_MEMORY = ":memory:"

# A full disk is SQLITE_FULL; an exhausted quota is a failed write; the log's index may be what cannot grow.
NO_SPACE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})

Row = tuple[Any, ...]


def store_error(name: str, error: sqlite3.Error | OSError) -> StoreError:
    """What SQLite or the system refused, in our words: StoreFull when there is no room, else StoreError."""
    if isinstance(error, OSError):
        no_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
    else:
        no_space = getattr(error, "sqlite_errorcode", None) in NO_SPACE
    return (StoreFull if no_space else StoreError)(f"{name}: {error}")


@contextmanager
def store_errors(name: str) -> Iterator[None]:
    """Put what SQLite or the system refuses inside the block into our words, with the file's name."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise store_error(name, error) from error


def connect(path: Path | None, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any one thread at a time; None is a database in memory."""
    where = IN_MEMORY if path is None else f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    return sqlite3.connect(where, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Make a connection one for writing: commits go to a write-ahead log and stay there until a checkpoint.

    Raises sqlite3.Error, and StoreError where the file system cannot share memory.
    """
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")  # an existing file keeps its own
    wanted = "memory" if path is None else "wal"
    (mode,) = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()
    if mode != wanted:
        raise StoreError(f"{path}: SQLite's write-ahead log does not work on this file system (it says {mode!r})")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA synchronous=NORMAL")


class SqliteFile:
    """The one connection that writes, or a reading one."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None,
        *,
        wal_limit_bytes: int = 64 << 20,
        lock: FileLock | None = None,
    ) -> None:
        self.connection = connection
        self.path = path
        self.name = path.name if path else IN_MEMORY
        self.commits = 0
        self.synced_bytes = 0  # how much of the log a power loss cannot take
        self.wal_problem = ""  # why the log could not be shortened at the last look; "" when it could
        self._wal = f"{path}-wal" if path else None
        self._wal_limit_bytes = wal_limit_bytes
        self._lock = lock
        self._closed = False
        self._commits_at_look = 0
        self._commits_at_checkpoint = 0
        self._cursor = connection.cursor()
        self.execute = self._cursor.execute  # one cursor for all: making one per statement costs 0.3 µs
        self.transaction = Transaction(self, durable=False)
        self.durable_transaction = Transaction(self, durable=True)

    def rows(self, statement: str, parameters: Row = ()) -> list[Row]:
        """All rows of a query. Raises StoreError."""
        try:
            return self.connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise store_error(self.name, error) from error

    def meta(self, name: str) -> str | None:
        """A named text of this database, None when it was never set."""
        found = self.rows("SELECT value FROM meta WHERE name = ?", (name,))
        return str(found[0][0]) if found else None

    def set_meta(self, name: str, value: str) -> None:
        with self.transaction:
            self.put_meta(name, value)

    def put_meta(self, name: str, value: str) -> None:
        """As set_meta, inside the transaction that the caller has begun."""
        self.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    # --- the write-ahead log --------------------------------------------------------------------

    def committed(self, *, durable: bool) -> None:
        """After each commit. Never raises: what was committed stays committed."""
        self.commits += 1
        if self._wal is None:
            return
        if durable:
            self.synced_bytes = self.wal_bytes()
        if self.commits % COMMITS_BETWEEN_LOOKS == 0 and self.wal_bytes() > self._wal_limit_bytes:
            self.shorten()

    def wal_bytes(self) -> int:
        """The size of the log now; 0 in memory, and where there is none."""
        try:
            return os.stat(self._wal).st_size if self._wal else 0
        except FileNotFoundError:
            return 0

    def shorten(self) -> None:
        """Bring the log into the database and cut it to nothing, here and now.

        Never raises: what stands in the way is left alone and told by `wal_problem`.
        """
        try:
            self.execute("PRAGMA busy_timeout=0")
            busy, _, _ = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            self.wal_problem = str(error)
            return
        finally:
            self.execute(f"PRAGMA busy_timeout={round(BUSY_TIMEOUT_S * 1000)}")
        self.wal_problem = "a reader holds the log" if busy else ""
        if not busy:
            self.synced_bytes = 0
            self._commits_at_checkpoint = self.commits

    def checkpoint(self) -> bool:
        """Bring the log into the database and cut it to nothing, on a connection of its own: for a thread.

        The copying (PASSIVE) lets the writer go on; only the cut holds it for an instant. False when a reader
        or writer was in the way, or there is no log. Raises StoreFull, StoreError.
        """
        if self.path is None:
            return False
        commits = self.commits
        with store_errors(self.name), closing(connect(self.path)) as connection:
            connection.execute("PRAGMA busy_timeout=0")
            busy, in_log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if busy or copied < in_log:
                return False
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            self.synced_bytes = 0
            self._commits_at_checkpoint = commits
        return not busy

    def checkpoint_if_idle(self) -> bool:
        """checkpoint() if nothing was committed since the last call and something since the last checkpoint.

        To be called every few seconds, in a thread: two quiet calls make one checkpoint.
        """
        quiet = self.commits == self._commits_at_look
        self._commits_at_look = self.commits
        return quiet and self.commits != self._commits_at_checkpoint and self.checkpoint()

    def close(self) -> None:
        """Close the file (the last connection brings the log into the database) and let go of its lock.

        A second time does nothing.
        """
        if not self._closed:
            self._closed = True
            self._cursor.close()  # the statement it holds would keep SQLite's side of the connection open
            self.connection.close()
        if self._lock is not None:
            self._lock.release()


class Transaction:
    """`with` it: BEGIN … COMMIT. Any error rolls everything back; SQLite's become StoreFull or StoreError.

    Made once and used again, because it is on the path of every order. Transactions do not nest.
    """

    __slots__ = ("_durable", "_execute", "_file")

    def __init__(self, file: SqliteFile, *, durable: bool) -> None:
        self._file = file
        self._execute = file.execute
        self._durable = durable

    def __enter__(self) -> None:
        try:
            if self._durable:
                self._execute("PRAGMA synchronous=FULL")
            self._execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._end()
            raise store_error(self._file.name, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._execute("COMMIT")
        except sqlite3.Error as refused:
            error = refused
        finally:
            self._end()
        if error is None:
            self._file.committed(durable=self._durable)
        elif isinstance(error, sqlite3.Error):
            raise store_error(self._file.name, error) from error

    def _end(self) -> None:
        """Leave no transaction open, whatever happened: SQLite has often rolled back by itself by now."""
        with store_errors(self._file.name):
            if self._file.connection.in_transaction:
                self._execute("ROLLBACK")
            if self._durable:
                self._execute("PRAGMA synchronous=NORMAL")
