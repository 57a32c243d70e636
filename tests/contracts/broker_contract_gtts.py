"""What every broker promises about GTTs, with and without a target. Part of broker_contract.py."""

from __future__ import annotations

import pytest

from protocol.broker import (
    CancelGtt,
    GttUpdate,
    ModifyGtt,
    ModifyOrder,
    PlaceGtt,
)
from protocol.orders import ExitReason, GttState, Leg, OrderState, OrderType, Side
from tests.contracts.broker_market import (
    LAST,
    STOP,
    TARGET,
    BrokerMarket,
    Contract,
    Said,
    buy,
    gtt,
    owned,
    sell,
)


class GttContract(Contract):
    """Placing, triggering, moving, cancelling, and the child a trigger releases."""

    async def test_a_stop_triggers_at_its_price_and_sells_at_that_tick(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), gtt("G1", target=None))
        placed = said.gtt("G1")
        assert (placed.state, placed.stop, placed.target, placed.quantity) == (
            GttState.ACTIVE,
            STOP,
            None,
            10,
        )
        await market.price("INFY", STOP.trigger_paise + 5)
        assert said.gtt("G1").state is GttState.ACTIVE
        await market.price("INFY", STOP.trigger_paise)
        fired = said.gtt("G1")
        child = said.child(placed.gtt_id)
        assert (fired.state, fired.fired, fired.child_id) == (
            GttState.TRIGGERED,
            ExitReason.STOP,
            child.broker_id,
        )
        assert (child.client_id, child.side, child.limit_paise) == (None, Side.SELL, STOP.limit_paise)
        assert (child.state, child.value_paise) == (OrderState.COMPLETE, 10 * STOP.trigger_paise)

    async def test_a_target_sells_at_its_tick_and_the_stop_of_the_same_gtt_is_gone(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.price("INFY", 157_800)
        assert said.gtt("G1").fired is ExitReason.TARGET
        assert said.child(said.gtt("G1").gtt_id).value_paise == 10 * 157_800
        await market.price("INFY", 140_000)
        assert len(said.children()) == 1
        assert owned(await market.broker.books()) == 0

    async def test_a_stop_that_is_gapped_through_leaves_its_child_resting_until_the_price_returns(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.price("INFY", 144_000)
        gtt_id = said.gtt("G1").gtt_id
        assert said.gtt("G1").state is GttState.TRIGGERED
        assert (said.child(gtt_id).state, said.child(gtt_id).filled) == (OrderState.OPEN, 0)
        await market.price("INFY", 144_800)
        assert said.child(gtt_id).value_paise == 10 * 144_800

    async def test_a_resting_child_is_modified_to_sell_at_the_last_price(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.price("INFY", 144_000)
        child = said.child(said.gtt("G1").gtt_id)
        await market.submit(
            ModifyOrder(broker_id=child.broker_id, quantity=10, order_type=OrderType.LIMIT, limit_paise=139_680)
        )
        sold = said.child(said.gtt("G1").gtt_id)
        assert (sold.broker_id, sold.state, sold.value_paise) == (
            child.broker_id,
            OrderState.COMPLETE,
            10 * 144_000,
        )

    async def test_a_resting_child_lapses_at_the_close_and_the_shares_remain(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.price("INFY", 144_000)
        await market.close_trading()
        assert said.child(said.gtt("G1").gtt_id).state is OrderState.CANCELLED
        assert owned(await market.broker.books()) == 10

    async def test_a_child_without_shares_is_rejected_and_the_gtt_stays_triggered(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"), sell("A2"))
        await market.price("INFY", 146_000)
        assert said.gtt("G1").state is GttState.TRIGGERED
        child = said.child(said.gtt("G1").gtt_id)
        assert (child.state, child.filled) == (OrderState.REJECTED, 0)
        assert child.message

    async def test_a_modified_gtt_triggers_at_its_new_price(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        gtt_id = said.gtt("G1").gtt_id
        raised = Leg(149_000, 147_510)
        await market.submit(ModifyGtt(gtt_id=gtt_id, quantity=10, stop=raised, target=None, last_paise=LAST))
        moved = said.gtt("G1")
        assert (moved.gtt_id, moved.state, moved.stop, moved.target) == (
            gtt_id,
            GttState.ACTIVE,
            raised,
            None,
        )
        await market.price("INFY", 157_500)
        assert said.gtt("G1").state is GttState.ACTIVE
        await market.price("INFY", 148_900)
        assert said.child(gtt_id).value_paise == 10 * 148_900

    async def test_a_lowered_stop_does_not_trigger_at_its_old_price(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.submit(
            ModifyGtt(
                gtt_id=said.gtt("G1").gtt_id,
                quantity=10,
                stop=Leg(142_500, 141_075),
                target=TARGET,
                last_paise=LAST,
            )
        )
        await market.price("INFY", STOP.trigger_paise)
        assert said.gtt("G1").state is GttState.ACTIVE
        await market.price("INFY", 142_500)
        assert said.gtt("G1").fired is ExitReason.STOP

    async def test_a_gtt_is_never_compared_with_the_tick_already_seen(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        gtt_id = said.gtt("G1").gtt_id
        above = Leg(150_500, 149_000)
        await market.submit(ModifyGtt(gtt_id=gtt_id, quantity=10, stop=above, target=TARGET, last_paise=LAST))
        assert said.gtt("G1").state is GttState.ACTIVE
        await market.price("INFY", LAST)
        assert said.gtt("G1").state is GttState.TRIGGERED

    async def test_a_cancelled_gtt_never_triggers(self, market: BrokerMarket, said: Said) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.submit(CancelGtt(said.gtt("G1").gtt_id))
        assert said.gtt("G1").state is GttState.CANCELLED
        await market.price("INFY", 140_000)
        assert said.children() == set()

    async def test_a_triggered_gtt_can_be_neither_modified_nor_cancelled(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        await market.price("INFY", 146_000)
        gtt_id = said.gtt("G1").gtt_id
        await market.submit(
            ModifyGtt(gtt_id=gtt_id, quantity=10, stop=STOP, target=None, last_paise=146_000),
            CancelGtt(gtt_id),
        )
        assert len(said.refusals()) == 2
        assert said.gtt("G1").state is GttState.TRIGGERED

    async def test_a_gtt_client_id_seen_before_answers_with_the_gtt_it_has(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G1"))
        first = said.gtt("G1").gtt_id
        await market.submit(gtt("G1"))
        assert said.gtt("G1").gtt_id == first
        assert len((await market.broker.books()).gtts) == 1

    @pytest.mark.parametrize(
        "wrong",
        [
            gtt("G1", quantity=0),
            gtt("G1", stop=Leg(146_251, 144_750)),
            gtt("G1", stop=Leg(146_250, 0)),
            gtt("G1", target=Leg(146_250, 146_250)),
        ],
        ids=["quantity", "tick", "limit", "target below stop"],
    )
    async def test_a_wrong_gtt_is_refused(self, market: BrokerMarket, said: Said, wrong: PlaceGtt) -> None:
        await market.submit(wrong)
        assert len(said.refusals()) == 1
        assert (await market.broker.books()).gtts == ()

    async def test_two_gtts_of_a_symbol_trigger_in_the_order_of_their_creation(
        self, market: BrokerMarket, said: Said
    ) -> None:
        await market.submit(buy("A1"), gtt("G2", 6, target=None), gtt("G1", 4, target=None))
        await market.price("INFY", 146_000)
        triggered = [
            event.client_id
            for event in market.events
            if isinstance(event, GttUpdate) and event.state is GttState.TRIGGERED
        ]
        assert triggered == ["G2", "G1"]
        assert owned(await market.broker.books()) == 0
