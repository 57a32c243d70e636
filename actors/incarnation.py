"""One life of a supervised child, from the start of its task to its end.

Owns the child's cancel scope and says whether it got ready, when it was told to end, and what it died of.
Lets no crash out: a death is a message to its supervisor (supervision.py), which alone decides what follows.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable

import trio

from actors.child import ChildSpec, StartFailed
from effects import machine_s


class Incarnation:
    """One life of a child. Serves as the task status through which the child reports itself ready."""

    def __init__(self, spec: ChildSpec, on_ready: Callable[[], None], on_end: Callable[[Incarnation], None]) -> None:
        self.spec = spec
        self.scope = trio.CancelScope()
        self.ready = False
        self.up_since_s = math.inf
        self.decided = trio.Event()  # ready, or ended before that
        self.ended = trio.Event()
        self.crash: BaseException | None = None  # what it died of; None after a normal return or a stop
        self.expected = False  # its supervisor stops it: its end is no death
        self.outstayed = False
        self.let_go_at_s: float | None = None  # when it was told to end
        self._verdict: Exception | None = None  # why, unless its own crash comes first
        self._on_ready = on_ready
        self._on_end = on_end

    def started(self, value: None = None) -> None:
        """Ready. Raises RuntimeError the second time, as Trio's own nurseries do."""
        if self.ready:
            raise RuntimeError(f"{self.spec.name} called started() twice")
        self.ready = True
        self.up_since_s = machine_s()
        self.decided.set()
        self._on_ready()

    def let_go(self, verdict: Exception | None = None) -> None:
        """Cancel it. The first verdict stands: a kill that overtakes a deadline remains a kill."""
        if self.let_go_at_s is None:
            self.let_go_at_s = machine_s()
            self._verdict = verdict
            self.scope.cancel()

    async def live(self) -> None:
        """The whole life, as one task. Only a cancel from outside, or the process's end, gets out."""
        try:
            with self.scope:
                await self.spec.run(self)
            self.crash = self._verdict or self._too_early()
        except BaseException as error:
            cancelled, crash = parted(error)
            if crash is not None and not is_ordinary(crash):
                raise
            self.crash = crash or self._verdict
            if cancelled is not None:
                raise cancelled from None
        finally:
            self.ended.set()
            self.decided.set()
            self._on_end(self)

    def _too_early(self) -> Exception | None:
        if self.ready or self.expected:
            return None
        return StartFailed(f"{self.spec.name} returned before it was ready")


def parted(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """(cancellation, crash) of an error: Trio may deliver both in one group. Groups of one are unwrapped."""
    if not isinstance(error, BaseExceptionGroup):
        return (error, None) if isinstance(error, trio.Cancelled) else (None, error)
    cancelled, crash = error.split(trio.Cancelled)
    while isinstance(crash, BaseExceptionGroup) and len(crash.exceptions) == 1:
        crash = crash.exceptions[0]
    return cancelled, crash


def is_ordinary(crash: BaseException) -> bool:
    """Whether a crash is one that a supervisor deals with: no KeyboardInterrupt, no ProcessMustEnd in it."""
    if isinstance(crash, BaseExceptionGroup):
        return crash.split(Exception)[1] is None
    return isinstance(crash, Exception)


def in_one_line(crash: BaseException) -> str:
    """A crash for a list: 'ValueError: no such symbol', several joined by '; '."""
    if isinstance(crash, BaseExceptionGroup):
        return "; ".join(in_one_line(each) for each in crash.exceptions)
    return " ".join(f"{type(crash).__name__}: {crash}".split())


def in_full(crash: BaseException) -> str:
    """A crash for the log: its line, then the traceback."""
    return in_one_line(crash) + "\n" + "".join(traceback.format_exception(crash))
