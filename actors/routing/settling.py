"""Reconciliation: the broker's books are read, compared with the journal, and every difference is settled.

Owns the reading, which a helper task does so that nobody waits for it, and after which the account trades: one
path for a new incarnation, a new process and every reconnect. What differs is in reconciliation.py.
"""

from __future__ import annotations

import trio

from actors.routing.desk import AGAIN_NS, Desk
from actors.routing.evidence import Evidence
from actors.routing.exits import Exits
from actors.routing.guards import Guards
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
from protocol.broker import CancelOrder, OrderUpdate
from protocol.errors import BrokerUnavailable
from protocol.messages import BooksRead, Severity
from protocol.orders import GttEvent, GttState, OrderEvent, OrderState


class Reconciler:
    """One account's."""

    def __init__(self, desk: Desk, evidence: Evidence, guards: Guards, exits: Exits) -> None:
        self._desk = desk
        self._evidence = evidence
        self._guards = guards
        self._exits = exits

    # --- reading ----------------------------------------------------------------------------------

    def begin(self, nursery: trio.Nursery) -> None:
        """Read all books once; the result comes as a message. The market of a replay waits for it."""
        desk = self._desk
        desk.books_wanted = False
        desk.sent_since_reading.clear()
        desk.memory.readings += 1
        number, in_flight, broker = desk.memory.readings, desk.parts.in_flight, desk.parts.broker
        holder = f"{desk.address.name}:books:{number}"

        async def read() -> None:
            try:
                try:
                    result = BooksRead(number, await broker.books())
                except BrokerUnavailable as problem:
                    result = BooksRead(number, None, str(problem))
                desk.address.post(result)
            finally:
                in_flight.release(holder)

        in_flight.hold(holder)
        nursery.start_soon(read, name=holder)

    def heard(self, read: BooksRead) -> None:
        """Settle what differs; then the account trades. A reading that another has overtaken says nothing."""
        desk = self._desk
        if read.number != desk.memory.readings:
            return
        if read.books is None:
            desk.notify(Severity.WARNING, f"the broker's books cannot be read: {read.problem}")
            desk.alarm("books", desk.clock.now_ns + AGAIN_NS)
            return
        desk.read_ns = desk.clock.now_ns
        seen = Seen(
            now_ns=desk.clock.now_ns,
            absent_after_s=desk.parts.broker.traits.absent_after_s,
            tag=desk.parts.tag,
            database_id=desk.parts.journal.database_id,
            sent_since=desk.sent_since_reading,
        )
        for finding in compare(desk.ledger, read.books, seen):
            self._settle(finding)
        desk.trading, desk.why_not = True, ""
        for symbol in desk.ledger.ladders:
            desk.ledger.touch(symbol)
        self._exits.resume()

    # --- settling ---------------------------------------------------------------------------------

    def _settle(self, finding: Finding) -> None:
        """One row of orders.md, "Restart and reconciliation"."""
        if isinstance(finding, Moved):
            self._heard_late(finding)
        elif isinstance(finding, OrderMissing):
            self._order_missing(finding)
        elif isinstance(finding, OrderRevived):
            text = f"order {finding.order.client_id} was over and works at the broker: cancelled"
            self._tell(text, finding.order.symbol)
            self._desk.wire.append(CancelOrder(finding.row.broker_id))
        elif isinstance(finding, GttMissing):
            self._gtt_missing(finding)
        elif isinstance(finding, GttDiffers):
            self._guards.differs(finding.gtt, finding.row)
        elif isinstance(finding, GttTooMany):
            row = finding.row
            self._tell(f"GTT {row.gtt_id} guards nothing that is held: cancelled", row.symbol)
            self._guards.cancel(row.gtt_id)
        else:
            self._stranger(finding)

    def _heard_late(self, finding: Moved) -> None:
        news = finding.news
        if isinstance(news, OrderUpdate):
            text = f"order {news.broker_id} is {news.state.value}, {news.filled} of {news.quantity} filled"
        else:
            text = f"GTT {news.gtt_id} is {news.state.value}"
        self._desk.note("reconciled", news.symbol, "", {"text": text})
        self._evidence.hear(news)

    def _order_missing(self, finding: OrderMissing) -> None:
        """SENT and unknown to the broker is waited for, then it was not placed; an earlier day's has lapsed."""
        order, desk = finding.order, self._desk
        name = f"order {order.client_id}"
        if finding.lapsed:
            self._evidence.end_order(order, OrderEvent.LAPSED, f"{name} is of an earlier day")
        elif finding.gone:
            self._evidence.end_order(order, OrderEvent.ABSENT, f"{name} is not in the broker's book: not placed")
        else:
            desk.alarm("books", desk.clock.now_ns + AGAIN_NS)
            if order.state is not OrderState.UNKNOWN:
                self._evidence.end_order(order, OrderEvent.NO_ANSWER, f"{name} is not in the broker's book")
        if order.broker_id is not None and not finding.lapsed:
            desk.alert_once(f"{name} was accepted and is not in the broker's book", order.symbol)

    def _gtt_missing(self, finding: GttMissing) -> None:
        """Waited for, then it never was: its position asks for another."""
        gtt, desk, now = finding.gtt, self._desk, self._desk.clock.now_ns
        text = f"GTT {gtt.gtt_id or gtt.client_id} is not in the broker's list"
        if finding.gone:
            desk.note("reconciled", gtt.symbol, gtt.client_id, {"text": text})
            self._guards.over(desk.keeper.end_gtt(gtt, GttEvent.ABSENT, now, text), text)
            return
        desk.alarm("books", now + AGAIN_NS)
        if gtt.state is not GttState.UNKNOWN:
            desk.note("reconciled", gtt.symbol, gtt.client_id, {"text": text})
            desk.keeper.end_gtt(gtt, GttEvent.NO_ANSWER, now, text)

    def _stranger(self, finding: Stranger) -> None:
        row, desk = finding.row, self._desk
        text = f"order {row.client_id} of {row.symbol} bears our id and is not in the journal"
        if finding.foreign:
            text += ": another machine may be trading this account, kill switch on"
            desk.memory.kill_switch |= text not in desk.memory.told  # once: a person may switch it off again
        self._tell(text, row.symbol)

    def _tell(self, text: str, symbol: str) -> None:
        """Said and journalled once a day, however often the books are read."""
        if text not in self._desk.memory.told:
            self._desk.note("reconciled", symbol, "", {"text": text})
        self._desk.alert_once(text, symbol)
