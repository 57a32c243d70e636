"""GTTs at Kite, which carry no id of ours: found by what they are, believed when they were read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.abc import Clock

from protocol.broker import CancelGtt, GttUpdate, ModifyGtt, OrderUpdate, PlaceGtt, RequestFailed
from protocol.clock import NS
from protocol.orders import ExitReason, GttState, Leg
from tests.brokers.scripted_kite import (
    CUT,
    STOP,
    TARGET,
    TEN_NS,
    TIMEOUT,
    Desk,
    desk_at,
    gtt_row,
    order_row,
    refusal,
    sent_at,
    success,
)

PLACE = PlaceGtt(client_id="G1", symbol="INFY", quantity=10, stop=STOP, target=TARGET, last_paise=150_000)


def gtts(desk: Desk) -> list[GttUpdate]:
    return [event for event in desk.events if isinstance(event, GttUpdate)]


def outcome(desk: Desk) -> list[tuple[str, bool]]:
    return [(failed.code, failed.reached) for failed in desk.failures()]


async def test_a_placed_gtt_is_told_under_our_id_and_then_as_the_list_has_it(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/gtt/triggers"] = [gtt_row(1)]
        await desk.submit(PLACE)
        assert [(gtt.client_id, gtt.gtt_id, gtt.state) for gtt in gtts(desk)] == [("G1", "1", GttState.ACTIVE)] * 2
        assert (gtts(desk)[-1].stop, gtts(desk)[-1].target) == (STOP, TARGET)
        (call,) = desk.kite.asked("POST")
        assert call.form["type"] == "two-leg"
        assert '"trigger_values":[1462.50,1575.00]' in call.form["condition"]
        assert call.form["orders"].count('"order_type":"LIMIT"') == 2


async def test_an_unanswered_gtt_is_looked_for_and_adopted_not_placed_again(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/gtt/triggers", CUT)
        desk.kite.then("GET", "/gtt/triggers", *[success([])] * 2)
        desk.kite.data["/gtt/triggers"] = [gtt_row(7, TEN_NS)]
        await desk.submit(PLACE, settle_s=12)
        assert outcome(desk) == [("LINK_BROKEN", True)]
        assert [(gtt.client_id, gtt.gtt_id, gtt.state) for gtt in gtts(desk)] == [("G1", "7", GttState.ACTIVE)]
        assert len(desk.kite.asked("POST")) == 1


async def test_a_gtt_absent_for_ten_seconds_was_not_placed(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/gtt/triggers", CUT)
        await desk.submit(PLACE, settle_s=12)
        (asked,) = sent_at(desk.kite.asked("POST"))
        looked = [at_s - asked for at_s in sent_at(desk.kite.asked("GET", "/gtt/triggers"))]
        assert [round(after_s, 1) for after_s in looked][1:] == [0.5, 1, 2, 5, 10], "and once at the broken link"
        assert outcome(desk) == [("LINK_BROKEN", True), ("NOT_PLACED", False)]


async def test_a_gtt_that_turns_up_after_it_was_given_up_is_cancelled_and_its_successor_is_not(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/gtt/triggers", CUT)
        await desk.submit(PLACE, settle_s=12)
        again = attrs.evolve(PLACE, client_id="G2")
        later_ns = desk.clock.now_ns
        desk.kite.data["/gtt/triggers"] = [gtt_row(1, later_ns)]
        await desk.submit(again)
        desk.kite.data["/gtt/triggers"] = [gtt_row(1, later_ns), gtt_row(7, TEN_NS)]

        def gone(asked: Any) -> Any:
            desk.kite.data["/gtt/triggers"] = [gtt_row(1, later_ns), gtt_row(7, TEN_NS, "deleted")]
            return success({"trigger_id": 7})

        desk.kite.then("DELETE", "/gtt/triggers/7", gone)
        await desk.broker.books()
        await trio.sleep(1)
        assert [call.path for call in desk.kite.asked("DELETE")] == ["/gtt/triggers/7"]
        rows = {gtt.gtt_id: (gtt.client_id, gtt.state) for gtt in (await desk.broker.books()).gtts}
        assert rows == {"1": ("G2", GttState.ACTIVE), "7": ("G1", GttState.CANCELLED)}


@pytest.mark.parametrize(
    "other",
    [
        gtt_row(7, TEN_NS - 60 * NS),
        gtt_row(7, TEN_NS, orders=[{**leg, "quantity": 11} for leg in gtt_row(7)["orders"]]),
        gtt_row(7, TEN_NS, orders=[{**leg, "transaction_type": "BUY"} for leg in gtt_row(7)["orders"]]),
    ],
    ids=["older", "another quantity", "a buy"],
)
async def test_what_could_be_the_persons_own_is_never_adopted_and_never_touched(
    tmp_path: Path, autojump_clock: Clock, other: dict[str, Any]
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/gtt/triggers"] = [other]
        desk.kite.then("POST", "/gtt/triggers", CUT)
        await desk.submit(PLACE, settle_s=12)
        assert outcome(desk)[-1] == ("NOT_PLACED", False)
        assert not [gtt for gtt in gtts(desk) if gtt.client_id is not None]
        assert not desk.kite.asked("DELETE")


async def test_a_refused_gtt_is_certain(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/gtt/triggers", refusal(400, "InputException", "Trigger too near"))
        await desk.submit(PLACE, settle_s=12)
        assert outcome(desk) == [("InputException", False)]


async def placed(desk: Desk) -> None:
    desk.kite.data["/gtt/triggers"] = [gtt_row(1)]
    await desk.submit(PLACE)
    desk.events.clear()


async def test_a_cancellation_is_told_when_it_was_read(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        await desk.submit(CancelGtt("1"), settle_s=0.9)
        assert gtts(desk) == [], "the list still shows it"
        desk.kite.data["/gtt/triggers"] = [gtt_row(1, status="cancelled")]
        await trio.sleep(1)
        assert [gtt.state for gtt in gtts(desk)] == [GttState.CANCELLED]


async def test_a_deleted_gtt_that_nobody_knows_any_more_counts_as_read(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        desk.kite.data["/gtt/triggers"] = []
        await desk.submit(CancelGtt("1"))
        assert [(gtt.client_id, gtt.state) for gtt in gtts(desk)] == [("G1", GttState.CANCELLED)]


async def test_a_cancellation_without_an_answer_is_found_out_by_reading(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        desk.kite.data["/gtt/triggers"] = [gtt_row(1, status="deleted")]
        desk.kite.then("DELETE", "/gtt/triggers/1", TIMEOUT)
        await desk.submit(CancelGtt("1"), settle_s=6)
        assert [gtt.state for gtt in gtts(desk)] == [GttState.CANCELLED]
        assert not desk.failures()


async def test_a_cancellation_that_never_shows_is_not_told_as_one(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        await desk.submit(CancelGtt("1"), settle_s=8)
        assert outcome(desk) == [("NOT_CONFIRMED", True)]
        assert [gtt for gtt in gtts(desk) if gtt.state is not GttState.ACTIVE] == []


async def test_a_cancellation_that_comes_too_late_tells_the_trigger_and_its_child(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        fired = gtt_row(1, status="triggered")
        fired["orders"][0]["result"] = {"order_result": {"status": "success", "order_id": "55"}}
        desk.kite.data["/gtt/triggers"] = [fired]
        desk.kite.data["/orders"] = [order_row("55", None, transaction_type="SELL")]
        desk.kite.then("DELETE", "/gtt/triggers/1", refusal(400, "InputException", "already triggered"))
        await desk.submit(CancelGtt("1"))
        assert outcome(desk) == [("InputException", False)]
        assert [(gtt.state, gtt.fired, gtt.child_id) for gtt in gtts(desk)] == [
            (GttState.TRIGGERED, ExitReason.STOP, "55")
        ]
        (child,) = [event for event in desk.events if isinstance(event, OrderUpdate)]
        assert (child.broker_id, child.gtt_id, child.client_id) == ("55", "1", None)


async def test_an_unexplained_sell_makes_the_list_be_read_before_it_is_called_somebody_elses(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        fired = gtt_row(1, status="triggered")
        fired["orders"][1]["result"] = {"order_result": {"status": "success", "order_id": "55"}}
        desk.kite.data["/gtt/triggers"] = [fired]
        desk.kite.data["/orders"] = [order_row("55", None, transaction_type="SELL")]
        desk.broker._news.look()
        await trio.sleep(1)
        told = [(type(event).__name__, event.gtt_id) for event in desk.events]
        assert told == [("GttUpdate", "1"), ("OrderUpdate", "1")]
        assert gtts(desk)[0].fired is ExitReason.TARGET


async def test_a_person_who_sells_by_hand_is_not_told_as_ours(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        desk.kite.data["/orders"] = [order_row("55", None, transaction_type="SELL")]
        desk.broker._news.look()
        await trio.sleep(1)
        assert [event for event in desk.events if isinstance(event, OrderUpdate)] == []


async def test_a_modification_sends_both_legs_and_the_last_price(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        stop = Leg(149_000, 147_510)
        await desk.submit(ModifyGtt(gtt_id="1", quantity=10, stop=stop, target=TARGET, last_paise=151_000))
        (call,) = desk.kite.asked("PUT")
        assert call.path == "/gtt/triggers/1"
        assert '"last_price":1510.00' in call.form["condition"]
        assert '"tradingsymbol":"INFY"' in call.form["condition"]
        assert gtts(desk)[0].stop == stop


async def test_a_modification_of_unknown_fate_is_settled_by_the_list(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await placed(desk)
        stop = Leg(149_000, 147_510)
        desk.kite.then("PUT", "/gtt/triggers/1", CUT)
        moved = gtt_row(1)
        moved["condition"]["trigger_values"][0] = 1490
        moved["orders"][0]["price"] = 1475.1
        desk.kite.data["/gtt/triggers"] = [moved]
        await desk.submit(ModifyGtt(gtt_id="1", quantity=10, stop=stop, target=TARGET, last_paise=151_000))
        failed, read = desk.events
        assert isinstance(failed, RequestFailed)
        assert failed.reached
        assert isinstance(read, GttUpdate)
        assert read.stop == stop
