"""What every broker behind the Broker port promises, written once.

A broker's own test module subclasses `BrokerContract` as Test... and defines `open_market`, which gives it a
connected market (broker_market.py). Orders and GTTs have files of their own; here are the session and the
books.
"""

from __future__ import annotations

import pytest

from protocol.broker import (
    RequestFailed,
    SessionChanged,
    SessionState,
)
from protocol.errors import BrokerUnavailable
from protocol.orders import ExitReason, GttState, OrderState, Side
from tests.contracts.broker_contract_gtts import GttContract
from tests.contracts.broker_contract_orders import OrderContract
from tests.contracts.broker_market import (
    LAST,
    BrokerMarket,
    Said,
    buy,
    gtt,
    owned,
    sell,
)


class BrokerContract(OrderContract, GttContract):
    """All promises of a broker."""

    # --- the session -----------------------------------------------------------------------------

    async def test_a_session_says_that_it_is_ready(self, market: BrokerMarket) -> None:
        states = [event.state for event in market.events if isinstance(event, SessionChanged)]
        assert states[-1] is SessionState.READY
        assert market.broker.state is SessionState.READY

    async def test_without_a_session_a_request_is_refused_and_not_placed(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.disconnect()
        assert market.broker.state is SessionState.CONNECTING
        await market.submit(buy("A1"))
        failure = market.events[-1]
        assert isinstance(failure, RequestFailed)
        assert (failure.reached, failure.request) == (False, buy("A1"))
        await market.connect()
        assert (await market.broker.books()).orders == ()

    async def test_without_a_session_the_books_cannot_be_read(self, market: BrokerMarket) -> None:
        await market.disconnect()
        with pytest.raises(BrokerUnavailable):
            await market.broker.books()

    async def test_what_a_late_session_missed_stands_in_the_books(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.disconnect()
        heard = len(market.events)
        await market.price("INFY", 146_000)
        assert len(market.events) == heard
        await market.connect()
        books = await market.broker.books()
        (row,) = [row for row in books.gtts if row.client_id == "G1"]
        (child,) = [order for order in books.orders if order.gtt_id == row.gtt_id]
        assert (row.state, row.fired, row.child_id) == (GttState.TRIGGERED, ExitReason.STOP, child.broker_id)
        assert (child.state, child.value_paise) == (OrderState.COMPLETE, 10 * 146_000)
        assert owned(books) == 0

    # --- the books
    # ----------------------------------------------------------------------------------------------------

    async def test_the_books_say_what_the_updates_said(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), buy("A2", limit_paise=149_000), gtt("G1"))
        books = await market.broker.books()
        assert {order.client_id: order for order in books.orders} == {
            "A1": said.order("A1"),
            "A2": said.order("A2"),
        }
        assert books.gtts == (said.gtt("G1"),)
        (trade,) = books.trades
        assert (trade.broker_id, trade.client_id) == (said.order("A1").broker_id, "A1")
        assert (trade.side, trade.quantity, trade.price_paise) == (Side.BUY, 10, LAST)

    async def test_todays_position_holds_what_was_bought_and_sold(self, market: BrokerMarket) -> None:
        await market.submit(buy("A1"))
        await market.price("INFY", 151_000)
        await market.submit(sell("A2", 4))
        (row,) = (await market.broker.books()).positions
        assert (row.symbol, row.quantity) == ("INFY", 6)
        assert (row.bought, row.bought_value_paise) == (10, 10 * LAST)
        assert (row.sold, row.sold_value_paise) == (4, 4 * 151_000)

    async def test_overnight_a_position_becomes_a_holding_that_can_be_sold(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.close_trading()
        await market.open_next_day()
        books = await market.broker.books()
        (holding,) = books.holdings
        assert (holding.quantity, holding.t1_quantity, holding.average_paise) == (0, 10, LAST)
        assert (books.orders, books.trades, books.positions) == ((), (), ())
        await market.close_trading()
        await market.open_next_day()
        (holding,) = (await market.broker.books()).holdings
        assert (holding.quantity, holding.t1_quantity) == (10, 0)
        await market.price("INFY", 146_000)
        assert said.child(said.gtt("G1").gtt_id).state is OrderState.COMPLETE
        assert owned(await market.broker.books()) == 0

    async def test_quotes_are_the_last_prices_and_a_symbol_without_one_is_absent(self, market: BrokerMarket) -> None:
        await market.price("INFY", 151_000)
        (quote,) = await market.broker.quotes(["INFY", "TCS", "NOSUCH"])
        assert (quote.symbol, quote.last_paise) == ("INFY", 151_000)
        assert quote.at_ns > 0
        assert (quote.lower_circuit_paise, quote.upper_circuit_paise) == (135_000, 165_000)
