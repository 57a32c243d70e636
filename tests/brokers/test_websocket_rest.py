"""The WebSocket broker over HTTP: reads while the WebSocket is down, orders with `failover`, and what each outcome
of HTTP means.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing

from brokers.http import NOT_SENT, http_client
from brokers.websocket import WebSocketBroker, WebSocketOptions
from brokers.websocket_rest import RestTwin
from effects import Effects
from market.feeds.link import LINK_BROKEN, NOT_CONNECTED, TIMEOUT, UNREADABLE, Lost
from market.feeds.link_options import LinkOptions
from protocol.broker import (
    CancelGtt,
    CancelOrder,
    GttUpdate,
    Margins,
    OrderUpdate,
    PlaceOrder,
    RequestFailed,
    SessionState,
)
from protocol.broker_wire import Refusal, Response, encode_message
from protocol.broker_wire_requests import GetMargins
from protocol.broker_wire_rows import GttReport
from protocol.errors import BrokerUnavailable
from protocol.orders import GttState, Leg, OrderState, OrderType, Side
from simulation.one_port import HttpAnswer, HttpRequest, NoAnswer
from tests.brokers.scripted_server import KEY, Heard, ScriptedServer

OnHttp = Callable[[HttpRequest], Awaitable[HttpAnswer | NoAnswer]]
MARGINS = Response(request_id=None, margins=Margins(100, 0))


def buy(client_id: str) -> PlaceOrder:
    return PlaceOrder(
        client_id=client_id,
        symbol="INFY",
        side=Side.BUY,
        quantity=10,
        order_type=OrderType.LIMIT,
        limit_paise=150_000,
    )


def says(status: int, content: bytes) -> OnHttp:
    async def http(_: HttpRequest) -> HttpAnswer:
        return HttpAnswer(status, content)

    return http


async def cuts(_: HttpRequest) -> NoAnswer:
    return NoAnswer.CUT


async def is_silent(_: HttpRequest) -> NoAnswer:
    return NoAnswer.SILENCE


@attrs.define(eq=False)
class Books:
    """A server over HTTP that accepts orders and has margins; `fails` comes first where it is set."""

    seen: list[HttpRequest] = attrs.field(factory=list)
    fails: OnHttp | None = None

    async def http(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        self.seen.append(request)
        if request.headers.get("authorization") != KEY:
            return HttpAnswer(401)
        if self.fails is not None:
            return await self.fails(request)
        if request.target == "/margins":
            answer = MARGINS
        elif request.target == "/gtts":
            leg = Leg(146_250, 144_750)
            row = GttUpdate(
                gtt_id="G1",
                client_id=None,
                symbol="INFY",
                state=GttState.CANCELLED,
                quantity=10,
                stop=leg,
                target=None,
                at_ns=0,
            )
            answer = Response(request_id=None, gtts=(GttReport(update=row, placed_ns=0),))
        else:
            answer = Response(request_id=None, order_id="P1", gtt_id="G1")
        return HttpAnswer(200, encode_message(answer).encode())

    def placed(self) -> int:
        return len([request for request in self.seen if (request.method, request.target) == ("POST", "/orders")])


# --- what an outcome means ---------------------------------------------------------------------------------


REFUSED = encode_message(Refusal(request_id=None, code="MARGIN", message="too little")).encode()


@pytest.mark.parametrize(
    ("http", "answer"),
    [
        (says(200, encode_message(MARGINS).encode()), MARGINS),
        (says(400, REFUSED), Refusal(request_id=None, code="MARGIN", message="too little")),
        (says(429, b"slow down"), Refusal(request_id=None, code="HTTP_429", message="Too Many Requests")),
        (says(404, b""), Refusal(request_id=None, code="HTTP_404", message="Not Found")),
        (says(503, b"<html>"), Lost(True, "HTTP_503", "Service Unavailable")),
        (says(500, REFUSED), Lost(True, "HTTP_500", "too little")),
    ],
    ids=["success", "refused", "429", "404", "503", "500 with a reason"],
)
async def test_what_an_http_answer_means(nursery: trio.Nursery, http: OnHttp, answer: object) -> None:
    server = ScriptedServer(http=http)
    await nursery.start(server.serve)
    assert await asked(server) == answer


@pytest.mark.parametrize(
    ("http", "code"),
    [(says(200, b"<html>"), UNREADABLE), (says(302, b""), UNREADABLE), (cuts, LINK_BROKEN), (is_silent, TIMEOUT)],
    ids=["unreadable", "redirect", "cut", "silent"],
)
async def test_without_an_answer_that_can_be_read_nobody_knows(nursery: trio.Nursery, http: OnHttp, code: str) -> None:
    server = ScriptedServer(http=http)
    await nursery.start(server.serve)
    answer = await asked(server, request_timeout_s=0.05 if http is is_silent else 5.0)
    assert isinstance(answer, Lost)
    assert (answer.reached, answer.code) == (True, code)


async def test_what_never_left_was_certainly_not_carried_out() -> None:
    (listener,) = await Effects().listen_tcp(0)
    server = ScriptedServer(port=listener.socket.getsockname()[1])
    await listener.aclose()
    answer = await asked(server)
    assert isinstance(answer, Lost)
    assert (answer.reached, answer.code) == (False, NOT_CONNECTED)


async def test_a_connection_that_the_server_closed_while_idle_is_not_used_again(nursery: trio.Nursery) -> None:
    server = ScriptedServer(http=says(200, encode_message(MARGINS).encode()))
    await nursery.start(server.serve)
    async with ClientOf(server) as twin:
        assert await twin.ask(GetMargins()) == MARGINS
        await server.cut()
        await trio.testing.wait_all_tasks_blocked()
        assert await twin.ask(GetMargins()) == MARGINS
    assert len(server.streams) == 2


async def test_a_body_that_does_not_end_is_not_read_to_the_end(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokers.http.ANSWER_BYTES_MAX", 1_000)
    server = ScriptedServer(http=says(200, b" " * 1_001))
    await nursery.start(server.serve)
    answer = await asked(server)
    assert isinstance(answer, Lost)
    assert answer.reached
    assert "1000 bytes" in answer.message


def test_only_errors_before_the_first_byte_count_as_not_sent() -> None:
    assert {error.__name__ for error in NOT_SENT} == {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
    }


# --- the broker over HTTP ------------------------------------------------------------------------------------


async def test_reads_go_over_http_while_the_websocket_is_down(nursery: trio.Nursery) -> None:
    books = Books()
    broker, heard = await started(nursery, ScriptedServer(http=books.http, refuse_upgrade=503))
    await heard.state(SessionState.CONNECTING)
    assert await broker.margins() == Margins(100, 0)
    assert broker.state is SessionState.CONNECTING
    (failure,) = broker.submit([buy("A")])  # orders do not: there is no failover
    assert isinstance(failure, RequestFailed)
    assert not failure.reached
    assert books.placed() == 0


async def test_reads_without_any_answer_say_why(nursery: trio.Nursery) -> None:
    books = Books(fails=says(503, b""))
    broker, heard = await started(nursery, ScriptedServer(http=books.http, refuse_upgrade=503))
    await heard.state(SessionState.CONNECTING)
    with pytest.raises(BrokerUnavailable, match="HTTP_503"):
        await broker.books()
    assert len(books.seen) == 1  # the other four books are not asked for after that
    assert broker.breaker.failures_in_a_row == 1


async def test_with_failover_orders_go_over_http_and_back(nursery: trio.Nursery) -> None:
    books = Books()
    server = ScriptedServer(http=books.http, refuse_upgrade=503)
    broker, heard = await started(nursery, server, failover=True)
    ready = await heard.state(SessionState.READY)
    assert "over HTTP" in ready.reason
    assert broker.submit([buy("A"), CancelOrder("P9"), CancelGtt("G1")]) == []
    update = await heard.next(OrderUpdate)
    assert (update.broker_id, update.client_id, update.state) == ("P1", "A", OrderState.OPEN)
    assert (await heard.next(GttUpdate)).state is GttState.CANCELLED
    calls = [(request.method, request.target) for request in books.seen]
    assert calls[-4:] == [("POST", "/orders"), ("DELETE", "/orders/P9"), ("DELETE", "/gtts/G1"), ("GET", "/gtts")]
    place = len(heard.events)
    server.refuse_upgrade = 0
    back = await heard.state(SessionState.READY, place)
    assert back.reason == "connected"
    broker.submit([buy("B")])
    await server.was_asked(1)
    assert books.placed() == 1


async def test_an_order_without_an_answer_over_http_ends_the_failover_and_what_waits_was_not_sent(
    nursery: trio.Nursery,
) -> None:
    books = Books()
    broker, heard = await started(nursery, ScriptedServer(http=books.http, refuse_upgrade=503), failover=True)
    await heard.state(SessionState.READY)
    place = len(heard.events)
    books.fails = cuts
    broker.submit([buy("A"), buy("B")])
    await heard.state(SessionState.CONNECTING, place)
    assert [(failure.request, failure.reached) for failure in heard.of(RequestFailed)] == [
        (buy("A"), True),
        (buy("B"), False),
    ]
    assert books.placed() == 1


async def test_a_session_that_ends_during_failover_leaves_no_request_without_a_word(nursery: trio.Nursery) -> None:
    books = Books()
    server = ScriptedServer(http=books.http, refuse_upgrade=503)
    await nursery.start(server.serve)
    broker = WebSocketBroker(Effects(seed="1"), options_for(server, failover=True))
    heard = Heard()
    async with trio.open_nursery() as session:
        await session.start(broker.session, heard.post)
        await heard.state(SessionState.READY)
        arrived = trio.Event()

        async def says_that_it_arrived(request: HttpRequest) -> NoAnswer:
            arrived.set()
            return await is_silent(request)

        books.fails = says_that_it_arrived
        broker.submit([buy("A"), buy("B")])
        await arrived.wait()
        session.cancel_scope.cancel()
    assert [(failure.request, failure.reached) for failure in heard.of(RequestFailed)] == [
        (buy("A"), True),
        (buy("B"), False),
    ]


async def test_five_failures_in_a_row_open_the_circuit_breaker_and_an_answer_closes_it(nursery: trio.Nursery) -> None:
    books = Books(fails=says(500, b""))
    broker, heard = await started(nursery, ScriptedServer(http=books.http, refuse_upgrade=503))
    await heard.state(SessionState.CONNECTING)
    for _ in range(5):
        with pytest.raises(BrokerUnavailable):
            await broker.margins()
    assert broker.breaker.open
    books.fails = None
    await broker.margins()
    assert not broker.breaker.open


# --- help -------------------------------------------------------------------------------------------------------


def options_for(server: ScriptedServer, **options: object) -> WebSocketOptions:
    given: dict[str, object] = {
        "url": server.url,
        "api_key": KEY,
        "connect_timeout_s": 5.0,
        "limits": None,
        "longest_pause_s": 0.01,
    }
    return WebSocketOptions(**{**given, **options})  # type: ignore[arg-type]


async def started(nursery: trio.Nursery, server: ScriptedServer, **options: object) -> tuple[WebSocketBroker, Heard]:
    await nursery.start(server.serve)
    broker = WebSocketBroker(Effects(seed="1"), options_for(server, **options))
    heard = Heard()
    await nursery.start(broker.session, heard.post)
    return broker, heard


class ClientOf:
    """A twin and its client, for one server."""

    def __init__(self, server: ScriptedServer, **options: object) -> None:
        self._options: LinkOptions = options_for(server, **options)
        self._client = http_client(Effects(), base_url=self._options.address.rest_url, headers={"Authorization": KEY})

    async def __aenter__(self) -> RestTwin:
        effects = Effects(seed="1")
        return RestTwin(effects, self._options, self._client, effects.rng("twin"))

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


async def asked(server: ScriptedServer, **options: object) -> object:
    async with ClientOf(server, **options) as twin:
        return await twin.ask(GetMargins())
