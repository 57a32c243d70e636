"""The comparison of journal and books finds each row of its table, evidence first, and nothing that is a person's."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import attrs
import pytest

from actors.routing.ledger import Ledger
from actors.routing.reconciliation import (
    Finding,
    GttDiffers,
    GttMissing,
    GttTooMany,
    Moved,
    OrderMissing,
    OrderRevived,
    Seen,
    Stranger,
    compare,
)
from protocol.broker import Books, GttUpdate, OrderUpdate
from protocol.clock import DAY_S, NS, from_ist_text
from protocol.orders import Gtt, GttState, Leg, Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Rung, RungStatus
from store.opening import memory_journal

TEN = from_ist_text("2026-01-05 10:00:00")
ORDER = Order(
    client_id="PA01AAAA000100000001",
    key="INFY-1:1:entry:1",
    symbol="INFY",
    side=Side.BUY,
    quantity=10,
    order_type=OrderType.MARKET,
    purpose=Purpose.ENTRY,
    ladder="INFY-1",
    rung=1,
    decision_paise=150_000,
    created_ns=TEN,
    updated_ns=TEN,
)
ROW = OrderUpdate(
    broker_id="B1",
    client_id=ORDER.client_id,
    gtt_id=None,
    symbol="INFY",
    side=Side.BUY,
    state=OrderState.OPEN,
    quantity=10,
    filled=0,
    value_paise=0,
    at_ns=TEN,
)
OPEN_ORDER = attrs.evolve(ORDER, state=OrderState.OPEN, broker_id="B1")
GTT = Gtt(
    client_id="PA01AAAA000100000002",
    key="INFY-1:1:protect:1",
    symbol="INFY",
    quantity=10,
    stop=Leg(146_250, 144_785),
    target=None,
    ladder="INFY-1",
    rung=1,
    created_ns=TEN,
    updated_ns=TEN,
    state=GttState.ACTIVE,
    gtt_id="G1",
)
GTT_ROW = GttUpdate(
    gtt_id="G1",
    client_id=GTT.client_id,
    symbol="INFY",
    state=GttState.ACTIVE,
    quantity=10,
    stop=GTT.stop,
    target=None,
    at_ns=TEN,
)
RUNG = Rung(
    ladder="INFY-1",
    symbol="INFY",
    number=1,
    status=RungStatus.OPEN,
    rank=3.0,
    trade_id=1,
    quantity=10,
    cost_paise=1_500_000,
)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    journal = memory_journal(chance=Random(5))
    yield Ledger(journal)
    journal.close()


def found(ledger: Ledger, *rows: OrderUpdate | GttUpdate, **seen: Any) -> list[Finding]:
    books = Books(
        orders=tuple(row for row in rows if isinstance(row, OrderUpdate)),
        gtts=tuple(row for row in rows if isinstance(row, GttUpdate)),
        trades=(),
        positions=(),
        holdings=(),
        at_ns=TEN,
    )
    given: dict[str, Any] = {"now_ns": TEN + NS, "absent_after_s": 120, "tag": "01", "database_id": "AAAA", **seen}
    return compare(ledger, books, Seen(**given))


def test_books_that_agree_give_no_finding(ledger: Ledger) -> None:
    ledger.record_rung(RUNG)
    ledger.record_order(OPEN_ORDER)
    ledger.record_gtt(GTT)
    assert found(ledger, ROW, GTT_ROW) == []


def test_evidence_comes_before_what_is_missing_and_that_before_what_is_too_much(ledger: Ledger) -> None:
    ledger.record_rung(RUNG)
    ledger.record_order(OPEN_ORDER)
    missing = attrs.evolve(ORDER, client_id="PA01AAAA000100000009", key="other")
    ledger.record_order(missing)
    ledger.record_gtt(GTT)
    extra = attrs.evolve(GTT, client_id="PA01AAAA000100000000", key="older", gtt_id="G0", created_ns=TEN - 1)
    ledger.record_gtt(extra)
    extra_row = attrs.evolve(GTT_ROW, gtt_id="G0", client_id=extra.client_id)
    more = attrs.evolve(ROW, state=OrderState.PARTIAL, filled=3, value_paise=450_000)
    fired = attrs.evolve(GTT_ROW, state=GttState.TRIGGERED)
    assert found(ledger, more, fired, extra_row) == [
        Moved(fired),
        Moved(more),
        OrderMissing(missing, gone=False, lapsed=False),
        GttTooMany(extra_row),
    ]


@pytest.mark.parametrize("state", [OrderState.SENT, OrderState.UNKNOWN])
def test_an_order_the_broker_knows_is_news_until_its_id_is_known(ledger: Ledger, state: OrderState) -> None:
    ledger.record_order(attrs.evolve(ORDER, state=state))
    assert found(ledger, ROW) == [Moved(ROW)]


def test_a_fill_of_an_order_that_is_over_is_news(ledger: Ledger) -> None:
    ledger.record_order(attrs.evolve(OPEN_ORDER, state=OrderState.CANCELLED))
    late = attrs.evolve(ROW, state=OrderState.CANCELLED, filled=2, value_paise=300_000)
    assert found(ledger, late) == [Moved(late)]


def test_an_order_that_is_over_for_us_and_works_at_the_broker_has_revived(ledger: Ledger) -> None:
    over = attrs.evolve(ORDER, state=OrderState.NOT_PLACED)
    ledger.record_order(over)
    assert found(ledger, ROW) == [OrderRevived(over, ROW)]


def test_an_unknown_order_is_gone_when_it_was_absent_for_as_long_as_the_broker_may_take(ledger: Ledger) -> None:
    unknown = attrs.evolve(ORDER, state=OrderState.UNKNOWN, created_ns=TEN - 3600 * NS)
    ledger.record_order(unknown)
    assert found(ledger, now_ns=TEN + 119 * NS) == [OrderMissing(unknown, gone=False, lapsed=False)]
    assert found(ledger, now_ns=TEN + 120 * NS) == [OrderMissing(unknown, gone=True, lapsed=False)]


def test_an_old_order_missing_for_the_first_time_is_not_gone_yet(ledger: Ledger) -> None:
    old = attrs.evolve(OPEN_ORDER, created_ns=TEN - 3600 * NS)
    ledger.record_order(old)
    assert found(ledger) == [OrderMissing(old, gone=False, lapsed=False)]


def test_what_is_absent_may_be_on_its_way_for_five_seconds_even_where_the_book_is_always_complete(
    ledger: Ledger,
) -> None:
    ledger.record_order(ORDER)
    assert found(ledger, absent_after_s=0) == [OrderMissing(ORDER, gone=False, lapsed=False)]
    unknown = attrs.evolve(ORDER, state=OrderState.UNKNOWN)
    ledger.record_order(unknown)
    assert found(ledger, absent_after_s=0) == [OrderMissing(unknown, gone=False, lapsed=False)]
    assert found(ledger, absent_after_s=0, now_ns=TEN + 5 * NS) == [OrderMissing(unknown, gone=True, lapsed=False)]


def test_an_order_of_an_earlier_day_has_lapsed_with_its_book(ledger: Ledger) -> None:
    ledger.record_order(OPEN_ORDER)
    (finding,) = found(ledger, now_ns=TEN + DAY_S * NS)
    assert isinstance(finding, OrderMissing)
    assert finding.lapsed


def test_what_was_sent_after_the_reading_began_is_not_missing(ledger: Ledger) -> None:
    ledger.record_order(ORDER)
    ledger.record_gtt(attrs.evolve(GTT, gtt_id=None, state=GttState.INTENT))
    assert found(ledger, sent_since={ORDER.client_id, GTT.client_id}) == []


def test_an_order_that_waits_in_our_queue_is_not_missing(ledger: Ledger) -> None:
    ledger.record_order(attrs.evolve(ORDER, state=OrderState.INTENT))
    assert found(ledger) == []


def test_a_gtt_is_gone_after_ten_seconds_in_doubt(ledger: Ledger) -> None:
    ledger.record_rung(RUNG)
    ledger.record_gtt(GTT)
    assert found(ledger) == [GttMissing(GTT, gone=False)]
    doubtful = attrs.evolve(GTT, state=GttState.UNKNOWN)
    ledger.record_gtt(doubtful)
    assert found(ledger, now_ns=TEN + 10 * NS) == [GttMissing(doubtful, gone=True)]


@pytest.mark.parametrize(
    "change", [{"quantity": 7}, {"stop": Leg(147_000, 145_530)}, {"target": Leg(157_500, 157_500)}]
)
def test_a_gtt_that_stands_otherwise_differs(ledger: Ledger, change: dict[str, Any]) -> None:
    ledger.record_rung(RUNG)
    ledger.record_gtt(GTT)
    row = attrs.evolve(GTT_ROW, **change)
    assert found(ledger, row) == [GttDiffers(GTT, row)]


def test_a_gtt_of_a_closed_rung_and_one_that_ended_for_us_are_too_many(ledger: Ledger) -> None:
    ledger.record_rung(attrs.evolve(RUNG, status=RungStatus.CLOSED, sold=10))
    ledger.record_gtt(GTT)
    assert found(ledger, GTT_ROW) == [GttTooMany(GTT_ROW)]
    ledger.record_rung(RUNG)
    ledger.record_gtt(attrs.evolve(GTT, state=GttState.CANCELLED))
    assert found(ledger, GTT_ROW) == [GttTooMany(GTT_ROW)]


def test_the_child_of_one_of_our_gtts_is_news_and_a_persons_sell_is_not(ledger: Ledger) -> None:
    ledger.record_rung(RUNG)
    ledger.record_gtt(attrs.evolve(GTT, state=GttState.TRIGGERED))
    child = attrs.evolve(ROW, client_id=None, gtt_id="G1", side=Side.SELL, broker_id="C1")
    own = attrs.evolve(ROW, client_id=None, side=Side.SELL, broker_id="OWN")
    owns_child = attrs.evolve(ROW, client_id=None, gtt_id="G9", side=Side.SELL, broker_id="C9")
    fired = attrs.evolve(GTT_ROW, state=GttState.TRIGGERED)
    assert found(ledger, fired, child, own, owns_child) == [Moved(child)]


def test_an_id_of_ours_that_nobody_knows_is_a_stranger_foreign_when_another_database_made_it(
    ledger: Ledger,
) -> None:
    row = attrs.evolve(ROW, client_id="PA01AAAA000100000099")
    foreign = attrs.evolve(ROW, client_id="PA01BBBB000100000099", broker_id="B2")
    another_account = attrs.evolve(ROW, client_id="PA02BBBB000100000099", broker_id="B3")
    assert found(ledger, row, foreign, another_account) == [
        Stranger(row, foreign=False),
        Stranger(foreign, foreign=True),
    ]
