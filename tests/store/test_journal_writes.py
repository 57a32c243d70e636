"""Writing: one transaction per call, ids that never change hands, an audit log that only grows."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from protocol.clock import NS
from protocol.errors import StoreError
from protocol.journal import EventRow, StopMoved
from protocol.orders import ExitReason, Gtt, Leg, Order, OrderState
from protocol.rungs import Rung, RungStatus
from store.journal import Journal
from store.opening import memory_journal

Make = Callable[..., Any]


def trades_row(journal: Journal, columns: str) -> tuple[Any, ...]:
    (row,) = journal.file.rows(f"SELECT {columns} FROM trades")
    return row


def test_a_batch_is_written_whole_or_not_at_all(journal: Journal, an_order: Make, an_event: Make) -> None:
    first = an_order(1)
    journal.write([first])
    with pytest.raises(StoreError, match=r"UNIQUE constraint failed: orders\.key"):
        journal.write([an_event(1), an_order(2), an_order(3, key=first.key)])
    assert journal.orders_since(0) == [first]
    assert journal.events() == []


def test_an_error_that_is_not_the_databases_rolls_back_too(journal: Journal, an_order: Make) -> None:
    unbindable: Any = attrs.evolve(an_order(2), message="\udcff")
    with pytest.raises(UnicodeEncodeError):
        journal.write([an_order(1), unbindable])
    assert journal.orders_since(0) == []
    journal.write([an_order(3)])
    assert journal.orders_since(0) == [an_order(3)]


def test_a_price_with_parts_of_a_paisa_is_refused(journal: Journal, an_order: Make) -> None:
    with pytest.raises(StoreError, match="cannot store REAL value in INTEGER column"):
        journal.write([an_order(1, decision_paise=150_005.5)])


def test_a_client_id_never_changes_hands(journal: Journal, an_order: Make, a_gtt: Make, a_rung: Make) -> None:
    order, gtt, rung = an_order(1), a_gtt(1), a_rung(1)
    journal.write([order, gtt, rung])
    for impostor in (
        attrs.evolve(order, key="another"),
        attrs.evolve(gtt, symbol="TCS"),
        attrs.evolve(rung, ladder="another"),
    ):
        with pytest.raises(StoreError, match="was another, nothing was written"):
            journal.write([impostor])
    assert journal.order_by_key(order.key) == order
    assert journal.gtt_by_key(gtt.key) == gtt
    assert journal.trades() == [rung]


def test_a_stop_move_changes_gtt_and_trade_and_nothing_else(
    journal: Journal, a_gtt: Make, a_rung: Make, nine: int
) -> None:
    gtt: Gtt = a_gtt(1)
    rung: Rung = a_rung(1)
    journal.write([gtt, rung, a_gtt(2), a_rung(2)])
    stop, target = Leg(147_000, 145_530), Leg(158_000, 158_000)
    journal.write([StopMoved(gtt.client_id, 1, stop, target, 151_000, nine + 9 * NS)])

    assert journal.gtt_by_key(gtt.key) == attrs.evolve(gtt, stop=stop, target=target, updated_ns=nine + 9 * NS)
    assert journal.trades() == [
        attrs.evolve(rung, stop_paise=147_000, target_paise=158_000, highest_paise=151_000),
        a_rung(2),
    ]
    rupees = "stop_loss, target, highest_price_since_entry"
    assert journal.file.rows(f"SELECT {rupees} FROM trades WHERE trade_id = 1") == [(1470.0, 1580.0, 1510.0)]


def test_a_stop_move_of_a_runner_leaves_it_without_a_target(
    journal: Journal, a_gtt: Make, a_rung: Make, nine: int
) -> None:
    journal.write([a_gtt(1, target=None), a_rung(1, target_paise=0)])
    journal.write([StopMoved(a_gtt(1).client_id, 1, Leg(147_000, 145_530), None, 151_000, nine)])
    assert trades_row(journal, "target, target_paise") == (None, 0)
    (gtt,) = journal.live_gtts()
    assert gtt.target is None


@pytest.mark.parametrize(("gtt", "trade"), [("PA01ABCD000200000001", 9), ("unknown", 1)])
def test_a_stop_move_of_something_unknown_changes_nothing(
    journal: Journal, a_gtt: Make, a_rung: Make, nine: int, gtt: str, trade: int
) -> None:
    journal.write([a_gtt(1), a_rung(1)])
    with pytest.raises(StoreError, match="there is no such"):
        journal.write([StopMoved(gtt, trade, Leg(147_000, 145_530), None, 151_000, nine)])
    assert journal.live_gtts() == [a_gtt(1)]
    assert journal.trades() == [a_rung(1)]


def test_the_columns_people_know_are_in_rupees_and_indian_time(journal: Journal, a_rung: Make, nine: int) -> None:
    rung = a_rung(
        1,
        status=RungStatus.CLOSED,
        quantity=3,
        cost_paise=300_010,
        sold=3,
        proceeds_paise=303_000,
        exit_ns=nine + 61 * NS,
        reason=ExitReason.TARGET,
    )
    journal.write([rung])
    assert trades_row(journal, "entry_time, entry_price, qty, exit_time, exit_price, pnl, status") == (
        "2026-01-05 09:30:01",
        1000.03,
        3,
        "2026-01-05 09:31:01",
        1010.0,
        29.9,
        "CLOSED",
    )
    assert trades_row(journal, "position_number, execution_mode, central_trade_id, order_id, gtt_id") == (
        1,
        "PAPER",
        "PA01ABCD-INFY-1:1",
        "PA01ABCD000100000001",
        "7001",
    )
    assert trades_row(journal, "stop_loss, target, highest_price_since_entry, rank_gm_at_entry") == (
        1462.5,
        1575.05,
        1500.05,
        6.4894,
    )


def test_what_has_not_happened_yet_is_empty_for_people(journal: Journal, a_rung: Make) -> None:
    waiting = a_rung(
        1, status=RungStatus.ENTERING, quantity=0, cost_paise=0, entry_ns=0, stop_paise=0, target_paise=0,
        highest_paise=0, gtt_id=None,
    )  # fmt: skip
    journal.write([waiting])
    columns = "entry_time, entry_price, stop_loss, target, exit_time, exit_price, pnl, highest_price_since_entry"
    assert trades_row(journal, columns) == (None,) * 8
    assert journal.trades() == [waiting]


def test_a_trade_is_created_when_its_order_was_and_stays_so(
    journal: Journal, an_order: Make, a_rung: Make, nine: int
) -> None:
    waiting = a_rung(1, status=RungStatus.ENTERING, quantity=0, cost_paise=0, entry_ns=0)
    journal.write([waiting, an_order(5)])
    journal.write([attrs.evolve(waiting, entry_ns=nine + 60 * NS), an_order(60)])
    assert trades_row(journal, "created_at, created_ns") == ("2026-01-05 09:30:05", nine + 5 * NS)


def test_a_rung_without_a_number_is_not_written(journal: Journal, a_rung: Make, an_order: Make) -> None:
    journal.write([a_rung(0), an_order(1)])
    assert journal.trades() == []
    assert journal.orders_since(0) == [an_order(1)]


def test_a_rank_that_is_no_number_does_not_stop_a_trade(journal: Journal, a_rung: Make) -> None:
    journal.write([a_rung(1, rank=float("nan"))])
    (rung,) = journal.trades()
    assert rung.rank != rung.rank


@pytest.mark.parametrize("change", ["UPDATE events SET body = 'x'", "DELETE FROM events"])
def test_the_audit_log_only_grows(journal: Journal, an_event: Make, change: str) -> None:
    journal.write([an_event(1)])
    with pytest.raises(sqlite3.IntegrityError, match="the audit log only grows"):
        journal.file.connection.execute(change)
    assert journal.events() == [(1, an_event(1))]


def test_the_audit_log_is_read_in_pages(journal: Journal, an_event: Make) -> None:
    events: list[EventRow] = [an_event(number) for number in range(1, 8)]
    journal.write(events)
    assert journal.events(limit=3) == [(1, events[0]), (2, events[1]), (3, events[2])]
    assert journal.events(after=5) == [(6, events[5]), (7, events[6])]


def test_trade_numbers_are_never_given_twice(journal: Journal, a_rung: Make) -> None:
    assert [journal.next_trade_id() for _ in range(3)] == [1, 2, 3]
    journal.write([a_rung(3)])
    assert journal.next_trade_id() == 4


def test_an_empty_write_begins_no_transaction(journal: Journal) -> None:
    before = journal.file.commits
    journal.write([])
    assert journal.file.commits == before


def test_named_texts_are_kept_and_replaced(journal: Journal) -> None:
    assert journal.meta("kill_switch") is None
    journal.set_meta("kill_switch", "on")
    journal.set_meta("kill_switch", "off")
    assert journal.meta("kill_switch") == "off"


def test_a_closed_journal_refuses_in_our_words(an_order: Callable[..., Order]) -> None:
    journal = memory_journal(chance=random.Random(1))
    journal.close()
    with pytest.raises(StoreError, match="closed database"):
        journal.write([an_order(1, state=OrderState.OPEN)])
    with pytest.raises(StoreError, match="closed database"):
        journal.working_orders()
