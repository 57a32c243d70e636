"""TLS: the certificate and its name are verified, for the WebSocket and for HTTP; nothing is sent to a stranger."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from brokers.websocket import WebSocketBroker, WebSocketOptions
from effects import Effects
from protocol.broker import Margins, SessionState
from protocol.broker_wire import Response, encode_message
from protocol.errors import BrokerUnavailable
from simulation.one_port import HttpAnswer, HttpRequest, serve_stream
from tests.brokers.scripted_server import KEY, Heard, ScriptedServer

trustme = pytest.importorskip("trustme", reason="makes the certificates: pip install trustme")


async def margins(_: HttpRequest) -> HttpAnswer:
    return HttpAnswer(200, encode_message(Response(request_id=None, margins=Margins(100, 0))).encode())


@asynccontextmanager
async def secure_server(authority: object, name: str) -> AsyncIterator[ScriptedServer]:
    """A server on this machine whose certificate bears a name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)  # type: ignore[attr-defined]
    (listener,) = await Effects().listen_tcp(0)
    server = ScriptedServer(http=margins, port=listener.socket.getsockname()[1])

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await serve_stream(stream, margins, server.on_websocket)

    async with trio.open_nursery() as nursery:
        secure = trio.SSLListener(listener, context, https_compatible=True)
        await nursery.start(trio.serve_listeners, handle, [secure])
        yield server
        nursery.cancel_scope.cancel()


def broker_of(server: ScriptedServer) -> WebSocketBroker:
    options = WebSocketOptions(url=f"wss://localhost:{server.port}/ws", api_key=KEY, connect_timeout_s=5.0)
    return WebSocketBroker(Effects(seed="1"), options)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A certificate authority that this process trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return made


async def test_a_server_with_a_trusted_certificate_is_used(nursery: trio.Nursery, authority: object) -> None:
    async with secure_server(authority, "localhost") as server:
        broker, heard = broker_of(server), Heard()
        server.refuse_upgrade = 503
        await nursery.start(broker.session, heard.post)
        await heard.state(SessionState.CONNECTING)
        assert await broker.margins() == Margins(100, 0)  # over HTTPS
        server.refuse_upgrade = 0
        await heard.state(SessionState.READY)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("wrong", ["untrusted", "another name"])
async def test_a_certificate_that_does_not_fit_ends_the_attempt_before_the_key_is_sent(
    nursery: trio.Nursery, authority: object, wrong: str
) -> None:
    issuer, name = (trustme.CA(), "localhost") if wrong == "untrusted" else (authority, "broker.example")
    async with secure_server(issuer, name) as server:
        broker, heard = broker_of(server), Heard()
        await nursery.start(broker.session, heard.post)
        state = await heard.state(SessionState.CONNECTING)
        assert "certificate verify failed" in state.reason.lower()
        with pytest.raises(BrokerUnavailable, match=r"(?i)certificate verify failed"):
            await broker.margins()
        assert server.auths == 0
        nursery.cancel_scope.cancel()
