"""A server of the JSON broker on a real socket, which says what a test tells it to say. Beside it, `Heard`: what a
broker's session posted, with a way to wait for it.

For what a well-behaved server never does; the real one is simulation/broker_server.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import attrs
import trio
from trio_websocket import WebSocketConnection, WebSocketRequest

from effects import Effects
from protocol.broker import Event, SessionChanged, SessionState
from protocol.broker_wire import Message, Pong, Refusal, Response, encode_message
from protocol.broker_wire_client import decode_request
from protocol.broker_wire_requests import Auth, Batch, ClientRequest, Ping, Subscribe
from simulation.one_port import HttpAnswer, HttpRequest, NoAnswer, serve_stream

KEY = "a-secret-key"
Kind = TypeVar("Kind")
Reply = Message | str | bytes
Script = Callable[[ClientRequest], Iterable[Reply]]


def silence(_: ClientRequest) -> Iterable[Reply]:
    return ()


async def not_found(_: HttpRequest) -> HttpAnswer | NoAnswer:
    return HttpAnswer(404)


@attrs.define(eq=False)
class ScriptedServer:
    """`script` answers what is neither AUTH nor PING nor SUBSCRIBE, unless `everything` is set; `subscribe` what is
    SUBSCRIBE, which is accepted without it.
    """

    script: Script = silence
    subscribe: Script | None = None
    http: Callable[[HttpRequest], Awaitable[HttpAnswer | NoAnswer]] = not_found
    everything: bool = False
    refuse_upgrade: int = 0  # with this HTTP status
    port: int = 0
    frames: list[str] = attrs.field(factory=list)  # as they came, AUTH and PING left out
    asked: list[ClientRequest] = attrs.field(factory=list)
    auths: int = 0
    sockets: list[WebSocketConnection] = attrs.field(factory=list)
    streams: list[trio.abc.Stream] = attrs.field(factory=list)
    news: trio.Condition = attrs.field(factory=trio.Condition)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await Effects().listen_tcp(self.port)
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._handle, [listener])
            task_status.started()

    async def say(self, *replies: Reply) -> None:
        """Say something on the newest connection."""
        for reply in replies:
            await self.sockets[-1].send_message(reply if isinstance(reply, str | bytes) else encode_message(reply))

    async def cut(self) -> None:
        """Close the newest connection under the WebSocket."""
        await trio.aclose_forcefully(self.streams[-1])

    async def was_asked(self, number: int) -> None:
        async with self.news:
            while len(self.asked) < number:
                await self.news.wait()

    async def _handle(self, stream: trio.abc.Stream) -> None:
        self.streams.append(stream)
        await serve_stream(stream, self._http, self.on_websocket)

    async def _http(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        return await self.http(request)

    async def on_websocket(self, request: WebSocketRequest) -> None:
        if self.refuse_upgrade:
            await request.reject(self.refuse_upgrade)
            return
        socket = await request.accept()
        self.sockets.append(socket)
        while True:
            frame = await socket.get_message()
            message = decode_request(frame)
            members = message.requests if isinstance(message, Batch) else (message,)
            for member in members:
                assert isinstance(member, ClientRequest), f"a broker of ours said {member}"
                for reply in self._answer(member):
                    await socket.send_message(reply if isinstance(reply, str | bytes) else encode_message(reply))
            if not isinstance(message, ClientRequest) or not isinstance(message.body, Auth | Ping):
                self.frames.append(str(frame))
            async with self.news:
                self.news.notify_all()

    def _answer(self, request: ClientRequest) -> Iterable[Reply]:
        if isinstance(request.body, Auth):
            self.auths += 1
            if self.everything:
                return self.script(request)
            if request.body.api_key != KEY:
                return [
                    Refusal(
                        request_id=request.request_id, code="NOT_AUTHENTICATED", message=f"no {request.body.api_key}"
                    )
                ]
            return [Response(request_id=request.request_id)]
        if self.everything:
            return self.script(request)
        if isinstance(request.body, Ping):
            return [Pong(request.request_id)]
        self.asked.append(request)
        if isinstance(request.body, Subscribe):
            return self.subscribe(request) if self.subscribe else [Response(request_id=request.request_id)]
        return self.script(request)


@attrs.define(eq=False)
class Heard:
    """What a session posted, in order."""

    events: list[Event] = attrs.field(factory=list)
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def post(self, event: Event) -> None:
        self.events.append(event)
        self._news.unpark_all()

    async def until(self, found: Callable[[Event], bool], start: int = 0) -> Event:
        """The first event from place `start` on that is what is looked for, now or later."""
        with trio.fail_after(10):
            while True:
                for event in self.events[start:]:
                    if found(event):
                        return event
                await self._news.park()

    async def state(self, state: SessionState, start: int = 0) -> SessionChanged:
        event = await self.until(lambda event: isinstance(event, SessionChanged) and event.state is state, start)
        assert isinstance(event, SessionChanged)
        return event

    async def next(self, kind: type[Kind], start: int = 0) -> Kind:
        event = await self.until(lambda event: isinstance(event, kind), start)
        assert isinstance(event, kind)
        return event

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]
