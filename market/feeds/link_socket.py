"""A WebSocket over the world's network: connecting, TLS, and the opening handshake, each with a deadline.

Owns no message. Whatever the other end does here becomes one BrokerUnavailable with a reason for people. Used by
link.py; the stream comes from effects, so a simulation connects in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import h11
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError

from effects import Effects
from market.feeds.link_options import Address
from protocol.errors import BrokerUnavailable

FRAME_BYTES_MAX = 16 * 1024 * 1024  # the books of a busy day come in one frame
RECEIVE_BYTES = 64 * 1024

# What trio-websocket's reader, a task in the nursery that it was given, may die of when the other end misbehaves;
# garbage instead of a handshake makes it answer out of turn, which h11 forbids.
READER_ERRORS = (HandshakeError, ConnectionClosed, ProtocolError, h11.ProtocolError)


async def connect(effects: Effects, address: Address, within_s: float) -> trio.abc.Stream:
    """A stream, with TLS begun and the certificate verified where the address wants it. Raises BrokerUnavailable."""
    where = f"{address.host}:{address.port}"
    try:
        with trio.fail_after(within_s):
            stream = await effects.connect_tcp(address.host, address.port, tls=address.tls)
            if isinstance(stream, trio.SSLStream):
                try:
                    await stream.do_handshake()
                except BaseException:
                    await trio.aclose_forcefully(stream)
                    raise
            return stream
    except trio.TooSlowError:
        raise BrokerUnavailable(f"no connection to {where} within {within_s:g} s") from None
    except trio.BrokenResourceError as failure:
        raise BrokerUnavailable(f"TLS with {where}: {failure.__cause__ or failure}") from failure
    except OSError as failure:
        raise BrokerUnavailable(f"no connection to {where}: {failure}") from failure


async def shake_hands(
    nursery: trio.Nursery, stream: trio.abc.Stream, address: Address, within_s: float
) -> WebSocketConnection:
    """The WebSocket on a stream; its reader runs in `nursery` and may die there of READER_ERRORS.

    Raises BrokerUnavailable when the other end goes away first or takes too long.
    """
    with trio.move_on_after(within_s) as patience:
        watched = _Watched(stream, patience.cancel)
        socket = await wrap_client_stream(
            nursery,
            cast("trio.SocketStream", watched),
            address.authority,
            address.path,
            max_message_size=FRAME_BYTES_MAX,
            receive_buffer_size=RECEIVE_BYTES,
        )
        watched.gone = None
        return socket
    raise BrokerUnavailable(f"no WebSocket handshake with {address.host}:{address.port}")


def why(errors: BaseExceptionGroup[BaseException]) -> tuple[str, bool]:
    """Why a reader died, for people, and whether it was because we are not let in (HTTP 401 or 403)."""
    first = errors.exceptions[0]
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, ConnectionRejected):
        return f"HTTP {first.status_code} instead of a WebSocket", first.status_code in (401, 403)
    return f"the connection broke: {first}", False


class _Watched(trio.abc.Stream):
    """A stream that tells when the other end is gone. Without it, a server that dies within the handshake would
    be waited for until the deadline: trio-websocket does not tell.
    """

    def __init__(self, stream: trio.abc.Stream, gone: Callable[[], None]) -> None:
        self.gone: Callable[[], None] | None = gone
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        finally:
            if not data and self.gone is not None:
                self.gone()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
