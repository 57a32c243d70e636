"""The WebSocket broker against the broker server, over real sockets, with a server and a line that misbehave."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from brokers.websocket import WebSocketBroker, WebSocketOptions
from effects import Effects, MarketClock
from market.calendar import TradingCalendar
from market.feeds.link import LINK_BROKEN
from market.instruments import Instrument, Universe
from protocol.broker import CancelOrder, OrderUpdate, PlaceOrder, RequestFailed, SessionState
from protocol.clock import at
from protocol.orders import OrderState, OrderType, Side
from simulation.broker_exchange import ServerAccount
from simulation.broker_market import ServerMarket
from simulation.broker_server import BrokerServer
from simulation.trouble import Trouble
from tests.brokers.scripted_server import KEY, Heard

NOW_NS = at(date(2016, 8, 29), 10 * 3600)


def buy(client_id: str, limit_paise: int = 149_000) -> PlaceOrder:
    """Rests below the last price unless another limit is given."""
    return PlaceOrder(
        client_id=client_id,
        symbol="INFY",
        side=Side.BUY,
        quantity=10,
        order_type=OrderType.LIMIT,
        limit_paise=limit_paise,
    )


@attrs.define(eq=False)
class Setup:
    server: BrokerServer
    broker: WebSocketBroker
    heard: Heard
    port: int

    async def told(self, client_id: str) -> OrderUpdate | RequestFailed:
        """What became of an order, as the router hears it."""

        def is_it(event: object) -> bool:
            if isinstance(event, OrderUpdate):
                return event.client_id == client_id
            return isinstance(event, RequestFailed) and event.request == buy(client_id)

        event = await self.heard.until(is_it)
        assert isinstance(event, OrderUpdate | RequestFailed)
        return event

    async def in_books(self) -> Counter[str | None]:
        """Orders by client id, as the broker's books show them."""
        return Counter(order.client_id for order in (await self.broker.books()).orders)

    def at_the_server(self) -> Counter[str | None]:
        """The same by the server's own record."""
        return Counter(row.update.client_id for row in self.server.books("A").orders or ())


def new_server(trouble: Trouble | None = None, record: Path | None = None) -> BrokerServer:
    universe = Universe([Instrument("INFY", 1, 5), Instrument("TCS", 2, 5)])
    server = BrokerServer(
        [ServerAccount(name="A", api_key=KEY)],
        ServerMarket(universe, TradingCalendar(), start_ns=NOW_NS),
        trouble=trouble,
        record=record,
    )
    server.market.see("INFY", 150_000, -1)
    return server


@asynccontextmanager
async def listening(server: BrokerServer, port: int = 0) -> AsyncIterator[int]:
    """The server on a port of this machine; at the end it is gone with all its connections."""
    listeners = await Effects().listen_tcp(port)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def new_broker(port: int, **options: object) -> WebSocketBroker:
    given: dict[str, object] = {
        "url": f"ws://127.0.0.1:{port}/ws",
        "api_key": KEY,
        "connect_timeout_s": 5.0,
        "limits": None,
        "first_pause_s": 0.01,
        "longest_pause_s": 0.02,
    }
    clock = MarketClock(start_ns=NOW_NS)
    return WebSocketBroker(Effects(seed="1", market=clock), WebSocketOptions(**{**given, **options}))  # type: ignore[arg-type]


@asynccontextmanager
async def connected(trouble: Trouble | None = None, **options: object) -> AsyncIterator[Setup]:
    server, heard = new_server(trouble), Heard()
    async with listening(server) as port, trio.open_nursery() as nursery:
        broker = new_broker(port, **options)
        await nursery.start(broker.session, heard.post)
        await heard.state(SessionState.READY)
        yield Setup(server, broker, heard, port)
        nursery.cancel_scope.cancel()


# --- acknowledgements that are lost ---------------------------------------------------------------------------


async def lose_every_acknowledgement(number: int) -> None:
    """Place orders whose acceptance is never told, at random moments; each must be there once, under its own id."""
    rng, names = Random(7), [f"PA{place:04d}" for place in range(number)]
    async with connected(request_timeout_s=0.1) as setup:
        setup.server.trouble.set({"lose_answer": {"chance": 1, "only": ["PLACE_ORDER"]}})
        for name in names:
            setup.broker.breaker.answered()  # else so many time-outs would stop the entries
            setup.broker.submit([buy(name)])
            await trio.sleep(rng.choice([0, 0, 0.001, 0.003]))
        for name in names:
            failure = await setup.told(name)
            assert isinstance(failure, RequestFailed)
            assert failure.reached
        expected = Counter(names)
        assert await setup.in_books() == expected
        assert setup.at_the_server() == expected
        adopted = {order.client_id: order for order in (await setup.broker.books()).orders}
        assert {adopted[name].state for name in names} == {OrderState.OPEN}
        setup.server.trouble.clear()
        setup.broker.submit([CancelOrder(adopted[names[0]].broker_id)])  # the adopted id is good for all the rest
        await setup.heard.until(lambda event: isinstance(event, OrderUpdate) and event.state is OrderState.CANCELLED)


async def test_an_order_whose_acknowledgement_is_lost_is_there_once_under_its_own_id() -> None:
    await lose_every_acknowledgement(20)


@pytest.mark.slow
async def test_two_hundred_orders_whose_acknowledgements_are_lost_are_there_once_each() -> None:
    await lose_every_acknowledgement(200)


async def keep_every_outcome_true(number: int) -> None:
    """Orders over a line that loses, cuts and fails at random: certain outcomes are true, nothing is there twice."""
    trouble, rng = Trouble("every outcome"), Random(11)
    trouble.set(
        {
            "lose_request": 0.1,
            "lose_answer": {"chance": 0.1, "only": ["PLACE_ORDER"]},
            "reject": {"chance": 0.1, "only": ["PLACE_ORDER"]},
            "too_many": {"chance": 0.05, "only": ["PLACE_ORDER"]},
            "server_error": {"chance": 0.05, "only": ["PLACE_ORDER"]},
            "server_error_after": {"chance": 0.1, "only": ["PLACE_ORDER"]},
            "disconnect": {"chance": 0.05, "only": ["PLACE_ORDER"]},
            "disconnect_after": {"chance": 0.1, "only": ["PLACE_ORDER"]},
            "garbage": 0.1,
            "duplicate_update": 0.2,
            "reorder_update": 0.2,
            "drop_update": 0.1,
        }
    )
    names = [f"PA{place:04d}" for place in range(number)]
    async with connected(request_timeout_s=0.1, login_attempts=100) as setup:
        setup.server.trouble.set(trouble_of(trouble))
        for name in names:
            setup.broker.breaker.answered()
            for event in setup.broker.submit([buy(name)]):
                setup.heard.post(event)
            await trio.sleep(rng.choice([0, 0.001, 0.01]))
        outcomes = {name: await setup.told(name) for name in names}
        setup.server.trouble.clear()
        place = len(setup.heard.events)
        if setup.broker.state is not SessionState.READY:
            await setup.heard.state(SessionState.READY, place)
        # Read before the server's own record is: a request whose deadline has passed may still be on its way.
        books = await setup.in_books()
        there = setup.at_the_server()
        assert books == there
        assert set(there.values()) <= {1}
        for name, outcome in outcomes.items():
            if isinstance(outcome, OrderUpdate):
                assert there[name] == 1, f"{name} was acknowledged"
            elif not outcome.reached:
                assert there[name] == 0, f"{name} was said to be certainly not placed ({outcome.code})"
    kinds = {(type(outcome).__name__, getattr(outcome, "reached", None)) for outcome in outcomes.values()}
    assert kinds == {("OrderUpdate", None), ("RequestFailed", True), ("RequestFailed", False)}


def trouble_of(trouble: Trouble) -> dict[str, object]:
    """The switches of one Trouble, to be set in another."""
    on = trouble.as_json()["on"]
    assert isinstance(on, dict)
    return {"seed": "every outcome", **on}


async def test_over_a_bad_line_every_certain_outcome_is_true_and_nothing_is_there_twice() -> None:
    await keep_every_outcome_true(80)


@pytest.mark.slow
async def test_over_a_bad_line_a_thousand_outcomes_are_true() -> None:
    await keep_every_outcome_true(1_000)


# --- connections that break -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("switch", "there"), [("disconnect", 0), ("disconnect_after", 1)])
async def test_a_connection_cut_in_the_middle_of_a_request_leaves_its_fate_to_the_books(
    switch: str, there: int
) -> None:
    async with connected() as setup:
        setup.server.trouble.set({switch: {"chance": 1, "times": 1, "only": ["PLACE_ORDER"]}})
        setup.broker.submit([buy("A")])
        failure = await setup.told("A")
        assert isinstance(failure, RequestFailed)
        assert (failure.reached, failure.code) == (True, LINK_BROKEN)
        await setup.heard.state(SessionState.READY, setup.heard.events.index(failure))
        assert (await setup.in_books())["A"] == there == setup.at_the_server()["A"]


async def test_a_half_open_line_is_found_by_pings_and_its_requests_are_in_doubt() -> None:
    async with connected(ping_interval_s=0.02, request_timeout_s=30.0) as setup:
        setup.server.trouble.set({"half_open": {"chance": 1, "times": 1, "only": ["PLACE_ORDER"]}})
        setup.broker.submit([buy("A")])
        failure = await setup.told("A")
        assert isinstance(failure, RequestFailed)
        assert (failure.reached, failure.code) == (True, LINK_BROKEN)
        assert "pings" in failure.message
        await setup.heard.state(SessionState.READY, setup.heard.events.index(failure))
        setup.broker.submit([buy("B")])
        assert isinstance(await setup.told("B"), OrderUpdate)


async def test_a_server_killed_and_started_again_has_the_same_books(tmp_path: Path) -> None:
    record, heard = tmp_path / "record.jsonl", Heard()
    async with trio.open_nursery() as nursery:
        async with listening(new_server(record=record)) as port:
            broker = new_broker(port)
            await nursery.start(broker.session, heard.post)
            await heard.state(SessionState.READY)
            broker.submit([buy("A"), buy("B", limit_paise=150_450)])
            await heard.until(lambda event: isinstance(event, OrderUpdate) and event.client_id == "B")
            before = await broker.books()
            place = len(heard.events)
        await heard.state(SessionState.CONNECTING, place)
        async with listening(new_server(record=record), port):
            await heard.state(SessionState.READY, place)
            after = await broker.books()
            assert (after.orders, after.trades, after.positions) == (before.orders, before.trades, before.positions)
            nursery.cancel_scope.cancel()


# --- a server that says too much, too late, or nonsense -------------------------------------------------------


async def test_orders_work_through_garbage_delays_doubles_and_swaps() -> None:
    trouble = Trouble("noise")
    async with connected(trouble) as setup:
        trouble.set({"garbage": 0.5, "duplicate_update": True, "reorder_update": 0.3, "delay_ms": 5, "slow_read_ms": 1})
        names = [f"PA{place:04d}" for place in range(30)]
        for name in names:
            setup.broker.submit([buy(name, limit_paise=150_450)])
        for name in names:

            def is_complete(event: object, name: str = name) -> bool:
                done = isinstance(event, OrderUpdate) and event.state is OrderState.COMPLETE
                return done and isinstance(event, OrderUpdate) and event.client_id == name

            await setup.heard.until(is_complete)
        told = Counter((update.client_id, update.filled) for update in setup.heard.of(OrderUpdate))
        assert set(told) == {(name, 10) for name in names}
        assert setup.broker.kept.connected == 1
        assert setup.broker.kept.counts.malformed > 0


async def test_a_slow_server_delays_answers_and_loses_none() -> None:
    async with connected() as setup:
        setup.server.trouble.set({"slow_read_ms": 20, "delay_ms": 20})
        names = [f"PA{place:04d}" for place in range(300)]  # more than fit into one frame
        setup.broker.submit([buy(name) for name in names])
        for name in names:
            assert isinstance(await setup.told(name), OrderUpdate)
        assert await setup.in_books() == Counter(names)
