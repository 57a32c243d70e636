"""HTTP for brokers: httpx clients whose every connection comes from `effects`.

Owns the seam between httpcore's connection pool and the network of a world, and nothing of any broker. Never
reads proxies or credentials from the environment, never follows a redirect, never sends a request twice. Used by
the brokers that speak HTTP and by what downloads for them.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import httpcore
import httpx
import trio

from effects import Effects

ANSWER_BYTES_MAX = 64 * 1024 * 1024  # Kite's list of all instruments is 10 MB
CONNECTIONS_MAX = 4

# The most specific class first: an httpcore.ReadTimeout is a TimeoutException too.
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.ConnectionNotAvailable, httpx.ConnectError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
)

# Raised before a byte of the request left: the broker certainly did not see it.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def http_client(
    effects: Effects,
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
    connect_timeout_s: float | None = None,
    tls: ssl.SSLContext | None = None,
    connections_max: int = CONNECTIONS_MAX,
) -> httpx.AsyncClient:
    """A client over the world's network; close it with `async with` or `aclose()`.

    The time-outs bound each wait for the network, not the whole request: put `trio.fail_after` around that.
    `tls` replaces the system's certificates, verified in any case. Raises what httpx raises; errors listed in
    NOT_SENT came before anything was sent.
    """
    return httpx.AsyncClient(
        transport=EffectsTransport(effects, tls=tls, connections_max=connections_max),
        base_url=base_url,
        headers=dict(headers or {}),
        timeout=httpx.Timeout(timeout_s, connect=connect_timeout_s if connect_timeout_s is not None else timeout_s),
        trust_env=False,
        follow_redirects=False,
    )


class EffectsTransport(httpx.AsyncBaseTransport):
    """httpx over httpcore's pool, by the public interfaces of both."""

    def __init__(
        self, effects: Effects, *, tls: ssl.SSLContext | None = None, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls if tls is not None else ssl.create_default_context(),
            max_connections=connections_max,
            keepalive_expiry=None,  # it would read the system's clock
            network_backend=_Network(effects),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        with _as_httpx_errors():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """An answer's body."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._answer.stream, AsyncIterable), "an asynchronous pool gives asynchronous bodies"
        with _as_httpx_errors():
            async for part in self._answer.stream:
                yield part

    async def aclose(self) -> None:
        with _as_httpx_errors():
            await self._answer.aclose()


class _Network(httpcore.AsyncNetworkBackend):
    """Connections from effects; TLS is begun by httpcore, which knows whether a URL wants it."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            with _within(timeout, httpcore.ConnectTimeout):
                return _Stream(await self._effects.connect_tcp(host, port))
        except (OSError, trio.BrokenResourceError) as failure:
            raise httpcore.ConnectError(f"{host}:{port}: {failure}") from failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("brokers are not reached through a local socket")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A Trio stream as httpcore wants it. An answer longer than ANSWER_BYTES_MAX is refused."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = 0  # bytes since the last request

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _within(timeout, httpcore.ReadTimeout), _broken_is(httpcore.ReadError):
            data = bytes(await self._stream.receive_some(max_bytes))
        self._received += len(data)
        if self._received > ANSWER_BYTES_MAX:
            raise httpcore.ReadError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._received = 0
            with _within(timeout, httpcore.WriteTimeout), _broken_is(httpcore.WriteError):
                await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        secure: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(
            self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with _within(timeout, httpcore.ConnectTimeout):
                await secure.do_handshake()
        except trio.BrokenResourceError as failure:
            await trio.aclose_forcefully(self._stream)
            raise httpcore.ConnectError(f"TLS with {server_hostname}: {failure.__cause__ or failure}") from failure
        except BaseException:
            await trio.aclose_forcefully(self._stream)
            raise
        return _Stream(secure)

    def get_extra_info(self, info: str) -> Any:
        """An idle connection that has something to read was closed by the server and is not used again."""
        stream: Any = self._stream
        if info == "ssl_object" and isinstance(stream, trio.SSLStream):
            return stream  # httpcore asks it for the protocol agreed upon, which the stream answers too
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if info == "is_readable" and isinstance(stream, trio.SocketStream):
            return stream.socket.is_readable()
        return None


@contextlib.contextmanager
def _within(timeout: float | None, error: type[Exception]) -> Iterator[None]:
    if timeout is None:
        yield
        return
    with trio.move_on_after(timeout) as scope:
        yield
    if scope.cancelled_caught:
        raise error(f"nothing within {timeout:g} s")


@contextlib.contextmanager
def _broken_is(error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError) as failure:
        raise error(str(failure) or "the connection broke") from failure


@contextlib.contextmanager
def _as_httpx_errors() -> Iterator[None]:
    try:
        yield
    except Exception as failure:
        for theirs, ours in _ERRORS:
            if isinstance(failure, theirs):
                raise ours(str(failure)) from failure
        raise
