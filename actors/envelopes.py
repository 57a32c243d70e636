"""What a mailbox's channel carries besides plain messages: questions, and messages settled only when they are
read.

Private to mailbox.py, but for Asked, which a batch handler answers. Knows neither addresses nor actors.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs
import trio

from protocol.errors import PureAlphaError
from protocol.messages import Wake


@attrs.define(eq=False)
class Asked:
    """A question on its way and, in a batch, in the handler's hands: the first `reply` answers it."""

    message: Any
    _answer: Any = attrs.field(default=None, init=False)
    _error: PureAlphaError | None = attrs.field(default=None, init=False)
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)

    def reply(self, value: Any) -> None:
        if not self._answered.is_set():
            self._answer = value
            self._answered.set()

    def fail(self, error: PureAlphaError) -> None:
        """Said by the mailbox: the asker gets this error."""
        if not self._answered.is_set():
            self._error = error
            self._answered.set()

    async def outcome(self) -> Any:
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._answer


class Unopened:
    """What the channel carries in place of a message whose value is settled when it is read."""

    __slots__ = ()

    def opened(self) -> Any:
        raise NotImplementedError


@attrs.define(eq=False)
class Cell(Unopened):
    """A queued message that a newer one with the same key may replace until it is read."""

    key: Hashable
    message: Any
    cells: dict[Hashable, Cell] = attrs.field(repr=False)

    def opened(self) -> Any:
        del self.cells[self.key]
        return self.message


@attrs.define(eq=False)
class WakeSlot(Unopened):
    """The prices since the last look: the newest, the highest, the lowest. Queued at most once at a time."""

    waiting: bool = False
    last_paise: int = 0
    high_paise: int = 0
    low_paise: int = 0
    at_ns: int = 0

    def fill(self, last_paise: int, high_paise: int, low_paise: int, at_ns: int) -> None:
        self.waiting = True
        self.last_paise = last_paise
        self.high_paise = high_paise
        self.low_paise = low_paise
        self.at_ns = at_ns

    def merge(self, last_paise: int, high_paise: int, low_paise: int, at_ns: int) -> None:
        self.last_paise = last_paise
        self.high_paise = max(self.high_paise, high_paise)
        self.low_paise = min(self.low_paise, low_paise)
        self.at_ns = at_ns

    def opened(self) -> Wake:
        self.waiting = False
        return Wake(self.last_paise, self.high_paise, self.low_paise, self.at_ns)
