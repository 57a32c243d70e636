"""Opening an account's journal or market.db: lock, check, restore, back up, migrate, count the start.

Owns the order of these steps and what a person is told about them. Called when an account starts and by
commands that only read. Reads no clock and draws no chance: both are handed in. May run in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import attrs

from protocol.clock import ist_text
from protocol.errors import StoreError, StoreFull
from store.backups import back_up_at_start, copy_database, damage_of, newest_good_backup, taken_ns
from store.files import (
    DEFAULT_ACCOUNT,
    MARKET_FILE,
    MEGABYTE,
    FileLock,
    Reserve,
    journal_path,
    private_directory,
    private_file,
    set_aside,
    stamp,
)
from store.journal import DURABILITIES, Journal
from store.journal_reads import JournalReads
from store.market_store import MarketStore
from store.schema import JOURNAL_STEPS, MARKET_STEPS, migrate, version_of
from store.sqlite_file import SqliteFile, connect, prepare, store_error, store_errors

BASE_36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DATABASE_ID_LETTERS = 4


class Chance(Protocol):
    """A source of randomness: random.Random has this method."""

    def randrange(self, stop: int, /) -> int: ...


@attrs.frozen(kw_only=True)
class OpenReport:
    """What opening met. `remarks` are sentences for a person, to be said aloud (alert) when there are any."""

    created: bool = False
    set_aside: Path | None = None
    restored_from: Path | None = None
    backup: Path | None = None
    remarks: tuple[str, ...] = ()

    def with_remark(self, remark: str) -> OpenReport:
        return attrs.evolve(self, remarks=(*self.remarks, remark))


def open_journal(
    directory: Path,
    *,
    mode: str,
    chance: Chance,
    now_ns: int,
    account: str = DEFAULT_ACCOUNT,
    durability: str = "process",
    wal_limit_mb: int = 64,
    reserve_mb: int = 32,
    backup_days: int = 14,
) -> tuple[Journal, OpenReport]:
    """Open an account's journal for writing, made new where there is none. `now_ns` (wall clock) names files.

    On a full disk the reserve is given up for it. Raises StoreBusy when another process has the journal,
    StoreFull, StoreError; then nothing stays open or locked.
    """
    if durability not in DURABILITIES:
        raise StoreError(f"durability {durability!r} is neither of {', '.join(DURABILITIES)}")
    path = journal_path(directory, account, mode)
    reserve = Reserve(directory, reserve_mb)

    def opened() -> tuple[SqliteFile, OpenReport]:
        return _open_for_writing(
            path,
            lambda file: _begin_life(file, f"{account}/{mode}", chance),
            now_ns=now_ns,
            wal_limit_mb=wal_limit_mb,
            backup_days=backup_days,
        )

    try:
        file, report = opened()
    except StoreFull as full:
        if not reserve.free():
            raise
        file, report = opened()
        report = report.with_remark(f"{full}; opened after {reserve.path.name} was given back to the disk")
    else:
        try:
            reserve.make()
        except OSError as error:
            refused = store_error(reserve.path.name, error)
            report = report.with_remark(f"no space could be reserved for a full disk: {refused}")
    return Journal(file, mode, durability=durability, reserve=reserve), report


def memory_journal(*, chance: Chance, mode: str = "paper") -> Journal:
    """A journal without a file, for backtests: it dies with the object."""
    file = _open_in_memory()
    _begin_life(file, f"{DEFAULT_ACCOUNT}/{mode}", chance)
    return Journal(file, mode)


def open_for_reading(directory: Path, *, mode: str, account: str = DEFAULT_ACCOUNT) -> JournalReads:
    """An account's journal for commands that only look, while another process may be trading with it.

    Takes no lock and cannot change anything. Raises StoreError when there is none, or one of another version.
    """
    return JournalReads(_open_read_only(journal_path(directory, account, mode), len(JOURNAL_STEPS)), mode)


def open_market_store(
    directory: Path | None, *, now_ns: int = 0, wal_limit_mb: int = 64
) -> tuple[MarketStore, OpenReport]:
    """Open market.db for writing; without a directory it is kept in memory. A corrupt one is set aside and
    begun anew: candles come back from the feed. Raises StoreBusy, StoreFull, StoreError.
    """
    if directory is None:
        file = _open_in_memory()
        migrate(file.connection, MARKET_STEPS, file.name)
        return MarketStore(file), OpenReport(created=True)
    file, report = _open_for_writing(
        directory / MARKET_FILE,
        lambda file: migrate(file.connection, MARKET_STEPS, file.name),
        now_ns=now_ns,
        wal_limit_mb=wal_limit_mb,
        backup_days=None,
    )
    return MarketStore(file), report


def open_market_for_reading(directory: Path) -> MarketStore:
    """market.db for a process that only looks. Raises StoreError where there is none of this version."""
    return MarketStore(_open_read_only(directory / MARKET_FILE, len(MARKET_STEPS)))


# --- the steps ------------------------------------------------------------------------------------


def _open_for_writing(
    path: Path,
    begin: Callable[[SqliteFile], None],
    *,
    now_ns: int,
    wal_limit_mb: int,
    backup_days: int | None,
) -> tuple[SqliteFile, OpenReport]:
    """Lock, check, back up, begin. `backup_days` None: there are no backups, a corrupt file is begun anew."""
    with store_errors(path.name), ExitStack() as undo:
        private_directory(path.parent)
        lock = FileLock(path)
        undo.callback(lock.release)
        report = OpenReport(created=private_file(path))
        connection = connect(path)
        undo.callback(connection.close)
        damage = damage_of(connection)
        if damage is not None:
            report = _replace_damaged(path, damage, now_ns=now_ns, restore=backup_days is not None)
            connection.close()  # only now: closing brings the log into the file, wherever both have gone
            private_file(path)
            connection = connect(path)
            undo.callback(connection.close)
        elif backup_days is not None and not report.created:
            report = _backed_up(path, report, now_ns=now_ns, keep_days=backup_days)
        prepare(connection, path)
        file = SqliteFile(connection, path, wal_limit_bytes=wal_limit_mb * MEGABYTE, lock=lock)
        undo.pop_all()
        undo.callback(file.close)
        begin(file)
        file.shorten()
        undo.pop_all()
        return file, report


def _replace_damaged(path: Path, damage: str, *, now_ns: int, restore: bool) -> OpenReport:
    """Set a corrupt file aside, its newest good backup in its place where there is one."""
    backup = newest_good_backup(path) if restore else None
    replacement = None
    if backup is not None:
        replacement = Path(f"{path}.restored")
        copy_database(backup, replacement)
    aside = set_aside(path, stamp(now_ns), replacement)
    if backup is None:
        outcome = "begun anew, empty" + (": there is no good backup" if restore else "")
    else:
        outcome = f"restored from the backup of {ist_text(taken_ns(backup))}: what came later is not in it"
    remark = f"{path.name} is corrupt ({damage}): set aside as {aside.name}, {outcome}"
    return OpenReport(created=backup is None, set_aside=aside, restored_from=backup, remarks=(remark,))


def _backed_up(path: Path, report: OpenReport, *, now_ns: int, keep_days: int) -> OpenReport:
    """The start's backup. Trading does not depend on it: a failure is told, not raised."""
    try:
        backup = back_up_at_start(path, now_ns=now_ns, keep_days=keep_days)
    except StoreError as error:
        return report.with_remark(f"no backup was made at this start: {error}")
    return attrs.evolve(report, backup=backup)


def _begin_life(file: SqliteFile, owner: str, chance: Chance) -> None:
    """Bring the tables up to date, draw the database id where there is none, count this start, and fsync it.

    Id and counter stand in every client order id: no two lives may ever share both.
    """
    migrate(file.connection, JOURNAL_STEPS, file.name)
    written_by = file.meta("owner") or owner
    if written_by != owner:
        raise StoreError(f"{file.name} is the journal of {written_by}, not of {owner}: move it back to its own name")
    with file.durable_transaction:
        file.put_meta("owner", owner)
        if file.meta("database_id") is None:
            letters = (BASE_36[chance.randrange(len(BASE_36))] for _ in range(DATABASE_ID_LETTERS))
            file.put_meta("database_id", "".join(letters))
        file.put_meta("start_counter", str(int(file.meta("start_counter") or 0) + 1))


def _open_in_memory() -> SqliteFile:
    connection = connect(None)
    prepare(connection, None)
    return SqliteFile(connection, None)


def _open_read_only(path: Path, version: int) -> SqliteFile:
    if not path.exists():
        raise StoreError(f"{path} does not exist: it is made when the account first starts")
    with store_errors(path.name), ExitStack() as undo:
        connection = connect(path, read_only=True)
        undo.callback(connection.close)
        found = version_of(connection)
        if found != version:
            raise StoreError(f"{path.name} has schema {found}, this version reads {version}: start the account once")
        undo.pop_all()
        return SqliteFile(connection, path)
