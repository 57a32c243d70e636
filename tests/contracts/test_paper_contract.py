"""The paper broker keeps the promises of every broker."""

from __future__ import annotations

from datetime import date
from random import Random

import attrs
import numpy as np
import trio
import trio.testing

from brokers.paper import PaperBroker, PaperExchange, PaperOptions, continuous_trading
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from market.feeds.frame import Frame
from market.instruments import Instrument, Universe
from protocol.broker import Event, Request
from protocol.clock import NS, at
from tests.contracts.broker_contract import BrokerContract

CALENDAR = TradingCalendar()
TEN_O_CLOCK_S = 10 * 3600


@attrs.define(eq=False)
class PaperMarket:
    """A board, the paper exchange on it, and one account's broker."""

    nursery: trio.Nursery
    universe: Universe
    clock: MarketClock
    board: Board
    exchange: PaperExchange
    broker: PaperBroker
    day: date
    events: list[Event] = attrs.field(factory=list)
    session: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def submit(self, *requests: Request) -> None:
        self.events += self.broker.submit(requests)
        await trio.testing.wait_all_tasks_blocked()

    async def price(self, symbol: str, price_paise: int) -> None:
        self.clock.advance_to(self.clock.now_ns + NS)
        frame = Frame(
            self.clock.now_ns,
            np.array([self.universe.row(symbol)], dtype=np.int32),
            np.array([price_paise], dtype=np.int64),
            np.array([-1], dtype=np.int64),
            True,
        )
        assert self.board.apply(frame) is frame
        self.exchange.match(frame)

    async def disconnect(self) -> None:
        self.session.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def connect(self) -> None:
        self.session = trio.CancelScope()
        await self.nursery.start(self._session)

    async def _session(self, task_status: trio.TaskStatus[None]) -> None:
        with self.session:
            await self.broker.session(self.events.append, task_status)

    async def close_trading(self) -> None:
        session = CALENDAR.session(self.day)
        assert session is not None
        self.clock.advance_to(session.close_ns)
        self.exchange.end_of_day(session.close_ns)

    async def open_next_day(self) -> None:
        self.day = CALENDAR.next_trading_day(self.day)
        session = CALENDAR.session(self.day)
        assert session is not None
        self.clock.advance_to(session.open_ns)
        self.exchange.start_of_day(session.open_ns)


class TestPaperBroker(BrokerContract):
    async def open_market(
        self, nursery: trio.Nursery, *, cash_paise: int | None = None, partial_fills: bool = False
    ) -> PaperMarket:
        day = date(2016, 8, 29)
        universe = Universe([Instrument("INFY", 1, 5), Instrument("TCS", 2, 5)])
        clock = MarketClock(at(day, TEN_O_CLOCK_S))
        board = Board(len(universe), layers=1)
        options = PaperOptions(cash_paise=cash_paise, partial_fills=partial_fills)
        exchange = PaperExchange(universe, board, clock, continuous_trading(CALENDAR, universe), Random, options)
        exchange.open_account("A", id_prefix="1")
        exchange.set_limits(np.array([135_000, 1], dtype=np.int64), np.array([165_000, 1 << 40], dtype=np.int64))
        market = PaperMarket(nursery, universe, clock, board, exchange, PaperBroker(exchange, "A"), day)
        await market.price("INFY", 150_000)
        await market.connect()
        return market
