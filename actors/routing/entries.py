"""Entries: who may buy, with which capital, and for how long.

Owns reservations for first rungs and the life of an entry order from the wish to its time-out. The one check of
hours, limits, slots and capital is strategy/risk.py's; what passes is reserved in the same step. Never sells.
"""

from __future__ import annotations

import re

import attrs

from actors.routing.desk import Desk
from actors.routing.parts import REJECTIONS_COUNTED
from protocol.clock import MINUTE_NS, NS
from protocol.messages import AbandonEntry, Candidate, EnterRung, Reservation, Reserve, Reserved, Severity
from protocol.money import BP_PER_UNIT, round_up
from protocol.orders import Order, OrderType, Purpose, Side
from protocol.rungs import Rung, RungStatus
from strategy.risk import Circumstances, Entry, reserve

REJECTIONS_WITHIN_NS = 5 * MINUTE_NS
# Words in a rejection that will be as true at the next attempt (orders.md, "Rejections must not eat the day").
FOR_THE_DAY = re.compile(r"margin|surveillance|series|circuit", re.IGNORECASE)


class Entries:
    """What the scanner and the positions ask about buying."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # --- reservations -----------------------------------------------------------------------------

    def set_aside(self, wanted: Reserve) -> None:
        """Grant in the scanner's order; a candidate that does not fit is skipped and the next is tried."""
        ledger = self._desk.ledger
        self._lapse(wanted.at_ns)
        granted: list[Reservation] = []
        refused: list[tuple[str, str]] = []
        for candidate in wanted.candidates:
            kept = ledger.reservations.get(candidate.symbol)
            if kept is not None and kept.at_ns == wanted.at_ns:
                granted.append(kept)  # asked again by the scanner's next incarnation
                continue
            reservation = self._reservation(candidate, wanted.at_ns)
            reason = self._ladder_reason(reservation) or self._reserve(_first_rung(reservation))
            if reason is not None:
                refused.append((candidate.symbol, reason))
            else:
                ledger.reservations[candidate.symbol] = reservation
                granted.append(reservation)
        self._answer(wanted, tuple(granted), tuple(refused))

    def refuse_all(self, wanted: Reserve, reason: str) -> None:
        self._answer(wanted, (), tuple((candidate.symbol, reason) for candidate in wanted.candidates))

    def _answer(self, wanted: Reserve, granted: tuple[Reservation, ...], refused: tuple[tuple[str, str], ...]) -> None:
        parts = self._desk.parts
        parts.scanner.post(Reserved(parts.account, wanted.at_ns, granted, refused))

    def _reservation(self, candidate: Candidate, at_ns: int) -> Reservation:
        return Reservation(
            ladder=f"{candidate.symbol}-{at_ns // NS}",
            symbol=candidate.symbol,
            quantity=candidate.quantity,
            last_paise=candidate.last_paise,
            rank=candidate.rank,
            at_ns=at_ns,
            until_ns=at_ns + self._desk.parts.timings.entry_ttl_ns,
        )

    def _lapse(self, now_ns: int) -> None:
        """What was set aside and not used within entry_ttl is free again."""
        ledger = self._desk.ledger
        for symbol, reservation in list(ledger.reservations.items()):
            if reservation.until_ns < now_ns:
                ledger.release_reservation(symbol)

    def _ladder_reason(self, wanted: Reservation) -> str | None:
        """Why the symbol cannot begin this ladder now, whatever it costs."""
        ledger = self._desk.ledger
        ladder = ledger.ladders.get(wanted.symbol)
        if wanted.symbol in ledger.reservations:
            return "reserved"
        if ladder is None:
            return None
        if ladder.ladder == wanted.ladder:
            return "begun at this instant already"
        if ladder.busy:
            return "open"
        cooled = ladder.last_exit_ns + self._desk.parts.rules.cooldown_ns if ladder.last_exit_ns else 0
        retry = max((rung.retry_ns for rung in ladder.rungs.values()), default=0)
        return "cooling down" if wanted.at_ns < max(cooled, retry) else None

    def _reserve(self, entry: Entry) -> str | None:
        """None when the entry's slot and capital are set aside, else why not."""
        desk = self._desk
        parts, memory = desk.parts, desk.memory
        around = Circumstances(
            kill_switch=memory.kill_switch,
            not_trading=desk.why_not or parts.entries_stopped() or ("disk full" if memory.disk_full else ""),
            blocked=memory.frozen.get(entry.symbol, "") or memory.blocked.get(entry.symbol, ""),
            price_ns=int(parts.board.exchange_ns[parts.row_of(entry.symbol)]),
        )
        return reserve(entry, parts.limits, desk.ledger.exposure, memory.pace, around)

    # --- entering ---------------------------------------------------------------------------------

    def enter(self, wish: EnterRung) -> None:
        """Buy, or say why not. A wish that was heard before is answered with the state of its rung."""
        desk = self._desk
        known = desk.ledger.order_with_key(wish.key)
        if known is not None:
            desk.ledger.recall_attempts(known, desk.parts.timings.retry_after_ns)
            desk.ledger.touched[wish.symbol, wish.rung] = None
            return
        reason = self._rung_reason(wish) or self._reserve(_entry(wish))
        if reason is not None:
            self.refuse(wish, reason)
            return
        order = self._order(wish)
        desk.memory.pace.note(wish.symbol, order.created_ns)
        desk.ledger.begin_entry(order)
        desk.place(order)
        due = order.created_ns + desk.parts.timings.entry_timeout_ns
        desk.alarm(_alarm(order), due, order.symbol, order.rung)

    def refuse(self, wish: EnterRung, reason: str) -> None:
        """Of a first rung it is the end of the ladder: its reservation is free again."""
        kept = self._desk.ledger.reservations.get(wish.symbol)
        if kept is not None and kept.ladder == wish.ladder:
            self._desk.ledger.release_reservation(wish.symbol)
        self._desk.refuse_wish(wish, reason)

    def confirm(self, wish: EnterRung) -> EnterRung | None:
        """An entry that waited is asked at today's price, or refused when that has gone too far or too late."""
        desk = self._desk
        now, timings = desk.clock.now_ns, desk.parts.timings
        if now == wish.at_ns:
            return wish
        last = desk.last(wish.symbol)
        moved_bp = abs(last - wish.last_paise) * BP_PER_UNIT // wish.last_paise
        if now - wish.at_ns >= timings.entry_ttl_ns or moved_bp > timings.max_slippage_bp:
            waited_s = (now - wish.at_ns) / NS
            self.refuse(wish, f"expired: waited {waited_s:.1f} s, the price moved {moved_bp / 100:g} %")
            return None
        return attrs.evolve(wish, last_paise=last, at_ns=now)

    def _rung_reason(self, wish: EnterRung) -> str | None:
        """Why this rung cannot be entered now: used once per ladder, one attempt at a time, and not too often."""
        timings, ladder = self._desk.parts.timings, self._desk.ledger.ladders.get(wish.symbol)
        if ladder is None:
            return None
        if ladder.ladder != wish.ladder:
            return f"ladder {ladder.ladder} is open" if ladder.busy else None
        rung = ladder.rungs.get(wish.rung)
        if rung is None:
            return None
        if rung.status is not RungStatus.FAILED:
            return f"used: P{rung.number} is {rung.status.value}"
        if rung.attempts >= timings.attempts_per_rung:
            return f"attempts: {rung.attempts} of {timings.attempts_per_rung} ended with nothing bought"
        if rung.retry_ns > self._desk.clock.now_ns:
            return "too soon after the last attempt"
        return None

    def _order(self, wish: EnterRung) -> Order:
        """At market in paper and replay; live a limit a little above the price of the decision."""
        parts, now = self._desk.parts, self._desk.clock.now_ns
        kind, limit = parts.broker.traits.entry_type, None
        if kind is OrderType.LIMIT:
            dearest = -(-wish.last_paise * (BP_PER_UNIT + parts.timings.entry_offset_bp) // BP_PER_UNIT)
            limit = round_up(dearest, parts.tick_of(wish.symbol))
        return Order(
            client_id=self._desk.new_id(),
            key=wish.key,
            symbol=wish.symbol,
            side=Side.BUY,
            quantity=wish.quantity,
            order_type=kind,
            limit_paise=limit,
            purpose=Purpose.ENTRY,
            ladder=wish.ladder,
            rung=wish.rung,
            decision_paise=wish.last_paise,
            created_ns=now,
            updated_ns=now,
            rank=wish.rank,
        )

    # --- while it works, and how it ends ----------------------------------------------------------

    def abandon(self, wish: AbandonEntry) -> None:
        """Square-off, or a person: what still works of the rung's entry is cancelled."""
        rung = self._desk.rung(wish)
        if rung is not None:
            self.cancel(rung)
        self._desk.ledger.touched[wish.symbol, wish.rung] = None

    def cancel(self, rung: Rung) -> None:
        order = self._desk.ledger.orders.get(rung.entry_order or "")
        if order is not None and order.working:
            self._desk.cancel(order, _alarm(order))

    def watch(self, order: Order) -> None:
        """After a death of the process its time-out must be set again."""
        if not self._desk.armed(_alarm(order)):
            due = order.created_ns + self._desk.parts.timings.entry_timeout_ns
            self._desk.alarm(_alarm(order), max(due, self._desk.clock.now_ns), order.symbol, order.rung)

    def rang(self, client_id: str) -> None:
        """Its time is over: cancelled, and asked again until it has ended."""
        order = self._desk.ledger.orders.get(client_id)
        if order is not None and order.working:
            self._desk.cancel(order, _alarm(order))

    def ended(self, order: Order) -> None:
        self._desk.disarm(_alarm(order))

    def rejected(self, order: Order, text: str) -> None:
        """The exchange does not want it: for some reasons no more of this symbol today; of many in a row, no more
        at all until a person has switched entries on again.
        """
        desk, now = self._desk, self._desk.clock.now_ns
        if FOR_THE_DAY.search(text):
            desk.memory.blocked[order.symbol] = f"rejected today: {text}"
        recent = desk.memory.rejections_ns
        recent.append(now)
        if len(recent) == REJECTIONS_COUNTED and now - recent[0] <= REJECTIONS_WITHIN_NS:
            recent.clear()
            desk.memory.kill_switch = True
            desk.notify(
                Severity.ALERT, f"{REJECTIONS_COUNTED} entries rejected within five minutes: kill switch on, {text}"
            )


def _alarm(order: Order) -> str:
    return f"entry:{order.client_id}"


def _entry(wish: EnterRung) -> Entry:
    return Entry(
        ladder=wish.ladder,
        rung=wish.rung,
        symbol=wish.symbol,
        quantity=wish.quantity,
        last_paise=wish.last_paise,
        at_ns=wish.at_ns,
    )


def _first_rung(reservation: Reservation) -> Entry:
    return Entry(
        ladder=reservation.ladder,
        rung=1,
        symbol=reservation.symbol,
        quantity=reservation.quantity,
        last_paise=reservation.last_paise,
        at_ns=reservation.at_ns,
    )
