"""HTTP and WebSocket on one port: each connection is one or the other, by its first request.

Owns the reading of HTTP requests from a stream (h11) and the hand-over of a WebSocket upgrade (trio-websocket).
Knows no broker. Used by the servers of simulation/; works on any stream, a socket or memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum

import attrs
import h11
import trio
import trio_websocket

HEAD_MAX = 16_384  # bytes of request line and headers
CONTENT_MAX = 1 << 20  # bytes of a request's body
FRAME_MAX = 1 << 20  # bytes of a WebSocket message from a client
READ_MAX = 65_536


@attrs.frozen
class HttpRequest:
    """`target` is path and query as they stood; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes


@attrs.frozen
class HttpAnswer:
    status: int
    content: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


class NoAnswer(Enum):
    """What a server may do instead of answering."""

    CUT = "cut"  # close the connection at once
    SILENCE = "silence"  # keep it open and say nothing until the client goes away


OnHttp = Callable[[HttpRequest], Awaitable[HttpAnswer | NoAnswer]]
OnWebSocket = Callable[[trio_websocket.WebSocketRequest], Awaitable[None]]


class _Reread(trio.abc.Stream):
    """A stream whose first bytes were read already and are given again."""

    def __init__(self, stream: trio.abc.Stream, first: bytes) -> None:
        self._stream = stream
        self._first = first

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._first:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        given, self._first = self._first[:max_bytes], self._first[max_bytes or len(self._first) :]
        return given

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def serve_stream(stream: trio.abc.Stream, on_http: OnHttp, on_websocket: OnWebSocket) -> None:
    """Serve one connection to its end. What a client does wrong ends its connection and nothing else."""
    try:
        head = await _read_head(stream)
        if not head:
            return
        whole = _Reread(stream, head)
        if _is_upgrade(head):
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(nursery, whole, max_message_size=FRAME_MAX)
                await on_websocket(request)
                nursery.cancel_scope.cancel()
        else:
            await _serve_http(whole, on_http)
    except* (trio.BrokenResourceError, trio.ClosedResourceError, trio_websocket.ConnectionClosed):
        pass  # the client is gone, or never spoke HTTP: there is nobody to answer
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def _read_head(stream: trio.abc.Stream) -> bytes:
    """The bytes up to the end of the first request's headers, and what came with them."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_MAX:
        more = await stream.receive_some(READ_MAX)
        if not more:
            return b""
        head += more
    return head


def _is_upgrade(head: bytes) -> bool:
    lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return any(line.startswith(b"upgrade:") and b"websocket" in line for line in lines)


async def _serve_http(stream: trio.abc.Stream, on_http: OnHttp) -> None:
    """Requests one after the other, as long as the client keeps the connection."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
    while True:
        try:
            request = await _next_request(stream, http)
        except h11.RemoteProtocolError as wrong:
            if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                answer = HttpAnswer(wrong.error_status_hint, str(wrong).encode(), (("content-type", "text/plain"),))
                await _send(stream, http, answer)
            return
        if request is None:
            return
        answered = await on_http(request)
        if answered is NoAnswer.SILENCE:
            while await stream.receive_some(READ_MAX):
                pass  # whatever else is asked stays without an answer
            return
        if not isinstance(answered, HttpAnswer):
            return
        await _send(stream, http, answered)
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return
        http.start_next_cycle()


async def _next_request(stream: trio.abc.Stream, http: h11.Connection) -> HttpRequest | None:
    """None: the client has gone. Raises h11.RemoteProtocolError for a request that is none, or too long."""
    request: h11.Request | None = None
    content = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                await stream.send_all(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            http.receive_data(bytes(await stream.receive_some(READ_MAX)))
        elif isinstance(event, h11.Request):
            request = event
            announced = dict(request.headers).get(b"content-length", b"0")
            _check_size(int(announced))
        elif isinstance(event, h11.Data):
            content += event.data
            _check_size(len(content))
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None, "h11 ends a message only after its request"
            headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
            return HttpRequest(
                request.method.decode("ascii"), request.target.decode("ascii", "replace"), headers, bytes(content)
            )
        else:
            return None


def _check_size(size: int) -> None:
    if size > CONTENT_MAX:
        raise h11.RemoteProtocolError(f"a body has at most {CONTENT_MAX} bytes", error_status_hint=413)


async def _send(stream: trio.abc.Stream, http: h11.Connection, answer: HttpAnswer) -> None:
    headers = [*answer.headers, ("content-length", str(len(answer.content)))]
    data = http.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    data += http.send(h11.Data(data=answer.content)) or b""
    data += http.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)
