"""The router's memory: orders, GTTs and rungs of one account, and every change on its way to the journal.

Owns the consistency between the three: a fill moves its order and its rung together, capital and slots follow.
Never sends and never decides; the order router asks it, and commits what it collected in one transaction.
After a crash it is loaded again from the journal, so what was not committed never happened.
"""

from __future__ import annotations

import attrs

from actors.ports import Journal
from protocol.broker import GttUpdate, OrderUpdate
from protocol.journal import Change, EventRow
from protocol.messages import Reservation
from protocol.money import half_up
from protocol.orders import (
    ExitReason,
    Gtt,
    GttEvent,
    GttState,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Purpose,
    Side,
)
from protocol.rungs import Protection, Rung, RungStatus
from strategy.risk import Exposure

RungId = tuple[str, int]  # symbol, rung number: of the symbol's newest ladder

_ENDED = {
    OrderState.CANCELLED: OrderEvent.CANCELLED,
    OrderState.REJECTED: OrderEvent.REJECTED,
    OrderState.LAPSED: OrderEvent.LAPSED,
}


@attrs.define(eq=False)
class Ladder:
    """The rungs of a symbol's newest ladder, and the GTT that guards each."""

    ladder: str
    rungs: dict[int, Rung] = attrs.Factory(dict)
    gtts: dict[int, str] = attrs.Factory(dict)  # rung number → client id of its newest GTT

    @property
    def last_exit_ns(self) -> int:
        return max((rung.exit_ns for rung in self.rungs.values()), default=0)

    @property
    def busy(self) -> bool:
        return any(rung.status in (RungStatus.OPEN, RungStatus.ENTERING) for rung in self.rungs.values())


class Ledger:
    """All of one account. `touched` names the rungs whose state the positions have not heard yet."""

    def __init__(self, journal: Journal, retry_after_ns: int) -> None:
        self._journal = journal
        self._retry_after_ns = retry_after_ns
        self._changes: list[Change] = []
        self._order_by_broker_id: dict[str, str] = {}
        self._order_by_key: dict[str, str] = {}
        self._gtt_by_id: dict[str, str] = {}
        self._working_exit: dict[RungId, str] = {}
        self.orders: dict[str, Order] = {}
        self.gtts: dict[str, Gtt] = {}
        self.ladders: dict[str, Ladder] = {}
        self.reservations: dict[str, Reservation] = {}  # symbol → capital set aside for a first rung
        self.touched: dict[RungId, None] = {}
        self.exposure = Exposure()

    # --- loading and saving -----------------------------------------------------------------------

    def load(self, cooled_after_ns: int) -> None:
        """Everything alive in the journal: open ladders and cooling ones, working orders, standing GTTs."""
        for rung in self._journal.live_rungs(cooled_after_ns):
            known = self.ladders.get(rung.symbol)
            if known is None or known.last_exit_ns < rung.entry_ns or known.ladder == rung.ladder:
                self._put_rung(rung)
        for gtt in self._journal.live_gtts():
            self._put_gtt(gtt)
        for order in self._journal.working_orders():
            self._put_order(order)
            if order.purpose is Purpose.ENTRY and self.rung(order.symbol, order.rung) is None:
                self._put_rung(self._entering(order))
        self._changes.clear()

    def commit(self, *, before_wire: bool) -> None:
        """Write what was collected, in one transaction. Raises StoreFull or StoreError: nothing was written."""
        if self._changes:
            changes, self._changes = self._changes, []
            self._journal.write(changes, before_wire=before_wire)

    def note(self, row: EventRow) -> None:
        """A line for the audit log, committed with everything else."""
        self._changes.append(row)

    def note_stop_move(self, change: Change) -> None:
        """A trailing move is written as the few columns it changes (performance.md: SQL is its largest part)."""
        self._changes.append(change)

    # --- finding ----------------------------------------------------------------------------------

    def rung(self, symbol: str, number: int) -> Rung | None:
        ladder = self.ladders.get(symbol)
        return ladder.rungs.get(number) if ladder else None

    def guard(self, symbol: str, number: int) -> Gtt | None:
        """The newest GTT of the rung, standing or not."""
        ladder = self.ladders.get(symbol)
        client_id = ladder.gtts.get(number) if ladder else None
        return self.gtts.get(client_id) if client_id else None

    def working_exit(self, symbol: str, number: int) -> Order | None:
        client_id = self._working_exit.get((symbol, number))
        return self.orders.get(client_id) if client_id else None

    def has_order_with_key(self, key: str) -> bool:
        """Whether the same wish was heard before, in this run of the process or an earlier one."""
        return key in self._order_by_key or self._journal.order_by_key(key) is not None

    def is_unknown(self, client_id: str | None) -> bool:
        """Neither in memory nor in the journal, whatever became of it."""
        return client_id is not None and client_id not in self.orders and not self._journal.knows_order(client_id)

    def order_of(self, update: OrderUpdate) -> Order | None:
        """The order an update is about: by our id, else by the broker's; None when it is not ours."""
        client_id = update.client_id if update.client_id in self.orders else None
        client_id = client_id or self._order_by_broker_id.get(update.broker_id)
        return self.orders.get(client_id) if client_id else None

    def gtt_of(self, gtt_id: str | None, client_id: str | None) -> Gtt | None:
        found = client_id if client_id in self.gtts else self._gtt_by_id.get(gtt_id or "")
        return self.gtts.get(found) if found else None

    # --- changing ---------------------------------------------------------------------------------

    def record_order(self, order: Order) -> None:
        self._put_order(order)
        self._changes.append(order)

    def record_gtt(self, gtt: Gtt, *, write: bool = True) -> None:
        self._put_gtt(gtt)
        if write:
            self._changes.append(gtt)

    def record_rung(self, rung: Rung, *, write: bool = True) -> None:
        """A rung without a fill has no row in `trades`: its entry order says all there is."""
        self._put_rung(rung)
        self.touched[rung.symbol, rung.number] = None
        if write and rung.trade_id:
            self._changes.append(rung)

    def begin_entry(self, order: Order) -> None:
        """An entry order was decided: its rung is ENTERING, its capital is bound."""
        if order.rung == 1:
            self.reservations.pop(order.symbol, None)  # its hold becomes the order's
        self.record_order(order)
        before = self.rung(order.symbol, order.rung)
        attempts = before.attempts if before is not None and before.ladder == order.ladder else 0
        self.record_rung(attrs.evolve(self._entering(order), attempts=attempts))

    def heard_of_order(self, update: OrderUpdate, order: Order) -> Order:
        """Take in what a broker says about an order of ours; fills move the rung. Returns the order as it is now."""
        after = order
        if after.working and after.state is not OrderState.PARTIAL and update.state not in _ENDED:
            after = after.after(OrderEvent.ACKNOWLEDGED, update.at_ns, broker_id=update.broker_id)
        if update.filled > after.filled:
            after = after.filled_to(update.filled, update.value_paise, update.at_ns, update.broker_id)
        ended = _ENDED.get(update.state)
        if ended is not None and after.working:
            after = after.after(ended, update.at_ns, broker_id=update.broker_id, message=update.message)
        if after != order:
            self.record_order(after)
            self._move_rung(order, after, update.at_ns)
        return after

    def end_order(self, order: Order, event: OrderEvent, at_ns: int, message: str) -> None:
        """An order that ended without the broker's book: refused, absent, or of unknown fate."""
        after = order.after(event, at_ns, message=message)
        self.record_order(after)
        self._move_rung(order, after, at_ns)

    def adopt_child(self, update: OrderUpdate, gtt: Gtt) -> Order:
        """The order that one of our GTTs released becomes an order of ours: it is the rung's exit."""
        child = Order(
            client_id=f"{gtt.client_id}C",
            key=f"{gtt.key}:child",
            symbol=gtt.symbol,
            side=Side.SELL,
            quantity=update.quantity,
            order_type=OrderType.LIMIT,
            limit_paise=update.limit_paise,
            purpose=Purpose.EXIT,
            ladder=gtt.ladder,
            rung=gtt.rung,
            decision_paise=gtt.stop.trigger_paise,
            created_ns=update.at_ns,
            updated_ns=update.at_ns,
            state=OrderState.OPEN,
            broker_id=update.broker_id,
            reason=gtt.fired or ExitReason.STOP,
            gtt_client_id=gtt.client_id,
        )
        self.record_order(child)
        rung = self._rung_of(gtt.ladder, gtt.symbol, gtt.rung)
        if rung is not None and rung.open:
            self.record_rung(attrs.evolve(rung, exit_working=True, protection=Protection.FIRED))
        return child

    def heard_of_gtt(self, update: GttUpdate, gtt: Gtt) -> Gtt:
        """Take in what a broker says about a GTT of ours; the rung's protection follows."""
        event = _GTT_EVENTS.get(update.state)
        if event is None or (gtt.state is GttState.TRIGGERED and event is not GttEvent.TRIGGERED):
            return gtt
        if gtt.state in (GttState.CANCELLED, GttState.REJECTED) and event is GttEvent.ACCEPTED:
            return gtt  # an older word than the one we have
        after = gtt.after(event, update.at_ns, gtt_id=update.gtt_id, fired=update.fired, message=update.message)
        if event is GttEvent.ACCEPTED and (update.stop != after.stop or update.target != after.target):
            after = attrs.evolve(after, stop=update.stop, target=update.target)
        settled = attrs.evolve(after, updated_ns=gtt.updated_ns) == gtt
        if not settled:
            self.record_gtt(after)
        rung = self._rung_of(gtt.ladder, gtt.symbol, gtt.rung)
        told = not settled or after.state is GttState.ACTIVE  # a moved stop was written before the wire
        if told and rung is not None and rung.open and self.guard(gtt.symbol, gtt.rung) is self.gtts[gtt.client_id]:
            self._guarded(rung, after, write=not settled)
        return after

    def end_gtt(self, gtt: Gtt, event: GttEvent, at_ns: int, message: str) -> None:
        """A GTT that ended without the broker's list: refused, or absent from it."""
        after = gtt.after(event, at_ns, message=message)
        self.record_gtt(after)
        rung = self._rung_of(gtt.ladder, gtt.symbol, gtt.rung)
        if rung is not None and rung.open:
            self._guarded(rung, after, write=True)

    # --- how the three follow each other ------------------------------------------------------------

    def _guarded(self, rung: Rung, gtt: Gtt, *, write: bool) -> None:
        protection = _PROTECTION[gtt.state]
        standing = protection is Protection.STANDING
        self.record_rung(
            attrs.evolve(
                rung,
                protection=protection,
                gtt_id=gtt.gtt_id if protection is not Protection.NONE else None,
                stop_paise=gtt.stop.trigger_paise if standing else rung.stop_paise,
                target_paise=(gtt.target.trigger_paise if gtt.target else 0) if standing else rung.target_paise,
            ),
            write=write,
        )

    def _move_rung(self, before: Order, after: Order, at_ns: int) -> None:
        if after.purpose is Purpose.ENTRY:
            self._entered(before, after, at_ns)
        else:
            self._exited(before, after, at_ns)

    def _entered(self, before: Order, after: Order, at_ns: int) -> None:
        rung = self._rung_of(after.ladder, after.symbol, after.rung)
        if rung is None:
            return
        if after.filled > before.filled:
            first = rung.status is not RungStatus.OPEN
            price = half_up(after.value_paise - before.value_paise, after.filled - before.filled)
            rung = attrs.evolve(
                rung,
                status=RungStatus.OPEN,
                trade_id=rung.trade_id or self._journal.next_trade_id(),
                quantity=after.filled,
                cost_paise=after.value_paise,
                entry_ns=at_ns if first else rung.entry_ns,
                highest_paise=price if first else max(rung.highest_paise, price),
                entry_order=after.client_id,
            )
        rung = attrs.evolve(rung, entry_working=after.working)
        if not after.working and not after.filled:
            rung = attrs.evolve(
                rung,
                status=RungStatus.FAILED,
                attempts=rung.attempts + 1,
                retry_ns=at_ns + self._retry_after_ns,
            )
        self.record_rung(rung)

    def _exited(self, before: Order, after: Order, at_ns: int) -> None:
        rung = self._rung_of(after.ladder, after.symbol, after.rung)
        if rung is None or not rung.open:
            return
        rung = attrs.evolve(
            rung,
            sold=rung.sold + after.filled - before.filled,
            proceeds_paise=rung.proceeds_paise + after.value_paise - before.value_paise,
            exit_working=after.working,
        )
        assert rung.held >= 0, f"{after.symbol} rung {after.rung}: sold {rung.sold} of {rung.quantity}"
        if rung.held == 0:
            rung = attrs.evolve(
                rung,
                status=RungStatus.CLOSED,
                exit_ns=at_ns,
                reason=after.reason,
                protection=Protection.NONE,
                exit_working=False,
            )
        elif not after.working:
            guard = self.guard(after.symbol, after.rung)
            rung = attrs.evolve(
                rung, protection=_PROTECTION[guard.state] if guard and guard.standing else Protection.NONE
            )
        self.record_rung(rung)

    def _entering(self, order: Order) -> Rung:
        return Rung(
            ladder=order.ladder,
            symbol=order.symbol,
            number=order.rung,
            status=RungStatus.ENTERING,
            rank=order.rank or 0.0,
            entry_working=True,
            entry_order=order.client_id,
        )

    def _rung_of(self, ladder_id: str, symbol: str, number: int) -> Rung | None:
        ladder = self.ladders.get(symbol)
        return ladder.rungs.get(number) if ladder is not None and ladder.ladder == ladder_id else None

    # --- indices and sums ---------------------------------------------------------------------------

    def _put_order(self, order: Order) -> None:
        self.orders[order.client_id] = order
        self._order_by_key[order.key] = order.client_id
        if order.broker_id is not None:
            self._order_by_broker_id[order.broker_id] = order.client_id
        if order.purpose is Purpose.ENTRY:
            rung = self._rung_of(order.ladder, order.symbol, order.rung)
            self.exposure.follow(order.ladder, order.rung, rung, order)
        elif order.working:
            self._working_exit[order.symbol, order.rung] = order.client_id
        elif self._working_exit.get((order.symbol, order.rung)) == order.client_id:
            del self._working_exit[order.symbol, order.rung]

    def _put_gtt(self, gtt: Gtt) -> None:
        self.gtts[gtt.client_id] = gtt
        if gtt.gtt_id is not None:
            self._gtt_by_id[gtt.gtt_id] = gtt.client_id
        ladder = self.ladders.get(gtt.symbol)
        if ladder is not None and ladder.ladder == gtt.ladder:
            ladder.gtts[gtt.rung] = gtt.client_id

    def _put_rung(self, rung: Rung) -> None:
        ladder = self.ladders.get(rung.symbol)
        if ladder is None or ladder.ladder != rung.ladder:
            ladder = self.ladders[rung.symbol] = Ladder(rung.ladder)
        ladder.rungs[rung.number] = rung
        entry = self.orders.get(rung.entry_order) if rung.entry_order else None
        self.exposure.follow(rung.ladder, rung.number, rung, entry)

    def forget_ended(self, before_ns: int) -> None:
        """Drop what ended before that time from memory: the journal keeps it."""
        for client_id, order in list(self.orders.items()):
            if not order.working and order.updated_ns < before_ns:
                del self.orders[client_id]
                self._order_by_key.pop(order.key, None)
                if order.broker_id is not None:
                    self._order_by_broker_id.pop(order.broker_id, None)
        for client_id, gtt in list(self.gtts.items()):
            if not gtt.standing and gtt.updated_ns < before_ns:
                del self.gtts[client_id]
                if gtt.gtt_id is not None:
                    self._gtt_by_id.pop(gtt.gtt_id, None)
        for symbol, ladder in list(self.ladders.items()):
            if not ladder.busy and ladder.last_exit_ns < before_ns:
                del self.ladders[symbol]


_GTT_EVENTS = {
    GttState.ACTIVE: GttEvent.ACCEPTED,
    GttState.TRIGGERED: GttEvent.TRIGGERED,
    GttState.CANCELLED: GttEvent.CANCELLED,
    GttState.REJECTED: GttEvent.REJECTED,
}

_PROTECTION = {
    GttState.INTENT: Protection.REQUESTED,
    GttState.UNKNOWN: Protection.REQUESTED,
    GttState.ACTIVE: Protection.STANDING,
    GttState.TRIGGERED: Protection.FIRED,
    GttState.CANCELLED: Protection.NONE,
    GttState.REJECTED: Protection.NONE,
}
