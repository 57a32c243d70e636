"""The router's memory: orders, GTTs and rungs of one account, and every change on its way to the journal.

Owns where each is found, the capital they bind, and what is not committed yet. Never sends and never decides;
what news does to a rung is the bookkeeper's business (bookkeeping.py). After a crash it is loaded again from the
journal, so what was not committed never happened.
"""

from __future__ import annotations

import attrs

from actors.ports import Journal
from actors.routing import rungs as moves
from protocol.broker import OrderUpdate
from protocol.clock import at, ist_date
from protocol.journal import Change, EventRow, StopMoved
from protocol.messages import Reservation
from protocol.orders import Gtt, Order, Purpose
from protocol.rungs import Rung, RungStatus
from strategy.risk import Exposure

RungId = tuple[str, int]  # symbol, rung number: of the symbol's newest ladder


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

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.orders: dict[str, Order] = {}
        self.gtts: dict[str, Gtt] = {}
        self.ladders: dict[str, Ladder] = {}
        self.reservations: dict[str, Reservation] = {}  # symbol → capital set aside for a first rung
        self.touched: dict[RungId, None] = {}
        self.exposure = Exposure()
        self._changes: list[Change] = []
        self._begun: dict[str, Rung | None] = {}  # entries not committed yet → their rung before
        self._order_by_broker_id: dict[str, str] = {}
        self._order_by_key: dict[str, str] = {}
        self._gtt_by_id: dict[str, str] = {}
        self._working_exit: dict[RungId, str] = {}
        self._today_recalled = False

    # --- loading and saving -----------------------------------------------------------------------

    def load(self, cooled_after_ns: int) -> None:
        """Everything alive in the journal: open ladders and cooling ones, working orders, standing GTTs."""
        rungs = self.journal.live_rungs(cooled_after_ns)
        newest = {rung.symbol: rung.ladder for rung in sorted(rungs, key=_newness)}
        for rung in rungs:
            if rung.ladder == newest[rung.symbol]:
                self._put_rung(rung)
        for order in self.journal.working_orders():
            self._put_order(order)
            if order.purpose is Purpose.ENTRY and self.rung_of(order) is None:
                ladder = self.ladders.get(order.symbol)
                if ladder is None or ladder.ladder == order.ladder or not ladder.busy:
                    self._put_rung(moves.entering(order, self._attempts_before(order)))
        for gtt in self.journal.live_gtts():
            self._put_gtt(gtt)

    def commit(self, *, before_wire: bool) -> None:
        """Write what was collected, in one transaction. Raises StoreFull or StoreError: then nothing was written
        and all of it is still collected.
        """
        if self._changes:
            self.journal.write(self._changes, before_wire=before_wire)
            self._changes.clear()
            self._begun.clear()

    def note(self, row: EventRow) -> None:
        """A line of the audit log, committed with everything else."""
        self._changes.append(row)

    # --- finding ----------------------------------------------------------------------------------

    def rung(self, symbol: str, number: int) -> Rung | None:
        ladder = self.ladders.get(symbol)
        return ladder.rungs.get(number) if ladder else None

    def rung_of(self, owner: Order | Gtt) -> Rung | None:
        """The rung that an order or a GTT belongs to; None when its ladder is not the symbol's newest."""
        ladder = self.ladders.get(owner.symbol)
        return ladder.rungs.get(owner.rung) if ladder is not None and ladder.ladder == owner.ladder else None

    def guard(self, symbol: str, number: int) -> Gtt | None:
        """The newest GTT of the rung, standing or not."""
        ladder = self.ladders.get(symbol)
        client_id = ladder.gtts.get(number) if ladder else None
        return self.gtts.get(client_id) if client_id else None

    def is_newest(self, gtt: Gtt) -> bool:
        """Of its rung's GTTs."""
        ladder = self.ladders.get(gtt.symbol)
        return ladder is not None and ladder.ladder == gtt.ladder and ladder.gtts.get(gtt.rung) == gtt.client_id

    def working_exit(self, symbol: str, number: int) -> Order | None:
        client_id = self._working_exit.get((symbol, number))
        return self.orders.get(client_id) if client_id else None

    def order_with_key(self, key: str) -> Order | None:
        """The order of a wish that was heard before, in this run of the process or an earlier one."""
        client_id = self._order_by_key.get(key)
        return self.orders[client_id] if client_id is not None else self.journal.order_by_key(key)

    def has_gtt_with_key(self, key: str) -> bool:
        return self.journal.gtt_by_key(key) is not None

    def knows(self, client_id: str) -> bool:
        """In memory or in the journal, whatever became of it."""
        return client_id in self.orders or self.journal.knows_order(client_id)

    def order_of(self, update: OrderUpdate, now_ns: int) -> Order | None:
        """The order an update is about: by our id, else by the broker's; None when it is not ours.

        Orders that ended today but are not in memory any more are looked up in the journal: a fill can come late.
        """
        order = self._order_in_memory(update)
        if order is None and not self._today_recalled and (update.client_id or update.gtt_id):
            self._recall_today(now_ns)
            order = self._order_in_memory(update)
        return order

    def gtt_of(self, gtt_id: str | None, client_id: str | None) -> Gtt | None:
        found = client_id if client_id in self.gtts else self._gtt_by_id.get(gtt_id or "")
        return self.gtts.get(found) if found else None

    def _order_in_memory(self, update: OrderUpdate) -> Order | None:
        order = self.orders.get(update.client_id) if update.client_id else None
        return order or self.orders.get(self._order_by_broker_id.get(update.broker_id, ""))

    def _recall_today(self, now_ns: int) -> None:
        """The broker's book lives one day, and so long may an order that ended be spoken of again."""
        self._today_recalled = True
        for order in self.journal.orders_since(at(ist_date(now_ns), 0)):
            if order.client_id not in self.orders:
                self._index_order(order)

    # --- changing ---------------------------------------------------------------------------------

    def record_order(self, order: Order) -> None:
        self._put_order(order)
        self._changes.append(order)

    def record_gtt(self, gtt: Gtt) -> None:
        self._put_gtt(gtt)
        self._changes.append(gtt)

    def record_rung(self, rung: Rung) -> None:
        """A rung without a fill has no row in `trades`: its entry order says all there is."""
        self._put_rung(rung)
        self.touched[rung.symbol, rung.number] = None
        if rung.trade_id:
            self._changes.append(rung)

    def move_stop(self, wanted: Gtt, rung: Rung, highest_paise: int) -> None:
        """A stop (and target) as it shall stand, and its rung with it: collected as the few columns that change
        (performance.md: SQL is its largest part). The position hears of it when the broker has answered.
        """
        rung = attrs.evolve(
            rung,
            stop_paise=wanted.stop.trigger_paise,
            target_paise=wanted.target.trigger_paise if wanted.target else 0,
            highest_paise=highest_paise,
        )
        resized = wanted.quantity != self.gtts[wanted.client_id].quantity
        self.gtts[wanted.client_id] = wanted
        self.ladders[rung.symbol].rungs[rung.number] = rung  # capital does not change
        if resized:
            self._changes.append(wanted)
        self._changes.append(
            StopMoved(wanted.client_id, rung.trade_id, wanted.stop, wanted.target, highest_paise, wanted.updated_ns)
        )

    def begin_entry(self, order: Order) -> None:
        """An entry order was decided: its rung is ENTERING, its capital is bound."""
        if order.rung == 1:
            self.reservations.pop(order.symbol, None)  # its hold becomes the order's
        before = self._begun[order.client_id] = self.rung_of(order)
        self.record_order(order)
        self.record_rung(moves.entering(order, before.attempts if before is not None else 0))

    def withdraw_entries(self) -> list[Order]:
        """Entries that could not be committed never happened: their capital is free. Says which they were."""
        withdrawn = []
        for client_id, before in self._begun.items():
            order = self.orders.pop(client_id)
            withdrawn.append(order)
            del self._order_by_key[order.key]
            self._changes = [change for change in self._changes if change is not order]
            self.touched.pop((order.symbol, order.rung), None)
            if before is not None:
                self._put_rung(before)
                continue
            ladder = self.ladders[order.symbol]
            del ladder.rungs[order.rung]
            self.exposure.release(order.ladder, order.rung)
            if not ladder.rungs:
                del self.ladders[order.symbol]
        self._begun.clear()
        return withdrawn

    def release_reservation(self, symbol: str) -> None:
        """What was set aside for a first rung and will not be used is free again."""
        reservation = self.reservations.pop(symbol, None)
        if reservation is not None:
            self.exposure.release(reservation.ladder, 1)

    def recall_attempts(self, order: Order, retry_after_ns: int) -> None:
        """A rung of which only failed attempts are known has no row in `trades`: it is told from its orders."""
        ladder = self.ladders.get(order.symbol)
        newest = ladder is None or ladder.ladder == order.ladder
        if newest and self.rung_of(order) is None and not order.working and not order.filled:
            failed = moves.entering(order, self._attempts_before(order))
            self.record_rung(moves.not_bought(failed, order.updated_ns, retry_after_ns))

    def touch(self, symbol: str) -> None:
        """The positions shall hear of every rung of the symbol again."""
        ladder = self.ladders.get(symbol)
        for number in ladder.rungs if ladder else ():
            self.touched[symbol, number] = None

    def forget_ended(self, before_ns: int) -> None:
        """Drop what ended before that time from memory: the journal keeps it."""
        self._today_recalled = False
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

    # --- indices and sums ---------------------------------------------------------------------------

    def _put_order(self, order: Order) -> None:
        self._index_order(order)
        if order.purpose is Purpose.ENTRY:
            self.exposure.follow(order.ladder, order.rung, self.rung_of(order), order)
        elif order.working:
            self._working_exit[order.symbol, order.rung] = order.client_id
        elif self._working_exit.get((order.symbol, order.rung)) == order.client_id:
            del self._working_exit[order.symbol, order.rung]

    def _index_order(self, order: Order) -> None:
        self.orders[order.client_id] = order
        self._order_by_key[order.key] = order.client_id
        if order.broker_id is not None:
            self._order_by_broker_id[order.broker_id] = order.client_id

    def _put_gtt(self, gtt: Gtt) -> None:
        self.gtts[gtt.client_id] = gtt
        if gtt.gtt_id is not None:
            self._gtt_by_id[gtt.gtt_id] = gtt.client_id
        ladder = self.ladders.get(gtt.symbol)
        if ladder is not None and ladder.ladder == gtt.ladder:
            newest = ladder.gtts.get(gtt.rung)
            if newest != gtt.client_id and (newest is None or _is_newer(gtt, self.gtts.get(newest))):
                ladder.gtts[gtt.rung] = gtt.client_id

    def _put_rung(self, rung: Rung) -> None:
        ladder = self.ladders.get(rung.symbol)
        if ladder is None or ladder.ladder != rung.ladder:
            ladder = self.ladders[rung.symbol] = Ladder(rung.ladder)
        ladder.rungs[rung.number] = rung
        entry = self.orders.get(rung.entry_order) if rung.entry_order else None
        self.exposure.follow(rung.ladder, rung.number, rung, entry)

    def _attempts_before(self, order: Order) -> int:
        """How many entries of the order's rung ended with nothing bought before it was decided."""
        return sum(
            not other.working and not other.filled and other.rung == order.rung and other.created_ns < order.created_ns
            for other in self.journal.entry_orders(order.ladder)
        )


def _newness(rung: Rung) -> tuple[bool, int, int]:
    """A symbol's ladder is the one that holds something, else the one entered last."""
    return rung.open, rung.entry_ns, rung.trade_id


def _is_newer(gtt: Gtt, other: Gtt | None) -> bool:
    return other is None or (other.created_ns, other.client_id) < (gtt.created_ns, gtt.client_id)
