"""The address of an actor and the mailbox behind it: send without waiting, handle, then acknowledge.

Owns every message from the moment it is accepted until it has been handled, through any number of deaths of
the actor: a message in hand when its actor dies is given to the next incarnation, so handlers are idempotent.
Counts what is accepted and unacknowledged in the whole tree (InFlight), by which a recorded market waits for
its actors. Never starts a task, never waits to send, never decides about restarts. Actors post here; actor.py
reads; supervision.py looks at the stamp of the message in hand and closes addresses.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Hashable
from typing import Any

import trio

from actors.envelopes import Asked, Cell, Unopened, WakeSlot
from effects import machine_s
from protocol.errors import PureAlphaError

__all__ = ["Address", "AskTimeout", "Asked", "DeadLetters", "Gone", "InFlight", "Refused"]

MESSAGES_MAX = 256  # accepted and unacknowledged, per mailbox; every link is bounded by construction below this
READS_WITHOUT_CHECKPOINT_MAX = 64  # a checkpoint costs ten times a read, and none at all would starve the others
CRASHES_MAX = 3  # of its handler, then a message is a dead letter
_SPARE = 4  # beyond capacity: one wake and one resync waiting, one of each in hand

_RESYNC = object()  # the key of the one resync that may wait unread

DeadLetters = Callable[[str, object, str], None]
"""Called with the address's name, the message, and the traceback of its last crash."""


class Gone(PureAlphaError):
    """The address is closed: its actor has finished for good."""


class AskTimeout(PureAlphaError):
    """No answer within the asker's deadline. The question may still be handled."""


class Refused(PureAlphaError):
    """The question ended among the dead letters."""


class InFlight:
    """How many messages of a tree are accepted and unacknowledged, and who holds the market besides.

    `count` includes the holds; `deferred` counts the mailboxes made with deferred=True (the routers) apart.
    """

    def __init__(self) -> None:
        self.count = 0
        self.deferred = 0
        self.waiting = 0  # tasks in settled() or only_deferred(): without them a count that falls wakes nobody
        self._holders: set[str] = set()
        self._settled = trio.lowlevel.ParkingLot()
        self._only_deferred = trio.lowlevel.ParkingLot()

    def hold(self, who: str) -> None:
        """Keep the count above zero until release(who). A second hold of the same name changes nothing."""
        if who not in self._holders:
            self._holders.add(who)
            self.count += 1

    def release(self, who: str) -> None:
        """End the hold of that name, if there is one."""
        if who in self._holders:
            self._holders.remove(who)
            self.count -= 1
            self.fell()

    async def settled(self) -> None:
        """Until nothing is in flight anywhere. No checkpoint when that is so already."""
        while self.count or self.deferred:
            await self._wait_in(self._settled)

    async def only_deferred(self) -> None:
        """Until nothing but deferred messages is in flight. No checkpoint when that is so already."""
        while self.count:
            await self._wait_in(self._only_deferred)

    def fell(self) -> None:
        """Said by mailboxes after a count fell to zero while somebody was waiting: wakes whom it concerns."""
        if self.count == 0:
            self._only_deferred.unpark_all()
            if self.deferred == 0:
                self._settled.unpark_all()

    async def _wait_in(self, lot: trio.lowlevel.ParkingLot) -> None:
        self.waiting += 1
        try:
            await lot.park()
        finally:
            self.waiting -= 1


class Address:
    """Where one actor is reached, by whichever incarnation of it is alive, and its mailbox.

    The mailbox is a Trio memory channel and the messages in hand. `depth` counts both; `capacity` bounds it,
    and an internal sender that meets the bound is a bug (AssertionError). One wake and one resync fit beyond
    it.
    """

    def __init__(
        self,
        name: str,
        *,
        in_flight: InFlight | None = None,
        capacity: int = MESSAGES_MAX,
        deferred: bool = False,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        assert capacity >= 1, f"{name}: a mailbox of {capacity} messages"
        self.name = name
        self.capacity = capacity
        self.dead_letters = dead_letters
        self.depth = 0
        self.in_hand_since: float | None = None  # machine time, s; None while no message is being handled
        self.overdue = False  # set by the watchdog just before it cancels the handler
        self._in_flight = InFlight() if in_flight is None else in_flight
        self._deferred = deferred
        self._limit = capacity  # 0 once closed: the hot path has one comparison for full and for closed
        self._sender, self._receiver = trio.open_memory_channel[Any](capacity + _SPARE)
        self._put = self._sender.send_nowait
        self._take = self._receiver.receive_nowait
        self._cells: dict[Hashable, Cell] = {}
        self._wake = WakeSlot()
        self._hand: list[Any] = []  # read and not acknowledged, oldest first
        self._given = 0  # how many of these the handler has now
        self._singly = 0  # how many of these belong to a batch that crashed, and are given one at a time
        self._suspected = False  # the batch in hand has crashed once: once more and it is given one at a time
        self._crashes = 0  # of the handler, over the first of these
        self._reads = 0  # since the last checkpoint

    def __repr__(self) -> str:
        return f"<Address {self.name} depth={self.depth}{' closed' if self.closed else ''}>"

    @property
    def closed(self) -> bool:
        return self._limit == 0

    # --- sending -----------------------------------------------------------------------------------------

    def post(self, message: Any) -> None:
        """Accept a message; never waits. Raises Gone when closed; AssertionError when full."""
        if self.depth >= self._limit:
            raise self._no_room(message)
        self._accept(message)

    def post_latest(self, key: Hashable, message: Any) -> None:
        """Replace the unread message of the same key, in its place in the queue; else as post."""
        cell = self._cells.get(key)
        if cell is not None:
            cell.message = message
            return
        cell = Cell(key, message, self._cells)
        self.post(cell)
        self._cells[key] = cell

    def post_or_resync(self, message: Any, resync: Any) -> None:
        """Post for the edges, where the other side sets the pace: one `resync` takes the place of all that
        overflows.

        What is dropped while the resync waits unread is covered by it: whoever handles it reads the whole
        state. Raises Gone when closed.
        """
        if self.depth < self._limit:
            self.post(message)
        elif self.closed:
            raise self._no_room(message)
        elif _RESYNC not in self._cells:
            self._cells[_RESYNC] = cell = Cell(_RESYNC, resync, self._cells)
            self._accept(cell)

    def wake(self, last: int, high: int, low: int, at_ns: int) -> None:
        """Tell the prices since the last look (paise; market ns), merged into a wake that waits unread.

        A wake for a closed address is dropped: the ticker must not fall over an owner that has just left.
        """
        slot = self._wake
        if slot.waiting:
            slot.merge(last, high, low, at_ns)
        elif not self.closed:
            slot.fill(last, high, low, at_ns)
            self._accept(slot)

    async def ask(self, message: Any, timeout_s: float) -> Any:
        """The handler's return value. Machine time. Raises AskTimeout, Gone, or Refused for a dead letter."""
        question = Asked(message)
        self.post(question)
        with trio.move_on_after(timeout_s):
            return await question.outcome()
        raise AskTimeout(f"{self.name} did not answer {_kind(message)} within {timeout_s:g} s")

    def close(self) -> None:
        """No more messages, for good: what waits or is in hand is dropped, and its askers get Gone."""
        if self.closed:
            return
        self._limit = 0
        self._sender.close()
        left, self._hand = self._hand, []
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                left.append(self._take())
        for item in left:
            if isinstance(item, Asked):
                item.fail(Gone(f"{self.name} has finished"))
        self.in_hand_since = None
        self._acknowledged(self.depth)

    def _no_room(self, message: Any) -> Exception:
        if self.closed:
            return Gone(f"{self.name} has finished: {_kind(message)} cannot be delivered")
        return AssertionError(f"the mailbox of {self.name} is full ({self.capacity}) at {_kind(message)}")

    def _accept(self, message: Any) -> None:
        self._put(message)
        self.depth += 1
        if self._deferred:
            self._in_flight.deferred += 1
        else:
            self._in_flight.count += 1

    # --- reading: one actor at a time ----------------------------------------------------------------------

    async def next(self) -> Any:
        """The oldest unacknowledged message, now in hand. Raises Gone when closed.

        Does not wait while messages wait, except for a checkpoint at least every 64 of them.
        """
        hand = self._hand
        if not hand:
            self._reads += 1
            if self.depth and self._reads < READS_WITHOUT_CHECKPOINT_MAX:
                item = self._take()  # with empty hands, whatever depth counts waits in the channel
            else:
                item = await self._wait()
            hand.append(item.opened() if isinstance(item, Unopened) else item)
        self._given = 1
        self.in_hand_since = machine_s()
        item = hand[0]
        return item.message if type(item) is Asked else item

    async def next_batch(self) -> list[Any]:
        """Every unacknowledged message in order of arrival, now in hand; questions as Asked.

        A deferred mailbox is read only once nothing else is in flight, so its batch is complete for the
        instant. A batch that crashed comes again whole, because what is granted may depend on what came together;
        after a second crash its messages come one at a time, so that the guilty one can be told. Raises Gone when
        closed.
        """
        hand = self._hand
        if not hand:
            await self.next()
        if self._deferred:
            self.in_hand_since = None  # waiting for the others is no handling: the watchdog must not count it
            await self._in_flight.only_deferred()
            if self.closed:
                raise Gone(f"{self.name} has finished")
        if self._singly:
            await trio.lowlevel.checkpoint()
            self._given = 1
        else:
            while len(hand) < self.depth:
                item = self._take()
                hand.append(item.opened() if isinstance(item, Unopened) else item)
            self._given = len(hand)
        self.in_hand_since = machine_s()
        return hand[: self._given]

    def ack(self, answer: Any = None) -> None:
        """The message in hand was handled, with this answer if it was a question."""
        self.in_hand_since = None
        if not self._hand:
            return  # closed while it was handled
        item = self._hand.pop(0)
        if type(item) is Asked:
            item.reply(answer)
        self._crashes = 0
        self._acknowledged(1)

    def ack_batch(self) -> None:
        """The batch in hand was handled; its questions may still be answered later."""
        self.in_hand_since = None
        if not self._hand:
            return
        del self._hand[: self._given]
        self._singly = max(0, self._singly - self._given)
        self._suspected = False
        self._crashes = 0
        self._acknowledged(self._given)

    def crashed(self, error: BaseException) -> None:
        """The handler raised over what is in hand, or outlived its deadline. A mere cancel is no crash."""
        self.in_hand_since = None
        if not self._hand or (only_cancelled(error) and not self.overdue):
            return
        if self._given > 1:
            if self._suspected:
                self._singly = self._given
            self._suspected = not self._suspected
            return
        self._crashes += 1
        if self._crashes < CRASHES_MAX:
            return
        item = self._hand[0]
        message = item.message if isinstance(item, Asked) else item
        if isinstance(item, Asked):
            item.fail(Refused(f"dead letter: {self.name} crashed {CRASHES_MAX} times over {_kind(message)}"))
        self.ack_batch()
        if self.dead_letters is not None:
            self.dead_letters(self.name, message, "".join(traceback.format_exception(error)))

    async def _wait(self) -> Any:
        self._reads = 0
        try:
            item = await self._receiver.receive()
        except trio.EndOfChannel:
            raise Gone(f"{self.name} has finished") from None
        if self.closed:  # in the moment between the handing over and our turn to run
            if isinstance(item, Asked):
                item.fail(Gone(f"{self.name} has finished"))
            raise Gone(f"{self.name} has finished")
        return item

    def _acknowledged(self, messages: int) -> None:
        self.depth -= messages
        in_flight = self._in_flight
        if self._deferred:
            left = in_flight.deferred = in_flight.deferred - messages
        else:
            left = in_flight.count = in_flight.count - messages
        if not left and in_flight.waiting:
            in_flight.fell()


def _kind(message: object) -> str:
    """What kind of message this is, for people: not of its envelope."""
    return type(message.message if isinstance(message, Asked | Cell) else message).__name__


def only_cancelled(error: BaseException) -> bool:
    """Whether an error is nothing but cancellation: Trio may deliver a crash with it, in one group."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
