"""Log files by date: `<directory>/YYYY-MM-DD/<kind>.log`. Appends, starts new files, deletes old days.

Owns names, sizes and deletion. Formats nothing and keeps nothing open: a file that somebody moves away or
deletes is simply begun anew. logs.py is the only writer; tail.py finds the files by the names given here.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import date
from pathlib import Path

KINDS = ("strategy", "orders", "trailing", "access", "errors")
SYSTEM_FILE = "system.log"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def days_of(directory: Path) -> list[Path]:
    """The folders of days, oldest first; none when there is no such directory."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _DAY.fullmatch(path.name) and path.is_dir())


def files_of(folder: Path, kind: str) -> list[Path]:
    """A kind's files in a day's folder, the earliest first: orders.log.1, orders.log.2, orders.log."""
    numbered = [(number, path) for path in folder.glob(f"{kind}.log.*") if (number := _number(path))]
    current = folder / f"{kind}.log"
    return [path for _, path in sorted(numbered)] + ([current] if current.exists() else [])


def _number(path: Path) -> int:
    suffix = path.suffix[1:]
    return int(suffix) if suffix.isascii() and suffix.isdigit() else 0


class LogFiles:
    """The files of one directory. One that would exceed `rotation_bytes` is continued in a new one."""

    def __init__(self, directory: Path, rotation_bytes: int) -> None:
        self._directory = directory
        self._rotation_bytes = rotation_bytes

    def append(self, day: date, kind: str, text: str) -> None:
        """Write whole lines, all of them or nothing. Raises OSError."""
        data = text.encode("utf-8", "backslashreplace")
        path = self._directory / day.isoformat() / f"{kind}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open(path)
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            if size and size + len(data) > self._rotation_bytes:
                os.close(descriptor)
                descriptor = -1
                _number_next(path)
                descriptor, size = _open(path), 0
            try:
                _write_all(descriptor, data)
            except OSError:
                os.ftruncate(descriptor, size)  # a line torn by a full disk would spoil the one after it
                raise
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def keep_newest(self, days: int) -> None:
        """Delete the log files of all but the newest `days` days, and their folders when they are empty then.

        Counted in days that have logs: the dates of a recorded market say nothing about age.
        """
        for folder in days_of(self._directory)[:-days]:
            with suppress(OSError):  # what cannot be deleted stays; the next start tries again
                for path in [path for kind in KINDS for path in files_of(folder, kind)]:
                    path.unlink()
                folder.rmdir()


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _number_next(path: Path) -> None:
    """Give the full file the next number: orders.log.1 is the day's first, so names sort as time does."""
    numbers = [_number(other) for other in path.parent.glob(f"{path.name}.*")]
    path.rename(f"{path}.{max(numbers, default=0) + 1}")
