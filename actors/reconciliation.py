"""What the journal believes against what the broker's books say: one comparison for every restart and reconnect.

Pure: reads the ledger and the books, returns findings in a fixed order; the order router settles them one by one.
The rows are those of orders.md, "Restart and reconciliation: one code path". What a person owns or ordered is never
a finding.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from actors.client_ids import is_ours
from actors.ledger import Ledger
from protocol.broker import Books, GttUpdate, OrderUpdate
from protocol.clock import NS
from protocol.orders import Gtt, GttState, Order, OrderState


@attrs.frozen(kw_only=True)
class Finding:
    """One difference. Exactly one of event, order, gtt, cancel, or only text (an alert for a person)."""

    text: str
    symbol: str = ""
    event: OrderUpdate | GttUpdate | None = None
    order: Order | None = None  # ours, working, and not in the book
    gone: bool = False  # absent for long enough: not placed
    gtt: Gtt | None = None  # ours, standing, and not in the list
    cancel: str | None = None  # a GTT at the broker that must go
    alert: bool = False


def compare(ledger: Ledger, books: Books, now_ns: int, absent_after_s: int, tag: str) -> list[Finding]:
    """Every difference, evidence of fills first: GTTs, then orders, then what is missing, then what is too much."""
    return [
        *_gtts_that_moved(ledger, books),
        *_orders_that_moved(ledger, books),
        *_orders_missing(ledger, books, now_ns, absent_after_s),
        *_gtts_missing(ledger, books),
        *_gtts_too_many(ledger, books),
        *_unknown_orders(ledger, books, tag),
    ]


def _gtts_that_moved(ledger: Ledger, books: Books) -> Iterator[Finding]:
    for row in books.gtts:
        gtt = ledger.gtt_of(row.gtt_id, row.client_id)
        if gtt is not None and (
            gtt.state is not row.state or gtt.gtt_id is None or (row.state is GttState.ACTIVE and gtt.stop != row.stop)
        ):
            if row.state is GttState.ACTIVE and not gtt.standing:
                continue  # we know it ended, and the list is older; "too many" looks at it
            yield Finding(text=f"GTT {row.gtt_id} is {row.state.value}", symbol=row.symbol, event=row)


def _orders_that_moved(ledger: Ledger, books: Books) -> Iterator[Finding]:
    for row in books.orders:
        order = ledger.order_of(row)
        child_of_ours = order is None and row.gtt_id is not None and ledger.gtt_of(row.gtt_id, None) is not None
        if child_of_ours or (
            order is not None
            and (
                order.filled < row.filled or order.broker_id is None or (order.working and order.state is not row.state)
            )
        ):
            yield Finding(
                text=f"order {row.broker_id} is {row.state.value}, {row.filled} of {row.quantity} filled",
                symbol=row.symbol,
                event=row,
            )


def _orders_missing(ledger: Ledger, books: Books, now_ns: int, absent_after_s: int) -> Iterator[Finding]:
    in_book = {row.client_id for row in books.orders} | {row.broker_id for row in books.orders}
    for order in ledger.orders.values():
        if order.working and order.state is not OrderState.INTENT:
            if order.client_id in in_book or order.broker_id in in_book:
                continue
            gone = now_ns - order.created_ns >= absent_after_s * NS
            yield Finding(
                text=f"order {order.client_id} is not in the broker's book"
                + (": not placed" if gone else ", asking again"),
                symbol=order.symbol,
                order=order,
                gone=gone,
                alert=order.broker_id is not None,
            )


def _gtts_missing(ledger: Ledger, books: Books) -> Iterator[Finding]:
    listed = {row.gtt_id for row in books.gtts} | {row.client_id for row in books.gtts if row.client_id}
    for gtt in ledger.gtts.values():
        if gtt.standing and gtt.gtt_id not in listed and gtt.client_id not in listed:
            yield Finding(text=f"GTT {gtt.client_id} is not in the broker's list", symbol=gtt.symbol, gtt=gtt)


def _gtts_too_many(ledger: Ledger, books: Books) -> Iterator[Finding]:
    """An active GTT of ours whose rung holds nothing, or that is not the rung's newest, would sell too much."""
    for row in books.gtts:
        gtt = ledger.gtt_of(row.gtt_id, row.client_id)
        if gtt is None or row.state is not GttState.ACTIVE:
            continue
        rung = ledger.rung(gtt.symbol, gtt.rung)
        newest = ledger.guard(gtt.symbol, gtt.rung)
        held = rung.held if rung is not None and rung.ladder == gtt.ladder and rung.open else 0
        if held == 0 or (newest is not None and newest.client_id != gtt.client_id):
            yield Finding(
                text=f"GTT {row.gtt_id} guards nothing that is held: cancelled",
                symbol=row.symbol,
                cancel=row.gtt_id,
                alert=True,
            )


def _unknown_orders(ledger: Ledger, books: Books, tag: str) -> Iterator[Finding]:
    for row in books.orders:
        if ledger.order_of(row) is None and is_ours(row.client_id, tag) and ledger.is_unknown(row.client_id):
            yield Finding(
                text=f"order {row.client_id} bears our id and is not in the journal:"
                f" {row.side.value} {row.filled} of {row.quantity} {row.symbol} filled",
                symbol=row.symbol,
                alert=True,
            )
