"""loguru: start-up, commands, warnings of libraries. Everything that is no line of the order path.

Owns loguru's sinks and the ways into it: the standard library's logging and Python's warnings. Without
`enqueue`, which starts a thread. The order path never comes here: a loguru line costs ten times ours
(architecture.md). Called by logs.py.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from commands.log_files import SYSTEM_FILE
from commands.log_text import one_event, redact

if TYPE_CHECKING:
    from loguru import Message, Record

FILES_KEPT = 10
Stamp = Callable[[], str]
Show = Callable[[int, str], None]


class SystemLog:
    """`<directory>/system.log` and the console, while it is open. One per process: loguru is global."""

    def __init__(
        self, directory: Path, *, stamp: Stamp, rotation_bytes: int, console_level: str, show: Show | None
    ) -> None:
        """`stamp` is the time as the log files write it; `show(level, text)` puts a line on the console."""
        self._stamp = stamp
        logger.remove()
        self._sinks = [
            logger.add(
                directory / SYSTEM_FILE,
                level="DEBUG",
                format=self._line,
                rotation=rotation_bytes,
                retention=FILES_KEPT,
                delay=True,  # opened by the first message: a full disk must not stop the start
                diagnose=False,  # it would print the values of variables, secrets among them
            )
        ]
        if show is not None:
            self._sinks.append(logger.add(_to(show), level=console_level, format=_message))
        self._bridge = _Bridge(level=logging.WARNING)
        logging.getLogger().addHandler(self._bridge)
        logging.captureWarnings(True)

    def close(self) -> None:
        """Undo everything; a second time does nothing."""
        if self._sinks:
            logging.captureWarnings(False)
            logging.getLogger().removeHandler(self._bridge)
        while self._sinks:
            logger.remove(self._sinks.pop())

    def _line(self, record: Record) -> str:
        """One event in the form of the other logs: time, who, severity, text."""
        who = record["extra"].get("actor", record["name"])
        record["extra"]["line"] = (
            f"{self._stamp()} {who} {record['level'].name.lower()} {_text_of(record, traceback_too=True)}"
        )
        return "{extra[line]}\n"


def _message(record: Record) -> str:
    record["extra"]["shown"] = _text_of(record, traceback_too=False)
    return "{extra[shown]}"


def _text_of(record: Record, *, traceback_too: bool) -> str:
    """The message and what was raised, without secrets: loguru's own traceback would not be redacted."""
    text, raised = record["message"], record["exception"]
    if raised is not None:
        said = traceback.format_exception(raised.type, raised.value, raised.traceback)
        text += "\n" + "".join(said) if traceback_too else f": {said[-1].strip()}"
    return one_event(redact(text))


def _to(show: Show) -> Callable[[Message], None]:
    def sink(message: Message) -> None:
        show(message.record["level"].no, str(message))

    return sink


class _Bridge(logging.Handler):
    """What libraries log through the standard library goes to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        level: str | int = record.levelname if record.levelname in logging.getLevelNamesMapping() else record.levelno
        logger.bind(actor=record.name).opt(exception=record.exc_info).log(level, "{}", record.getMessage())
