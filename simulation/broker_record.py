"""A broker server's own record: an append-only file of JSON lines that outlives its death.

Owns the file and its durability: `commit` returns when the lines are on the disk, so whatever was answered is
known after a kill. Never interprets a line. Lines, in the wire's own words (broker.schema.json):

    {"start": 3, "at": time}                        the server started for the third time
    {"day": "2026-01-05", "at": time}               a trading day began
    {"now": time, "prices": {symbol: rupees}}       the market came so far, with these new last prices
    {"account": name, "order": row}                 an order as it became
    {"account": name, "gtt": row}                   a GTT as it became
    {"account": name, "trade": row}                 one fill

Written by the server's exchange, read by it at start and by tests that compare a journal with the truth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from protocol.broker_wire_fields import Json


class RecordError(Exception):
    """A record that cannot be read or written; the text names file and line."""


class Record:
    """The record of one server. Without a path it is kept nowhere: a server in a test that never dies."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._file = -1
        self._whole = 0  # bytes of whole lines found when the file was read

    def read(self) -> Iterator[Json]:
        """Every line from the beginning; one that was torn by a kill is not counted. Raises RecordError."""
        if self._path is None or not self._path.exists():
            return
        try:
            data = self._path.read_bytes()
        except OSError as failure:
            raise RecordError(f"{self._path} cannot be read: {failure.strerror}") from None
        self._whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[: self._whole].splitlines(), 1):
            try:
                value = msgspec.json.decode(line)
            except msgspec.DecodeError as wrong:
                raise RecordError(f"{self._path}:{number}: {wrong}") from None
            if not isinstance(value, dict):
                raise RecordError(f"{self._path}:{number}: a line of a record is a JSON object")
            yield value

    def open(self) -> None:
        """Go on behind the last whole line. Raises RecordError."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.ftruncate(self._file, self._whole)
        except OSError as failure:
            raise RecordError(f"{self._path} cannot be written: {failure.strerror}") from None

    def write(self, line: Json) -> None:
        """One more line of the next commit."""
        if self._path is not None:
            self._lines.append(msgspec.json.encode(line) + b"\n")

    def commit(self, *, sync: bool = True) -> None:
        """All lines written since the last commit, in one piece; `sync` False may lose them with the machine."""
        if not self._lines:
            return
        data = memoryview(b"".join(self._lines))
        self._lines.clear()
        while data:
            data = data[os.write(self._file, data) :]
        if sync:
            os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
