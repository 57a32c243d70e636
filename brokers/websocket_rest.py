"""The HTTP twin of the JSON broker: the same requests, one call each, for when the WebSocket is down.

Owns what an HTTP outcome means: 4xx was certainly not carried out, a connection that was never made neither; a
time-out, a broken connection, 5xx and an unreadable answer leave it open. Never sends a request twice. Called by
WebSocketBroker. Deadlines are machine time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import httpx
import trio

from brokers.http import NOT_SENT
from effects import Effects
from market.feeds.link import LINK_BROKEN, NOT_CONNECTED, QUEUE_FULL, TIMEOUT, UNREADABLE, Answer, Heard, Lost
from market.feeds.link_options import LinkOptions, request_ids
from protocol.broker import Request
from protocol.broker_wire import Refusal, Response, decode_message
from protocol.broker_wire_fields import MalformedFrame
from protocol.broker_wire_requests import Auth, Body, GetMargins, Ping, Read, Subscribe, Unsubscribe
from protocol.broker_wire_rest import rest_call

WAITING_MAX = 1_024
PROBE_PAUSE_S = 1.0  # between two looks whether HTTP works, while nothing does


class RestTwin:
    """Several calls may be under way. The client is the caller's, with base URL and key."""

    def __init__(self, effects: Effects, options: LinkOptions, client: httpx.AsyncClient, rng: Random) -> None:
        self._effects = effects
        self._options = options
        self._client = client
        self._rng = rng

    async def ask(self, body: Request | Read) -> Answer:
        """The answer, or what is known of a request without one. Never raises."""
        if self._client.is_closed:
            return Lost(False, NOT_CONNECTED, "the session ended")
        call = rest_call(body, request_ids(self._rng), self._effects.market.now_ns)
        try:
            with trio.fail_after(self._options.request_timeout_s):
                answer = await self._client.request(call.method, call.target, content=call.content or None)
        except NOT_SENT as failure:
            return Lost(False, NOT_CONNECTED, f"HTTP: {failure}")
        except (trio.TooSlowError, httpx.TimeoutException):
            return Lost(True, TIMEOUT, f"HTTP: no answer within {self._options.request_timeout_s:g} s")
        except httpx.HTTPError as failure:
            return Lost(True, LINK_BROKEN, f"HTTP: {failure}")
        return _meaning(answer)

    async def ask_all(self, bodies: Sequence[Read]) -> list[Answer]:
        """One after the other, up to the first that has no response: then the others are not asked."""
        answers: list[Answer] = []
        for body in bodies:
            answers.append(await self.ask(body))
            if not isinstance(answers[-1], Response):
                break
        return answers


def _meaning(answer: httpx.Response) -> Answer:
    status = answer.status_code
    try:
        message = decode_message(answer.content)
    except MalformedFrame as wrong:
        message, text = None, str(wrong)
    else:
        text = f"an answer of type {type(message).__name__}"
    phrase = answer.reason_phrase or httpx.codes.get_reason_phrase(status)
    if status >= 500:
        return Lost(True, f"HTTP_{status}", message.message if isinstance(message, Refusal) else phrase)
    if isinstance(message, Refusal) and status >= 400:
        return message
    if isinstance(message, Response) and status < 300:
        return message
    if 400 <= status < 500:
        return Refusal(request_id=None, code=f"HTTP_{status}", message=phrase)
    return Lost(True, UNREADABLE, f"HTTP {status}: {text}")


class RestLine:
    """Requests over HTTP in order, one after the other, while the WebSocket is down (`failover`)."""

    def __init__(self, twin: RestTwin) -> None:
        self._twin = twin
        self._waiting: deque[tuple[Body, Heard]] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._open = True

    def send(self, requests: Sequence[tuple[Body, Heard]]) -> None:
        """Ask in order, without waiting; each `heard` is called once."""
        for body, heard in requests:
            if not self._open:
                heard(Lost(False, NOT_CONNECTED, "the connection is down"))
            elif len(self._waiting) >= WAITING_MAX:
                heard(Lost(False, QUEUE_FULL, f"{WAITING_MAX} requests wait already"))
            else:
                self._waiting.append((body, heard))
        self._news.unpark_all()

    def close(self) -> None:
        """Take no more; what was not sent is told so. What is under way ends with its answer."""
        self._open = False
        while self._waiting:
            self._waiting.popleft()[1](Lost(False, NOT_CONNECTED, "the connection is down"))
        self._news.unpark_all()

    async def run(self, broken: Callable[[str], None]) -> None:
        """Send until closed. A call without an answer closes the line: what waits behind it was not sent."""
        while self._open or self._waiting:
            if not self._waiting:
                await self._news.park()
                continue
            body, heard = self._waiting.popleft()
            assert not isinstance(body, Auth | Ping | Subscribe | Unsubscribe), "these exist on a WebSocket only"
            answer: Answer = Lost(True, LINK_BROKEN, "the session ended")
            try:
                answer = await self._twin.ask(body)
            finally:
                heard(answer)
            if isinstance(answer, Lost):
                self.close()
                broken(answer.message)


class Failover:
    """Takes orders over HTTP while the WebSocket is missed and HTTP answers: then `line` is there.

    `up` and `down(reason)` are told when it comes and breaks, `heard` of every answer to a probe.
    """

    def __init__(
        self,
        twin: RestTwin,
        *,
        up: Callable[[], None],
        down: Callable[[str], None],
        heard: Callable[[Answer], None],
    ) -> None:
        self.line: RestLine | None = None
        self._twin = twin
        self._up = up
        self._down = down
        self._heard = heard
        self._wanted = False
        self._news = trio.lowlevel.ParkingLot()

    def want(self, wanted: bool) -> None:
        """Whether the WebSocket is missed. Once it is not, what waits for HTTP is told that it was not sent: the
        router looks at each again.
        """
        self._wanted = wanted
        line = self.line
        if not wanted and line is not None:
            self.line = None
            line.close()
        self._news.unpark_all()

    async def run(self) -> None:
        """Look whether HTTP works while it is wanted, and send over it, until cancelled."""
        while True:
            if not self._wanted:
                await self._news.park()
                continue
            answer = await self._twin.ask(GetMargins())
            self._heard(answer)
            if self._wanted and isinstance(answer, Response):
                line = self.line = RestLine(self._twin)
                self._up()
                await line.run(partial(self._broken, line))
            with trio.move_on_after(PROBE_PAUSE_S):
                await self._news.park()

    def _broken(self, line: RestLine, reason: str) -> None:
        if self.line is line:
            self.line = None
            self._down(reason)
