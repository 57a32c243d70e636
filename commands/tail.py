"""`tail`: follows the logs, in colour, through rotations and from one day's folder into the next.

Owns reading what others write; writes nothing. Every file is known by its inode, so a file that was given a
number is not read twice, and whichever folder something new appears in, it is shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import click
import trio
from rich.console import Console
from rich.text import Text

from commands.cli import verb
from commands.log_files import KINDS, days_of, files_of
from protocol.errors import PureAlphaError
from settings import Settings

LOOK_AGAIN_S = 0.25
FIRST_BLOCK_BYTES = 1 << 18
STYLES = {"strategy": "green", "orders": "", "trailing": "dim", "access": "blue", "errors": "red"}
_HEAD = re.compile(r"\S+ \S+ (?P<actor>\S+) (?P<event>\S+)")
_KEY = re.compile(r"\b\w+=")
_SYMBOL = re.compile(r"(?<=symbol=)\S+")
_BEGINS = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:")  # an event's first line; further lines belong to it

Wanted = Callable[["Event"], bool]


class NoLogs(PureAlphaError):
    """There is nothing to show."""


@attrs.frozen
class Event:
    """One event as it stands in a log, its further lines included."""

    kind: str
    text: str

    @property
    def time(self) -> str:
        return self.text[:23]


@verb()
@click.argument("logs", nargs=-1, metavar="[LOG]...", type=click.Choice(KINDS))
@click.option("--symbol", metavar="SYMBOL", help="Only events that name this symbol.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=10, show_default=True, help="Old events first.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on with what is written from now on.")
def tail(settings: Settings, logs: tuple[str, ...], symbol: str | None, lines: int, follow: bool) -> None:
    """Follow the logs of the day that was written last, until Ctrl-C.

    LOG is strategy, orders, trailing, access or errors; without one, all of them. Every line is printed as
    it stands in the file, in colour on a terminal. A replay has its logs apart: --set
    logs.directory=logs/replay.
    """
    directory, kinds = settings.logs.directory, logs or KINDS
    wanted = naming(symbol) if symbol else _everything
    console = Console(highlight=False, soft_wrap=True)
    newest = newest_day(directory)
    if newest is None and not follow:
        raise NoLogs(f"no logs in {directory.absolute()}: start with `python -m supervisor`, or set logs.directory")
    reader = Reader(directory, kinds)
    show(console, last_events(newest, kinds, wanted, lines) if newest else ())
    if follow:
        try:
            trio.run(_follow, reader, wanted, console)
        except KeyboardInterrupt:
            return


async def _follow(reader: Reader, wanted: Wanted, console: Console) -> None:
    while True:
        show(console, filter(wanted, reader.read_new()))
        await trio.sleep(LOOK_AGAIN_S)


def show(console: Console, events: Iterable[Event]) -> None:
    for event in events:
        console.print(coloured(event))


def coloured(event: Event) -> Text:
    """The line as it stands in the file; its time, its actor and its keys step back behind what they say."""
    line = Text(event.text, style=STYLES[event.kind])
    head = _HEAD.match(event.text)
    if head:
        line.stylize("dim", 0, head.end("actor"))
        line.stylize("bold", *head.span("event"))
    line.highlight_regex(_KEY, "dim")
    line.highlight_regex(_SYMBOL, "bold")
    return line


def naming(symbol: str) -> Wanted:
    """Events that have the symbol as a word: symbol=SYMBOL, position:SYMBOL, an alert about it."""
    word = re.compile(rf"(?<![\w&-]){re.escape(symbol.upper())}(?![\w&-])")
    return lambda event: word.search(event.text) is not None


def _everything(_: Event) -> bool:
    return True


def newest_day(directory: Path) -> Path | None:
    """The folder that was written last. In a recorded market its date need not be the latest one."""
    days = days_of(directory)
    return max(days, key=lambda day: (_written_ns(day), day.name), default=None)


def _written_ns(day: Path) -> int:
    return max((path.stat().st_mtime_ns for path in day.glob("*.log")), default=0)


def last_events(day: Path, kinds: Sequence[str], wanted: Wanted, count: int) -> list[Event]:
    """The last `count` wanted events of a day, over all kinds, in the order of their time."""
    if not count:
        return []
    found: list[Event] = []
    for kind in kinds:
        of_kind: list[Event] = []
        for path in reversed(files_of(day, kind)):
            of_kind = [*_last_of_file(path, kind, wanted, count - len(of_kind)), *of_kind]
            if len(of_kind) >= count:
                break
        found += of_kind
    return sorted(found, key=lambda event: event.time)[-count:]


def _last_of_file(path: Path, kind: str, wanted: Wanted, count: int) -> list[Event]:
    """Read backwards in growing blocks: a day's file may have 100 MB, and few lines of it are asked for."""
    with path.open("rb") as file:
        size, block = file.seek(0, 2), FIRST_BLOCK_BYTES
        while True:
            start = max(0, size - block)
            file.seek(start)
            data = file.read(size - start)
            if start:
                data = data.partition(b"\n")[2]  # most likely the middle of a line
            found = [event for event in events_of(data, kind) if wanted(event)]
            if start == 0 or len(found) >= count:
                return found[-count:]
            block *= 4


def events_of(data: bytes, kind: str) -> Iterator[Event]:
    """The events in some lines; what comes before the first beginning of one is left out."""
    lines: list[str] = []
    for line in data.decode("utf-8", "replace").rstrip("\n").split("\n"):
        if _BEGINS.match(line):
            if lines:
                yield Event(kind, "\n".join(lines))
            lines = [line]
        elif lines:
            lines.append(line)
    if lines:
        yield Event(kind, "\n".join(lines))


class Reader:
    """What is written to the files of a directory from now on."""

    def __init__(self, directory: Path, kinds: Sequence[str]) -> None:
        self._directory = directory
        self._kinds = kinds
        self._read_to = {inode: size for _, _, inode, size in self._files()}

    def read_new(self) -> list[Event]:
        """Whole lines that were not read before, in the order of their time."""
        found: list[Event] = []
        seen: dict[int, int] = {}
        for kind, path, inode, size in self._files():
            start = self._read_to.get(inode, 0)
            if size < start:
                start = 0  # cut short, or another file with the inode of one that was deleted
            seen[inode] = start
            if size > start:
                data = _whole_lines(path, inode, start)
                seen[inode] = start + len(data)
                found += events_of(data, kind)
        self._read_to = seen
        return sorted(found, key=lambda event: event.time)

    def _files(self) -> Iterator[tuple[str, Path, int, int]]:
        for day in days_of(self._directory):
            for kind in self._kinds:
                for path in files_of(day, kind):
                    try:
                        status = path.stat()
                    except FileNotFoundError:
                        continue
                    yield kind, path, status.st_ino, status.st_size


def _whole_lines(path: Path, inode: int, start: int) -> bytes:
    """What a file has behind `start`, up to its last newline.

    Nothing when the name has just gone to another file: the next look finds it under its new name.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino != inode:
                return b""
            file.seek(start)
            data = file.read()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]
