"""What every broker promises about orders. Part of broker_contract.py."""

from __future__ import annotations

import pytest
import trio

from protocol.broker import (
    CancelGtt,
    CancelOrder,
    ModifyOrder,
    PlaceOrder,
)
from protocol.orders import GttState, OrderState, OrderType, Side
from tests.contracts.broker_market import (
    LAST,
    BrokerMarket,
    Contract,
    Said,
    buy,
    gtt,
    owned,
    sell,
    sell_stop,
)


class OrderContract(Contract):
    """Placing, trading, changing, ending, refusing."""

    # --- orders: placing and trading -------------------------------------------------------------

    async def test_a_market_order_fills_at_the_last_price(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"))
        order = said.order("A1")
        assert (order.state, order.filled, order.value_paise) == (OrderState.COMPLETE, 10, 10 * LAST)
        assert (order.symbol, order.side, order.quantity, order.gtt_id) == ("INFY", Side.BUY, 10, None)

    async def test_a_marketable_limit_fills_at_the_last_price(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1", limit_paise=150_450))
        assert said.order("A1").value_paise == 10 * LAST

    async def test_a_resting_buy_fills_at_the_first_tick_at_or_below_its_limit(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1", limit_paise=149_000))
        assert said.order("A1").state is OrderState.OPEN
        await market.price("INFY", 149_005)
        assert said.order("A1").filled == 0
        await market.price("INFY", 148_900)
        assert (said.order("A1").state, said.order("A1").value_paise) == (OrderState.COMPLETE, 10 * 148_900)

    async def test_a_resting_sell_fills_at_the_first_tick_at_or_above_its_limit(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), sell("A2", limit_paise=151_000))
        await market.price("INFY", 150_995)
        assert said.order("A2").filled == 0
        await market.price("INFY", 151_000)
        assert (said.order("A2").state, said.order("A2").value_paise) == (OrderState.COMPLETE, 10 * 151_000)

    async def test_a_stop_order_waits_for_its_trigger_and_then_sells_at_market(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), sell_stop("A2", 149_000))
        assert said.order("A2").state is OrderState.OPEN
        await market.price("INFY", 149_500)
        assert said.order("A2").filled == 0
        await market.price("INFY", 148_800)
        assert said.order("A2").value_paise == 10 * 148_800

    async def test_a_stop_limit_order_that_is_jumped_over_rests_at_its_limit(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), sell_stop("A2", 149_000, 148_500))
        await market.price("INFY", 148_000)
        assert (said.order("A2").state, said.order("A2").filled) == (OrderState.OPEN, 0)
        await market.price("INFY", 148_600)
        assert said.order("A2").value_paise == 10 * 148_600

    async def test_a_client_id_seen_before_answers_with_the_order_it_has(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"))
        first = said.order("A1")
        await market.submit(buy("A1"))
        assert said.order("A1").broker_id == first.broker_id
        books = await market.broker.books()
        assert (len(books.orders), owned(books)) == (1, 10)

    async def test_partial_fills_accumulate_until_the_order_is_complete(self, nursery: trio.Nursery) -> None:
        market = await self.open_market(nursery, partial_fills=True)
        said = Said(market)
        names = ("A1", "A2", "A3", "A4", "A5")
        await market.submit(*(buy(name, quantity=1_000) for name in names))
        for _ in range(100):
            if all(said.order(name).state is OrderState.COMPLETE for name in names):
                break
            await market.price("INFY", LAST)
        for name in names:
            fills = said.fills(name)
            assert fills == sorted(fills)
            assert (said.order(name).filled, said.order(name).value_paise) == (1_000, 1_000 * LAST)
        assert any(len(set(said.fills(name))) > 1 for name in names)
        trades = (await market.broker.books()).trades
        assert sum(trade.quantity for trade in trades) == 5_000

    # --- orders: changing and ending -------------------------------------------------------------

    async def test_a_modified_order_has_its_new_quantity_and_price(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1", limit_paise=149_000))
        broker_id = said.order("A1").broker_id
        await market.submit(
            ModifyOrder(broker_id=broker_id, quantity=4, order_type=OrderType.LIMIT, limit_paise=149_500)
        )
        order = said.order("A1")
        assert (order.broker_id, order.quantity, order.limit_paise) == (broker_id, 4, 149_500)
        await market.price("INFY", 149_500)
        assert said.order("A1").value_paise == 4 * 149_500

    async def test_an_order_modified_to_a_marketable_price_fills_at_the_last_price(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), sell("A2", limit_paise=151_000))
        await market.submit(
            ModifyOrder(
                broker_id=said.order("A2").broker_id,
                quantity=10,
                order_type=OrderType.LIMIT,
                limit_paise=145_500,
            )
        )
        assert (said.order("A2").state, said.order("A2").value_paise) == (OrderState.COMPLETE, 10 * LAST)

    async def test_a_cancelled_order_never_trades(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1", limit_paise=149_000))
        await market.submit(CancelOrder(said.order("A1").broker_id))
        assert said.order("A1").state is OrderState.CANCELLED
        await market.price("INFY", 148_000)
        assert (said.order("A1").state, said.order("A1").filled) == (OrderState.CANCELLED, 0)

    async def test_an_order_that_is_over_can_be_neither_modified_nor_cancelled(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"))
        done = said.order("A1")
        await market.submit(
            ModifyOrder(broker_id=done.broker_id, quantity=20, order_type=OrderType.MARKET),
            CancelOrder(done.broker_id),
        )
        assert len(said.refusals()) == 2
        assert (await market.broker.books()).orders == (done,)

    async def test_orders_that_nobody_knows_are_refused(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(CancelOrder("NOBODYS"), CancelGtt("NOBODYS"))
        assert len(said.refusals()) == 2

    async def test_day_orders_lapse_at_the_close(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1", limit_paise=149_000))
        await market.close_trading()
        assert (said.order("A1").state, said.order("A1").filled) == (OrderState.CANCELLED, 0)

    # --- orders: refused, with a reason a person can read
    # -------------------------------------------------------

    @pytest.mark.parametrize(
        ("request_", "word"),
        [
            (buy("A1", quantity=0), "quantity"),
            (buy("A1", symbol="NOSUCH"), "NOSUCH"),
            (buy("A1", limit_paise=149_001), "tick"),
            (buy("A1", limit_paise=165_005), "circuit"),
            (buy("A1", limit_paise=134_995), "circuit"),
            (sell("A1"), "shares"),
            (sell_stop("A1", 149_000, 149_500), "trigger"),
            (
                PlaceOrder(client_id="A1", symbol="INFY", side=Side.BUY, quantity=1, order_type=OrderType.LIMIT),
                "limit",
            ),
        ],
        ids=[
            "quantity",
            "symbol",
            "tick",
            "upper circuit",
            "lower circuit",
            "oversold",
            "stop limit",
            "no limit",
        ],
    )
    async def test_a_wrong_order_is_refused(
        self, market: BrokerMarket, said: Said, request_: PlaceOrder, word: str
    ) -> None:
        await market.submit(request_)
        (text,) = said.refusals()
        assert word in text.lower() or word in text
        assert owned(await market.broker.books()) == 0

    async def test_a_sell_stop_whose_trigger_is_already_reached_is_refused(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), sell_stop("A2", 150_500))
        assert "trigger" in said.refusals()[0]

    async def test_shares_in_a_working_sell_are_not_sold_twice(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), sell("A2", 6, 151_000), sell("A3", 5), sell("A4", 4))
        assert said.order("A3").state is OrderState.REJECTED
        assert said.order("A4").state is OrderState.COMPLETE

    async def test_a_buy_beyond_the_margin_is_refused_and_a_sale_frees_the_money(self, nursery: trio.Nursery) -> None:
        market = await self.open_market(nursery, cash_paise=10 * LAST)
        said = Said(market)
        await market.submit(buy("A1"))
        assert (await market.broker.margins()).available_paise == 0
        await market.submit(buy("A2", 1))
        assert "margin" in said.refusals()[0].lower()
        await market.price("INFY", 151_000)
        await market.submit(sell("A3"))
        margins = await market.broker.margins()
        assert (margins.available_paise, margins.used_paise) == (10 * 151_000, 0)

    async def test_a_working_buy_blocks_its_value_until_it_is_cancelled(self, nursery: trio.Nursery) -> None:
        market = await self.open_market(nursery, cash_paise=20 * LAST)
        said = Said(market)
        await market.submit(buy("A1", limit_paise=149_000))
        margins = await market.broker.margins()
        assert (margins.available_paise, margins.used_paise) == (20 * LAST - 10 * 149_000, 10 * 149_000)
        await market.submit(CancelOrder(said.order("A1").broker_id))
        assert (await market.broker.margins()).available_paise == 20 * LAST

    async def test_outside_continuous_trading_an_order_is_refused_and_a_gtt_accepted(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"))
        await market.close_trading()
        await market.submit(sell("A2"), gtt("G1"))
        assert "closed" in said.refusals()[0]
        assert said.gtt("G1").state is GttState.ACTIVE
