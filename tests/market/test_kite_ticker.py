"""Kite's ticker: what becomes of frames, silence, refusals and cut lines."""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from itertools import pairwise
from random import Random
from typing import Any

import attrs
import pytest
import trio
from trio.abc import Clock
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from effects import Effects, MarketClock
from market.feeds.frame import Frame
from market.feeds.kite import INSTRUMENTS_MAX, KiteTicker, TickerOptions
from market.instruments import Instrument, Universe
from protocol.clock import NS, at
from protocol.kite_ticks import OrderPosted, TextFrame, TickerError, TickerMessage, Unreadable
from protocol.kite_wire import Login
from simulation.kite_exchange import KiteExchange
from simulation.kite_login import Logins
from simulation.kite_server import KiteServer

TEN_NS = at(date(2026, 11, 23), 36_000)
TEN_S = TEN_NS // NS
INFY, TCS = 408065, 2953217
ROWS = {INFY: 0, TCS: 1}

Script = Callable[[WebSocketConnection], Awaitable[None]]


def full(token: int, price_paise: int, exchange_s: int, volume: int = 1) -> bytes:
    """A packet of mode full: the fields that matter here, zeros elsewhere."""
    fields = [token, price_paise, 1, price_paise, volume, 0, 0, 0, 0, 0, 0, exchange_s, 0, 0, 0, exchange_s]
    return struct.pack(">16I", *fields) + bytes(120)


def frame(*bodies: bytes) -> bytes:
    packets = b"".join(struct.pack(">H", len(body)) + body for body in bodies)
    return struct.pack(">H", len(bodies)) + packets


@attrs.define(eq=False)
class TokenBox:
    """Tokens given one by one; `dead` are those the ticker reported."""

    waiting: list[str]
    dead: list[str] = attrs.Factory(list)

    async def fresh(self) -> Login:
        while True:
            alive = [token for token in self.waiting if token not in self.dead]
            if alive:
                return Login("AB1234", alive[0], 0, 1 << 60, True)
            await trio.sleep(1)

    def died(self, access_token: str, reason: str) -> None:
        self.dead.append(access_token)


@attrs.define(eq=False)
class Line:
    """The network to a scripted ticker: each connection runs the next script, an int refuses the handshake."""

    nursery: trio.Nursery
    scripts: list[Script | int | None]
    connected_at: list[float] = attrs.Factory(list)
    paths: list[str] = attrs.Factory(list)

    async def connect(self, host: str, port: int, *, tls: bool = False) -> trio.abc.Stream:
        self.connected_at.append(trio.current_time())
        script = self.scripts.pop(0) if self.scripts else None
        if script is None:
            raise OSError("nobody answers")
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs, script)
        return ours

    async def _serve(self, stream: trio.abc.Stream, script: Script | int) -> None:
        with trio.CancelScope():
            async with trio.open_nursery() as nursery:
                request = await wrap_server_stream(nursery, stream)
                self.paths.append(request.path)
                if isinstance(script, int):
                    await request.reject(script)
                else:
                    connection = await request.accept()
                    try:
                        await script(connection)
                    except ConnectionClosed:
                        self.paths.append("closed by the client")
                nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(stream)


@attrs.define(eq=False)
class Heard:
    ticker: KiteTicker
    line: Line
    tokens: TokenBox
    frames: list[Frame] = attrs.Factory(list)
    texts: list[TextFrame] = attrs.Factory(list)
    lines: list[str] = attrs.Factory(list)


@asynccontextmanager
async def listening(*scripts: Script | int | None, live: bool = False, tokens: tuple[str, ...] = ("t1",)) -> Any:
    began_s = trio.current_time()
    source = (lambda: TEN_NS + round((trio.current_time() - began_s) * NS)) if live else None
    box = TokenBox(list(tokens))
    texts: list[TextFrame] = []
    lines: list[str] = []
    async with trio.open_nursery() as nursery:
        line = Line(nursery, list(scripts))
        ticker = KiteTicker(
            TickerOptions(api_key="key", url="ws://ticker.test"),
            box,
            line.connect,
            MarketClock(source=source),
            ROWS,
            hear=texts.append,
            tell=lines.append,
        )
        heard = Heard(ticker, line, box, texts=texts, lines=lines)
        await nursery.start(ticker.run, heard.frames.append)
        yield heard
        nursery.cancel_scope.cancel()


async def subscribed(connection: WebSocketConnection) -> None:
    for _ in range(2):
        await connection.get_message()


def saying(*messages: str | bytes, then_s: float = 3600) -> Script:
    async def script(connection: WebSocketConnection) -> None:
        await subscribed(connection)
        for message in messages:
            await connection.send_message(message)
        for _ in range(int(then_s)):
            await trio.sleep(1)
            await connection.send_message(b"\x00")

    return script


async def test_everything_is_subscribed_in_mode_full_with_key_and_token_in_the_address(autojump_clock: Clock) -> None:
    said: list[Any] = []

    async def script(connection: WebSocketConnection) -> None:
        said.extend([json.loads(await connection.get_message()) for _ in range(2)])

    async with listening(script) as heard:
        await trio.sleep(0.5)
        assert heard.line.paths[0] == "/?api_key=key&access_token=t1"
        assert said == [{"a": "subscribe", "v": [INFY, TCS]}, {"a": "mode", "v": ["full", [INFY, TCS]]}]


async def test_a_frame_keeps_the_exchange_time_of_each_tick(autojump_clock: Clock) -> None:
    message = frame(full(INFY, 150_005, TEN_S - 2, 700), full(TCS, 300_000, TEN_S - 40))
    async with listening(saying(message), live=True) as heard:
        await trio.sleep(0.5)
        (got,) = heard.frames
        assert (got.rows.tolist(), got.price_paise.tolist(), got.unique) == ([0, 1], [150_005, 300_000], True)
        assert got.volume.tolist() == [700, 1]
        assert got.exchange_ns.tolist() == [(TEN_S - 2) * NS, (TEN_S - 40) * NS], "a cached tick shows its age"
        assert got.at_ns >= TEN_NS, "the instant it came, by a clock that goes by itself"


async def test_without_a_clock_of_its_own_market_time_is_that_of_the_newest_tick_and_never_falls(
    autojump_clock: Clock,
) -> None:
    messages = [frame(full(INFY, 150_005, TEN_S)), frame(full(TCS, 300_000, TEN_S - 5))]
    async with listening(saying(*messages)) as heard:
        await trio.sleep(0.5)
        assert [got.at_ns for got in heard.frames] == [TEN_NS, TEN_NS]


async def test_a_tick_older_than_what_its_row_has_is_left_out(autojump_clock: Clock) -> None:
    messages = [frame(full(INFY, 150_005, TEN_S)), frame(full(INFY, 140_000, TEN_S - 1), full(TCS, 300_000, TEN_S))]
    async with listening(saying(*messages)) as heard:
        await trio.sleep(0.5)
        assert [got.rows.tolist() for got in heard.frames] == [[0], [1]]
        assert heard.ticker.outdated == 1


async def test_a_tick_without_a_usable_time_is_left_out(autojump_clock: Clock) -> None:
    untimed = struct.pack(">2I", INFY, 150_005)
    messages = [frame(untimed), frame(full(INFY, 150_005, 0)), frame(full(INFY, 150_005, TEN_S + 3600))]
    async with listening(saying(*messages), live=True) as heard:
        await trio.sleep(0.5)
        assert heard.frames == []
        assert heard.ticker.timeless == 3


async def test_garbage_costs_nothing_but_a_count(autojump_clock: Clock) -> None:
    garbage = [b"\x00\x02\x00\x05abcde", b"\xff\xff", b"", frame(b"x" * 9)]
    async with listening(saying(*garbage, frame(full(INFY, 150_005, TEN_S)))) as heard:
        await trio.sleep(0.5)
        assert len(heard.frames) == 1
        assert heard.ticker.connections == 1
        assert heard.ticker.decoder.bad_packets >= 3


async def test_text_frames_are_handed_on(autojump_clock: Clock) -> None:
    texts = ['{"type":"order","data":{"order_id":"1"}}', '{"type":"error","data":"bad"}']
    texts += ['{"type":"message","data":"read me"}', "nonsense"]
    async with listening(saying(*texts)) as heard:
        await trio.sleep(0.5)
        assert [type(text) for text in heard.texts] == [OrderPosted, TickerError, TickerMessage, Unreadable]


async def test_a_heartbeat_keeps_a_silent_connection_and_silence_ends_it(autojump_clock: Clock) -> None:
    async with listening(saying(then_s=60), saying(then_s=60)) as heard:
        await trio.sleep(59)
        assert heard.ticker.connections == 1
        await trio.sleep(20)
        assert heard.ticker.connections == 2
        assert any("heartbeat" in line or "closed" in line for line in heard.lines)


async def test_a_half_open_connection_is_noticed_within_seconds(autojump_clock: Clock) -> None:
    async def mute(connection: WebSocketConnection) -> None:
        await subscribed(connection)
        await trio.sleep(3600)

    async with listening(mute, saying()) as heard:
        await trio.sleep(8)
        assert heard.ticker.connections == 2
        assert heard.line.connected_at[1] == pytest.approx(7.0, abs=0.2)


async def test_a_lost_line_is_tried_again_after_1_2_4_to_30_seconds(autojump_clock: Clock) -> None:
    async with listening(*[None] * 9) as heard:
        await trio.sleep(200)
        gaps = [round(later - earlier) for earlier, later in pairwise(heard.line.connected_at)]
        assert gaps[:7] == [1, 2, 4, 8, 16, 30, 30]


async def test_after_half_a_minute_of_health_the_waits_begin_anew(autojump_clock: Clock) -> None:
    async with listening(None, None, None, saying(then_s=40), None) as heard:
        await trio.sleep(120)
        healthy_s = heard.line.connected_at[3]
        assert heard.line.connected_at[4] - healthy_s < 40 + 6 + 1.5


async def test_a_403_ends_the_token_and_nothing_is_tried_until_there_is_another(autojump_clock: Clock) -> None:
    async with listening(403, saying()) as heard:
        await trio.sleep(3600)
        assert heard.tokens.dead == ["t1"]
        assert len(heard.line.connected_at) == 1
        heard.tokens.waiting.append("t2")
        await trio.sleep(2)
        assert heard.line.paths[-1] == "/?api_key=key&access_token=t2"
        assert heard.ticker.up


async def test_a_429_is_waited_out_for_a_minute(autojump_clock: Clock) -> None:
    async with listening(429, saying()) as heard:
        await trio.sleep(70)
        first, second = heard.line.connected_at
        assert round(second - first) == 60
        assert heard.tokens.dead == []


async def test_more_instruments_than_a_connection_takes_are_refused() -> None:
    rows = {1 + (number << 8): number for number in range(INSTRUMENTS_MAX + 1)}
    with pytest.raises(ValueError, match="3000"):
        KiteTicker(
            TickerOptions(api_key="key"),
            TokenBox([]),
            Effects().connect_tcp,
            MarketClock(),
            rows,
            hear=lambda text: None,
        )


async def test_prices_of_the_kite_server_arrive_over_a_real_socket(nursery: trio.Nursery) -> None:
    effects = Effects(market=MarketClock(TEN_NS))
    logins = Logins("key", "secret", "AB1234", Random(1))
    exchange = KiteExchange(Universe([Instrument("INFY", INFY, 5), Instrument("TCS", TCS, 5)]), effects, logins)
    logins.access_token, logins.login_ns = "t1", TEN_NS
    listeners = await effects.listen_tcp(0)
    await nursery.start(KiteServer(exchange).serve, listeners)
    frames: list[Frame] = []
    ticker = KiteTicker(
        TickerOptions(api_key="key", url=f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"),
        TokenBox(["t1"]),
        effects.connect_tcp,
        effects.market,
        ROWS,
        hear=lambda text: None,
    )
    await nursery.start(ticker.run, frames.append)
    with trio.fail_after(5):
        while True:  # the server may still be reading what is subscribed
            exchange.price("INFY", 150_005)
            if frames:
                break
            await trio.sleep(0.01)
    assert (frames[-1].rows.tolist()[0], frames[-1].price_paise.tolist()[0]) == (0, 150_005)
    nursery.cancel_scope.cancel()
