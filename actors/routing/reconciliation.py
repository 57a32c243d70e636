"""What the journal believes against what the broker's books say: one comparison for every restart and reconnect.

Pure: reads the ledger and the books, returns findings in a fixed order; settling.py settles them one by one.
The rows are those of orders.md, "Restart and reconciliation: one code path". What a person owns or ordered is never
a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set

import attrs

from actors.routing.client_ids import database_of, is_ours
from actors.routing.ledger import Ledger
from protocol.broker import Books, GttUpdate, OrderUpdate
from protocol.clock import NS, ist_date
from protocol.orders import WORKING, Gtt, GttState, Order, OrderState

IN_DOUBT_S = 5  # what the books do not show may be on its way for so long, whatever the broker
GTT_ABSENT_AFTER_S = 10  # a GTT that the list does not show for so long was not placed (orders.md, "GTTs")


@attrs.frozen
class Moved:
    """The broker knows more than the journal: to be heard like any news."""

    news: OrderUpdate | GttUpdate


@attrs.frozen
class OrderMissing:
    """Ours, working, and not in the book. `gone`: for so long that it was not placed; `lapsed`: an earlier day's."""

    order: Order
    gone: bool
    lapsed: bool


@attrs.frozen
class OrderRevived:
    """Over for us, and working at the broker."""

    order: Order
    row: OrderUpdate


@attrs.frozen
class GttMissing:
    """Ours, standing, and not in the list. `gone`: for so long that it will not appear."""

    gtt: Gtt
    gone: bool


@attrs.frozen
class GttDiffers:
    """Active on both sides, with other triggers or another quantity."""

    gtt: Gtt
    row: GttUpdate


@attrs.frozen
class GttTooMany:
    """Active at the broker, and guards nothing that is held, or a rung that another guards: it would oversell."""

    row: GttUpdate


@attrs.frozen
class Stranger:
    """Bears our id and is in no journal of ours. `foreign`: another database made it, so another machine may be
    trading the account; so does an id that two orders bear.
    """

    row: OrderUpdate
    foreign: bool


Finding = Moved | OrderMissing | OrderRevived | GttMissing | GttDiffers | GttTooMany | Stranger


@attrs.frozen(kw_only=True)
class Seen:
    """How the books are to be read: when, whose, and which ids were sent after the reading began."""

    now_ns: int
    absent_after_s: int
    tag: str
    database_id: str
    sent_since: Set[str] = frozenset()


def compare(ledger: Ledger, books: Books, seen: Seen) -> list[Finding]:
    """Every difference, evidence of fills first: GTTs, then orders, then what is missing, then what is too much."""
    return [
        *_gtts_that_moved(ledger, books),
        *_orders_that_moved(ledger, books, seen),
        *_orders_missing(ledger, books, seen),
        *_gtts_missing(ledger, books, seen),
        *_gtts_too_many(ledger, books),
        *_strangers(ledger, books, seen),
    ]


def _gtts_that_moved(ledger: Ledger, books: Books) -> Iterator[Finding]:
    for row in books.gtts:
        gtt = ledger.gtt_of(row.gtt_id, row.client_id)
        if gtt is None or (row.state is GttState.ACTIVE and not gtt.standing):
            continue  # a person's; or we know that it ended, and "too many" looks at it
        if gtt.state is not row.state or gtt.gtt_id is None:
            yield Moved(row)
        elif row.state is GttState.ACTIVE and (gtt.stop, gtt.target, gtt.quantity) != (
            row.stop,
            row.target,
            row.quantity,
        ):
            yield GttDiffers(gtt, row)


def _orders_that_moved(ledger: Ledger, books: Books, seen: Seen) -> Iterator[Finding]:
    for row in books.orders:
        order = ledger.order_of(row, seen.now_ns)
        if order is None:
            if row.gtt_id is not None and ledger.gtt_of(row.gtt_id, None) is not None:
                yield Moved(row)
        elif order.filled < row.filled:
            yield Moved(row)
        elif order.working:
            if order.broker_id is None or order.state is not row.state:
                yield Moved(row)
        elif row.state in WORKING:
            yield OrderRevived(order, row)


def _orders_missing(ledger: Ledger, books: Books, seen: Seen) -> Iterator[Finding]:
    in_book = {row.client_id for row in books.orders} | {row.broker_id for row in books.orders}
    for order in ledger.orders.values():
        if not order.working or order.state is OrderState.INTENT or order.client_id in seen.sent_since:
            continue
        if order.client_id not in in_book and order.broker_id not in in_book:
            in_doubt_ns = seen.now_ns - order.updated_ns if order.state is OrderState.UNKNOWN else -1
            gone = in_doubt_ns >= max(seen.absent_after_s, IN_DOUBT_S) * NS
            yield OrderMissing(order, gone, lapsed=ist_date(order.created_ns) != ist_date(seen.now_ns))


def _gtts_missing(ledger: Ledger, books: Books, seen: Seen) -> Iterator[Finding]:
    listed = {row.gtt_id for row in books.gtts} | {row.client_id for row in books.gtts if row.client_id}
    absent_after_ns = max(min(seen.absent_after_s, GTT_ABSENT_AFTER_S), IN_DOUBT_S) * NS
    for gtt in ledger.gtts.values():
        if not gtt.standing or gtt.client_id in seen.sent_since:
            continue
        if gtt.gtt_id not in listed and gtt.client_id not in listed:
            in_doubt_ns = seen.now_ns - gtt.updated_ns if gtt.state is GttState.UNKNOWN else -1
            yield GttMissing(gtt, gone=in_doubt_ns >= absent_after_ns)


def _gtts_too_many(ledger: Ledger, books: Books) -> Iterator[Finding]:
    for row in books.gtts:
        gtt = ledger.gtt_of(row.gtt_id, row.client_id)
        if gtt is None or row.state is not GttState.ACTIVE:
            continue
        rung = ledger.rung_of(gtt)
        held = rung.held if rung is not None and rung.open else 0
        if held == 0 or not gtt.standing or not ledger.is_newest(gtt):
            yield GttTooMany(row)


def _strangers(ledger: Ledger, books: Books, seen: Seen) -> Iterator[Finding]:
    bearers = Counter(row.client_id for row in books.orders)
    for row in books.orders:
        if row.client_id is None or not is_ours(row.client_id, seen.tag):
            continue
        twin = bearers[row.client_id] > 1
        if twin or (ledger.order_of(row, seen.now_ns) is None and not ledger.knows(row.client_id)):
            yield Stranger(row, foreign=twin or database_of(row.client_id) != seen.database_id)
