"""A connection to a JSON broker's server that comes back: one link after the other, with pauses between them.

Owns when the next attempt is made (broker-protocol.md, "Connection"): at once, then with growing, random pauses;
a server that refuses the api key several times in a row is asked once a minute, because a person is needed. Never
repeats a request: what a broken link left unanswered its `heard` was told. Used by the market data connection
(websocket.py) and by the WebSocket broker.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from effects import Effects, machine_s
from market.feeds.link import Counts, Link, Said
from market.feeds.link_options import LinkOptions, Pauses


@attrs.frozen
class Down:
    """The connection is not there, and why. `login_needed`: not before a person has done something."""

    reason: str
    login_needed: bool = False


class KeptLink:
    """`link` is the connection while it is up and authenticated, else None. `name` seeds its random source."""

    def __init__(self, effects: Effects, options: LinkOptions, name: str) -> None:
        self.link: Link | None = None
        self.counts = Counts()
        self.connected = 0  # how often, for the health figures
        self._effects = effects
        self._options = options
        self._rng = effects.rng(name)

    async def run(self, *, said: Said, up: Callable[[Link], None], down: Callable[[Down], None]) -> None:
        """Keep a link up until cancelled.

        `up` is told of every link that is ready, `down` of every attempt that failed and every link that ended;
        at that moment all its requests have heard what became of them.
        """
        pauses = Pauses(self._options, self._rng)
        refused = 0
        while True:
            await trio.sleep(self._options.login_pause_s if self._given_up(refused) else pauses.next_s())
            link = Link(self._effects, self._options, self._rng, said, self.counts)
            ready_s: float | None = None

            def ready(link: Link = link) -> None:
                nonlocal ready_s
                ready_s = machine_s()
                self.link = link
                self.connected += 1
                up(link)

            try:
                ending = await link.run(ready)
            finally:
                self.link = None
            if ready_s is not None:
                pauses.lasted(machine_s() - ready_s)
            refused = refused + 1 if ending.refused else 0
            down(Down(ending.reason, self._given_up(refused)))

    def _given_up(self, refused: int) -> bool:
        return refused >= self._options.login_attempts
