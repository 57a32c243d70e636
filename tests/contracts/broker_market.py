"""The market in which every broker keeps its promises, and what a test says and hears there.

Owns what a broker's own test module has to provide (`BrokerMarket`), the requests the promises are tested
with, and `Said`, which finds what the broker answered. Used by the contract files beside it. Nothing here
knows which broker it is; answers may come at once or through the session.

The market trades INFY (tick 0.05, lot 1, last price 1,500.00, circuit limits 1,350.00 to 1,650.00) and TCS
(no price yet); the account has cash unless told otherwise and owns nothing.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import pytest
import trio

from actors.ports import Broker
from protocol.broker import Books, Event, GttUpdate, OrderUpdate, PlaceGtt, PlaceOrder, Request, RequestFailed
from protocol.orders import Leg, OrderState, OrderType, Side

Update = TypeVar("Update", OrderUpdate, GttUpdate)

LAST = 150_000
STOP = Leg(146_250, 144_750)
TARGET = Leg(157_500, 157_500)


class BrokerMarket(Protocol):
    """A broker under test, connected, and the market around it."""

    @property
    def broker(self) -> Broker: ...

    @property
    def events(self) -> list[Event]:
        """Everything the broker said so far, answers of submit included, in order."""

    async def submit(self, *requests: Request) -> None:
        """Send, and wait until the answers are there."""

    async def price(self, symbol: str, price_paise: int) -> None:
        """One trade, a second after the one before; wait until the broker has said what it did."""

    async def disconnect(self) -> None:
        """The session ends; the broker lives on."""

    async def connect(self) -> None:
        """A new session; what it says goes to the same events."""

    async def close_trading(self) -> None:
        """Continuous trading is over for the day."""

    async def open_next_day(self) -> None: ...


class Said:
    """What a market's broker has said, newest first where it is asked for one thing."""

    def __init__(self, market: BrokerMarket) -> None:
        self._market = market

    def order(self, client_id: str) -> OrderUpdate:
        return self._newest([e for e in self._orders() if e.client_id == client_id], client_id)

    def child(self, gtt_id: str) -> OrderUpdate:
        return self._newest([e for e in self._orders() if e.gtt_id == gtt_id], f"a child of {gtt_id}")

    def children(self) -> set[str]:
        return {event.broker_id for event in self._orders() if event.gtt_id is not None}

    def gtt(self, client_id: str) -> GttUpdate:
        found = [e for e in self._market.events if isinstance(e, GttUpdate) and e.client_id == client_id]
        return self._newest(found, client_id)

    def fills(self, client_id: str) -> list[int]:
        return [event.filled for event in self._orders() if event.client_id == client_id]

    def refusals(self) -> list[str]:
        """The texts of everything that was refused, oldest first."""
        texts = []
        for event in self._market.events:
            if isinstance(event, RequestFailed):
                assert not event.reached, f"{event.code}: a refusal is certain"
                assert event.code
                texts.append(event.message)
            elif isinstance(event, OrderUpdate) and event.state is OrderState.REJECTED:
                texts.append(event.message)
        return texts

    def _orders(self) -> list[OrderUpdate]:
        return [event for event in self._market.events if isinstance(event, OrderUpdate)]

    @staticmethod
    def _newest(found: list[Update], what: str) -> Update:
        assert found, f"the broker said nothing about {what}"
        return found[-1]


def buy(client_id: str, quantity: int = 10, limit_paise: int | None = None, symbol: str = "INFY") -> PlaceOrder:
    kind = OrderType.MARKET if limit_paise is None else OrderType.LIMIT
    return PlaceOrder(
        client_id=client_id,
        symbol=symbol,
        side=Side.BUY,
        quantity=quantity,
        order_type=kind,
        limit_paise=limit_paise,
    )


def sell(client_id: str, quantity: int = 10, limit_paise: int | None = None, symbol: str = "INFY") -> PlaceOrder:
    kind = OrderType.MARKET if limit_paise is None else OrderType.LIMIT
    return PlaceOrder(
        client_id=client_id,
        symbol=symbol,
        side=Side.SELL,
        quantity=quantity,
        order_type=kind,
        limit_paise=limit_paise,
    )


def sell_stop(client_id: str, trigger_paise: int, limit_paise: int | None = None) -> PlaceOrder:
    return PlaceOrder(
        client_id=client_id,
        symbol="INFY",
        side=Side.SELL,
        quantity=10,
        order_type=OrderType.SL_M if limit_paise is None else OrderType.SL,
        trigger_paise=trigger_paise,
        limit_paise=limit_paise,
    )


def gtt(client_id: str, quantity: int = 10, stop: Leg = STOP, target: Leg | None = TARGET) -> PlaceGtt:
    return PlaceGtt(client_id=client_id, symbol="INFY", quantity=quantity, stop=stop, target=target, last_paise=LAST)


def owned(books: Books, symbol: str = "INFY") -> int:
    """Shares owned: holdings, T1 and today's net (orders.md, reconciliation)."""
    held = sum(row.quantity + row.t1_quantity for row in books.holdings if row.symbol == symbol)
    return held + sum(row.quantity for row in books.positions if row.symbol == symbol)


class Contract:
    """Promises about one broker; `open_market` returns a connected market as this module describes it."""

    async def open_market(
        self, nursery: trio.Nursery, *, cash_paise: int | None = None, partial_fills: bool = False
    ) -> BrokerMarket:
        raise NotImplementedError

    @pytest.fixture
    async def market(self, nursery: trio.Nursery) -> BrokerMarket:
        return await self.open_market(nursery)

    @pytest.fixture
    def said(self, market: BrokerMarket) -> Said:
        return Said(market)
