"""How a rung follows its entry, its exits and its GTT: one rung in, the rung as it is afterwards out.

Pure, and the only place that moves a rung. The ledger calls these functions and keeps what they return.
"""

from __future__ import annotations

import attrs

from protocol.money import half_up
from protocol.orders import Gtt, GttState, Order
from protocol.rungs import Protection, Rung, RungStatus

LATE = 10  # a late fill's own rung is numbered 10 + the rung it was bought for: 11, 12, 13, then 21, ...

_PROTECTION = {
    GttState.INTENT: Protection.REQUESTED,
    GttState.UNKNOWN: Protection.REQUESTED,
    GttState.ACTIVE: Protection.STANDING,
    GttState.TRIGGERED: Protection.FIRED,
    GttState.CANCELLED: Protection.NONE,
    GttState.REJECTED: Protection.NONE,
}


def entering(order: Order, attempts: int) -> Rung:
    """A rung whose entry was decided; `attempts` entries of it have ended unfilled before."""
    return Rung(
        ladder=order.ladder,
        symbol=order.symbol,
        number=order.rung,
        status=RungStatus.ENTERING,
        rank=order.rank or 0.0,
        entry_working=True,
        entry_order=order.client_id,
        attempts=attempts,
    )


def bought(rung: Rung, before: Order, after: Order, at_ns: int, trade_id: int) -> Rung:
    """The rung after a fill of its entry: open from the first, with the fills' exact cost."""
    first = rung.status is not RungStatus.OPEN
    price = half_up(after.value_paise - before.value_paise, after.filled - before.filled)
    return attrs.evolve(
        rung,
        status=RungStatus.OPEN,
        trade_id=trade_id,
        quantity=after.filled,
        cost_paise=after.value_paise,
        entry_ns=at_ns if first else rung.entry_ns,
        highest_paise=price if first else max(rung.highest_paise, price),
        entry_order=after.client_id,
        entry_working=after.working,
    )


def not_bought(rung: Rung, at_ns: int, retry_after_ns: int) -> Rung:
    """The rung after an entry that ended with nothing filled: unused, and one attempt is counted."""
    return attrs.evolve(
        rung,
        status=RungStatus.FAILED,
        entry_working=False,
        attempts=rung.attempts + 1,
        retry_ns=at_ns + retry_after_ns,
    )


def late(before: Order, after: Order, ladder: str, number: int, at_ns: int, trade_id: int) -> Rung:
    """The rung of its own that a fill becomes when its ladder is over or its rung was entered again."""
    quantity, cost = after.filled - before.filled, after.value_paise - before.value_paise
    return Rung(
        ladder=ladder,
        symbol=after.symbol,
        number=number,
        status=RungStatus.OPEN,
        rank=after.rank or 0.0,
        trade_id=trade_id,
        quantity=quantity,
        cost_paise=cost,
        entry_ns=at_ns,
        highest_paise=half_up(cost, quantity),
        entry_order=after.client_id,
    )


def later(rung: Rung, before: Order, after: Order) -> Rung:
    """A late fill's rung after more of the same order has filled."""
    return attrs.evolve(
        rung,
        quantity=rung.quantity + after.filled - before.filled,
        cost_paise=rung.cost_paise + after.value_paise - before.value_paise,
    )


def sold(rung: Rung, shares: int, proceeds_paise: int, exit_order: Order, guard: Gtt | None, at_ns: int) -> Rung:
    """The rung after news of an exit: `shares` more are sold for `proceeds_paise`, perhaps none."""
    rung = attrs.evolve(
        rung,
        sold=rung.sold + shares,
        proceeds_paise=rung.proceeds_paise + proceeds_paise,
        exit_working=exit_order.working,
    )
    assert rung.held >= 0, f"{rung.symbol} rung {rung.number}: sold {rung.sold} of {rung.quantity}"
    if rung.held == 0:
        return attrs.evolve(
            rung,
            status=RungStatus.CLOSED,
            exit_ns=at_ns,
            reason=exit_order.reason,
            protection=Protection.NONE,
            exit_working=False,
        )
    if exit_order.working:
        return rung
    if guard is not None and guard.standing:
        return attrs.evolve(rung, protection=_PROTECTION[guard.state])
    child_to_come = rung.protection is Protection.FIRED and exit_order.gtt_client_id is None
    return rung if child_to_come else attrs.evolve(rung, protection=Protection.NONE)


def guarded(rung: Rung, gtt: Gtt) -> Rung:
    """The rung as its newest GTT protects it; what stands at the broker is its stop and target."""
    protection = _PROTECTION[gtt.state]
    standing = protection is Protection.STANDING
    return attrs.evolve(
        rung,
        protection=protection,
        gtt_id=gtt.gtt_id if protection is not Protection.NONE else None,
        stop_paise=gtt.stop.trigger_paise if standing else rung.stop_paise,
        target_paise=(gtt.target.trigger_paise if gtt.target else 0) if standing else rung.target_paise,
    )


def stands(rung: Rung, gtt: Gtt) -> bool:
    """The rung says already that this active GTT protects it."""
    return (
        rung.protection is Protection.STANDING
        and rung.gtt_id == gtt.gtt_id
        and rung.stop_paise == gtt.stop.trigger_paise
        and rung.target_paise == (gtt.target.trigger_paise if gtt.target else 0)
    )
