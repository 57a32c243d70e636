"""Exits: cancel the protection, confirm that it is gone, then sell; and see to it that what is sold gets sold.

Owns every sell order of ours, the ones that the broker's GTTs release included: sending, replacement, and what
becomes of a rejected one; those that rest are moved by resting.py. Σ working sells of a rung never exceeds what it
holds, so there is at most one working exit per rung and none beside a GTT that stands. Never decides that a rung is
to be sold, but for what nobody wanted or watches (late fills, a child the broker did not have).
"""

from __future__ import annotations

import attrs

from actors.routing.desk import AGAIN_NS, Desk
from actors.routing.entries import Entries
from actors.routing.rungs import LATE
from protocol.broker import CancelGtt
from protocol.clock import ist_date
from protocol.messages import ExitRung, Severity
from protocol.orders import ExitReason, Gtt, GttState, Order, OrderEvent, OrderState, OrderType, Purpose, Side
from protocol.rungs import Protection, Rung, rung_key

STEPS_MAX = 20  # so often an exit that rests is moved; then it is cancelled and replaced, once
STRIKES_MAX = 3  # rejections of a rung's exits, then a person is asked


class Exits:
    """Selling. Every exit belongs to a rung; its key says why it was sold and whether it is a second try."""

    def __init__(self, desk: Desk, entries: Entries) -> None:
        self._desk = desk
        self._entries = entries

    # --- asked for --------------------------------------------------------------------------------

    def ask(self, wish: ExitRung) -> None:
        """A position or a person wants the rung sold. What is being sold already is not sold twice."""
        desk = self._desk
        rung = desk.rung(wish)
        desk.ledger.touched[wish.symbol, wish.rung] = None
        if rung is None or not rung.open or rung.exit_working or rung.protection is Protection.FIRED:
            return
        if wish.reason is not ExitReason.PERSON and self._struck_out(rung):
            desk.refuse_wish(wish, f"{STRIKES_MAX} exits were rejected: a person must close it", final=True)
            return
        if rung.entry_working:
            self._entries.cancel(rung)
        if wish.who:
            desk.note("closed_by_person", wish.symbol, wish.key, {"who": wish.who, "rung": wish.rung})
        self.sell(rung, wish.reason, wish.key)

    def sell(self, rung: Rung, reason: ExitReason, key: str) -> None:
        """At market, at once when nothing protects the rung, else when its GTT is confirmed gone. A key that was
        used before sells nothing.
        """
        desk, now = self._desk, self._desk.clock.now_ns
        if desk.ledger.order_with_key(key) is not None:
            return
        guard = desk.ledger.guard(rung.symbol, rung.number)
        standing = guard is not None and guard.standing
        order = Order(
            client_id=desk.new_id(),
            key=key,
            symbol=rung.symbol,
            side=Side.SELL,
            quantity=rung.held,
            order_type=OrderType.MARKET,
            purpose=Purpose.EXIT,
            ladder=rung.ladder,
            rung=rung.number,
            decision_paise=desk.last(rung.symbol),
            created_ns=now,
            updated_ns=now,
            state=OrderState.INTENT if standing else OrderState.SENT,
            reason=reason,
        )
        desk.ledger.record_order(order)
        protection = Protection.NONE if rung.protection is Protection.FIRED else rung.protection
        desk.ledger.record_rung(attrs.evolve(rung, exit_working=True, protection=protection))
        if guard is not None and guard.standing:
            self._cancel_guard(guard)
            self._watch(order)
        else:
            desk.place(order)

    def _cancel_guard(self, guard: Gtt) -> None:
        """One whose placing is not answered yet is cancelled as soon as the broker says its id."""
        if guard.gtt_id is not None:
            self._desk.wire.append(CancelGtt(guard.gtt_id))

    # --- what becomes of the protection ---------------------------------------------------------------

    def protected_late(self, guard: Gtt) -> None:
        """A GTT began to stand while an exit waited for its fate: now it can be cancelled."""
        order = self._waiting(guard)
        if order is not None:
            self._cancel_guard(guard)

    def unguarded(self, guard: Gtt) -> bool:
        """The protection is confirmed gone: the sell that waited for it goes out. False when none did."""
        order = self._waiting(guard)
        if order is None:
            return False
        self._send(order)
        return True

    def fired(self, guard: Gtt) -> None:
        """TRIGGERED is not filled, but its child is the exit now; after trigger_grace the child is looked at."""
        desk = self._desk
        fired = guard.fired.value if guard.fired else ""
        desk.note("gtt_triggered", guard.symbol, guard.client_id, {"fired": fired})
        self.watch_fired(guard)
        order = self._waiting(guard)
        if order is not None:
            text = "the GTT had fired: its child is the exit"
            desk.keeper.end_order(order, OrderEvent.EXPIRED, desk.clock.now_ns, text)

    def _waiting(self, guard: Gtt) -> Order | None:
        """The exit that waits for this GTT's end, which must be the rung's newest."""
        order = self._desk.ledger.working_exit(guard.symbol, guard.rung)
        if order is None or order.state is not OrderState.INTENT:
            return None
        return order if self._desk.ledger.is_newest(guard) else None

    def _send(self, order: Order) -> None:
        """From our queue to the wire, for what the rung holds now."""
        desk = self._desk
        rung = desk.ledger.rung_of(order)
        if rung is None or not rung.open:
            desk.keeper.end_order(order, OrderEvent.EXPIRED, desk.clock.now_ns, "nothing is held any more")
            return
        sent = attrs.evolve(order.after(OrderEvent.SENT, desk.clock.now_ns), quantity=rung.held)
        desk.ledger.record_order(sent)
        desk.place(sent)

    # --- what becomes of an exit --------------------------------------------------------------------

    def working(self, order: Order) -> None:
        """It rests at the exchange; a GTT's child has the longer grace that began when it fired."""
        if order.gtt_client_id is None:
            self._watch(order)

    def ended(self, order: Order, text: str) -> None:
        """An exit is over. What the rung still holds is sold, protected again, or a person is asked."""
        desk = self._desk
        desk.disarm(alarm_of(order))
        steps = desk.memory.exit_steps.pop(order.client_id, 0)
        rung = desk.ledger.rung_of(order)
        if rung is None or not rung.open or rung.exit_working:
            return
        if order.state is OrderState.REJECTED:
            self._rejected(order, rung, text)
        elif _to_be_replaced(order, steps):
            self._sell_rest(rung, order, "again")
        elif order.state is OrderState.COMPLETE and order.gtt_client_id is None:
            self._sell_rest(rung, order, f"rest@{desk.clock.now_ns}")  # more of the entry has filled meanwhile
        elif order.state is not OrderState.COMPLETE:
            why = f"its exit is {order.state.value.lower()}" + (f": {text}" if text else "")
            desk.notify(Severity.ALERT, f"{name_of(rung)}: {rung.held} not sold, {why}", rung.symbol)
            if rung.number > LATE:
                desk.alarm("late", self._when_open(), rung.symbol, rung.number)

    def _rejected(self, order: Order, rung: Rung, text: str) -> None:
        """Exit now when the broker would not have a GTT's child; three rejections, and a person is asked."""
        desk = self._desk
        place = (rung.ladder, rung.number)
        strikes = desk.memory.strikes[place] = desk.memory.strikes.get(place, 0) + 1
        if strikes >= STRIKES_MAX:
            why = f"{strikes} exits rejected, close it by hand: {text}"
            desk.notify(Severity.ALERT, f"{name_of(rung)}: {why}", rung.symbol)
        elif order.gtt_client_id is not None:
            self._sell_rest(rung, attrs.evolve(order, reason=ExitReason.SAFETY), "instead")

    def _struck_out(self, rung: Rung) -> bool:
        return self._desk.memory.strikes.get((rung.ladder, rung.number), 0) >= STRIKES_MAX

    def _sell_rest(self, rung: Rung, order: Order, purpose: str) -> None:
        self.sell(rung, order.reason or ExitReason.SAFETY, f"{order.key}:{purpose}")

    def _when_open(self) -> int:
        """A while from now, or after the next opening."""
        calendar, now = self._desk.parts.calendar, self._desk.clock.now_ns
        session = calendar.session_at(now)
        closed = session is None or now >= session.close_ns
        return (calendar.next_session(now).open_ns if closed else now) + AGAIN_NS

    def sell_late(self) -> None:
        """Shares that came when nobody wanted them any more are sold at market, and said aloud."""
        desk = self._desk
        for ladder in list(desk.ledger.ladders.values()):
            for rung in list(ladder.rungs.values()):
                if rung.number <= LATE or not rung.open or rung.exit_working or self._struck_out(rung):
                    continue
                text = f"{rung.symbol}: {rung.held} bought by an entry that was over are sold at market"
                desk.notify(Severity.ALERT, text, rung.symbol)
                self.sell(rung, ExitReason.SAFETY, rung_key(rung.ladder, rung.number, "exit", desk.clock.now_ns))

    def sell_unwatched(self, rung: Rung) -> None:
        """An entry filled after its position had finished: nobody would protect it or sell it."""
        desk = self._desk
        self._entries.cancel(rung)
        if rung.open and not rung.exit_working:
            desk.notify(Severity.ALERT, f"{name_of(rung)} was bought and no position watches it: sold", rung.symbol)
            self.sell(rung, ExitReason.SAFETY, rung_key(rung.ladder, rung.number, "exit", f"unwatched@{rung.entry_ns}"))

    def tell_oversold(self) -> None:
        """More was sold than any rung held: said aloud, and never bought back by itself."""
        desk = self._desk
        oversold, desk.keeper.oversold = desk.keeper.oversold, []
        for order, shares in oversold:
            text = f"oversold: {shares} {order.symbol} by {order.client_id} that P{order.rung} did not hold"
            desk.memory.frozen[order.symbol] = text
            desk.notify(Severity.ALERT, text, order.symbol)
            desk.note("oversold", order.symbol, order.client_id, {"shares": shares})

    # --- coming back ----------------------------------------------------------------------------------

    def recover(self) -> None:
        """What waited in our queue on an earlier day has expired: the position decides anew."""
        desk, now = self._desk, self._desk.clock.now_ns
        for order in list(desk.ledger.orders.values()):
            if order.purpose is Purpose.EXIT and order.state is OrderState.INTENT:
                if ist_date(order.created_ns) != ist_date(now):
                    desk.keeper.end_order(order, OrderEvent.EXPIRED, now, "never sent")
                else:
                    self._watch(order)
            elif order.purpose is Purpose.EXIT:
                self.working(order)
        for gtt in desk.ledger.gtts.values():
            if gtt.state is GttState.TRIGGERED:
                self.watch_fired(gtt)

    def resume(self) -> None:
        """The books are compared: exits that wait go on, late fills that a death interrupted are sold."""
        ledger = self._desk.ledger
        for order in list(ledger.orders.values()):
            if order.state is OrderState.INTENT and order.purpose is Purpose.EXIT:
                guard = ledger.guard(order.symbol, order.rung)
                if guard is None or not guard.standing:
                    self._send(order)
                else:
                    self._cancel_guard(guard)
        self.sell_late()

    # --- alarms -----------------------------------------------------------------------------------------

    def watch_fired(self, gtt: Gtt) -> None:
        name = f"fired:{gtt.client_id}"
        if not self._desk.armed(name):
            due = self._desk.clock.now_ns + self._desk.parts.timings.trigger_grace_ns
            self._desk.alarm(name, due, gtt.symbol, gtt.rung)

    def _watch(self, order: Order) -> None:
        if not self._desk.armed(alarm_of(order)):
            self._desk.alarm(alarm_of(order), self._desk.clock.now_ns + AGAIN_NS, order.symbol, order.rung)


def alarm_of(order: Order) -> str:
    return f"fired:{order.gtt_client_id}" if order.gtt_client_id is not None else f"exit:{order.client_id}"


def _to_be_replaced(order: Order, steps: int) -> bool:
    """Cancelled by us after its last step, or never placed: once, and not what is a replacement itself."""
    over = order.state is OrderState.NOT_PLACED or (order.state is OrderState.CANCELLED and steps >= STEPS_MAX)
    return over and not order.key.endswith(":again")


def name_of(rung: Rung) -> str:
    return f"{rung.symbol} P{rung.number}"
