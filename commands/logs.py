"""The logs: `logs/YYYY-MM-DD/{strategy,orders,trailing,access,errors}.log`, and the console.

One line per event: IST with milliseconds, the actor, then its text, key=value. A line of the order path
costs about a microsecond: it is formatted here and kept in memory until flush(), which the owner calls
every second or so; a full buffer, a line of errors.log and the end of a day flush by themselves. Never
raises into trading: what cannot be written is counted, and said once on the console. All else goes through
loguru (system_log.py).

Made by commands/run.py and commands/replay.py; `line` is what the tree gets as its log.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.text import Text

from commands.console_lines import INFO, LEVELS, STYLES, WARNING, Trails, human, level_of
from commands.log_files import KINDS, LogFiles
from commands.log_text import one_event, redact
from commands.system_log import SystemLog
from protocol.clock import NS, ist_date, ist_text, ist_time_text

BUFFER_CHARACTERS_MAX = 65_536
MEGABYTE = 1 << 20
_SHOWN_KINDS = ("strategy", "orders", "trailing", "errors")  # access has nothing above DEBUG


class Logs:
    """All logs of one process, until close()."""

    def __init__(
        self,
        directory: Path,
        *,
        market_time: bool,
        clock_ns: Callable[[], int],
        rotation_mb: int,
        keep_days: int | None,
        console_level: str,
        console: Console | None,
    ) -> None:
        """`clock_ns` gives the time of lines and folders: the market's where `market_time` is true, as in a
        recorded or simulated market, else the system's.

        Days older than the newest `keep_days` are deleted now; None keeps all. Without a console nothing is
        shown.
        """
        self._clock_ns = clock_ns
        self._market_time = market_time
        self._console = console
        self._level = LEVELS[console_level]
        self._shown_kinds = frozenset(KINDS if self._level < LEVELS["INFO"] else _SHOWN_KINDS)
        self._files = LogFiles(directory, rotation_mb * MEGABYTE)
        if keep_days is not None:
            self._files.keep_newest(keep_days)
        self._trails = Trails()
        self._waiting: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._to_show: list[tuple[int, str, str, str]] = []
        self._characters = 0
        self._at_ns = self._second = -1
        self._day = ist_date(0)
        self._second_text = self._stamp = ""
        self._day_shown: date | None = None
        self._lost = 0
        self._losing = False
        self._system = SystemLog(
            directory,
            stamp=self._stamp_now,
            rotation_bytes=rotation_mb * MEGABYTE,
            console_level=console_level,
            show=self._show_system if console is not None else None,
        )

    @property
    def lost(self) -> int:
        """Lines that could not be written so far."""
        return self._lost

    def line(self, kind: str, actor: str, text: str) -> None:
        """One event of the order path. `kind` is one of KINDS; `text` begins with the event's name."""
        at_ns = self._clock_ns()
        if at_ns != self._at_ns:
            self._set_time(at_ns)
        if not text.isprintable():
            text = one_event(text)
        line = f"{self._stamp} {actor} {text}\n"
        self._waiting[kind].append(line)
        self._characters += len(line)
        if self._console is not None and kind in self._shown_kinds:
            self._to_show.append((at_ns, kind, actor, text))
        if kind == "errors" or self._characters > BUFFER_CHARACTERS_MAX:
            self.flush()

    def flush(self) -> None:
        """Bring what waits into the files and onto the console. Never raises."""
        for kind, lines in self._waiting.items():
            if lines:
                self._write(kind, lines)
                lines.clear()
        self._characters = 0
        if self._console is not None:
            shown, self._to_show = self._to_show, []
            for at_ns, kind, actor, text in shown:
                level = level_of(kind, text)
                if kind == "trailing" and self._trails.worth_showing(text):
                    level = INFO
                if level >= self._level:
                    self._print(at_ns, human(actor, redact(text), level))

    def close(self) -> None:
        """Flush and let go of loguru; a second time does nothing."""
        self.flush()
        self._system.close()

    # --- time -----------------------------------------------------------------------------------------

    def _set_time(self, at_ns: int) -> None:
        """The text of an instant, most of it remembered from the line before in the same second."""
        second = at_ns // NS
        if second != self._second:
            day = ist_date(at_ns)
            if day != self._day:
                self.flush()
                self._day = day
            self._second, self._second_text = second, ist_text(at_ns)
        self._at_ns = at_ns
        self._stamp = f"{self._second_text}.{at_ns % NS // 1_000_000:03d}"

    def _stamp_now(self) -> str:
        self._set_time(self._clock_ns())
        return self._stamp

    # --- files ----------------------------------------------------------------------------------------

    def _write(self, kind: str, lines: list[str]) -> None:
        try:
            self._files.append(self._day, kind, redact("".join(lines)))
        except OSError as error:
            self._lost += len(lines)
            if not self._losing:
                self._losing = True
                self._say(f"log lines are lost: {error}")
            return
        if self._losing:
            self._losing = False
            self._say(f"the logs are written again; {self._lost} lines were lost")

    # --- the console ----------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._print(self._clock_ns(), Text(text, style=STYLES[WARNING]))

    def _show_system(self, level: int, text: str) -> None:
        style = STYLES[max((known for known in STYLES if known <= level), default=min(STYLES))]
        self._print(self._clock_ns(), Text(text, style=style))

    def _print(self, at_ns: int, line: Text) -> None:
        """A line with its time; a console that is gone is not used again, and trading goes on."""
        if self._console is None:
            return
        day = ist_date(at_ns)
        try:
            if day != self._day_shown:
                self._day_shown = day
                kind = "market time" if self._market_time else "IST"
                self._console.print(f"{day:%A, %d %B %Y} ({kind})", style="bold", highlight=False)
            timed = Text().append(f"{ist_time_text(at_ns)}  ", style="dim").append_text(line)
            self._console.print(timed, highlight=False, soft_wrap=True)
        except (OSError, ValueError, SystemExit):  # rich turns a broken pipe into SystemExit
            self._console = None
