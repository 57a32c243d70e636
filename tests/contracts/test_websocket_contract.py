"""The WebSocket broker keeps the promises of every broker, over real sockets, against the broker server."""

from __future__ import annotations

from datetime import date

import attrs
import trio

from brokers.websocket import WebSocketBroker, WebSocketOptions
from effects import Effects, MarketClock
from market.calendar import TradingCalendar
from market.instruments import Instrument, Universe
from protocol.broker import Event, Request, SessionChanged, SessionState
from protocol.clock import at
from simulation.broker_exchange import ServerAccount
from simulation.broker_market import ServerMarket
from simulation.broker_server import BrokerServer
from simulation.trouble import Trouble
from tests.contracts.broker_contract import BrokerContract

CALENDAR = TradingCalendar()
TEN_O_CLOCK_S = 10 * 3600
KEY = "the-key-of-a"


@attrs.define(eq=False)
class WebSocketMarket:
    """A broker server on a socket of this machine, and one account's broker connected to it."""

    nursery: trio.Nursery
    server: BrokerServer
    broker: WebSocketBroker
    day: date
    events: list[Event] = attrs.field(factory=list)
    session: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def submit(self, *requests: Request) -> None:
        self.events += self.broker.submit(requests)
        if self.broker.state is SessionState.READY:
            await self._everything_said()
            await self._everything_said()  # a cancelled GTT is read after its answer

    async def price(self, symbol: str, price_paise: int) -> None:
        self.server.price(symbol, price_paise)
        if self.broker.state is SessionState.READY:
            await self._everything_said()

    async def disconnect(self) -> None:
        self.session.cancel()
        await self.ended.wait()

    async def connect(self) -> None:
        self.session = trio.CancelScope()
        self.ended = trio.Event()
        heard = len(self.events)
        await self.nursery.start(self._session)
        with trio.fail_after(10):
            while not self._ready(self.events[heard:]):
                await self.news.park()

    async def close_trading(self) -> None:
        self.server.end_of_day()
        await self._everything_said()

    async def open_next_day(self) -> None:
        self.day = CALENDAR.next_trading_day(self.day)
        self.server.start_of_day(self.day.isoformat())
        await self._everything_said()

    async def _everything_said(self) -> None:
        """The server speaks in order: what it said before the answer to a question has been heard then."""
        await self.broker.margins()

    async def _session(self, task_status: trio.TaskStatus[None]) -> None:
        with self.session:
            await self.broker.session(self._post, task_status)
        self.ended.set()

    def _post(self, event: Event) -> None:
        self.events.append(event)
        self.news.unpark_all()

    @staticmethod
    def _ready(events: list[Event]) -> bool:
        return any(isinstance(event, SessionChanged) and event.state is SessionState.READY for event in events)


class TestWebSocketBroker(BrokerContract):
    async def open_market(
        self, nursery: trio.Nursery, *, cash_paise: int | None = None, partial_fills: bool = False
    ) -> WebSocketMarket:
        day = date(2016, 8, 29)
        universe = Universe([Instrument("INFY", 1, 5), Instrument("TCS", 2, 5)])
        trouble = Trouble("contract")
        if partial_fills:
            trouble.set({"partial_fill": 0.5})
        server = BrokerServer(
            [ServerAccount(name="A", api_key=KEY, cash_paise=cash_paise)],
            ServerMarket(universe, CALENDAR, start_ns=at(day, TEN_O_CLOCK_S)),
            trouble=trouble,
        )
        server.limits("INFY", 135_000, 165_000)
        listeners = await Effects().listen_tcp(0)
        await nursery.start(server.serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        broker = WebSocketBroker(
            Effects(seed="contract", market=MarketClock(source=lambda: server.market.now_ns)),
            WebSocketOptions(url=f"ws://127.0.0.1:{port}/ws", api_key=KEY, connect_timeout_s=5.0, limits=None),
        )
        market = WebSocketMarket(nursery, server, broker, day)
        server.price("INFY", 150_000)
        await market.connect()
        return market
