"""Wishes that wait until the account trades: while the session is being made and the books are compared.

Owns the queue, which outlives an incarnation of the router, and who may stand in it. Exits and protection never
expire; an entry or a reservation waits at most `entry_ttl`. The newest wish of a kind per rung takes the place of
the one before, so the queue is bounded by the rungs there are.
"""

from __future__ import annotations

from actors.routing.desk import Desk
from protocol.broker import SessionState
from protocol.messages import EnterRung, Reserve, RungRequest

Wish = RungRequest | Reserve


class WaitingRoom:
    """One account's. Nobody waits for a person's login: what may expire is answered at once instead."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def may_wait(self, wish: Wish) -> bool:
        if not isinstance(wish, EnterRung | Reserve):
            return True
        desk = self._desk
        waited_ns = desk.clock.now_ns - wish.at_ns
        return desk.parts.broker.state is not SessionState.LOGIN_NEEDED and waited_ns < desk.parts.timings.entry_ttl_ns

    def keep(self, wish: Wish) -> None:
        desk = self._desk
        if isinstance(wish, Reserve):
            desk.memory.waiting[Reserve, wish.at_ns] = wish
        else:
            desk.memory.waiting[type(wish), wish.symbol, wish.rung] = wish
        if isinstance(wish, EnterRung | Reserve):
            desk.alarm("waiting", wish.at_ns + desk.parts.timings.entry_ttl_ns)

    def leave(self) -> list[Wish]:
        """Everybody, in order of arrival; the room is empty then."""
        waiting = self._desk.memory.waiting
        wishes = [wish for wish in waiting.values() if isinstance(wish, Wish)]
        waiting.clear()
        return wishes
