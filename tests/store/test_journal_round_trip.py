"""What is read from the journal equals what was written, for every value that the protocol allows."""

from __future__ import annotations

import random
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.journal import EventRow
from protocol.orders import ExitReason, Gtt, GttState, Leg, Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Protection, Rung, RungStatus
from store.journal import Journal
from store.opening import memory_journal

INTEGERS = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(0, 2**31)
PAISE = st.integers(0, 2**40)
INSTANTS = st.integers(0, 4_000_000_000 * 10**9)
TEXTS = st.text(max_size=12)
IDS = st.none() | TEXTS
RANKS = st.floats(allow_nan=False)
LEGS = st.builds(Leg, trigger_paise=INTEGERS, limit_paise=INTEGERS)
REASONS = st.none() | st.sampled_from(ExitReason)

ORDERS = st.builds(
    Order,
    client_id=TEXTS,
    key=TEXTS,
    symbol=TEXTS,
    side=st.sampled_from(Side),
    quantity=INTEGERS,
    order_type=st.sampled_from(OrderType),
    purpose=st.sampled_from(Purpose),
    ladder=TEXTS,
    rung=INTEGERS,
    decision_paise=INTEGERS,
    created_ns=INTEGERS,
    updated_ns=INTEGERS,
    limit_paise=st.none() | INTEGERS,
    trigger_paise=st.none() | INTEGERS,
    state=st.sampled_from(OrderState),
    broker_id=IDS,
    filled=INTEGERS,
    value_paise=INTEGERS,
    rank=st.none() | RANKS,
    reason=REASONS,
    gtt_client_id=IDS,
    message=TEXTS,
)
GTTS = st.builds(
    Gtt,
    client_id=TEXTS,
    key=TEXTS,
    symbol=TEXTS,
    quantity=INTEGERS,
    stop=LEGS,
    target=st.none() | LEGS,
    ladder=TEXTS,
    rung=INTEGERS,
    created_ns=INTEGERS,
    updated_ns=INTEGERS,
    state=st.sampled_from(GttState),
    gtt_id=IDS,
    fired=REASONS,
    message=TEXTS,
)
RUNGS = st.builds(
    Rung,
    ladder=TEXTS,
    symbol=TEXTS,
    number=INTEGERS,
    status=st.sampled_from(RungStatus),
    rank=RANKS,
    trade_id=st.integers(1, 2**63 - 1),
    quantity=COUNTS,
    cost_paise=PAISE,
    sold=COUNTS,
    proceeds_paise=PAISE,
    entry_ns=INSTANTS,
    exit_ns=INSTANTS,
    entry_working=st.booleans(),
    exit_working=st.booleans(),
    protection=st.sampled_from(Protection),
    stop_paise=PAISE,
    target_paise=PAISE,
    highest_paise=PAISE,
    gtt_id=IDS,
    entry_order=IDS,
    reason=REASONS,
    attempts=COUNTS,
    retry_ns=INTEGERS,
)
EVENTS = st.builds(
    EventRow, at_ns=INTEGERS, actor=TEXTS, kind=TEXTS, symbol=TEXTS, ref=TEXTS, body=st.text(max_size=2000)
)
FEW = settings(max_examples=60, deadline=None)


def fresh() -> Journal:
    return memory_journal(chance=random.Random(1))


@FEW
@given(ORDERS, ORDERS)
def test_an_order_is_read_back_as_written_and_as_replaced(first: Order, later: Order) -> None:
    replaced = attrs.evolve(later, client_id=first.client_id, key=first.key, ladder=first.ladder, symbol=first.symbol)
    journal = fresh()
    for order in (first, replaced):
        journal.write([order])
        assert journal.order_by_key(order.key) == order
        assert journal.orders_since(-(2**63)) == [order]
    journal.close()


@FEW
@given(GTTS, GTTS)
def test_a_gtt_is_read_back_as_written_and_as_replaced(first: Gtt, later: Gtt) -> None:
    same: dict[str, Any] = {name: getattr(first, name) for name in ("client_id", "key", "ladder", "rung", "symbol")}
    replaced = attrs.evolve(later, **same)
    journal = fresh()
    for gtt in (first, replaced):
        journal.write([gtt])
        assert journal.gtt_by_key(gtt.key) == gtt
    journal.close()


@FEW
@given(RUNGS, RUNGS)
def test_a_rung_is_read_back_as_written_and_as_replaced(first: Rung, later: Rung) -> None:
    replaced = attrs.evolve(later, trade_id=first.trade_id, ladder=first.ladder, symbol=first.symbol)
    journal = fresh()
    for rung in (first, replaced):
        journal.write([rung])
        assert journal.trades() == [rung]
    journal.close()


@FEW
@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_events_are_read_back_in_the_order_they_were_written(events: list[EventRow]) -> None:
    journal = fresh()
    journal.write(events)
    assert journal.events() == list(enumerate(events, start=1))
    journal.close()
