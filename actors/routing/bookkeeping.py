"""What news does to the books: a fill moves its order and its rung together, a GTT moves its rung's protection.

Owns the consistency between orders, GTTs and rungs. Evidence of a fill always counts, in every state and however
late. Never sends: late fills that are to be sold are told by `bought_late`, shares sold that no rung held by
`oversold`.
"""

from __future__ import annotations

import attrs

from actors.routing import rungs as moves
from actors.routing.ledger import Ladder, Ledger
from protocol.broker import GttUpdate, OrderUpdate
from protocol.errors import RemoteProtocolError
from protocol.orders import (
    NEXT_GTT_STATE,
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
from protocol.rungs import Protection, RungStatus

_ENDED = {
    OrderState.CANCELLED: OrderEvent.CANCELLED,
    OrderState.REJECTED: OrderEvent.REJECTED,
    OrderState.LAPSED: OrderEvent.LAPSED,
}
_GTT_EVENTS = {
    GttState.ACTIVE: GttEvent.ACCEPTED,
    GttState.TRIGGERED: GttEvent.TRIGGERED,
    GttState.CANCELLED: GttEvent.CANCELLED,
    GttState.REJECTED: GttEvent.REJECTED,
}


class Bookkeeper:
    """Writes news into a ledger. `bought_late` and `oversold` are cleared by whoever acts on them."""

    def __init__(self, ledger: Ledger, retry_after_ns: int) -> None:
        self._ledger = ledger
        self._retry_after_ns = retry_after_ns
        self.bought_late = False  # there is a rung of its own, to be sold at market
        self.oversold: list[tuple[Order, int]] = []  # a sale, and how many of its shares no rung held

    # --- orders -----------------------------------------------------------------------------------

    def heard_of_order(self, update: OrderUpdate, order: Order) -> Order:
        """Take in what a broker says about an order of ours. Returns the order as it is now.

        Raises RemoteProtocolError when it cannot be about that order; then nothing has changed.
        """
        _check(update, order)
        after = order
        if after.working and after.state is not OrderState.PARTIAL and update.state not in _ENDED:
            after = after.after(OrderEvent.ACKNOWLEDGED, update.at_ns, broker_id=update.broker_id)
        elif after.state is OrderState.INTENT:
            after = after.after(OrderEvent.SENT, update.at_ns, broker_id=update.broker_id)
        if update.filled > after.filled:
            after = after.filled_to(update.filled, update.value_paise, update.at_ns, update.broker_id)
        ended = _ENDED.get(update.state)
        if ended is not None and after.working:
            after = after.after(ended, update.at_ns, broker_id=update.broker_id, message=update.message)
        if after != order:
            self._ledger.record_order(after)
            self._move_rung(order, after, update.at_ns)
        return after

    def end_order(self, order: Order, event: OrderEvent, at_ns: int, message: str) -> Order:
        """An order that ended, or is in doubt, without the broker's book: refused, absent, unanswered."""
        if event is OrderEvent.ABSENT and order.state not in (OrderState.INTENT, OrderState.UNKNOWN):
            order = order.after(OrderEvent.NO_ANSWER, at_ns)
        after = order.after(event, at_ns, message=message)
        self._ledger.record_order(after)
        self._move_rung(order, after, at_ns)
        return after

    def adopt_child(self, update: OrderUpdate, gtt: Gtt) -> Order:
        """The order that one of our GTTs released becomes an order of ours: it is the rung's exit."""
        at_target = gtt.target is not None and update.limit_paise == gtt.target.limit_paise
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
            reason=gtt.fired or (ExitReason.TARGET if at_target else ExitReason.STOP),
            gtt_client_id=gtt.client_id,
        )
        self._ledger.record_order(child)
        rung = self._ledger.rung_of(gtt)
        if rung is not None and rung.open:
            self._ledger.record_rung(attrs.evolve(rung, exit_working=True, protection=Protection.FIRED))
        return child

    # --- GTTs -------------------------------------------------------------------------------------

    def heard_of_gtt(self, update: GttUpdate, gtt: Gtt) -> Gtt:
        """Take in what a broker says about a GTT of ours; the rung's protection follows. An older word than the
        one we have changes nothing. Raises RemoteProtocolError for what cannot be.
        """
        event = _GTT_EVENTS.get(update.state)
        if event is None or (event is not GttEvent.TRIGGERED and not gtt.standing):
            return gtt
        if (gtt.state, event) not in NEXT_GTT_STATE or update.symbol != gtt.symbol:
            raise RemoteProtocolError(f"GTT {gtt.client_id} in {gtt.symbol} is {gtt.state.value}")
        if event is GttEvent.ACCEPTED and _stands_as_wanted(gtt, update):
            self._guard_rung(gtt)  # a moved stop was written before the wire
            return gtt
        after = gtt.after(event, update.at_ns, gtt_id=update.gtt_id, fired=update.fired, message=update.message)
        if event is GttEvent.ACCEPTED:
            after = attrs.evolve(after, stop=update.stop, target=update.target, quantity=update.quantity)
        self._ledger.record_gtt(after)
        self._guard_rung(after)
        return after

    def end_gtt(self, gtt: Gtt, event: GttEvent, at_ns: int, message: str) -> Gtt:
        """A GTT that ended, or is in doubt, without the broker's list: refused, absent, unanswered."""
        if event is GttEvent.ABSENT and gtt.state is GttState.ACTIVE:
            gtt = gtt.after(GttEvent.NO_ANSWER, at_ns)
        after = gtt.after(event, at_ns, message=message)
        self._ledger.record_gtt(after)
        self._guard_rung(after)
        return after

    def _guard_rung(self, gtt: Gtt) -> None:
        """Only a rung's newest GTT says how it is protected; its position hears of it in any case."""
        ledger = self._ledger
        rung = ledger.rung_of(gtt)
        if rung is not None and rung.open and ledger.is_newest(gtt):
            if gtt.state is GttState.ACTIVE and moves.stands(rung, gtt):
                ledger.touched[rung.symbol, rung.number] = None
            else:
                ledger.record_rung(moves.guarded(rung, gtt))

    # --- rungs ------------------------------------------------------------------------------------

    def _move_rung(self, before: Order, after: Order, at_ns: int) -> None:
        if after.purpose is Purpose.EXIT:
            self._sold(before, after, at_ns)
        elif after.filled > before.filled:
            self._bought(before, after, at_ns)
        else:
            self._not_bought(after, at_ns)

    def _bought(self, before: Order, after: Order, at_ns: int) -> None:
        """A fill opens or enlarges its rung; if the ladder is over or the rung was used since, it is late."""
        ledger = self._ledger
        rung = ledger.rung_of(after)
        if (
            rung is None
            or rung.entry_order != after.client_id
            or rung.status is RungStatus.CLOSED
            or (rung.status is RungStatus.FAILED and not self._lives_on(after))
        ):
            self._bought_late(before, after, at_ns)
        else:
            trade_id = rung.trade_id or ledger.journal.next_trade_id()
            ledger.record_rung(moves.bought(rung, before, after, at_ns, trade_id))

    def _lives_on(self, order: Order) -> bool:
        """The ladder has rungs at work, and nothing of the order has become a rung of its own."""
        rungs = self._ledger.ladders[order.symbol].rungs.values()
        at_work = any(r.number < moves.LATE and r.status in (RungStatus.OPEN, RungStatus.ENTERING) for r in rungs)
        return at_work and not any(r.number > moves.LATE and r.entry_order == order.client_id for r in rungs)

    def _bought_late(self, before: Order, after: Order, at_ns: int) -> None:
        """The shares are ours all the same: a rung of its own in the symbol's newest ladder."""
        ledger = self._ledger
        ladder = ledger.ladders.get(after.symbol) or Ladder(after.ladder)
        for rung in ladder.rungs.values():
            if rung.number > moves.LATE and rung.open and rung.entry_order == after.client_id:
                own = moves.later(rung, before, after)
                break
        else:
            number = after.rung + moves.LATE
            while number in ladder.rungs:
                number += moves.LATE
            own = moves.late(before, after, ladder.ladder, number, at_ns, ledger.journal.next_trade_id())
        ledger.record_rung(own)
        self.bought_late = True
        self._not_bought(after, at_ns)

    def _not_bought(self, after: Order, at_ns: int) -> None:
        """News of an entry without a fill for its rung."""
        rung = self._ledger.rung_of(after)
        if rung is None or rung.entry_order != after.client_id:
            return
        if after.working or rung.quantity:
            self._ledger.record_rung(attrs.evolve(rung, entry_working=after.working))
        elif rung.status is RungStatus.ENTERING:
            self._ledger.record_rung(moves.not_bought(rung, at_ns, self._retry_after_ns))

    def _sold(self, before: Order, after: Order, at_ns: int) -> None:
        rung = self._ledger.rung_of(after)
        held = rung.held if rung is not None and rung.open else 0
        shares, proceeds = after.filled - before.filled, after.value_paise - before.value_paise
        if shares > held:
            self.oversold.append((after, shares - held))
            shares, proceeds = held, proceeds * held // shares
        if rung is not None and rung.open:
            guard = self._ledger.guard(rung.symbol, rung.number)
            self._ledger.record_rung(moves.sold(rung, shares, proceeds, after, guard, at_ns))


def _stands_as_wanted(gtt: Gtt, update: GttUpdate) -> bool:
    """The broker has what the journal has."""
    return (
        gtt.state is GttState.ACTIVE
        and update.stop == gtt.stop
        and update.target == gtt.target
        and update.quantity == gtt.quantity
        and update.gtt_id == gtt.gtt_id
    )


def _check(update: OrderUpdate, order: Order) -> None:
    """Whether an update can be about this order: adoption needs symbol, side and quantity to agree."""
    if (update.symbol, update.side, update.quantity) != (order.symbol, order.side, order.quantity):
        raise RemoteProtocolError(
            f"{update.side.value} {update.quantity} {update.symbol} under the id of"
            f" {order.side.value} {order.quantity} {order.symbol}"
        )
    if update.filled > order.quantity:
        raise RemoteProtocolError(f"{update.filled} filled of {order.quantity}")
