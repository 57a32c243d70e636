"""The Kite server's ticker: binary packets of prices, heartbeats, order updates as text.

Owns the encoding of every packet and who is subscribed to what. Never waits for a reader longer than
SLOW_READER_S: prices are not queued, a token's newest tick replaces the one before, and a reader that blocks is cut
off, as at Kite. Called by kite_server.py with accepted sockets and by the exchange with what changed.

Formats: kite.trade/docs/connect/v3/websocket; the offsets are those of protocol/kite_ticks.py, written anew here so
that a mistake in one does not hide in the other.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable

import trio
import trio_websocket

from protocol.errors import RemoteProtocolError
from protocol.kite_values import decode_json
from simulation.kite_market import INDEX_TOKEN, KiteMarket, Share
from simulation.kite_rows import Row, to_json
from simulation.trouble import Trouble

TOKENS_MAX = 3_000
CONNECTIONS_MAX = 3
TEXTS_MAX = 1_000
SLOW_READER_S = 5.0
HEARTBEAT_S = 1.0
MODES = ("ltp", "quote", "full")
U32_MAX = 2**32 - 1


def share_packet(share: Share, mode: str) -> bytes:
    """8, 44 or 184 bytes."""
    body = [share.token, share.last_paise]
    if mode != "ltp":
        bids, offers = share.depth()
        body += [
            share.last_quantity,
            share.average_paise,
            share.volume,
            sum(quantity for quantity, _, _ in bids),
            sum(quantity for quantity, _, _ in offers),
            share.open_paise,
            share.high_paise,
            share.low_paise,
            share.close_paise,
        ]
    packet = _numbers(body)
    if mode == "full":
        seconds = share.traded_ns // 10**9
        packet += _numbers([seconds, 0, 0, 0, seconds])
        for quantity, price, orders in [*bids, *offers]:
            packet += struct.pack(">IIHxx", quantity, price, orders)
    return packet


def index_packet(market: KiteMarket, mode: str) -> bytes:
    """8, 28 or 32 bytes; high and low come before open and close."""
    index = market.index
    body = [INDEX_TOKEN, index.last_paise]
    if mode != "ltp":
        change = (index.last_paise - index.close_paise) & U32_MAX
        body += [index.high_paise, index.low_paise, index.open_paise, index.close_paise, change]
    if mode == "full":
        body.append(index.at_ns // 10**9)
    return _numbers(body)


def frame(packets: Iterable[bytes]) -> bytes:
    bodies = list(packets)
    return struct.pack(">H", len(bodies)) + b"".join(struct.pack(">H", len(body)) + body for body in bodies)


def _numbers(values: list[int]) -> bytes:
    return struct.pack(f">{len(values)}I", *(min(value, U32_MAX) for value in values))


class TickerLink:
    """One connection: what it is subscribed to and what waits to be sent to it."""

    def __init__(self, market: KiteMarket, trouble: Trouble) -> None:
        self._market = market
        self._trouble = trouble
        self._modes: dict[int, str] = {}
        self._moved: dict[int, None] = {}  # in the order in which they moved
        self._texts: deque[bytes] = deque()
        self._held_back: bytes | None = None
        self._news = trio.Event()
        self._over = trio.CancelScope()

    def moved(self, tokens: Iterable[int]) -> None:
        for token in tokens:
            if token in self._modes:
                self._moved[token] = None
                self._news.set()

    def tell(self, text: bytes, what: str) -> None:
        """A text frame, if trouble lets it through; a reader that leaves too many is cut off."""
        if self._trouble.happens("drop_update", what):
            return
        texts = [text, text] if self._trouble.happens("duplicate_update", what) else [text]
        if self._trouble.happens("garbage", what):
            texts.insert(0, b'{"type":"order","data":{"order_id":')
        if self._held_back is None and self._trouble.happens("reorder_update", what):
            self._held_back = text
            return
        if self._held_back is not None:
            texts.append(self._held_back)
            self._held_back = None
        self._texts.extend(texts)
        self._news.set()
        if len(self._texts) > TEXTS_MAX:
            self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        self._over.cancel()

    async def run(self, socket: trio_websocket.WebSocketConnection) -> None:
        """Until the client goes away, is too slow, or is cut off."""
        with self._over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, socket)
                try:
                    while True:
                        await self._obey(await socket.get_message())
                except trio_websocket.ConnectionClosed:
                    nursery.cancel_scope.cancel()

    async def _send(self, socket: trio_websocket.WebSocketConnection) -> None:
        while True:
            with trio.move_on_after(HEARTBEAT_S):
                await self._news.wait()
            self._news = trio.Event()
            if self._trouble.happens("half_open", "TICKS"):
                await trio.sleep_forever()
            await trio.sleep(self._trouble.drawn_s("delay_ms"))
            try:
                with trio.fail_after(SLOW_READER_S):
                    await self._send_all(socket)
            except (trio.TooSlowError, trio_websocket.ConnectionClosed):
                self.cut()
                return

    async def _send_all(self, socket: trio_websocket.WebSocketConnection) -> None:
        if not self._texts and not self._moved:
            await socket.send_message(b"\x00")
        while self._texts:
            await socket.send_message(self._texts.popleft().decode("utf-8", "replace"))
        if self._moved:
            tokens, self._moved = list(self._moved), {}
            if not self._trouble.happens("drop_ticks", "TICKS"):
                await socket.send_message(frame(self._packet(token) for token in tokens if token in self._modes))

    def _packet(self, token: int) -> bytes:
        mode = self._modes[token]
        if token == INDEX_TOKEN:
            return index_packet(self._market, mode)
        return share_packet(self._market.by_token[token], mode)

    async def _obey(self, message: str | bytes) -> None:
        """subscribe, unsubscribe, mode; whatever else is answered with an error frame."""
        await trio.sleep(self._trouble.span_s("slow_read_ms"))
        try:
            wish = decode_json(message)
        except RemoteProtocolError:
            wish = None
        action, value = (wish.get("a"), wish.get("v")) if isinstance(wish, dict) else (None, None)
        mode: object = "quote"
        if action == "mode" and isinstance(value, list) and len(value) == 2:
            mode, value = value
        tokens = _tokens(value)
        if action not in ("subscribe", "unsubscribe", "mode") or mode not in MODES or tokens is None:
            self._complain("Invalid message: a is subscribe, unsubscribe or mode, v a list of tokens")
        elif action == "unsubscribe":
            for token in tokens:
                self._modes.pop(token, None)
        else:
            self._subscribe(tokens, str(mode), only_new=action == "subscribe")

    def _subscribe(self, tokens: list[int], mode: str, *, only_new: bool) -> None:
        """Tokens Kite does not know are silently left out; the newest price, however old, comes at once."""
        for token in tokens:
            share = self._market.by_token.get(token)
            if share is None and token != INDEX_TOKEN:
                continue
            if token not in self._modes and len(self._modes) >= TOKENS_MAX:
                self._complain(f"Maximum of {TOKENS_MAX} instruments per connection reached")
                return
            if not (only_new and token in self._modes):
                self._modes[token] = mode
            known = self._market.index.last_paise if share is None else share.last_paise
            if known:
                self._moved[token] = None
                self._news.set()

    def _complain(self, text: str) -> None:
        self._texts.append(to_json({"type": "error", "data": text}))
        self._news.set()


def _tokens(value: object) -> list[int] | None:
    if isinstance(value, list) and all(isinstance(token, int) and not isinstance(token, bool) for token in value):
        return value
    return None


class Ticker:
    """All connections of the ticker. `muted`: what happens now is never told (an answer lost on purpose)."""

    def __init__(self, market: KiteMarket, trouble: Trouble) -> None:
        self.muted = False
        self._market = market
        self._trouble = trouble
        self._links: list[TickerLink] = []

    def __len__(self) -> int:
        return len(self._links)

    @property
    def full(self) -> bool:
        return len(self._links) >= CONNECTIONS_MAX

    def moved(self, shares: Iterable[Share]) -> None:
        tokens = [*dict.fromkeys(share.token for share in shares)]
        if tokens:
            tokens.append(INDEX_TOKEN)
        for link in self._links:
            link.moved(tokens)

    def order(self, row: Row) -> None:
        if self.muted:
            return
        text = to_json({"type": "order", "data": row})
        for link in self._links:
            link.tell(text, "ORDER_UPDATE")

    def cut_all(self) -> None:
        for link in self._links:
            link.cut()

    async def serve(self, socket: trio_websocket.WebSocketConnection) -> None:
        link = TickerLink(self._market, self._trouble)
        self._links.append(link)
        try:
            await link.run(socket)
        finally:
            self._links.remove(link)
