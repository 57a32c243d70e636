"""The Kite broker keeps the promises of every broker, over real sockets, against the Kite server of simulation/."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import attrs
import pytest
import trio

from brokers.kite import KiteBroker, kite_client
from brokers.kite_options import KiteOptions
from brokers.kite_token import TokenFile
from brokers.rate_limit import CallLimits
from effects import Effects, MarketClock
from market.calendar import TradingCalendar
from market.instruments import Instrument, Universe
from protocol.broker import (
    Event,
    GttUpdate,
    OrderUpdate,
    Request,
    RequestFailed,
    Resync,
    SessionChanged,
    SessionState,
)
from protocol.clock import NS, at
from protocol.errors import BrokerUnavailable
from protocol.kite_wire import Login, token_expires_ns
from protocol.orders import OrderState
from simulation.kite_account import AccountOptions
from simulation.kite_exchange import KiteExchange
from simulation.kite_login import Logins
from simulation.kite_server import KiteServer
from tests.contracts.broker_contract import BrokerContract
from tests.contracts.broker_market import Said, buy, gtt

CALENDAR = TradingCalendar()
DAY = date(2016, 8, 29)
TEN_O_CLOCK_S = 10 * 3600
PATIENCE_S = 5.0
UNHURRIED = CallLimits(order_per_second=500, order_per_minute=5_000, other_per_second=500)


async def until(holds: Callable[[], bool]) -> None:
    """Real sockets give no event to wait for."""
    with trio.fail_after(PATIENCE_S):
        while True:
            if holds():
                return
            await trio.sleep(0.001)


@attrs.define(eq=False)
class KiteMarket:
    """The Kite server on a port of its own, and one account's broker connected to it."""

    nursery: trio.Nursery
    server: KiteServer
    exchange: KiteExchange
    broker: KiteBroker
    tokens: TokenFile
    clock: MarketClock
    day: date = DAY
    events: list[Event] = attrs.field(factory=list)
    logins: int = 0
    session: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def submit(self, *requests: Request) -> None:
        self.events += self.broker.submit(requests)
        await self._settled()

    async def price(self, symbol: str, price_paise: int) -> None:
        self.clock.advance_to(self.clock.now_ns + NS)
        self.exchange.price(symbol, price_paise)
        await self._settled()

    async def disconnect(self) -> None:
        self.session.cancel()
        await until(lambda: not self.broker.connected)

    async def connect(self) -> None:
        self.session = trio.CancelScope()
        heard = len(self.events)
        await self.nursery.start(self._session)
        await self.ready(heard)

    async def _session(self, task_status: trio.TaskStatus[None]) -> None:
        with self.session:
            await self.broker.session(self.events.append, task_status)

    async def close_trading(self) -> None:
        self.exchange.close_trading()
        await self._settled()

    async def open_next_day(self) -> None:
        """At six the token has ended: the owner logs in again."""
        self.day = CALENDAR.next_trading_day(self.day)
        heard = len(self.events)
        self.exchange.open_on(self.day)
        self.log_in()
        await self.ready(heard)

    def log_in(self) -> None:
        self.logins += 1
        now_ns = self.clock.now_ns
        token = f"token{self.logins}"
        self.exchange.logins.access_token, self.exchange.logins.login_ns = token, now_ns
        self.tokens.write(Login("AB1234", token, now_ns, token_expires_ns(now_ns), True))

    async def ready(self, heard: int) -> None:
        """A session has said READY since then, and order updates flow."""
        await until(
            lambda: (
                self.broker.ticker.up
                and any(
                    isinstance(event, SessionChanged) and event.state is SessionState.READY
                    for event in self.events[heard:]
                )
            )
        )

    async def _settled(self) -> None:
        """Until the broker has told what the exchange did, and nothing is on its way."""
        if self.broker.state is SessionState.READY:
            await until(lambda: self.broker.idle and self._all_told())

    def _all_told(self) -> bool:
        orders = {e.broker_id: (e.state, e.filled) for e in self.events if isinstance(e, OrderUpdate)}
        gtts = {e.gtt_id: e.state for e in self.events if isinstance(e, GttUpdate)}
        return all(
            orders.get(order.order_id) == (order.update.state, order.update.filled)
            for order in self.exchange.account.orders.values()
        ) and all(gtts.get(str(gtt.trigger_id)) is gtt.update.state for gtt in self.exchange.gtts.entries.values())


@asynccontextmanager
async def kite_market(
    *, cash_paise: int | None = None, partial_fills: bool = False, request_timeout_s: float = 5.0
) -> AsyncIterator[KiteMarket]:
    """The market of broker_market.py at a Kite server, connected."""
    effects = Effects(market=MarketClock(at(DAY, TEN_O_CLOCK_S)), seed="contract")
    exchange = KiteExchange(
        Universe([Instrument("INFY", 408065, 5), Instrument("TCS", 2953217, 5)]),
        effects,
        Logins("key", "secret", "AB1234", Random(1)),
        options=AccountOptions(cash_paise=cash_paise, partial_fills=partial_fills),
        calendar=CALENDAR,
    )
    exchange.set_limits("INFY", 135_000, 165_000)
    with TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            listeners = await effects.listen_tcp(0)
            server = KiteServer(exchange, rate_limits=False)
            await nursery.start(server.serve, listeners)
            port = listeners[0].socket.getsockname()[1]
            options = KiteOptions(
                api_key="key",
                api_secret="secret",
                token_file=Path(folder) / "token.json",
                api_url=f"http://127.0.0.1:{port}",
                ticker_url=f"ws://127.0.0.1:{port}",
                limits=UNHURRIED,
                quotes_per_second=100,
                token_look_s=0.01,
                request_timeout_s=request_timeout_s,
            )
            async with kite_client(options, effects) as client:
                broker = KiteBroker(options, effects, client)
                tokens = TokenFile(options.token_file, options.api_key)
                market = KiteMarket(nursery, server, exchange, broker, tokens, effects.market)
                await market.price("INFY", 150_000)
                market.log_in()
                await market.connect()
                yield market
                nursery.cancel_scope.cancel()


class TestKiteBroker(BrokerContract):
    async def open_market(
        self, nursery: trio.Nursery, *, cash_paise: int | None = None, partial_fills: bool = False
    ) -> KiteMarket:
        opened = await nursery.start(self._serve, cash_paise, partial_fills)
        assert isinstance(opened, KiteMarket)
        return opened

    async def _serve(
        self, cash_paise: int | None, partial_fills: bool, *, task_status: trio.TaskStatus[KiteMarket]
    ) -> None:
        async with kite_market(cash_paise=cash_paise, partial_fills=partial_fills) as market:
            task_status.started(market)
            await trio.sleep_forever()


# --- what only a real line can do --------------------------------------------------------------------


async def test_orders_whose_acknowledgement_is_lost_exist_once_and_are_found_by_their_tag() -> None:
    async with kite_market(request_timeout_s=0.05) as market:
        names = [f"A{number}" for number in range(20)]
        market.server.trouble.set({"lose_answer": {"chance": 1, "times": 20, "only": ["POST /orders"]}})
        for name in names:
            market.events += market.broker.submit([buy(name, 1)])
            await until(partial(has_failed, market, buy(name, 1)))
        assert {failed.reached for failed in failures(market)} == {True}
        orders = (await market.broker.books()).orders
        assert sorted(order.client_id or "" for order in orders) == sorted(names)
        assert {order.state for order in orders} == {OrderState.COMPLETE}


async def test_gtts_whose_acknowledgement_is_lost_are_adopted_from_the_list() -> None:
    async with kite_market(request_timeout_s=0.05) as market:
        await market.submit(buy("A1"))
        market.server.trouble.set({"lose_answer": {"chance": 1, "times": 1, "only": ["POST /gtt"]}})
        market.events += market.broker.submit([gtt("G1")])
        await until(lambda: any(isinstance(event, GttUpdate) and event.client_id == "G1" for event in market.events))
        assert [failed.reached for failed in failures(market)] == [True]
        assert len(market.exchange.gtts.entries) == 1


async def test_a_cut_ticker_comes_back_and_asks_for_the_books() -> None:
    async with kite_market() as market:
        market.server.ticker.cut_all()
        await until(lambda: any(isinstance(event, Resync) for event in market.events))
        assert market.broker.state is SessionState.READY, "orders need no ticker"
        await market.submit(buy("A1"))
        assert Said(market).order("A1").state is OrderState.COMPLETE


async def test_a_token_killed_in_mid_day_waits_for_a_new_login() -> None:
    async with kite_market() as market:
        market.exchange.logins.kill()
        with pytest.raises(BrokerUnavailable):
            await market.broker.books()
        await until(lambda: market.broker.state is SessionState.LOGIN_NEEDED)
        heard = len(market.events)
        market.log_in()
        await market.ready(heard)
        assert (await market.broker.books()).orders == ()


async def test_orders_refused_for_their_address_say_what_to_do() -> None:
    async with kite_market() as market:
        market.server.routes.static_ip_refused = True
        market.events += market.broker.submit([buy("A1")])
        await until(lambda: bool(failures(market)))
        (failed,) = failures(market)
        assert not failed.reached
        assert "static IP" in failed.message
        assert (await market.broker.books()).orders == (), "books are read from anywhere"


def has_failed(market: KiteMarket, request: Request) -> bool:
    return request in [failed.request for failed in failures(market)]


def failures(market: KiteMarket) -> list[RequestFailed]:
    return [event for event in market.events if isinstance(event, RequestFailed)]
