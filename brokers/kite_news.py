"""News of orders and GTTs: a signal comes, the book is read, what is new is told.

Owns when the books are read between the router's own readings. A postback, on the ticker or over HTTP, is a signal
and never believed by itself: Kite's updates come late, twice and out of order (kite-facts 6). Signals that come
while a reading is under way share the next one. Never decides what news mean.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from brokers.kite_books import KiteBooks
from protocol.broker import Event
from protocol.errors import BrokerUnavailable, RemoteProtocolError
from protocol.kite_errors import KiteFailure

AGAIN_FIRST_S = 1.0
AGAIN_LONGEST_S = 30.0


class KiteNews:
    def __init__(self, books: KiteBooks, post: Callable[[Event], None]) -> None:
        self._books = books
        self._post = post
        self._signal = trio.Event()
        self._gtts = False
        self._reading = False

    @property
    def quiet(self) -> bool:
        """Nothing is being read, and nothing asks for it."""
        return not self._reading and not self._signal.is_set()

    def look(self, *, gtts: bool = False) -> None:
        """Something may have changed; `gtts` too."""
        self._gtts |= gtts
        self._signal.set()

    async def run(self) -> None:
        """Read whenever something asked for it, until cancelled. A reading that fails is tried again."""
        again_s = AGAIN_FIRST_S
        while True:
            await self._signal.wait()
            self._signal, self._reading = trio.Event(), True
            gtts, self._gtts = self._gtts, False
            try:
                news = await self._books.news(with_gtts=gtts)
            except (BrokerUnavailable, KiteFailure, RemoteProtocolError):
                # The router's own readings say aloud what is wrong; this one only comes again.
                self.look(gtts=gtts)
                await trio.sleep(again_s)
                again_s = min(2 * again_s, AGAIN_LONGEST_S)
                continue
            finally:
                self._reading = False
            again_s = AGAIN_FIRST_S
            for event in news:
                self._post(event)
