"""The files around a database: private directories, the lock, setting aside what is corrupt, the reserve.

Owns names, permissions and moves. Opens no database (opening.py does) and reads no clock: instants are handed
in. What the operating system refuses is raised as OSError; opening.py puts it into words.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from protocol.clock import ist_text
from protocol.errors import StoreBusy, StoreError

DEFAULT_ACCOUNT = "main"
MODES = ("paper", "live")
MARKET_FILE = "market.db"
RESERVE_FILE = "reserve.bin"
SIDE_FILES = ("-wal", "-shm")  # what SQLite keeps beside an open database
MEGABYTE = 1 << 20


def journal_path(directory: Path, account: str, mode: str) -> Path:
    """Where an account's journal lies. Raises StoreError for a mode or an account that cannot name a file."""
    if mode not in MODES:
        raise StoreError(f"mode {mode!r} is neither of {', '.join(MODES)}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", account):
        raise StoreError(f"account {account!r} cannot name a file: use letters, digits and -")
    stem = "momentum_strategy" if account == DEFAULT_ACCOUNT else account
    return directory / f"{stem}_{mode}.db"


def stamp(at_ns: int) -> str:
    """An instant as part of a file's name, IST: 20260105-091500. Sorts as time does."""
    return ist_text(at_ns).replace("-", "").replace(":", "").replace(" ", "-")


def private_directory(directory: Path) -> None:
    """Make the directory for this user alone; one that exists keeps its permissions."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def private_file(path: Path) -> bool:
    """Make the file, empty, for this user alone, or set the permissions of the one there is. True when new.

    A database that exists is not opened for this, because closing any descriptor of it drops the locks that
    SQLite holds on it in this process (sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        path.chmod(0o600)
        return False
    return True


class FileLock:
    """`flock` on `<database>.lock`, held while the database is open for writing; it ends with the process."""

    def __init__(self, database: Path) -> None:
        """Take the lock. Raises StoreBusy, naming the process that holds it."""
        path = Path(f"{database}.lock")
        private_file(path)
        self._descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Always as long: on a full disk the block that an earlier process wrote is written again.
            os.pwrite(self._descriptor, f"{os.getpid():<12}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 12, 0).decode(errors="replace").strip() or "(unknown)"
            self.release()
            raise StoreBusy(
                f"{database.name} is in use by process {holder}, which holds {path}: stop that process first"
            ) from None
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back; a second time does nothing. The file stays: two files would be two locks."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def set_aside(database: Path, text: str, replacement: Path | None = None) -> Path:
    """Give a corrupt database and its log the name `<name>.corrupt-<text>`, so that it can still be examined.

    `replacement` takes its place in one step: whenever the process dies, one of the two is there.
    """
    aside = Path(f"{database}.corrupt-{text}")
    number = 1
    while aside.exists():
        number += 1
        aside = Path(f"{database}.corrupt-{text}-{number}")
    for side in SIDE_FILES:
        beside = Path(f"{database}{side}")
        if beside.exists():
            beside.rename(f"{aside}{side}")
    os.link(database, aside)
    if replacement is None:
        database.unlink()
    else:
        os.replace(replacement, database)
    return aside


class Reserve:
    """Space kept on the disk, given back when the disk is full so that exits can still be written."""

    def __init__(self, directory: Path, megabytes: int) -> None:
        self.path = directory / RESERVE_FILE
        self._bytes = megabytes * MEGABYTE

    def make(self) -> None:
        """Bring the file to its size, in blocks that are really allocated. On OSError there is none."""
        if self._bytes == 0 or (self.path.exists() and self.path.stat().st_size == self._bytes):
            return
        private_file(self.path)
        try:
            with self.path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._bytes)
        except OSError:
            self.path.unlink()
            raise

    def free(self) -> bool:
        """Give the space back; False when there was none to give."""
        had = self.path.exists()
        self.path.unlink(missing_ok=True)
        return had
