"""Kite's ticker: one WebSocket that brings prices as binary frames and order updates as text.

Owns the connection: the handshake, what is subscribed, the watch over the heartbeat, reconnecting after 1, 2, 4 … 30 s.
Never believes a text frame (it hands it on) and never tries a dead token twice: after a 403 it waits for a new one.
A `Connection` of market/feeds/stream.py; a broker's session runs one without instruments, for order updates alone.

Sources: kite.trade/docs/connect/v3/websocket; kite-facts 1 and 6. Ticks are snapshots of what was traded. Kite may
deliver a cached one after subscribing, so each keeps its exchange time, one older than what its row already has is
left out, and so is one without a time: nobody could tell whether it is stale.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import attrs
import numpy as np
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from effects import MarketClock, machine_s
from market.feeds.frame import Frame
from protocol.clock import NS
from protocol.errors import PureAlphaError
from protocol.kite_ticks import Decoded, FrameDecoder, TextFrame, decode_text
from protocol.kite_wire import TICKER_URL, Login

INSTRUMENTS_MAX = 3_000  # per connection
RETRY_FIRST_S, RETRY_LONGEST_S = 1.0, 30.0
RETRY_LIMITED_S = 60.0  # after a 429
HEALTHY_S = 30.0  # a connection that lasted so long begins the next waits anew
CONNECT_S = 10.0
AHEAD_MAX_NS = 10 * NS  # a tick from further in the future bears no time that can be used
FORBIDDEN, TOO_MANY = 403, 429
MESSAGE_BYTES_MAX = 4 << 20


class Connect(Protocol):
    """How a world opens a stream; see Effects.connect_tcp."""

    def __call__(self, host: str, port: int, *, tls: bool = False) -> Awaitable[trio.abc.Stream]: ...


class Tokens(Protocol):
    """Who knows the day's access token (brokers/kite_token.py)."""

    async def fresh(self) -> Login:
        """Wait for one that may be used."""

    def died(self, access_token: str, reason: str) -> None: ...


@attrs.frozen(kw_only=True)
class TickerOptions:
    api_key: str
    url: str = TICKER_URL
    silence_s: float = 6.0


class _Lost(PureAlphaError):
    """The connection is gone, or never was. `status` is that of a refused handshake."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class KiteTicker:
    """`row_by_token` names what is subscribed, in mode full. `hear` gets every text frame, `connected` is called
    when a connection stands and everything is subscribed, `tell` gets a line for people when one is lost.
    """

    def __init__(
        self,
        options: TickerOptions,
        tokens: Tokens,
        connect: Connect,
        clock: MarketClock,
        row_by_token: Mapping[int, int],
        *,
        hear: Callable[[TextFrame], None],
        connected: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Raises ValueError for more instruments than one connection takes, and for those not priced in paise."""
        if len(row_by_token) > INSTRUMENTS_MAX:
            raise ValueError(f"{len(row_by_token)} instruments: a Kite ticker takes {INSTRUMENTS_MAX}")
        self.decoder = FrameDecoder(row_by_token)
        self.up = False
        self.connections = 0  # so far
        self.timeless = 0  # ticks left out because they bear no time
        self.outdated = 0  # ticks left out because their row has a newer one
        self._options = options
        self._tokens = tokens
        self._connect = connect
        self._clock = clock
        self._subscription = list(row_by_token)
        self._newest_ns = np.zeros(max(row_by_token.values(), default=0) + 1, dtype=np.int64)
        self._at_ns = 0
        self._hear = hear
        self._connected = connected
        self._tell = tell

    async def run(
        self, put: Callable[[Frame], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep a connection up, until cancelled. Ready at once: being connected is another matter."""
        task_status.started()
        wait_s = RETRY_FIRST_S
        while True:
            login = await self._tokens.fresh()
            began_s = machine_s()
            try:
                await self._listen(login, put)
            except _Lost as lost:
                problem = lost
            self._tell(f"ticker: {problem}")
            if problem.status == FORBIDDEN:
                self._tokens.died(login.access_token, "the ticker refused the access token")
                continue
            if machine_s() - began_s >= HEALTHY_S:
                wait_s = RETRY_FIRST_S
            await trio.sleep(RETRY_LIMITED_S if problem.status == TOO_MANY else wait_s)
            wait_s = min(2 * wait_s, RETRY_LONGEST_S)

    # --- one connection ------------------------------------------------------------------------------

    async def _listen(self, login: Login, put: Callable[[Frame], None]) -> None:
        """Connect, subscribe and receive. Ends by raising _Lost only."""
        stream = await self._open()
        lost: _Lost | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    socket = await self._shake_hands(nursery, stream, login)
                    await self._receive(socket, put)
                except _Lost as failure:
                    lost = failure
                nursery.cancel_scope.cancel()
        except* ConnectionRejected as refused:
            status = _status(refused)
            lost = _Lost(f"the handshake was refused with {status}", status)
        finally:
            self.up = False
            with trio.CancelScope() as scope:
                scope.cancel()
                await stream.aclose()
        raise lost or _Lost("the connection ended")

    async def _open(self) -> trio.abc.Stream:
        url = urlsplit(self._options.url)
        tls = url.scheme == "wss"
        try:
            with trio.fail_after(CONNECT_S):
                return await self._connect(url.hostname or "", url.port or (443 if tls else 80), tls=tls)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as problem:
            raise _Lost(f"no connection to {url.hostname}: {problem or 'no answer'}") from problem

    async def _shake_hands(self, nursery: trio.Nursery, stream: trio.abc.Stream, login: Login) -> WebSocketConnection:
        url = urlsplit(self._options.url)
        query = urlencode({"api_key": self._options.api_key, "access_token": login.access_token})
        with trio.move_on_after(CONNECT_S):
            return await wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]  # any stream does, though only sockets are declared
                url.netloc,
                f"{url.path or '/'}?{query}",
                extra_headers=[(b"X-Kite-Version", b"3")],
                max_message_size=MESSAGE_BYTES_MAX,
            )
        raise _Lost("no answer to the handshake")

    async def _receive(self, socket: WebSocketConnection, put: Callable[[Frame], None]) -> None:
        try:
            if self._subscription:
                await socket.send_message(json.dumps({"a": "subscribe", "v": self._subscription}))
                await socket.send_message(json.dumps({"a": "mode", "v": ["full", self._subscription]}))
            self.up = True
            self.connections += 1
            self._connected()
            while True:
                with trio.fail_after(self._options.silence_s):
                    message = await socket.get_message()
                if isinstance(message, str):
                    self._hear(decode_text(message))
                elif (decoded := self.decoder.decode_into(message)) is not None:
                    frame = self._frame(decoded)
                    if frame is not None:
                        put(frame)
        except trio.TooSlowError:
            raise _Lost(f"not even a heartbeat for {self._options.silence_s:g} s") from None
        except ConnectionClosed as closed:
            raise _Lost(f"the connection was closed: {_reason(closed)}") from None

    # --- ticks ---------------------------------------------------------------------------------------

    def _frame(self, decoded: Decoded) -> Frame | None:
        """What of a decoded frame is news with a price and a time. Its instant is ours where the clock goes by
        itself, else that of its newest tick.
        """
        times = decoded.exchange_ns
        if times is None:
            self.timeless += len(decoded.rows)
            return None
        rows, live = decoded.rows, self._clock.live
        now_ns = self._clock.now_ns
        timed = times > 0
        if live:
            timed &= times <= now_ns + AHEAD_MAX_NS
        fresh = times >= self._newest_ns[rows]
        self.timeless += len(rows) - int(np.count_nonzero(timed))
        self.outdated += int(np.count_nonzero(timed & ~fresh))
        good = timed & fresh & (decoded.price_paise > 0)
        if not np.count_nonzero(good):
            return None
        rows, times = rows[good], times[good]
        np.maximum.at(self._newest_ns, rows, times)
        self._at_ns = max(self._at_ns, now_ns if live else int(times.max()))
        return Frame(
            at_ns=self._at_ns,
            rows=rows,
            price_paise=decoded.price_paise[good],
            volume=decoded.volume[good],
            unique=decoded.unique,
            exchange_ns=times,
        )


def _status(refused: BaseExceptionGroup[ConnectionRejected]) -> int:
    first: BaseException = refused
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, ConnectionRejected)
    return first.status_code


def _reason(closed: ConnectionClosed) -> str:
    return f"{closed.reason.code} {closed.reason.reason or ''}".strip() if closed.reason is not None else "no reason"
