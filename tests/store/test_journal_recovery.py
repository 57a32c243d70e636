"""What an account reads when it comes back: all that is alive, without walking the past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocol.clock import NS
from protocol.orders import GttState, Order, OrderState, Purpose
from protocol.rungs import Rung, RungStatus
from store import journal_reads
from store.journal import Journal

Make = Callable[..., Any]


def closed(a_rung: Make, trade_id: int, exit_ns: int, **given: Any) -> Rung:
    rung: Rung = a_rung(trade_id, status=RungStatus.CLOSED, sold=2, proceeds_paise=301_000, exit_ns=exit_ns, **given)
    return rung


def test_a_living_ladder_comes_with_its_closed_rungs(journal: Journal, a_rung: Make, nine: int) -> None:
    first = closed(a_rung, 1, nine, ladder="L1", number=1)
    second = a_rung(2, ladder="L1", number=2)
    over = closed(a_rung, 3, nine, ladder="L0")
    journal.write([second, first, over])
    assert journal.live_rungs(nine + NS) == [first, second]


def test_a_rung_that_is_still_entering_keeps_its_ladder_alive(journal: Journal, a_rung: Make, nine: int) -> None:
    entering = a_rung(1, status=RungStatus.ENTERING, quantity=0, cost_paise=0, entry_ns=0)
    failed = a_rung(2, status=RungStatus.FAILED, quantity=0, cost_paise=0, entry_ns=0)
    journal.write([entering, failed])
    assert journal.live_rungs(nine) == [entering]


def test_a_ladder_cools_from_its_last_exit_inclusive(journal: Journal, a_rung: Make, nine: int) -> None:
    early = closed(a_rung, 1, nine, ladder="L1", number=1)
    late = closed(a_rung, 2, nine + 60 * NS, ladder="L1", number=2)
    journal.write([early, late])
    assert journal.live_rungs(nine + 60 * NS) == [early, late]
    assert journal.live_rungs(nine + 60 * NS + 1) == []


def test_rungs_come_by_symbol_ladder_and_number(journal: Journal, a_rung: Make, nine: int) -> None:
    tcs = a_rung(1, symbol="TCS", ladder="T")
    late_rung = a_rung(2, ladder="I", number=3)
    first_rung = a_rung(3, ladder="I", number=1)
    journal.write([tcs, late_rung, first_rung])
    assert journal.live_rungs(nine) == [first_rung, late_rung, tcs]


def test_rungs_of_a_symbol_leave_the_others_out(journal: Journal, a_rung: Make, nine: int) -> None:
    mine, sold = a_rung(1, ladder="L1"), closed(a_rung, 2, nine, ladder="L2")
    journal.write([mine, sold, a_rung(3, symbol="TCS"), closed(a_rung, 4, nine, symbol="TCS", ladder="L4")])
    assert journal.rungs_of("INFY", nine) == [mine, sold]
    assert journal.rungs_of("INFY", nine + NS) == [mine]
    assert journal.rungs_of("WIPRO", nine) == []


@pytest.mark.parametrize("state", list(OrderState))
def test_an_order_is_working_exactly_while_it_may_trade_or_is_unknown(
    journal: Journal, an_order: Make, state: OrderState
) -> None:
    order: Order = an_order(1, state=state)
    journal.write([order])
    assert journal.working_orders() == ([order] if order.working else [])


def test_an_order_that_ends_is_no_longer_working(journal: Journal, an_order: Make) -> None:
    journal.write([an_order(1), an_order(2)])
    journal.write([an_order(1, state=OrderState.COMPLETE)])
    assert journal.working_orders() == [an_order(2)]


def test_the_attempts_of_a_ladder_are_its_entries(journal: Journal, an_order: Make) -> None:
    entry = an_order(1, ladder="L", state=OrderState.CANCELLED)
    again = an_order(2, ladder="L")
    journal.write([again, entry, an_order(3, ladder="L", purpose=Purpose.EXIT), an_order(4, ladder="M")])
    assert journal.entry_orders("L") == [entry, again]


def test_orders_since_a_moment_are_those_changed_at_or_after_it(journal: Journal, an_order: Make, nine: int) -> None:
    old, same, new = an_order(1), an_order(2), an_order(3, updated_ns=nine + 9 * NS)
    journal.write([new, same, old])
    assert journal.orders_since(nine + 2 * NS) == [same, new]


@pytest.mark.parametrize("state", list(GttState))
def test_a_gtt_is_live_while_it_stands_or_its_rung_is_open_after_it_fired(
    journal: Journal, a_gtt: Make, a_rung: Make, nine: int, state: GttState
) -> None:
    of_open, of_closed = a_gtt(1, state=state), a_gtt(2, state=state)
    journal.write([of_open, of_closed, a_rung(1), closed(a_rung, 2, nine)])
    if of_open.standing:
        assert journal.live_gtts() == [of_open, of_closed]
    elif state is GttState.TRIGGERED:
        assert journal.live_gtts() == [of_open]
    else:
        assert journal.live_gtts() == []


def test_a_key_finds_its_order_or_gtt(journal: Journal, an_order: Make, a_gtt: Make) -> None:
    journal.write([an_order(1), a_gtt(1)])
    assert journal.order_by_key(an_order(1).key) == an_order(1)
    assert journal.gtt_by_key(a_gtt(1).key) == a_gtt(1)
    assert journal.order_by_key(a_gtt(1).key) is None
    assert journal.gtt_by_key(an_order(1).key) is None


def test_an_order_is_known_for_ever(journal: Journal, an_order: Make) -> None:
    journal.write([an_order(1, state=OrderState.REJECTED)])
    assert journal.knows_order(an_order(1).client_id)
    assert not journal.knows_order(an_order(2).client_id)


def test_the_last_market_moment_is_the_newest_of_all(
    journal: Journal, an_order: Make, a_gtt: Make, an_event: Make, nine: int
) -> None:
    assert journal.last_market_ns() == 0
    journal.write([an_order(3)])
    assert journal.last_market_ns() == nine + 3 * NS
    journal.write([a_gtt(5)])
    assert journal.last_market_ns() == nine + 5 * NS
    journal.write([an_event(9), an_event(8)])
    assert journal.last_market_ns() == nine + 9 * NS


def test_a_days_trades_are_those_that_lived_in_it(journal: Journal, a_rung: Make, nine: int) -> None:
    day = 86_400 * NS
    carried = a_rung(1)
    sold_at_once = closed(a_rung, 2, nine + 30 * NS)
    sold_next_day = closed(a_rung, 3, nine + day)
    next_day = a_rung(4, entry_ns=nine + day)
    for rung in (carried, sold_at_once, sold_next_day, next_day):
        journal.write([rung])
    # The third was first written at its exit here, so it counts as created then.
    assert journal.trades(last_ns=nine + 60 * NS) == [carried, sold_at_once]
    assert journal.trades(first_ns=nine + day) == [carried, sold_next_day, next_day]


def test_trades_are_chosen_by_symbol_status_and_number(journal: Journal, a_rung: Make, nine: int) -> None:
    rungs = [
        a_rung(1),
        a_rung(2, symbol="TCS"),
        closed(a_rung, 3, nine + 3 * NS),
        closed(a_rung, 4, nine + 4 * NS, symbol="TCS"),
    ]
    journal.write(rungs)
    assert journal.trades() == rungs
    assert journal.trades(limit=2) == rungs[2:]
    assert journal.trades(symbol="TCS") == [rungs[1], rungs[3]]
    assert journal.trades(symbol="TCS", status="CLOSED", limit=5) == [rungs[3]]


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (journal_reads.LIVE_RUNGS_OF_ALL, (1,)),
        (journal_reads.LIVE_RUNGS_OF_SYMBOL, ("INFY", 1, "INFY")),
        (journal_reads.WORKING, ()),
        (journal_reads.LIVE_GTTS, ()),
        (journal_reads.ENTRIES, ("L",)),
        (journal_reads.SINCE, (1,)),
        (journal_reads.ORDER_BY_KEY, ("k",)),
        (journal_reads.KNOWS_ORDER, ("i",)),
        (journal_reads.GTT_BY_KEY, ("k",)),
    ],
)
def test_recovery_never_walks_through_what_is_over(
    journal: Journal, statement: str, parameters: tuple[Any, ...]
) -> None:
    partial = ("trades_live", "orders_working", "gtts_standing")  # walked whole: they hold only what is alive
    plan = [row[-1] for row in journal.file.rows(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    for table in ("trades", "orders", "gtts"):
        scans = [step for step in plan if step.startswith(f"SCAN {table}")]
        assert all(any(index in step for index in partial) for step in scans), plan
