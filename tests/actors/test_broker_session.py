"""The broker actor alone: it passes on what the session says, and a session that breaks or ends is a crash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from actors.actor import serve
from actors.broker_session import BrokerSession
from actors.mailbox import Address
from protocol.broker import (
    Books,
    BrokerTraits,
    Event,
    Margins,
    Quote,
    Request,
    Resync,
    SessionChanged,
    SessionState,
)
from protocol.errors import BrokerUnavailable
from protocol.messages import AskSnapshot
from protocol.orders import OrderType
from tests.fakes.actor_addresses import RecordingAddress

READY = SessionChanged(SessionState.READY, "connected", 1)


class Broker:
    """A session that posts what the test feeds it and ends as the test says."""

    traits = BrokerTraits(name="fake", entry_type=OrderType.MARKET)

    def __init__(self) -> None:
        self.state = SessionState.CONNECTING
        self.post: Callable[[Event], None] | None = None
        self.sessions = 0
        self.end = trio.Event()
        self.problem: Exception | None = None

    async def session(self, post: Callable[[Event], None], task_status: trio.TaskStatus[None]) -> None:
        self.sessions += 1
        self.post, self.state = post, SessionState.READY
        task_status.started()
        post(READY)
        try:
            await self.end.wait()
            if self.problem is not None:
                raise self.problem
        finally:
            self.post, self.state = None, SessionState.CONNECTING

    def submit(self, requests: Sequence[Request]) -> list[Event]:
        raise AssertionError("the session sends no orders")

    async def books(self) -> Books:
        raise AssertionError("the session reads no books")

    async def margins(self) -> Margins:
        raise AssertionError("the session reads no margins")

    async def quotes(self, symbols: Sequence[str]) -> list[Quote]:
        raise AssertionError("the session asks for no quotes")


async def test_what_the_session_says_reaches_the_router_in_order() -> None:
    broker, router, address = Broker(), RecordingAddress("order_router:main"), Address("broker:main")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, lambda own: BrokerSession(own, broker, router), address)
        await trio.testing.wait_all_tasks_blocked()
        lost = SessionChanged(SessionState.LOGIN_NEEDED, "the day's token has expired", 2)
        assert broker.post is not None
        broker.post(lost)
        assert router.posted == [READY, lost]
        assert await address.ask(AskSnapshot(), 1.0) == {"broker": "fake", "state": "READY"}
        nursery.cancel_scope.cancel()


async def test_it_is_ready_with_its_session_begun() -> None:
    broker, address = Broker(), Address("broker:main")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, lambda own: BrokerSession(own, broker, RecordingAddress()), address)
        assert broker.state is SessionState.READY
        nursery.cancel_scope.cancel()


async def test_updates_the_router_cannot_take_become_one_resync() -> None:
    broker, router, address = Broker(), Address("order_router:main", capacity=3), Address("broker:main")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, lambda own: BrokerSession(own, broker, router), address)
        await trio.testing.wait_all_tasks_blocked()
        assert broker.post is not None
        for _ in range(10):
            broker.post(READY)
        nursery.cancel_scope.cancel()
    waiting = await router.next_batch()
    assert waiting[:3] == [READY] * 3
    assert [type(event) for event in waiting[3:]] == [Resync]


@pytest.mark.parametrize("problem", [OSError("connection reset"), None])
async def test_a_session_that_breaks_or_ends_by_itself_is_a_crash(problem: Exception | None) -> None:
    broker, router, address = Broker(), RecordingAddress(), Address("broker:main")
    broker.problem = problem
    broker.end.set()
    with pytest.raises(ExceptionGroup) as raised:
        await serve(lambda own: BrokerSession(own, broker, router), address)
    assert raised.group_contains(type(problem) if problem else BrokerUnavailable)
    assert broker.state is SessionState.CONNECTING


async def test_a_killed_broker_ends_its_session_and_the_next_one_begins_another() -> None:
    broker, router, address = Broker(), RecordingAddress(), Address("broker:main")
    for life in (1, 2):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, lambda own: BrokerSession(own, broker, router), address)
            await trio.testing.wait_all_tasks_blocked()
            assert broker.sessions == life
            nursery.cancel_scope.cancel()
        states: list[Any] = [broker.state, broker.post]
        assert states == [SessionState.CONNECTING, None]
