"""The broker actor: one account's connection, kept up.

Runs the session of the account's broker and passes what it says to the order router. Owns no order: whatever is
lost while it is down is made good by the router's reconciliation when the session says READY again.
"""

from __future__ import annotations

import trio

from actors.actor import Actor
from actors.mailbox import Address
from actors.ports import Broker
from protocol.broker import Event, Resync
from protocol.errors import BrokerUnavailable
from protocol.messages import AskSnapshot


class BrokerSession(Actor):
    """`broker:<account>`. A broken session is a crash: the supervisor brings it back with back-off."""

    def __init__(self, address: Address, broker: Broker, router: Address) -> None:
        super().__init__(address)
        self._broker = broker
        self._router = router

    async def recover(self) -> None:
        """Ready with the session begun: a market that waits for its actors must not go on without it."""
        await self.nursery.start(self._session)

    async def _session(self, task_status: trio.TaskStatus[None]) -> None:
        await self._broker.session(self._pass_on, task_status)
        raise BrokerUnavailable(f"{self._broker.traits.name}: the session ended by itself")

    def _pass_on(self, event: Event) -> None:
        self._router.post_or_resync(event, Resync("more updates than the router could take"))

    async def handle(self, message: object) -> object:
        if isinstance(message, AskSnapshot):
            return {"broker": self._broker.traits.name, "state": self._broker.state.value}
        return None
