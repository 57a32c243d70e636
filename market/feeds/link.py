"""One authenticated WebSocket connection to a server of the JSON broker, from its first byte to its end.

Owns what is on the wire at this moment: requests that wait to be sent, requests that wait for their answer, and
the pings. Every request is told exactly once what became of it: an answer, or `Lost`. Never reconnects, never
sends a request twice and knows nothing of orders; kept_link.py makes the next connection, its users decide what an
answer means. Deadlines are machine time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from effects import Effects, machine_s
from market.feeds.link_options import LinkOptions, request_ids
from market.feeds.link_socket import READER_ERRORS, connect, shake_hands, why
from protocol.broker_wire import ErrorCode, GttTriggered, Pong, Refusal, Response, Ticks, decode_message
from protocol.broker_wire_client import BATCH_MAX, encode_batch, encode_request
from protocol.broker_wire_fields import MalformedFrame
from protocol.broker_wire_requests import Auth, Body, Ping, UnknownType
from protocol.broker_wire_rows import OrderReport
from protocol.errors import BrokerUnavailable

WAITING_MAX = 4_096  # requests that were not sent yet

NOT_CONNECTED, LINK_BROKEN, TIMEOUT = "NOT_CONNECTED", "LINK_BROKEN", "TIMEOUT"
UNREADABLE, QUEUE_FULL = "UNREADABLE", "QUEUE_FULL"


@attrs.frozen
class Lost:
    """No answer, or none that can be read. `reached`: whether the server may have carried the request out."""

    reached: bool
    code: str
    message: str


Answer = Response | Refusal | Lost
Heard = Callable[[Answer], None]
# What nobody waits for: updates, answers that come too late, and frames that cannot be read.
Unasked = OrderReport | GttTriggered | Ticks | Response | Refusal | MalformedFrame
Said = Callable[[Unasked], None]


@attrs.define
class Counts:
    """What arrived and could not be used, over all connections of a `KeptLink`."""

    malformed: int = 0
    unknown: int = 0
    late: int = 0


@attrs.frozen
class Ending:
    """Why a connection ended, or was not made. `refused`: the server does not want this api key."""

    reason: str
    refused: bool = False


@attrs.define(eq=False)
class _Asked:
    request_id: str
    body: Body = attrs.field(repr=False)  # AUTH holds the api key
    heard: Heard
    due_s: float
    sent: bool = False


class Link:
    """One connection; `run` it once. `said` hears what was not asked for, in order of arrival."""

    def __init__(self, effects: Effects, options: LinkOptions, rng: Random, said: Said, counts: Counts) -> None:
        self._effects = effects
        self._options = options
        self._rng = rng
        self._said = said
        self._counts = counts
        self._asked: dict[str, _Asked] = {}  # unanswered, by request_id, oldest first
        self._unsent: deque[_Asked] = deque()
        self._ping_due = False
        self._pongs_missed = 0
        self._news = trio.lowlevel.ParkingLot()  # something was asked
        self._ready = False
        self._ending: Ending | None = None
        self._scope = trio.CancelScope()

    # --- asking -------------------------------------------------------------------------------------

    def send(self, requests: Sequence[tuple[Body, Heard]]) -> None:
        """Ask in order, without waiting; what is asked together goes in one frame.

        Each `heard` is called once, never from within this call unless the link is not ready or full.
        """
        for body, heard in requests:
            if not self._ready:
                heard(Lost(False, NOT_CONNECTED, "the connection is down"))
            elif len(self._unsent) >= WAITING_MAX:
                heard(Lost(False, QUEUE_FULL, f"{WAITING_MAX} requests wait for the connection already"))
            else:
                self._ask(body, heard)

    async def ask(self, bodies: Sequence[Body]) -> list[Answer]:
        """Ask together and wait until it is known what became of each."""
        answers: list[Answer | None] = [None] * len(bodies)
        complete = trio.Event()

        def heard_at(place: int) -> Heard:
            def heard(answer: Answer) -> None:
                answers[place] = answer
                if None not in answers:
                    complete.set()

            return heard

        self.send([(body, heard_at(place)) for place, body in enumerate(bodies)])
        if bodies:
            await complete.wait()
        return [answer for answer in answers if answer is not None]

    def end(self, reason: str, *, refused: bool = False) -> None:
        """Give the connection up; the first reason counts. A server's text that repeats our key is cut."""
        if self._ending is None:
            self._ending = Ending(reason.replace(self._options.api_key, "***"), refused)
        self._scope.cancel()

    def _ask(self, body: Body, heard: Heard) -> None:
        asked = _Asked(request_ids(self._rng), body, heard, machine_s() + self._options.request_timeout_s)
        self._asked[asked.request_id] = asked
        self._unsent.append(asked)
        self._news.unpark_all()

    # --- the connection's life ------------------------------------------------------------------------

    async def run(self, ready: Callable[[], None]) -> Ending:
        """Connect, authenticate, say `ready`, and serve until the connection ends, for whatever reason."""
        try:
            stream = await connect(self._effects, self._options.address, self._options.connect_s)
        except BrokerUnavailable as failure:
            return Ending(str(failure))
        try:
            with self._scope:
                await self._serve(stream, ready)
        finally:
            self._ready = False
            self._give_all_up()
            await trio.aclose_forcefully(stream)
        return self._ending or Ending("the connection ended")

    async def _serve(self, stream: trio.abc.Stream, ready: Callable[[], None]) -> None:
        try:
            async with trio.open_nursery() as nursery:
                try:
                    socket = await shake_hands(nursery, stream, self._options.address, self._options.request_timeout_s)
                except BrokerUnavailable as failure:
                    self.end(str(failure))
                    return
                nursery.start_soon(self._write, socket)
                nursery.start_soon(self._read, socket)
                nursery.start_soon(self._give_late_up)
                self._ask(Auth(self._options.api_key), lambda answer: self._authenticated(answer, nursery, ready))
        except* READER_ERRORS as errors:
            reason, refused = why(errors)
            self.end(reason, refused=refused)

    def _authenticated(self, answer: Answer, nursery: trio.Nursery, ready: Callable[[], None]) -> None:
        if isinstance(answer, Response):
            self._ready = True
            nursery.start_soon(self._ping)
            ready()
        elif isinstance(answer, Refusal):
            later = answer.code in (ErrorCode.SERVER_ERROR.value, ErrorCode.RATE_LIMITED.value)
            self.end(f"AUTH refused: {answer.code}: {answer.message}", refused=not later)
        else:
            self.end(f"AUTH: {answer.message}")

    # --- the tasks of a connection --------------------------------------------------------------------

    async def _write(self, socket: WebSocketConnection) -> None:
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()  # what was asked just before the end was not sent
            frame = self._next_frame()
            if frame is None:
                await self._news.park()
                continue
            try:
                await socket.send_message(frame)
            except ConnectionClosed:
                self.end("the connection broke while sending")
                return

    def _next_frame(self) -> str | None:
        """What goes next: a ping, or everything that waits. What is in a frame may have reached the server."""
        now_ns = self._effects.market.now_ns
        if self._ping_due:
            self._ping_due = False
            return encode_request(request_ids(self._rng), Ping(), now_ns)
        together: list[tuple[str, Body]] = []
        while self._unsent and len(together) < BATCH_MAX:
            asked = self._unsent.popleft()
            if asked.request_id in self._asked:  # not given up meanwhile
                asked.sent = True
                together.append((asked.request_id, asked.body))
        if not together:
            return None
        if len(together) == 1:
            return encode_request(*together[0], now_ns)
        return encode_batch(request_ids(self._rng), together, now_ns)

    async def _read(self, socket: WebSocketConnection) -> None:
        while True:
            try:
                frame = await socket.get_message()
            except ConnectionClosed as closed:
                self.end(f"the server closed the connection{_closing_words(closed)}")
                return
            self._hear(frame)

    async def _ping(self) -> None:
        while True:
            await trio.sleep(self._options.ping_interval_s)
            if self._pongs_missed >= self._options.pongs_missed_max:
                self.end(f"{self._pongs_missed} pings without an answer")
                return
            self._pongs_missed += 1
            self._ping_due = True
            self._news.unpark_all()

    async def _give_late_up(self) -> None:
        """Requests have one deadline, so the oldest is due first."""
        while True:
            if not self._asked:
                await self._news.park()
                continue
            oldest = next(iter(self._asked.values()))
            if oldest.due_s > machine_s():
                await trio.sleep_until(oldest.due_s)
            if oldest.request_id in self._asked:
                text = f"no answer within {self._options.request_timeout_s:g} s"
                self._settle(oldest.request_id, Lost(oldest.sent, TIMEOUT, text))

    # --- hearing ----------------------------------------------------------------------------------------

    def _hear(self, frame: str | bytes) -> None:
        try:
            message = decode_message(frame)
        except MalformedFrame as wrong:
            self._counts.malformed += 1
            if not self._settle(wrong.request_id, Lost(True, UNREADABLE, str(wrong))):
                self._said(wrong)
            return
        if isinstance(message, Pong):
            self._pongs_missed = 0
        elif isinstance(message, UnknownType):
            self._counts.unknown += 1
            self._settle(message.request_id, Lost(True, UNREADABLE, f"an answer of type {message.name[:40]!r}"))
        elif isinstance(message, Response | Refusal):
            if not self._settle(message.request_id, message):
                self._counts.late += 1
                self._said(message)
            if self._ready and isinstance(message, Refusal) and message.code == ErrorCode.NOT_AUTHENTICATED.value:
                self.end("the server has forgotten who we are")
        else:
            self._said(message)

    def _settle(self, request_id: str | None, answer: Answer) -> bool:
        """Tell who asked; False when nobody waits for this answer."""
        asked = None if request_id is None else self._asked.pop(request_id, None)
        if asked is None:
            return False
        asked.heard(answer)
        return True

    def _give_all_up(self) -> None:
        reason = self._ending.reason if self._ending is not None else "the session ended"
        while self._asked:
            asked = self._asked.pop(next(iter(self._asked)))
            asked.heard(Lost(asked.sent, LINK_BROKEN if asked.sent else NOT_CONNECTED, reason))
        self._unsent.clear()


def _closing_words(closed: ConnectionClosed) -> str:
    if closed.reason is None:
        return ""
    return f" ({closed.reason.name}{': ' if closed.reason.reason else ''}{closed.reason.reason or ''})"
