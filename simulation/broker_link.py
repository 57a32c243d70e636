"""One WebSocket connection of a broker server: who is there, what it subscribed to, what waits to be sent.

Owns the connection's login, its queue of frames and the trouble on its way out (delays, drops, doubles, swaps,
garbage). Requests are answered by broker_desk.py. Made by broker_server.py for every upgrade.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import attrs
import trio
import trio_websocket

from protocol.broker_wire import (
    ErrorCode,
    GttTriggered,
    Message,
    Pong,
    Refusal,
    Response,
    Tick,
    Ticks,
    encode_message,
)
from protocol.broker_wire_client import decode_request
from protocol.broker_wire_fields import MalformedFrame
from protocol.broker_wire_requests import Auth, Batch, ClientRequest, Mode, Ping, Subscribe, UnknownType, Unsubscribe
from simulation.broker_desk import Desk, LineFate
from simulation.broker_market import ServerMarket
from simulation.broker_seat import Update
from simulation.trouble import Trouble

LOGIN_FAILURES_MAX = 3
WAITING_MAX = 10_000  # frames; a client that reads so slowly is cut off, and reads the books when it is back
SWAP_S = 0.05  # how long an update waits for a later one to overtake it
CLOSE_S = 1.0  # how long a client may take to close in order
GARBAGE = '{"type": "ORDER_UPDATE", "order_id": \x00'


@attrs.define
class Counts:
    """What a server heard that it could not use, over all connections."""

    malformed: int = 0
    unknown_types: dict[str, int] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Waiting:
    """A frame to be sent, not before that time by Trio's clock."""

    text: str
    due_s: float


class Link:
    """`publish(account, updates)` tells every connection of an account."""

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        desk: Desk,
        market: ServerMarket,
        trouble: Trouble,
        counts: Counts,
        publish: Callable[[str, Iterable[Update]], None],
    ) -> None:
        self.account: str | None = None
        self._websocket = websocket
        self._desk = desk
        self._market = market
        self._trouble = trouble
        self._counts = counts
        self._publish = publish
        self._scope = trio.CancelScope()
        self._failures = 0
        self._silent = False
        self._closing = False
        self._modes: dict[str, Mode] = {}
        self._waiting: deque[_Waiting] = deque()
        self._overtaken: str | None = None  # an update that waits for the next one to go first
        self._more = trio.Event()

    async def run(self) -> None:
        """Read and write until the client goes away or the connection is cut."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
                nursery.cancel_scope.cancel()

    def cut(self) -> None:
        """End the connection without a word."""
        self._scope.cancel()

    def push(self, update: Update) -> None:
        """An update, through whatever trouble is on."""
        kind = "GTT_TRIGGERED" if isinstance(update, GttTriggered) else "ORDER_UPDATE"
        happens = self._trouble.happens
        if happens("drop_update", kind):
            return
        text = encode_message(update)
        if happens("reorder_update", kind) and self._overtaken is None:
            self._overtaken = text
            self._wake()
            return
        self._queue(text)
        if happens("duplicate_update", kind):
            self._queue(text)

    def push_ticks(self, symbols: Iterable[str]) -> None:
        """The newest prices of those symbols that the client subscribed to."""
        if not self._modes:
            return
        wanted = [symbol for symbol in symbols if symbol in self._modes]
        if wanted and not self._trouble.happens("drop_ticks", "TICKS"):
            self._send(Ticks(self._ticks(wanted)))

    # --- reading ---------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while not self._closing:
                await trio.sleep(self._trouble.span_s("slow_read_ms"))
                if self._silent:
                    await trio.sleep_forever()
                self._hear(await self._websocket.get_message())
            await trio.sleep_forever()  # the writer says the last word
        except trio_websocket.ConnectionClosed:
            self._scope.cancel()

    def _hear(self, frame: str | bytes) -> None:
        heard: ClientRequest | Batch | UnknownType | MalformedFrame
        try:
            heard = decode_request(frame)
        except MalformedFrame as wrong:
            heard = wrong
        members = heard.requests if isinstance(heard, Batch) else (heard,)
        for member in members:
            if self._closing or self._silent:
                return
            if isinstance(member, ClientRequest):
                self._request(member)
            else:
                self._unusable(member)

    def _unusable(self, heard: UnknownType | MalformedFrame) -> None:
        if isinstance(heard, UnknownType):
            self._counts.unknown_types[heard.name] = self._counts.unknown_types.get(heard.name, 0) + 1
            self._refuse(heard.request_id, ErrorCode.UNKNOWN_TYPE, f"this server knows no {heard.name}")
        else:
            self._counts.malformed += 1
            self._refuse(heard.request_id, ErrorCode.MALFORMED, str(heard))

    def _request(self, request: ClientRequest) -> None:
        body, request_id = request.body, request.request_id
        if isinstance(body, (Auth, Ping, Subscribe, Unsubscribe)):
            self._meet(self._desk.line_fate(body))
            if self._closing or self._silent:
                return
        if isinstance(body, Auth):
            self._login(request_id, body)
        elif self.account is None:
            self._login_failed(request_id, "log in with AUTH first")
        elif isinstance(body, Ping):
            self._send(Pong(request_id))
        elif isinstance(body, Subscribe):
            self._modes.update(dict.fromkeys(body.symbols, body.mode))
            self._send(Response(request_id=request_id))
            self.push_ticks(body.symbols)
        elif isinstance(body, Unsubscribe):
            for symbol in body.symbols:
                self._modes.pop(symbol, None)
            self._send(Response(request_id=request_id))
        else:
            outcome = self._desk.ask(self.account, request_id, body)
            if outcome.answer is not None:
                self._send(outcome.answer)
            self._meet(outcome.line)
            self._publish(self.account, outcome.updates)

    def _login(self, request_id: str, body: Auth) -> None:
        account = self._desk.account_of(body.api_key)
        if account is None:
            self._login_failed(request_id, "this api key opens no account")
        else:
            self.account = account
            self._send(Response(request_id=request_id))

    def _login_failed(self, request_id: str, message: str) -> None:
        """Told, and after three times the end."""
        self._refuse(request_id, ErrorCode.NOT_AUTHENTICATED, message)
        self._failures += 1
        self._closing = self._failures >= LOGIN_FAILURES_MAX

    def _meet(self, fate: LineFate) -> None:
        if fate is LineFate.CUT:
            self._scope.cancel()
            self._closing = True
        elif fate is LineFate.SILENT:
            self._silent = True

    # --- writing ---------------------------------------------------------------------------------------

    def _refuse(self, request_id: str | None, code: ErrorCode, message: str) -> None:
        self._send(Refusal(request_id=request_id, code=code.value, message=message))

    def _ticks(self, symbols: Sequence[str]) -> tuple[Tick, ...]:
        modes = self._modes
        found = (self._market.tick(symbol, with_volume=modes[symbol] is Mode.QUOTE) for symbol in symbols)
        return tuple(tick for tick in found if tick is not None)

    def _send(self, message: Message) -> None:
        if isinstance(message, Ticks) and not message.ticks:
            return
        if self._trouble.happens("garbage"):
            self._queue(GARBAGE)
        self._queue(encode_message(message, self._market.last_price))

    def _queue(self, text: str) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self.cut()
            return
        due_s = trio.current_time() + self._trouble.drawn_s("delay_ms")
        if self._waiting:
            due_s = max(due_s, self._waiting[-1].due_s)  # late, but in order
        self._waiting.append(_Waiting(text, due_s))
        if self._overtaken is not None:
            self._waiting.append(_Waiting(self._overtaken, due_s))
            self._overtaken = None
        self._wake()

    def _wake(self) -> None:
        self._more.set()

    async def _write(self) -> None:
        try:
            while True:
                while self._waiting and not self._silent:
                    await trio.sleep_until(self._waiting[0].due_s)
                    await self._websocket.send_message(self._waiting[0].text)
                    self._waiting.popleft()
                if self._closing:
                    await self._close()
                    return
                self._more = trio.Event()
                with trio.move_on_after(SWAP_S if self._overtaken is not None else float("inf")):
                    await self._more.wait()
                    continue
                self._give_up_overtaking()
        except trio_websocket.ConnectionClosed:
            self._scope.cancel()

    def _give_up_overtaking(self) -> None:
        """Nothing came after the update that was held back: it goes now."""
        if self._overtaken is not None:
            text, self._overtaken = self._overtaken, None
            self._queue(text)

    async def _close(self) -> None:
        """In order, as long as the client plays along."""
        with trio.move_on_after(CLOSE_S):
            await self._websocket.aclose()
        self._scope.cancel()
