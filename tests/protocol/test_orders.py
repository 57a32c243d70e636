"""Orders, GTTs and rungs: the tables are the specification, and no order of events loses a fill."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.orders import (
    NEXT_GTT_STATE,
    NEXT_ORDER_STATE,
    WORKING,
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
from protocol.rungs import Protection, Rung, RungStatus, rung_key

# One order's life told again by hand, event>next state. What a state does not list is impossible in it.
ORDER_ROWS = """
INTENT      sent>SENT refused>REFUSED expired>EXPIRED absent>NOT_PLACED acknowledged>OPEN
INTENT      part_filled>LATE_FILL filled>COMPLETE
SENT        acknowledged>OPEN part_filled>PARTIAL filled>COMPLETE cancelled>CANCELLED rejected>REJECTED
SENT        lapsed>LAPSED no_answer>UNKNOWN
OPEN        acknowledged>OPEN part_filled>PARTIAL filled>COMPLETE cancelled>CANCELLED rejected>REJECTED
OPEN        lapsed>LAPSED no_answer>UNKNOWN
PARTIAL     acknowledged>PARTIAL part_filled>PARTIAL filled>COMPLETE cancelled>CANCELLED rejected>REJECTED
PARTIAL     lapsed>LAPSED no_answer>UNKNOWN
UNKNOWN     acknowledged>OPEN part_filled>PARTIAL filled>COMPLETE cancelled>CANCELLED rejected>REJECTED
UNKNOWN     lapsed>LAPSED no_answer>UNKNOWN absent>NOT_PLACED
CANCELLED   part_filled>LATE_FILL filled>COMPLETE
REJECTED    part_filled>LATE_FILL filled>COMPLETE
NOT_PLACED  part_filled>LATE_FILL filled>COMPLETE
LAPSED      part_filled>LATE_FILL filled>COMPLETE
REFUSED     part_filled>LATE_FILL filled>COMPLETE
EXPIRED     part_filled>LATE_FILL filled>COMPLETE
LATE_FILL   part_filled>LATE_FILL filled>COMPLETE
COMPLETE
"""

GTT_ROWS = """
INTENT      accepted>ACTIVE rejected>REJECTED no_answer>UNKNOWN triggered>TRIGGERED cancelled>CANCELLED
INTENT      absent>CANCELLED
ACTIVE      accepted>ACTIVE triggered>TRIGGERED cancelled>CANCELLED rejected>REJECTED no_answer>UNKNOWN
UNKNOWN     accepted>ACTIVE triggered>TRIGGERED cancelled>CANCELLED rejected>REJECTED no_answer>UNKNOWN
UNKNOWN     absent>CANCELLED
TRIGGERED   triggered>TRIGGERED
CANCELLED   triggered>TRIGGERED cancelled>CANCELLED
REJECTED
"""


def rows_of(text: str) -> dict[tuple[str, str], str]:
    table = {}
    for line in text.strip().splitlines():
        state, *moves = line.split()
        for move in moves:
            event, following = move.split(">")
            assert (state, event) not in table, f"{state} {event} stands twice"
            table[state, event] = following
    return table


ORDER_TABLE = rows_of(ORDER_ROWS)
GTT_TABLE = rows_of(GTT_ROWS)
WITHOUT_FILL = [event for event in OrderEvent if event not in (OrderEvent.PART_FILLED, OrderEvent.FILLED)]


def order_in(state: OrderState, *, quantity: int = 10, filled: int = 0, value_paise: int = 0) -> Order:
    return Order(
        client_id="PA01ABCD000100000001",
        key="RELIANCE-1:1:entry:0",
        symbol="RELIANCE",
        side=Side.BUY,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        purpose=Purpose.ENTRY,
        ladder="RELIANCE-1",
        rung=1,
        decision_paise=290_000,
        created_ns=1,
        updated_ns=1,
        state=state,
        filled=filled,
        value_paise=value_paise,
    )


def gtt_in(state: GttState) -> Gtt:
    return Gtt(
        client_id="PA01ABCD000100000002",
        key="RELIANCE-1:1:protect:0",
        symbol="RELIANCE",
        quantity=10,
        stop=Leg(282_750, 279_920),
        target=Leg(304_500, 304_500),
        ladder="RELIANCE-1",
        rung=1,
        created_ns=1,
        updated_ns=1,
        state=state,
    )


# --- the tables ------------------------------------------------------------------------------------


def test_the_order_table_is_the_specification() -> None:
    told = {(state.value, event.value): following.value for (state, event), following in NEXT_ORDER_STATE.items()}
    assert told == ORDER_TABLE


def test_the_gtt_table_is_the_specification() -> None:
    told = {(state.value, event.value): following.value for (state, event), following in NEXT_GTT_STATE.items()}
    assert told == GTT_TABLE


def test_every_order_state_is_told_of_and_only_working_ones_may_still_be_sent() -> None:
    assert {line.split()[0] for line in ORDER_ROWS.strip().splitlines()} == {state.value for state in OrderState}
    assert {state.value for state in WORKING} == {"INTENT", "SENT", "OPEN", "PARTIAL", "UNKNOWN"}
    assert not [state for state in OrderState if state not in WORKING and (state, OrderEvent.SENT) in NEXT_ORDER_STATE]


@pytest.mark.parametrize("event", OrderEvent, ids=lambda event: event.value)
@pytest.mark.parametrize("state", OrderState, ids=lambda state: state.value)
def test_an_order_event_moves_as_listed_or_raises_and_changes_nothing(state: OrderState, event: OrderEvent) -> None:
    order = order_in(state)
    before = attrs.asdict(order)
    following = ORDER_TABLE.get((state.value, event.value))
    if following is None:
        with pytest.raises(LocalProtocolError, match=rf"{event.value} is impossible in {state.value}"):
            order.after(event, 5)
    else:
        assert order.after(event, 5).state.value == following
    assert attrs.asdict(order) == before


@pytest.mark.parametrize("event", GttEvent, ids=lambda event: event.value)
@pytest.mark.parametrize("state", GttState, ids=lambda state: state.value)
def test_a_gtt_event_moves_as_listed_or_raises_and_changes_nothing(state: GttState, event: GttEvent) -> None:
    gtt = gtt_in(state)
    before = attrs.asdict(gtt)
    following = GTT_TABLE.get((state.value, event.value))
    if following is None:
        with pytest.raises(LocalProtocolError, match=rf"{event.value} is impossible in {state.value}"):
            gtt.after(event, 5)
    else:
        assert gtt.after(event, 5).state.value == following
    assert attrs.asdict(gtt) == before


# --- fills -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in OrderState if state is not OrderState.COMPLETE])
def test_a_fill_counts_in_every_state(state: OrderState) -> None:
    some = order_in(state).filled_to(4, 1_160_000, 7)
    assert (some.filled, some.value_paise, some.updated_ns) == (4, 1_160_000, 7)
    assert some.state is (OrderState.PARTIAL if state in WORKING - {OrderState.INTENT} else OrderState.LATE_FILL)
    whole = some.filled_to(10, 2_900_000, 8)
    assert (whole.state, whole.filled, whole.pending) == (OrderState.COMPLETE, 10, 0)


def test_a_fill_that_overtakes_a_cancel_is_kept() -> None:
    cancelled = order_in(OrderState.OPEN).after(OrderEvent.CANCELLED, 2)
    assert cancelled.filled_to(10, 2_900_000, 3).state is OrderState.COMPLETE
    assert cancelled.filled_to(3, 870_000, 3).state is OrderState.LATE_FILL


def test_older_evidence_of_fills_changes_nothing() -> None:
    order = order_in(OrderState.PARTIAL, filled=6, value_paise=1_740_000)
    assert order.filled_to(6, 1, 9) is order
    assert order.filled_to(4, 1, 9) is order
    assert order_in(OrderState.COMPLETE, filled=10).filled_to(10, 1, 9).state is OrderState.COMPLETE


def test_more_filled_than_ordered_is_refused_and_changes_nothing() -> None:
    order = order_in(OrderState.OPEN)
    with pytest.raises(AssertionError, match="11 filled of 10"):
        order.filled_to(11, 1, 9)
    assert order == order_in(OrderState.OPEN)


def test_only_a_working_order_has_shares_that_may_still_trade() -> None:
    for state in OrderState:
        assert order_in(state, filled=3).pending == (7 if state in WORKING else 0)
        assert order_in(state).working is (state in WORKING)


def test_the_brokers_id_and_words_are_kept_until_newer_ones_come() -> None:
    order = order_in(OrderState.SENT).after(OrderEvent.ACKNOWLEDGED, 2, broker_id="260101", message="placed")
    moved = order.after(OrderEvent.CANCELLED, 3)
    assert (moved.broker_id, moved.message) == ("260101", "placed")
    assert moved.filled_to(2, 580_000, 4, broker_id="260102").broker_id == "260102"


def test_a_fill_known_before_the_link_broke_is_still_shown_after_it_is_found_again() -> None:
    order = order_in(OrderState.OPEN).filled_to(4, 1_160_000, 2)
    found = order.after(OrderEvent.NO_ANSWER, 3).after(OrderEvent.ACKNOWLEDGED, 4)
    assert (found.state, found.filled, found.pending) == (OrderState.PARTIAL, 4, 6)


# Fractions of the order said to be filled; more than is known counts, less is old news.
HISTORIES = st.lists(
    st.one_of(
        st.sampled_from(WITHOUT_FILL),
        st.integers(0, 10),
    ),
    max_size=20,
)


@given(HISTORIES, st.sampled_from([OrderState.INTENT, OrderState.SENT]))
def test_no_sequence_of_events_loses_or_invents_a_fill(history: list[OrderEvent | int], start: OrderState) -> None:
    order = order_in(start)
    best = 0
    for at_ns, event in enumerate(history, start=2):
        was = order
        if isinstance(event, int):
            order = order.filled_to(event, event * 290_000, at_ns)
            best = max(best, event)
        elif (was.state.value, event.value) in ORDER_TABLE:
            order = order.after(event, at_ns)
        else:
            with pytest.raises(LocalProtocolError):
                order.after(event, at_ns)
        assert (order.filled, order.value_paise) == (best, best * 290_000)
        assert (order.state is OrderState.COMPLETE) is (best == order.quantity)
        assert order.working is False or was.working, "nothing more is sent for an order that is over"
        assert order.updated_ns in (was.updated_ns, at_ns)
        fixed = {"state", "filled", "value_paise", "updated_ns"}
        assert attrs.evolve(order, **{name: getattr(was, name) for name in fixed}) == was


# --- GTTs --------------------------------------------------------------------------------------------


def test_a_gtt_stands_while_it_may_still_sell_by_itself() -> None:
    standing = {state.value for state in GttState if gtt_in(state).standing}
    assert standing == {"INTENT", "ACTIVE", "UNKNOWN"}


def test_a_trigger_that_overtakes_a_cancellation_is_kept_with_its_leg() -> None:
    cancelled = gtt_in(GttState.ACTIVE).after(GttEvent.CANCELLED, 2, gtt_id="77")
    fired = cancelled.after(GttEvent.TRIGGERED, 3, fired=ExitReason.STOP)
    assert (fired.state, fired.fired, fired.gtt_id) == (GttState.TRIGGERED, ExitReason.STOP, "77")
    again = fired.after(GttEvent.TRIGGERED, 4)
    assert again.fired is ExitReason.STOP


@given(st.lists(st.sampled_from(GttEvent), max_size=15))
def test_a_gtt_that_triggered_stays_triggered(events: list[GttEvent]) -> None:
    gtt = gtt_in(GttState.INTENT)
    triggered = False
    for at_ns, event in enumerate(events, start=2):
        was = gtt
        if (gtt.state.value, event.value) in GTT_TABLE:
            gtt = gtt.after(event, at_ns)
        else:
            with pytest.raises(LocalProtocolError):
                gtt.after(event, at_ns)
            assert gtt is was
        triggered |= gtt.state is GttState.TRIGGERED
        assert (gtt.state is GttState.TRIGGERED) is triggered
        assert not gtt.standing or was.standing, "a GTT that is over cannot stand again"


# --- rungs -------------------------------------------------------------------------------------------


def rung_with(quantity: int, cost_paise: int, sold: int = 0, proceeds_paise: int = 0) -> Rung:
    return Rung(
        ladder="RELIANCE-1",
        symbol="RELIANCE",
        number=1,
        status=RungStatus.OPEN,
        rank=6.48,
        quantity=quantity,
        cost_paise=cost_paise,
        sold=sold,
        proceeds_paise=proceeds_paise,
    )


def test_a_rung_without_fills_has_nothing_deployed_and_no_result() -> None:
    rung = attrs.evolve(rung_with(0, 0), status=RungStatus.ENTERING)
    assert (rung.open, rung.held, rung.deployed_paise, rung.pnl_paise) == (False, 0, 0, 0)
    assert rung.protection is Protection.NONE


def test_capital_is_released_in_proportion_as_the_exit_fills() -> None:
    rung = rung_with(3, 100_000)
    released = [attrs.evolve(rung, sold=sold).deployed_paise for sold in range(4)]
    assert released == [100_000, 66_666, 33_333, 0]


def test_the_result_of_a_closed_rung_is_proceeds_less_cost_exactly() -> None:
    assert rung_with(3, 100_001, sold=3, proceeds_paise=105_000).pnl_paise == 4_999
    assert rung_with(4, 100_000, sold=1, proceeds_paise=26_000).pnl_paise == 1_000


@given(st.integers(1, 500), st.integers(1, 10**9), st.data())
def test_what_is_deployed_never_grows_while_shares_are_sold(quantity: int, cost: int, data: st.DataObject) -> None:
    sold = sorted(data.draw(st.lists(st.integers(0, quantity), min_size=2, max_size=5)))
    rungs = [rung_with(quantity, cost, sold=each) for each in sold]
    deployed = [rung.deployed_paise for rung in rungs]
    assert deployed == sorted(deployed, reverse=True)
    for rung in rungs:
        assert 0 <= rung.deployed_paise <= cost
        assert rung.held + rung.sold == quantity


def test_the_same_decision_has_the_same_key() -> None:
    assert rung_key("RELIANCE-1", 2, "entry", 0) == "RELIANCE-1:2:entry:0"
