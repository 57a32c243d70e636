"""The WebSocket broker's connection: found dead, made again, and never worse than its answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from uuid import UUID

import pytest
import trio
import trio.testing

from brokers.rate_limit import CallLimits
from brokers.websocket import WebSocketBroker, WebSocketOptions
from brokers.websocket_gate import CIRCUIT_OPEN
from effects import Effects
from market.feeds.link import LINK_BROKEN, NOT_CONNECTED, TIMEOUT, UNREADABLE
from market.feeds.link_options import Address, LinkOptions, Pauses, request_ids
from protocol.broker import (
    CancelGtt,
    CancelOrder,
    GttUpdate,
    Margins,
    OrderUpdate,
    PlaceOrder,
    RequestFailed,
    Resync,
    SessionState,
)
from protocol.broker_wire import ErrorCode, Refusal, Response, Ticks
from protocol.broker_wire_client import decode_request
from protocol.broker_wire_requests import Batch, ClientRequest, GetMargins
from protocol.broker_wire_rows import Fill, GttReport, OrderReport
from protocol.errors import BrokerUnavailable
from protocol.orders import GttState, Leg, OrderState, OrderType, Side
from tests.brokers.scripted_server import KEY, Heard, Reply, ScriptedServer


def buy(client_id: str = "PA01", quantity: int = 10) -> PlaceOrder:
    return PlaceOrder(
        client_id=client_id,
        symbol="INFY",
        side=Side.BUY,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        limit_paise=150_000,
    )


def row(broker_id: str = "P1", client_id: str = "PA01", filled: int = 0, seq: int = 1) -> OrderReport:
    update = OrderUpdate(
        broker_id=broker_id,
        client_id=client_id,
        gtt_id=None,
        symbol="INFY",
        side=Side.BUY,
        state=OrderState.COMPLETE if filled == 10 else OrderState.PARTIAL if filled else OrderState.OPEN,
        quantity=10,
        filled=filled,
        value_paise=filled * 150_000,
        at_ns=0,
        limit_paise=150_000,
    )
    fills = (Fill("T1", filled, 150_000),) if filled else ()
    return OrderReport(update=update, order_type=OrderType.LIMIT, trigger_paise=None, fills=fills, seq=seq, placed_ns=0)


def gtt_row(state: GttState) -> GttReport:
    update = GttUpdate(
        gtt_id="G1",
        client_id="PA02",
        symbol="INFY",
        state=state,
        quantity=10,
        stop=Leg(146_250, 144_750),
        target=None,
        at_ns=0,
    )
    return GttReport(update=update, placed_ns=0)


def accept(request: ClientRequest) -> Iterable[Reply]:
    """A server that accepts every order and has empty books."""
    if isinstance(request.body, PlaceOrder):
        client_id = request.body.client_id
        yield Response(
            request_id=request.request_id, order_id=f"of {client_id}", order=row(f"of {client_id}", client_id)
        )
    else:
        yield Response(request_id=request.request_id, orders=(), gtts=(), trades=(), positions=(), holdings=())


async def started(nursery: trio.Nursery, server: ScriptedServer, **options: object) -> tuple[WebSocketBroker, Heard]:
    """A broker whose session runs against the server."""
    await nursery.start(server.serve)
    given = {"url": server.url, "api_key": KEY, "connect_timeout_s": 5.0, "limits": None, **options}
    broker = WebSocketBroker(Effects(seed="1"), WebSocketOptions(**given))  # type: ignore[arg-type]
    heard = Heard()
    await nursery.start(broker.session, heard.post)
    return broker, heard


async def connected(nursery: trio.Nursery, server: ScriptedServer, **options: object) -> tuple[WebSocketBroker, Heard]:
    broker, heard = await started(nursery, server, **options)
    await heard.state(SessionState.READY)
    return broker, heard


def failure_of(heard: Heard, client_id: str) -> RequestFailed:
    (failure,) = [
        event
        for event in heard.of(RequestFailed)
        if isinstance(event.request, PlaceOrder) and event.request.client_id == client_id
    ]
    return failure


# --- requests and answers -------------------------------------------------------------------------------


async def test_requests_made_together_go_in_one_frame_and_in_order(nursery: trio.Nursery) -> None:
    server = ScriptedServer(accept)
    broker, heard = await connected(nursery, server)
    assert broker.submit([buy("A"), buy("B")]) == []
    assert broker.submit([buy("C")]) == []
    await heard.until(lambda event: isinstance(event, OrderUpdate) and event.client_id == "C")
    batch = decode_request(server.frames[0])
    assert isinstance(batch, Batch)
    assert [event.client_id for event in heard.of(OrderUpdate)] == ["A", "B", "C"]
    await broker.books()
    assert len(server.frames) == 2


async def test_an_answer_is_matched_by_its_request_id_whatever_its_place(nursery: trio.Nursery) -> None:
    asked: list[ClientRequest] = []

    def answer_backwards(request: ClientRequest) -> Iterable[Reply]:
        asked.append(request)
        if len(asked) == 2:
            for earlier in reversed(asked):
                assert isinstance(earlier.body, PlaceOrder)
                yield Refusal(request_id=earlier.request_id, code="MARGIN", message=earlier.body.client_id)

    broker, heard = await connected(nursery, ScriptedServer(answer_backwards))
    broker.submit([buy("A"), buy("B")])
    await heard.until(lambda event: isinstance(event, RequestFailed) and event.message == "A")
    assert [(failure.request, failure.message) for failure in heard.of(RequestFailed)] == [
        (buy("B"), "B"),
        (buy("A"), "A"),
    ]


@pytest.mark.parametrize(
    ("answer", "reached", "code"),
    [
        ({"type": "ERROR", "status": "ERROR", "code": "MARGIN", "message": "too little"}, False, "MARGIN"),
        ({"type": "ERROR", "status": "ERROR", "code": "RATE_LIMITED", "message": "slow"}, False, "RATE_LIMITED"),
        ({"type": "ERROR", "status": "ERROR", "code": "SERVER_ERROR", "message": "oops"}, True, "SERVER_ERROR"),
        ({"type": "RESPONSE", "status": "SUCCESS", "order_id": 7}, True, UNREADABLE),
        ({"type": "RESPONSE", "status": "SUCCESS"}, True, UNREADABLE),
        ({"type": "NOVELTY"}, True, UNREADABLE),
    ],
    ids=["refused", "rate", "server error", "malformed", "no order id", "unknown type"],
)
async def test_what_an_answer_means(nursery: trio.Nursery, answer: dict[str, object], reached: bool, code: str) -> None:
    server = ScriptedServer(lambda request: [json.dumps({**answer, "request_id": request.request_id})])
    broker, heard = await connected(nursery, server)
    broker.submit([buy()])
    failure = await heard.next(RequestFailed)
    assert (failure.request, failure.reached, failure.code) == (buy(), reached, code)


async def test_an_id_alone_is_an_acceptance(nursery: trio.Nursery) -> None:
    server = ScriptedServer(lambda request: [Response(request_id=request.request_id, order_id="P1")])
    broker, heard = await connected(nursery, server)
    broker.submit([buy()])
    update = await heard.next(OrderUpdate)
    assert (update.broker_id, update.client_id, update.state, update.filled) == ("P1", "PA01", OrderState.OPEN, 0)


async def test_a_request_without_an_answer_is_in_doubt_and_a_late_answer_asks_for_the_books(
    nursery: trio.Nursery,
) -> None:
    server = ScriptedServer()
    broker, heard = await connected(nursery, server, request_timeout_s=0.05)
    broker.submit([buy()])
    failure = await heard.next(RequestFailed)
    assert (failure.reached, failure.code) == (True, TIMEOUT)
    await server.say(Response(request_id=server.asked[0].request_id, order_id="P1", order=row(filled=10)))
    await heard.next(Resync)
    assert heard.of(OrderUpdate) == []
    assert broker.kept.counts.late == 1
    assert broker.state is SessionState.READY


async def test_updates_that_come_twice_or_too_late_are_told_once(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    broker, heard = await connected(nursery, server)
    await server.say(row(seq=1), row(filled=10, seq=3), row(filled=10, seq=3), row(filled=4, seq=2), row("P2", seq=1))
    await heard.until(lambda event: isinstance(event, OrderUpdate) and event.broker_id == "P2")
    assert [(update.broker_id, update.filled) for update in heard.of(OrderUpdate)] == [("P1", 0), ("P1", 10), ("P2", 0)]
    assert broker.answers.outdated == 2


# --- a cancelled GTT is read first ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "told"),
    [(GttState.CANCELLED, GttState.CANCELLED), (GttState.TRIGGERED, GttState.TRIGGERED), (GttState.ACTIVE, None)],
)
async def test_a_cancelled_gtt_is_what_was_read_after_the_answer(
    nursery: trio.Nursery, state: GttState, told: GttState | None
) -> None:
    def script(request: ClientRequest) -> Iterable[Reply]:
        if isinstance(request.body, CancelGtt):
            yield Response(request_id=request.request_id, gtt_id="G1", gtt=gtt_row(GttState.CANCELLED))
        else:
            yield Response(request_id=request.request_id, gtts=(gtt_row(state),))

    server = ScriptedServer(script)
    broker, heard = await connected(nursery, server)
    broker.submit([CancelGtt("G1")])
    event = await heard.until(lambda event: isinstance(event, GttUpdate | RequestFailed))
    if told is None:
        assert isinstance(event, RequestFailed)
        assert event.reached
    else:
        assert isinstance(event, GttUpdate)
        assert event.state is told
    assert [type(request.body).__name__ for request in server.asked] == ["CancelGtt", "GetGtts"]


async def test_cancellations_answered_together_are_confirmed_by_few_readings(nursery: trio.Nursery) -> None:
    rows = [
        GttReport(
            update=GttUpdate(
                gtt_id=f"G{number}",
                client_id=None,
                symbol="INFY",
                state=GttState.CANCELLED,
                quantity=1,
                stop=Leg(100, 100),
                target=None,
                at_ns=0,
            ),
            placed_ns=0,
        )
        for number in range(50)
    ]
    server = ScriptedServer(lambda request: [Response(request_id=request.request_id, gtts=tuple(rows))])
    broker, heard = await connected(nursery, server)
    broker.submit([CancelGtt(f"G{number}") for number in range(50)])
    await heard.until(lambda event: isinstance(event, GttUpdate) and len(heard.of(GttUpdate)) == 50)
    assert len(server.asked) <= 50 + 5


# --- limits ------------------------------------------------------------------------------------------------


async def test_five_server_errors_stop_entries_until_a_read_is_answered(nursery: trio.Nursery) -> None:
    def script(request: ClientRequest) -> Iterable[Reply]:
        if isinstance(request.body, GetMargins):
            yield Response(request_id=request.request_id, margins=Margins(100, 0))
        else:
            yield Refusal(request_id=request.request_id, code=ErrorCode.SERVER_ERROR.value, message="oops")

    server = ScriptedServer(script)
    broker, heard = await connected(nursery, server)
    broker.submit([buy(str(place)) for place in range(5)])
    await heard.until(lambda _: len(heard.of(RequestFailed)) == 5)
    assert broker.breaker.open
    broker.submit([buy("A")])
    assert (failure_of(heard, "A").reached, failure_of(heard, "A").code) == (False, CIRCUIT_OPEN)
    await server.was_asked(6)  # the probe
    await broker.margins()
    server.script = accept
    broker.submit([buy("B")])
    await heard.next(OrderUpdate)


async def test_orders_over_the_limit_wait_and_entries_that_waited_for_a_dead_line_were_not_sent(
    nursery: trio.Nursery,
) -> None:
    server = ScriptedServer(accept)
    broker, heard = await connected(nursery, server, limits=CallLimits(order_per_minute=2))
    broker.submit([buy(name) for name in "ABC"])
    await heard.until(lambda _: len(heard.of(OrderUpdate)) == 2)
    await server.cut()
    failure = await heard.next(RequestFailed)
    assert (failure.request, failure.reached, failure.code) == (buy("C"), False, NOT_CONNECTED)
    assert [request.body for request in server.asked] == [buy("A"), buy("B")]


# --- what is wrong with the line ---------------------------------------------------------------------------


async def test_garbage_is_counted_and_the_connection_lives(nursery: trio.Nursery) -> None:
    server = ScriptedServer(accept)
    broker, heard = await connected(nursery, server)
    await server.say("no json", b"\x00\xff\xfe", '{"type": "NOVELTY"}', '{"type": "ORDER_UPDATE"}', "[]", Ticks(()))
    broker.submit([buy()])
    await heard.next(OrderUpdate)
    assert (broker.kept.counts.malformed, broker.kept.counts.unknown) == (4, 1)
    assert broker.kept.connected == 1
    assert len(heard.of(Resync)) == 1  # what the garbage was meant to say stands in the books


async def test_bytes_that_are_no_websocket_end_the_connection_and_the_next_one_works(nursery: trio.Nursery) -> None:
    server = ScriptedServer(accept)
    broker, heard = await connected(nursery, server)
    place = len(heard.events)
    await server.streams[-1].send_all(b"\xff" * 64)
    await heard.state(SessionState.CONNECTING, place)
    await heard.state(SessionState.READY, place)
    broker.submit([buy()])
    await heard.next(OrderUpdate)


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", b"garbage\r\n\r\n", b"\x00" * 99]
)
async def test_a_handshake_that_fails_is_made_again(nursery: trio.Nursery, first: bytes) -> None:
    (listener,) = await Effects().listen_tcp(0)
    port = listener.socket.getsockname()[1]
    server = ScriptedServer(accept, port=port)
    broker = WebSocketBroker(
        Effects(seed="1"), WebSocketOptions(url=server.url, api_key=KEY, connect_timeout_s=5.0, longest_pause_s=0.1)
    )
    heard = Heard()
    await nursery.start(broker.session, heard.post)
    async with listener, await listener.accept() as stream:
        await stream.receive_some()
        if first:
            await stream.send_all(first)
    await heard.state(SessionState.CONNECTING)
    await nursery.start(server.serve)
    await heard.state(SessionState.READY)


async def test_a_request_under_way_when_the_connection_is_cut_is_in_doubt_and_not_sent_again(
    nursery: trio.Nursery,
) -> None:
    server = ScriptedServer()
    broker, heard = await connected(nursery, server)
    broker.submit([buy("A")])
    await server.was_asked(1)
    await server.cut()
    await heard.next(RequestFailed)
    failure = failure_of(heard, "A")
    assert (failure.reached, failure.code) == (True, LINK_BROKEN)
    down = heard.events.index(failure)
    await heard.state(SessionState.READY, down)
    server.script = accept
    broker.submit([buy("B")])
    await heard.next(OrderUpdate, down)
    assert [request.body for request in server.asked] == [buy("A"), buy("B")]


async def test_after_the_connection_has_gone_a_request_is_certainly_not_placed(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    broker, heard = await connected(nursery, server, first_pause_s=60.0, longest_pause_s=60.0)
    server.refuse_upgrade = 503
    await server.cut()
    await heard.state(SessionState.CONNECTING)
    (failure,) = broker.submit([buy()])
    assert isinstance(failure, RequestFailed)
    assert (failure.reached, failure.code) == (False, NOT_CONNECTED)
    assert broker.state is SessionState.CONNECTING


async def test_a_session_that_ends_leaves_no_request_without_a_word(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    await nursery.start(server.serve)
    broker = WebSocketBroker(Effects(seed="1"), WebSocketOptions(url=server.url, api_key=KEY))
    heard = Heard()
    async with trio.open_nursery() as session:
        await session.start(broker.session, heard.post)
        await heard.state(SessionState.READY)
        broker.submit([buy("sent")])
        await server.was_asked(1)
        broker.submit([buy("unsent")])
        session.cancel_scope.cancel()
    assert (failure_of(heard, "sent").reached, failure_of(heard, "sent").code) == (True, LINK_BROKEN)
    assert (failure_of(heard, "unsent").reached, failure_of(heard, "unsent").code) == (False, NOT_CONNECTED)
    assert broker.state is SessionState.CONNECTING
    with pytest.raises(BrokerUnavailable, match="no session"):
        await broker.books()


async def test_a_line_that_fell_silent_is_found_by_its_missing_pongs(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    broker, heard = await connected(nursery, server, ping_interval_s=0.02, request_timeout_s=30.0)
    place = len(heard.events)
    server.everything = True  # nothing is answered any more, and nothing closed
    broker.submit([CancelOrder("P1")])
    down = await heard.state(SessionState.CONNECTING, place)
    assert "2 pings" in down.reason
    failure = await heard.next(RequestFailed)
    assert (failure.reached, failure.code) == (True, LINK_BROKEN)
    server.everything = False
    await heard.state(SessionState.READY, place)


async def test_pongs_keep_a_quiet_line(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    broker, _ = await connected(nursery, server, ping_interval_s=0.005)
    async with server.news:
        for _ in range(20):
            await server.news.wait()
    assert broker.kept.connected == 1
    assert broker.state is SessionState.READY


# --- the api key ----------------------------------------------------------------------------------------


async def test_a_key_that_is_refused_three_times_waits_for_a_person(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    broker, heard = await started(nursery, server, api_key="an-old-key", longest_pause_s=0.01, first_pause_s=0.01)
    event = await heard.state(SessionState.LOGIN_NEEDED)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert server.auths == 3
    assert broker.state is SessionState.LOGIN_NEEDED
    assert "NOT_AUTHENTICATED" in event.reason
    (failure,) = broker.submit([buy()])
    assert isinstance(failure, RequestFailed)
    assert not failure.reached


async def test_a_key_that_is_accepted_again_ends_the_waiting(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    server.refuse_upgrade = 401
    _, heard = await started(nursery, server, longest_pause_s=0.01, first_pause_s=0.01, login_pause_s=0.01)
    await heard.state(SessionState.LOGIN_NEEDED)
    server.refuse_upgrade = 0
    await heard.state(SessionState.READY)


async def test_a_server_that_forgets_us_is_told_again_who_we_are(nursery: trio.Nursery) -> None:
    forgetful = Refusal(request_id=None, code=ErrorCode.NOT_AUTHENTICATED.value, message="who are you?")
    server = ScriptedServer()
    _, heard = await connected(nursery, server)
    place = len(heard.events)
    await server.say(forgetful)
    await heard.state(SessionState.CONNECTING, place)
    await heard.state(SessionState.READY, place)
    assert server.auths == 2


async def test_the_api_key_is_in_no_event_error_or_repr(nursery: trio.Nursery) -> None:
    secret = "an-old-key"
    server = ScriptedServer()  # whose refusal repeats the key
    broker, heard = await started(nursery, server, api_key=secret, longest_pause_s=0.01, first_pause_s=0.01)
    await heard.state(SessionState.LOGIN_NEEDED)
    shown = [repr(heard.events), repr(broker), repr(WebSocketOptions(url=server.url, api_key=secret))]
    shown += [repr(event) for event in broker.submit([buy()])]
    with pytest.raises(BrokerUnavailable) as unavailable:
        await broker.books()
    shown.append(repr(unavailable.value))
    assert not [text for text in shown if secret in text]


# --- options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("ws://broker.example/ws", "wss://broker.example"),
        ("http://127.0.0.1:9000", "wss://"),
        ("wss://", "wss://"),
        ("wss://broker.example:port", "wss://"),
        ("wss://me:secret@broker.example", "api_key"),
        ("ws://192.168.1.10:9000", "wss://"),
    ],
)
def test_a_url_that_is_not_safe_is_refused_with_what_would_be_right(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as refused:
        LinkOptions(url=url, api_key=KEY)
    assert "secret@" not in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://127.0.0.1:9000/ws", Address("127.0.0.1", 9_000, "/ws", False, True)),
        ("ws://localhost", Address("localhost", 80, "/", False, True)),
        ("ws://[::1]:9000", Address("::1", 9_000, "/", False, True)),
        ("wss://broker.example/v1?x=1", Address("broker.example", 443, "/v1?x=1", True, False)),
    ],
)
def test_a_url_is_read(url: str, address: Address) -> None:
    assert Address.of(url) == address


def test_http_is_asked_at_the_same_server() -> None:
    assert Address.of("wss://broker.example:8443/ws").rest_url == "https://broker.example:8443"
    assert Address.of("ws://[::1]:9000/ws").rest_url == "http://[::1]:9000"


def test_the_connect_timeout_is_short_on_this_machine_only() -> None:
    assert LinkOptions(url="ws://127.0.0.1:1", api_key=KEY).connect_s == 0.2
    assert LinkOptions(url="wss://broker.example", api_key=KEY).connect_s == 5.0


@pytest.mark.parametrize("wrong", [{"api_key": ""}, {"ping_interval_s": 0.0}, {"pongs_missed_max": 0}])
def test_options_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkOptions(**{"url": "wss://broker.example", "api_key": KEY, **wrong})  # type: ignore[arg-type]


def test_pauses_begin_at_once_double_to_their_bound_and_begin_again_after_health() -> None:
    class Highest(Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    pauses = Pauses(LinkOptions(url="wss://broker.example", api_key=KEY), Highest())
    assert [pauses.next_s() for _ in range(6)] == [0.0, 0.1, 0.2, 0.4, 0.8, 0.8]
    pauses.lasted(29.9)
    assert pauses.next_s() == 0.8
    pauses.lasted(30.0)
    assert [pauses.next_s() for _ in range(2)] == [0.0, 0.1]


def test_a_request_id_is_a_random_uuid() -> None:
    drawn = [request_ids(Random(seed)) for seed in range(50)]
    assert len(set(drawn)) == 50
    assert {UUID(text).version for text in drawn} == {4}
    assert {str(UUID(text)) for text in drawn} == set(drawn)
