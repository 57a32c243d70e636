"""An address behind which nobody reads: tests look at what an actor under test said to others."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from actors.mailbox import Address, Gone
from protocol.messages import Wake


class RecordingAddress(Address):
    """Writes down everything that is sent to it, in order; closed, it raises Gone as every address does."""

    def __init__(self, name: str = "elsewhere") -> None:
        super().__init__(name)
        self.posted: list[Any] = []

    def post(self, message: Any) -> None:
        if self.closed:
            raise Gone(f"{self.name} has finished")
        self.posted.append(message)

    def post_latest(self, key: Hashable, message: Any) -> None:
        self.post(message)

    def post_or_resync(self, message: Any, resync: Any) -> None:
        self.post(message)

    def wake(self, last: int, high: int, low: int, at_ns: int) -> None:
        if not self.closed:
            self.posted.append(Wake(last, high, low, at_ns))

    def take(self) -> list[Any]:
        """What was said since the last take."""
        said, self.posted = self.posted, []
        return said
