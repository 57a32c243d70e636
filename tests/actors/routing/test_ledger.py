"""The ledger: what was committed is found again, what was not never happened, and capital follows."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import attrs
import pytest

from actors.routing.bookkeeping import Bookkeeper
from actors.routing.ledger import Ledger
from protocol.broker import GttUpdate, OrderUpdate
from protocol.clock import NS, from_ist_text
from protocol.errors import RemoteProtocolError
from protocol.orders import (
    ExitReason,
    Gtt,
    GttEvent,
    GttState,
    Leg,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Purpose,
    Side,
)
from protocol.rungs import Protection, RungStatus
from store.journal import Journal
from store.opening import memory_journal

TEN = from_ist_text("2026-01-05 10:00:00")
RETRY_NS = 60 * NS
PRICE = 150_000


@pytest.fixture
def journal() -> Iterator[Journal]:
    made = memory_journal(chance=Random(5))
    yield made
    made.close()


@pytest.fixture
def ledger(journal: Journal) -> Ledger:
    return Ledger(journal)


@pytest.fixture
def keeper(ledger: Ledger) -> Bookkeeper:
    return Bookkeeper(ledger, RETRY_NS)


def an_entry(number: int = 1, *, rung: int = 1, ladder: str = "INFY-1", attempt: int = 1) -> Order:
    return Order(
        client_id=f"PA01AAAA0001{number:08d}",
        key=f"{ladder}:{rung}:entry:{attempt}",
        symbol="INFY",
        side=Side.BUY,
        quantity=10,
        order_type=OrderType.MARKET,
        purpose=Purpose.ENTRY,
        ladder=ladder,
        rung=rung,
        decision_paise=PRICE,
        created_ns=TEN + number,
        updated_ns=TEN + number,
    )


def an_exit(number: int = 50, *, rung: int = 1) -> Order:
    return attrs.evolve(
        an_entry(number, rung=rung),
        key=f"INFY-1:{rung}:exit:{number}",
        side=Side.SELL,
        purpose=Purpose.EXIT,
        reason=ExitReason.PERSON,
    )


def a_gtt(number: int = 80) -> Gtt:
    return Gtt(
        client_id=f"PA01AAAA0001{number:08d}",
        key=f"INFY-1:1:protect:{number}",
        symbol="INFY",
        quantity=10,
        stop=Leg(146_250, 144_785),
        target=None,
        ladder="INFY-1",
        rung=1,
        created_ns=TEN + number,
        updated_ns=TEN + number,
    )


def news(order: Order, state: OrderState = OrderState.OPEN, filled: int = 0, value: int = 0) -> OrderUpdate:
    return OrderUpdate(
        broker_id=f"B{order.client_id[-4:]}",
        client_id=order.client_id,
        gtt_id=None,
        symbol=order.symbol,
        side=order.side,
        state=state,
        quantity=order.quantity,
        filled=filled,
        value_paise=value,
        at_ns=TEN + NS,
    )


def gtt_news(gtt: Gtt, state: GttState = GttState.ACTIVE, **otherwise: Any) -> GttUpdate:
    update = GttUpdate(
        gtt_id=f"G{gtt.client_id[-4:]}",
        client_id=gtt.client_id,
        symbol=gtt.symbol,
        state=state,
        quantity=gtt.quantity,
        stop=gtt.stop,
        target=gtt.target,
        at_ns=TEN + NS,
    )
    return attrs.evolve(update, **otherwise)


def buy(ledger: Ledger, keeper: Bookkeeper, order: Order, filled: int = 10) -> Order:
    ledger.begin_entry(order)
    return keeper.heard_of_order(news(order, OrderState.CANCELLED, filled, filled * PRICE), order)


# --- capital --------------------------------------------------------------------------------------------


def test_capital_is_bound_at_the_decision_follows_the_fills_and_falls_with_the_exit(
    ledger: Ledger, keeper: Bookkeeper
) -> None:
    entry = an_entry()
    ledger.begin_entry(entry)
    assert ledger.exposure.deployed_paise == 10 * PRICE
    part = keeper.heard_of_order(news(entry, OrderState.PARTIAL, 4, 4 * 150_100), entry)
    assert ledger.exposure.deployed_paise == 4 * 150_100 + 6 * PRICE
    keeper.heard_of_order(news(entry, OrderState.CANCELLED, 4, 4 * 150_100), part)
    assert ledger.exposure.deployed_paise == 4 * 150_100
    sale = attrs.evolve(an_exit(), quantity=4)
    ledger.record_order(sale)
    keeper.heard_of_order(news(sale, OrderState.PARTIAL, 1, 151_000), sale)
    assert ledger.exposure.deployed_paise == 3 * 150_100
    keeper.heard_of_order(news(sale, OrderState.COMPLETE, 4, 4 * 151_000), ledger.orders[sale.client_id])
    assert (ledger.exposure.deployed_paise, ledger.exposure.slots) == (0, 0)


def test_an_entry_that_was_not_committed_never_happened(ledger: Ledger, journal: Journal) -> None:
    ledger.begin_entry(an_entry())
    assert ledger.withdraw_entries() == [an_entry()]
    ledger.commit(before_wire=True)
    assert journal.orders_since(0) == []
    assert (ledger.exposure.slots, ledger.ladders, ledger.touched) == (0, {}, {})
    assert ledger.order_with_key(an_entry().key) is None


def test_what_is_committed_cannot_be_withdrawn(ledger: Ledger, journal: Journal) -> None:
    ledger.begin_entry(an_entry())
    ledger.commit(before_wire=True)
    assert ledger.withdraw_entries() == []
    assert journal.orders_since(0) == [an_entry()]


# --- being loaded again ---------------------------------------------------------------------------------


def test_what_is_loaded_again_is_what_was_committed(ledger: Ledger, keeper: Bookkeeper, journal: Journal) -> None:
    buy(ledger, keeper, an_entry(1))
    ledger.record_gtt(a_gtt())
    keeper.heard_of_gtt(gtt_news(a_gtt()), a_gtt())
    ledger.begin_entry(an_entry(2, rung=2))
    ledger.commit(before_wire=True)
    again = Ledger(journal)
    again.load(TEN)
    assert again.rung("INFY", 1) == ledger.rung("INFY", 1)
    assert again.rung("INFY", 2) == ledger.rung("INFY", 2)
    assert again.guard("INFY", 1) == ledger.guard("INFY", 1)
    assert again.exposure.deployed_paise == ledger.exposure.deployed_paise == 20 * PRICE


def test_a_ladder_that_cools_down_is_loaded_and_one_that_has_cooled_is_not(
    ledger: Ledger, keeper: Bookkeeper, journal: Journal
) -> None:
    buy(ledger, keeper, an_entry())
    sale = an_exit()
    ledger.record_order(sale)
    keeper.heard_of_order(news(sale, OrderState.COMPLETE, 10, 10 * PRICE), sale)
    ledger.commit(before_wire=False)
    for since, known in ((TEN, True), (TEN + 2 * NS, False)):
        again = Ledger(journal)
        again.load(since)
        assert ("INFY" in again.ladders) is known


def test_the_ladder_that_holds_something_is_loaded_even_when_another_was_entered_at_its_exit(
    ledger: Ledger, keeper: Bookkeeper, journal: Journal
) -> None:
    buy(ledger, keeper, an_entry(1))
    sale = an_exit()
    ledger.record_order(sale)
    keeper.heard_of_order(news(sale, OrderState.COMPLETE, 10, 10 * PRICE), sale)
    buy(ledger, keeper, an_entry(2, ladder="INFY-0"))  # an earlier name, a later ladder
    ledger.commit(before_wire=False)
    again = Ledger(journal)
    again.load(TEN)
    assert again.ladders["INFY"].ladder == "INFY-0"


def test_attempts_before_a_working_entry_are_counted_from_its_orders(
    ledger: Ledger, keeper: Bookkeeper, journal: Journal
) -> None:
    buy(ledger, keeper, an_entry(1))
    buy(ledger, keeper, an_entry(2, rung=2), filled=0)
    ledger.begin_entry(an_entry(3, rung=2, attempt=2))
    ledger.commit(before_wire=True)
    again = Ledger(journal)
    again.load(TEN)
    rung = again.rung("INFY", 2)
    assert rung is not None
    assert (rung.status, rung.attempts) == (RungStatus.ENTERING, 1)


def test_ended_orders_leave_the_memory_and_are_still_known(
    ledger: Ledger, keeper: Bookkeeper, journal: Journal
) -> None:
    order = buy(ledger, keeper, an_entry(), filled=0)
    ledger.commit(before_wire=False)
    ledger.forget_ended(TEN + 2 * NS)
    assert ledger.orders == {}
    assert ledger.knows(order.client_id)
    assert ledger.order_of(news(order, OrderState.CANCELLED), TEN) == order


# --- evidence -------------------------------------------------------------------------------------------


def test_filled_never_decreases(ledger: Ledger, keeper: Bookkeeper) -> None:
    entry = an_entry()
    ledger.begin_entry(entry)
    after = keeper.heard_of_order(news(entry, OrderState.PARTIAL, 6, 6 * PRICE), entry)
    assert keeper.heard_of_order(news(entry, OrderState.PARTIAL, 2, 2 * PRICE), after).filled == 6


def test_what_cannot_be_about_an_order_changes_nothing(ledger: Ledger, keeper: Bookkeeper) -> None:
    entry = an_entry()
    ledger.begin_entry(entry)
    with pytest.raises(RemoteProtocolError, match="11 filled of 10"):
        keeper.heard_of_order(news(entry, OrderState.COMPLETE, 11, 11 * PRICE), entry)
    with pytest.raises(RemoteProtocolError, match=r"BUY 10 TCS under the id of BUY 10 INFY"):
        keeper.heard_of_order(attrs.evolve(news(entry), symbol="TCS"), entry)
    assert ledger.orders[entry.client_id] == entry


def test_cost_and_proceeds_are_exact_sums(ledger: Ledger, keeper: Bookkeeper) -> None:
    entry = an_entry()
    ledger.begin_entry(entry)
    after = keeper.heard_of_order(news(entry, OrderState.PARTIAL, 3, 450_001), entry)
    keeper.heard_of_order(news(entry, OrderState.COMPLETE, 10, 1_500_007), after)
    sale = an_exit()
    ledger.record_order(sale)
    keeper.heard_of_order(news(sale, OrderState.COMPLETE, 10, 1_510_003), sale)
    rung = ledger.rung("INFY", 1)
    assert rung is not None
    assert (rung.cost_paise, rung.proceeds_paise, rung.pnl_paise) == (1_500_007, 1_510_003, 9_996)


def test_highest_begins_with_the_first_fill_and_rises_with_dearer_ones(ledger: Ledger, keeper: Bookkeeper) -> None:
    entry = an_entry()
    ledger.begin_entry(entry)
    after = keeper.heard_of_order(news(entry, OrderState.PARTIAL, 1, 150_100), entry)
    keeper.heard_of_order(news(entry, OrderState.COMPLETE, 10, 150_100 + 9 * 150_300), after)
    rung = ledger.rung("INFY", 1)
    assert rung is not None
    assert rung.highest_paise == 150_300


def test_a_sale_of_more_than_a_rung_holds_is_cut_to_what_it_held_and_told(ledger: Ledger, keeper: Bookkeeper) -> None:
    buy(ledger, keeper, an_entry(), filled=4)
    sale = an_exit()
    ledger.record_order(sale)
    after = keeper.heard_of_order(news(sale, OrderState.COMPLETE, 10, 10 * PRICE), sale)
    assert keeper.oversold == [(after, 6)]
    rung = ledger.rung("INFY", 1)
    assert rung is not None
    assert (rung.status, rung.sold, rung.proceeds_paise) == (RungStatus.CLOSED, 4, 4 * PRICE)


def test_a_late_fill_that_goes_on_enlarges_its_own_rung(ledger: Ledger, keeper: Bookkeeper) -> None:
    order = buy(ledger, keeper, an_entry(), filled=0)
    order = keeper.heard_of_order(news(order, OrderState.CANCELLED, 3, 3 * PRICE), order)
    keeper.heard_of_order(news(order, OrderState.CANCELLED, 5, 5 * PRICE), order)
    own = ledger.rung("INFY", 11)
    assert own is not None
    assert (own.status, own.quantity, own.cost_paise) == (RungStatus.OPEN, 5, 5 * PRICE)
    assert keeper.bought_late


def test_an_order_absent_from_the_book_goes_through_unknown_to_not_placed(ledger: Ledger, keeper: Bookkeeper) -> None:
    for state in (OrderState.SENT, OrderState.OPEN, OrderState.UNKNOWN):
        order = attrs.evolve(an_entry(), state=state)
        assert keeper.end_order(order, OrderEvent.ABSENT, TEN, "absent").state is OrderState.NOT_PLACED
    partly = attrs.evolve(an_entry(), state=OrderState.PARTIAL, filled=2, value_paise=2 * PRICE)
    assert keeper.end_order(partly, OrderEvent.ABSENT, TEN, "absent").state is OrderState.CANCELLED


# --- GTTs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "protection"),
    [
        (GttState.ACTIVE, Protection.STANDING),
        (GttState.TRIGGERED, Protection.FIRED),
        (GttState.CANCELLED, Protection.NONE),
        (GttState.REJECTED, Protection.NONE),
    ],
)
def test_a_rung_is_protected_as_its_newest_gtt_says(
    ledger: Ledger, keeper: Bookkeeper, state: GttState, protection: Protection
) -> None:
    buy(ledger, keeper, an_entry())
    ledger.record_gtt(a_gtt())
    keeper.heard_of_gtt(gtt_news(a_gtt(), state), a_gtt())
    rung = ledger.rung("INFY", 1)
    assert rung is not None
    assert rung.protection is protection


def test_news_of_an_older_gtt_does_not_make_it_the_newest(ledger: Ledger, keeper: Bookkeeper) -> None:
    buy(ledger, keeper, an_entry())
    older, newer = a_gtt(80), a_gtt(81)
    ledger.record_gtt(older)
    keeper.end_gtt(older, GttEvent.NO_ANSWER, TEN, "no answer")
    ledger.record_gtt(newer)
    keeper.heard_of_gtt(gtt_news(newer), newer)
    keeper.heard_of_gtt(gtt_news(older, GttState.CANCELLED), ledger.gtts[older.client_id])
    guard, rung = ledger.guard("INFY", 1), ledger.rung("INFY", 1)
    assert guard is not None
    assert rung is not None
    assert (guard.client_id, rung.protection) == (newer.client_id, Protection.STANDING)


def test_an_active_gtt_absent_from_the_list_is_gone(ledger: Ledger, keeper: Bookkeeper) -> None:
    buy(ledger, keeper, an_entry())
    ledger.record_gtt(a_gtt())
    active = keeper.heard_of_gtt(gtt_news(a_gtt()), a_gtt())
    assert keeper.end_gtt(active, GttEvent.ABSENT, TEN, "absent").state is GttState.CANCELLED


@pytest.mark.parametrize(("limit", "reason"), [(144_785, ExitReason.STOP), (157_500, ExitReason.TARGET)])
def test_a_child_heard_of_before_its_trigger_is_known_by_its_limit(
    ledger: Ledger, keeper: Bookkeeper, limit: int, reason: ExitReason
) -> None:
    buy(ledger, keeper, an_entry())
    gtt = attrs.evolve(a_gtt(), target=Leg(157_500, 157_500))
    ledger.record_gtt(gtt)
    child = attrs.evolve(news(an_exit()), client_id=None, gtt_id="G0080", limit_paise=limit)
    assert keeper.adopt_child(child, gtt).reason is reason
    rung = ledger.rung("INFY", 1)
    assert rung is not None
    assert (rung.exit_working, rung.protection) == (True, Protection.FIRED)
