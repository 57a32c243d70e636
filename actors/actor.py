"""What every actor is: private state, one mailbox, one handler loop; and the loop itself.

`serve` is one incarnation: it builds the actor, lets it recover, reports it ready, and hands it messages
until it has finished or died. A message is acknowledged after its handler returned, so a death in the middle
delivers it again to the next incarnation: handlers are idempotent. Never restarts anything (supervision.py
does) and never decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import trio

from actors.mailbox import Address, Gone


class Actor:
    """The base of every kind of actor. State that must survive a death is in the journal; `recover` rebuilds
    the rest.

    `nursery` is the actor's own: helper tasks started there die with it, and a crash of one is a crash of the
    actor, though not of the message in hand. A handler that sets `finished` is the last: the address is
    closed after it.
    """

    batch: ClassVar[bool] = False
    nursery: trio.Nursery

    def __init__(self, address: Address) -> None:
        self.address = address
        self.finished = False

    async def recover(self) -> None:
        """Rebuild the state. The actor is ready once this returns: usable, not necessarily connected."""

    async def started(self) -> None:
        """Called once, after the actor was reported ready and before its first message."""

    async def handle(self, message: Any) -> Any:
        """One message; what it returns answers a question. An exception kills this incarnation."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it handles {message!r}")

    async def handle_batch(self, messages: list[Any]) -> None:
        """With batch = True: everything that waits, in order of arrival; questions come as Asked."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it handles a batch")


async def serve(
    make: Callable[[Address], Actor],
    address: Address,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """One incarnation: returns when its actor finished or the address is closed, raises what it died of."""
    address.overdue = False
    async with trio.open_nursery() as nursery:
        actor = make(address)
        actor.nursery = nursery
        await actor.recover()
        task_status.started()
        await actor.started()
        try:
            await (_handle_batches if actor.batch else _handle_each)(actor, address)
        except Gone:
            if not address.closed:
                raise  # another's address
        nursery.cancel_scope.cancel()


async def _handle_each(actor: Actor, address: Address) -> None:
    handle = actor.handle
    while not actor.finished:
        message = await address.next()
        try:
            answer = await handle(message)
        except BaseException as error:
            address.crashed(error)
            raise
        address.ack(answer)
    address.close()


async def _handle_batches(actor: Actor, address: Address) -> None:
    while not actor.finished:
        messages = await address.next_batch()
        try:
            await actor.handle_batch(messages)
        except BaseException as error:
            address.crashed(error)
            raise
        address.ack_batch()
    address.close()
