"""Exits that rest at the exchange: moved below the price step by step, looked up, at last cancelled.

Owns what happens when an exit's alarm rings: a sell of ours after five seconds, a GTT's child after trigger_grace,
both every five seconds from then on. Modifies the order there is; a second sell is only ever made by exits.py.
"""

from __future__ import annotations

from actors.routing.desk import AGAIN_NS, Desk
from actors.routing.exits import STEPS_MAX, Exits, alarm_of, name_of
from protocol.broker import ModifyOrder
from protocol.messages import Severity
from protocol.money import BP_PER_UNIT, round_down
from protocol.orders import ExitReason, Gtt, Order, OrderType
from protocol.rungs import Protection

STEPS_BP = (300, 500, 2000)  # how far below the last price, step by step; the last is as far as a day's circuit


class RestingExits:
    """One account's. What counts the steps outlives an incarnation (RouterMemory)."""

    def __init__(self, desk: Desk, exits: Exits) -> None:
        self._desk = desk
        self._exits = exits

    def rang(self, kind: str, ref: str) -> None:
        """An exit has rested for too long: it is moved, replaced, or the books are asked what became of it."""
        desk = self._desk
        gtt = desk.ledger.gtts.get(ref) if kind == "fired" else None
        order = desk.ledger.orders.get(f"{ref}C" if kind == "fired" else ref)
        if order is None and gtt is not None:
            self._childless(gtt)
        if order is None or not order.working:
            return
        desk.alarm(f"{kind}:{ref}", desk.clock.now_ns + AGAIN_NS, order.symbol, order.rung)
        if not desk.trading:
            return
        if order.broker_id is None:
            desk.want_books()
        else:
            self._escalate(order, order.broker_id)

    def _childless(self, gtt: Gtt) -> None:
        """Fired, and the books that were read since know no child: it was never created, so exit now."""
        desk = self._desk
        rung = desk.ledger.rung_of(gtt)
        if rung is None or rung.exit_working or rung.protection is not Protection.FIRED:
            return  # the child is known and over, or another GTT guards the rung by now
        if desk.trading and desk.read_ns > gtt.updated_ns:
            text = f"{name_of(rung)}: its GTT fired and the broker created no order: sold at market"
            desk.notify(Severity.ALERT, text, rung.symbol)
            self._exits.sell(rung, ExitReason.SAFETY, f"{gtt.key}:instead")
        else:
            desk.want_books()
            desk.alarm(f"fired:{gtt.client_id}", desk.clock.now_ns + AGAIN_NS, gtt.symbol, gtt.rung)

    def _escalate(self, order: Order, broker_id: str) -> None:
        """Modified further below the last price, one step at a time; never a second sell."""
        desk = self._desk
        steps, last = desk.memory.exit_steps, desk.last(order.symbol)
        step = steps.get(order.client_id, 0)
        if last == 0:
            return
        if step >= STEPS_MAX:
            desk.cancel(order, alarm_of(order))
            return
        steps[order.client_id] = step + 1
        tick = desk.parts.tick_of(order.symbol)
        distance = STEPS_BP[min(step, len(STEPS_BP) - 1)]
        limit = max(tick, round_down(last * (BP_PER_UNIT - distance) // BP_PER_UNIT, tick))
        desk.wire.append(
            ModifyOrder(
                broker_id=broker_id,
                quantity=order.quantity,
                order_type=OrderType.LIMIT,
                limit_paise=limit,
            )
        )
        desk.note("escalated", order.symbol, order.client_id, {"limit_paise": limit, "step": step + 1})
