"""The desk at which one account's orders are made: what every part of the router has before it during a turn.

Owns what is on its way out (requests for the wire, refusals for positions, lines for the journal) and the order
of committing: nothing leaves before it is written, and a full disk costs entries, never an exit. Decides nothing
about an order. Made anew by every incarnation of the router, from the journal.
"""

from __future__ import annotations

from json import dumps

from actors.alarms import alarm_name, cancel_alarm, set_alarm
from actors.mailbox import Address
from actors.routing.bookkeeping import Bookkeeper
from actors.routing.client_ids import ClientIds
from actors.routing.ledger import Ledger
from actors.routing.parts import RouterParts
from protocol.broker import CancelOrder, PlaceGtt, PlaceOrder, Request
from protocol.clock import MINUTE_NS, NS
from protocol.errors import StoreFull
from protocol.journal import EventRow
from protocol.messages import Notice, RequestRefused, RungRequest, Severity
from protocol.orders import Order
from protocol.rungs import Rung

AGAIN_NS = 5 * NS  # what did not help at once is tried again after so long
DISK_LOOK_NS = MINUTE_NS  # how often a disk that was full is looked at again


class Desk:
    """Shared by the parts of one router. `trading` is whether wishes may be carried out, else `why_not` says why.

    `sent_since_reading` are the ids that went out after the reading of the books under way began: their absence
    from those books means nothing.
    """

    def __init__(self, address: Address, parts: RouterParts) -> None:
        journal, memory = parts.journal, parts.memory
        self.address = address
        self.parts = parts
        self.clock = parts.clock
        self.memory = memory
        self.ledger = Ledger(journal)
        self.keeper = Bookkeeper(self.ledger, parts.timings.retry_after_ns)
        self.wire: list[Request] = []
        self.refusals: list[tuple[str, RequestRefused]] = []
        self.trading = False
        self.why_not = "reconciling"
        self.books_wanted = False
        self.read_ns = -1  # when the books were last compared with the journal
        self.sent_since_reading: set[str] = set()
        self._ids = ClientIds(parts.tag, journal.database_id, journal.start_counter, memory.ids)
        self._journalled_refusals: set[tuple[str, int, str]] = set()

    # --- what goes out ----------------------------------------------------------------------------

    def new_id(self) -> str:
        client_id = self._ids.next()
        self.memory.ids = self._ids.count
        return client_id

    def place(self, order: Order) -> None:
        """An order that the ledger has goes to the wire after the commit."""
        self.sent_since_reading.add(order.client_id)
        self.wire.append(
            PlaceOrder(
                client_id=order.client_id,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                order_type=order.order_type,
                limit_paise=order.limit_paise,
                trigger_paise=order.trigger_paise,
            )
        )
        self.log(
            "orders",
            f"order_sent symbol={order.symbol} rung=P{order.rung} side={order.side.value} qty={order.quantity}"
            f" last={order.decision_paise} order={order.client_id} key={order.key}",
        )

    def place_gtt(self, request: PlaceGtt) -> None:
        self.sent_since_reading.add(request.client_id)
        self.wire.append(request)

    def cancel(self, order: Order, alarm: str) -> None:
        """Ask for the cancellation of a working order; the alarm sees to it that it is asked again."""
        if order.broker_id is not None and self.trading:
            self.wire.append(CancelOrder(order.broker_id))
        self.alarm(alarm, self.clock.now_ns + AGAIN_NS, order.symbol, order.rung)

    def refuse(self, symbol: str, key: str, number: int, reason: str, *, final: bool = False) -> None:
        """Tell the rung's position, before it hears of the rung's state."""
        self.refusals.append((symbol, RequestRefused(key, number, reason, final)))

    def refuse_wish(self, wish: RungRequest, reason: str, *, final: bool = False) -> None:
        """A refusal for capacity is journalled once per rung; it may be asked again at the next new price."""
        self.refuse(wish.symbol, wish.key, wish.rung, reason, final=final)
        once = (wish.ladder, wish.rung, reason.split(":", maxsplit=1)[0])
        if once not in self._journalled_refusals:
            self._journalled_refusals.add(once)
            if not self.memory.disk_full:
                self.note("refused", wish.symbol, wish.key, {"reason": reason})
            self.log("orders", f"refused symbol={wish.symbol} rung=P{wish.rung} reason={reason!r}")

    def want_books(self) -> None:
        """The books shall be read after this turn. What asks again at the instant of the last reading gets its
        answer from a later one: a broker that goes on refusing must not be asked without end in one instant.
        """
        if self.read_ns == self.clock.now_ns:
            self.alarm("books", self.clock.now_ns + AGAIN_NS)
        else:
            self.books_wanted = True

    # --- committing -------------------------------------------------------------------------------

    def commit(self) -> None:
        """Everything collected, before its first byte leaves. Raises StoreFull when there is no room even for
        exits: then nothing is sent, and the process has been told to end.
        """
        try:
            self.ledger.commit(before_wire=bool(self.wire))
        except StoreFull as full:
            self._save_the_exits(full)

    def _save_the_exits(self, full: StoreFull) -> None:
        """A full disk is not a crash: entries are taken back, the reserve is freed, and the rest is written."""
        parts = self.parts
        self.memory.disk_full = True
        self.notify(Severity.ALERT, f"disk full, entries stop: {full}")
        parts.journal.free_reserve()
        for order in self.ledger.withdraw_entries():
            self.wire = [r for r in self.wire if not (isinstance(r, PlaceOrder) and r.client_id == order.client_id)]
            self.disarm(f"entry:{order.client_id}")
            self.refuse(order.symbol, order.key, order.rung, "disk full")
            self.log("orders", f"order_withdrawn symbol={order.symbol} rung=P{order.rung} order={order.client_id}")
        self.alarm("disk", self.clock.now_ns + DISK_LOOK_NS)
        try:
            self.ledger.commit(before_wire=bool(self.wire))
        except StoreFull as still_full:
            parts.out_of_disk(str(still_full))
            raise

    def look_at_disk(self) -> None:
        """Entries go on when the health monitor, which watches the disk's space, has nothing against them."""
        if self.memory.disk_full:
            self.memory.disk_full = bool(self.parts.entries_stopped())
            if self.memory.disk_full:
                self.alarm("disk", self.clock.now_ns + DISK_LOOK_NS)
            else:
                self.notify(Severity.ALERT, "the disk has room again: entries go on")

    # --- looking things up ------------------------------------------------------------------------

    def rung(self, wish: RungRequest) -> Rung | None:
        """The rung that a position means; None when its ladder is not the newest one."""
        rung = self.ledger.rung(wish.symbol, wish.rung)
        return rung if rung is not None and rung.ladder == wish.ladder else None

    def last(self, symbol: str) -> int:
        """The last price in paise, 0 when there is none yet."""
        return int(self.parts.board.last[self.parts.row_of(symbol)])

    def nobody_watches(self, symbol: str) -> bool:
        position = self.parts.position_of(symbol)
        return position is None or position.closed

    # --- alarms -----------------------------------------------------------------------------------

    def alarm(self, name: str, at_ns: int, symbol: str = "", rung: int = 0) -> None:
        set_alarm(self.clock, self.address, name, at_ns, symbol=symbol, rung=rung)

    def armed(self, name: str) -> bool:
        return self.clock.armed(alarm_name(self.address, name))

    def disarm(self, name: str) -> None:
        cancel_alarm(self.clock, self.address, name)

    # --- telling ----------------------------------------------------------------------------------

    def note(self, kind: str, symbol: str, ref: str, body: dict[str, object]) -> None:
        """A line of the audit log, committed with the turn."""
        text = dumps(body, ensure_ascii=False)
        self.ledger.note(EventRow(self.clock.now_ns, self.address.name, kind, symbol, ref, text))

    def notify(self, severity: Severity, text: str, symbol: str = "") -> None:
        name, now = self.address.name, self.clock.now_ns
        self.parts.notify(Notice(severity=severity, source=name, text=text, at_ns=now, symbol=symbol))

    def alert_once(self, text: str, symbol: str = "") -> None:
        """An alert that would be the same at every look is raised once a day."""
        if text not in self.memory.told:
            self.memory.told.add(text)
            self.notify(Severity.ALERT, text, symbol)

    def log(self, kind: str, text: str) -> None:
        self.parts.log(kind, self.address.name, text)

    def new_day(self) -> None:
        """What was told, blocked or counted for the day is forgotten."""
        memory = self.memory
        self._journalled_refusals.clear()
        memory.told.clear()
        memory.blocked.clear()
        memory.strikes.clear()
