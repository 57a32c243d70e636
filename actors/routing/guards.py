"""Protection: one GTT per open rung, at the stop its position asked for, for exactly what the rung holds.

Owns placing, moving and resizing GTTs, and what a GTT's end means for the rung. Never sells by itself (exits.py)
and never lowers protection: a modification that fails leaves what stood before.
"""

from __future__ import annotations

import attrs

from actors.routing.desk import Desk
from actors.routing.exits import Exits
from protocol.broker import CancelGtt, GttUpdate, ModifyGtt, PlaceGtt
from protocol.messages import MoveStop, Protect, Severity
from protocol.orders import Gtt, GttState, Leg
from protocol.rungs import Protection, Rung
from strategy.ladder import stop_limit


class Guards:
    """What positions ask about stops and targets, and what the broker says of GTTs."""

    def __init__(self, desk: Desk, exits: Exits) -> None:
        self._desk = desk
        self._exits = exits
        self._refused: set[str] = set()  # GTTs whose last modification was refused: the broker's word stands

    # --- what positions ask -----------------------------------------------------------------------

    def protect(self, wish: Protect) -> None:
        """Place the rung's GTT. Nothing is placed beside one that stands, nor for a rung that is being sold."""
        desk = self._desk
        rung = desk.rung(wish)
        guard = desk.ledger.guard(wish.symbol, wish.rung)
        desk.ledger.touched[wish.symbol, wish.rung] = None
        if rung is None or not rung.open or rung.exit_working or rung.protection is Protection.FIRED:
            return
        if guard is not None and guard.standing:
            return
        if desk.ledger.has_gtt_with_key(wish.key):
            desk.refuse(wish.symbol, wish.key, wish.rung, "asked before")  # delivered again: not twice
            return
        now = desk.clock.now_ns
        gtt = Gtt(
            client_id=desk.new_id(),
            key=wish.key,
            symbol=wish.symbol,
            quantity=rung.held,
            stop=self._stop_leg(wish),
            target=_target_leg(wish.target_paise),
            ladder=wish.ladder,
            rung=wish.rung,
            created_ns=now,
            updated_ns=now,
        )
        desk.ledger.record_gtt(gtt)
        desk.ledger.record_rung(attrs.evolve(rung, protection=Protection.REQUESTED, highest_paise=wish.highest_paise))
        desk.place_gtt(
            PlaceGtt(
                client_id=gtt.client_id,
                symbol=gtt.symbol,
                quantity=gtt.quantity,
                stop=gtt.stop,
                target=gtt.target,
                last_paise=wish.last_paise,
            )
        )

    def move_stop(self, wish: MoveStop) -> None:
        """Committed before the wire; the broker's answer then changes nothing."""
        desk = self._desk
        ledger = desk.ledger
        rung = desk.rung(wish)
        guard = ledger.guard(wish.symbol, wish.rung)
        stop, target = self._stop_leg(wish), _target_leg(wish.target_paise)
        if (
            rung is None
            or guard is None
            or guard.gtt_id is None
            or guard.state is not GttState.ACTIVE
            or not rung.open
            or rung.exit_working
            or (guard.stop, guard.target) == (stop, target)
        ):
            ledger.touched[wish.symbol, wish.rung] = None
            return
        wanted = attrs.evolve(guard, stop=stop, target=target, quantity=rung.held, updated_ns=desk.clock.now_ns)
        ledger.move_stop(wanted, rung, wish.highest_paise)
        desk.wire.append(
            ModifyGtt(gtt_id=guard.gtt_id, quantity=rung.held, stop=stop, target=target, last_paise=wish.last_paise)
        )
        desk.log(
            "trailing",
            f"stop_moved symbol={wish.symbol} rung=P{wish.rung} stop={stop.trigger_paise}"
            f" from={guard.stop.trigger_paise} highest={wish.highest_paise} gtt={guard.gtt_id}",
        )

    def fit(self, rung: Rung) -> None:
        """A GTT follows the quantity it protects as the entry goes on filling."""
        guard = self._desk.ledger.guard(rung.symbol, rung.number)
        if rung.exit_working or guard is None or guard.state is not GttState.ACTIVE:
            return
        if guard.quantity != rung.held:
            wanted = attrs.evolve(guard, quantity=rung.held)
            self._desk.ledger.record_gtt(wanted)
            self._send_again(wanted)

    # --- what the broker says ---------------------------------------------------------------------

    def heard(self, update: GttUpdate, gtt: Gtt) -> None:
        """News of one of ours. Raises RemoteProtocolError for what cannot be; then nothing has changed."""
        desk = self._desk
        after = desk.keeper.heard_of_gtt(update, gtt)
        if after.state is gtt.state:
            if after.quantity != gtt.quantity:
                self._refit(after)
            return
        desk.log(
            "orders",
            f"gtt_{after.state.value.lower()} symbol={gtt.symbol} rung=P{gtt.rung} stop={after.stop.trigger_paise}"
            f" gtt={after.gtt_id}" + (f" fired={after.fired.value}" if after.fired else ""),
        )
        if after.state is GttState.ACTIVE:
            self._refit(after)
            self._exits.protected_late(after)
        elif after.state is GttState.TRIGGERED:
            self._exits.fired(after)
        else:
            self.over(after, update.message)

    def over(self, gtt: Gtt, message: str) -> None:
        """Cancelled or refused. An exit that waited for this goes out; else somebody else did it.

        After a refusal the position asks again at the next price, not at this one.
        """
        desk = self._desk
        if gtt.state is GttState.REJECTED:
            desk.refuse(gtt.symbol, gtt.key, gtt.rung, message)
            desk.alert_once(f"{gtt.symbol} P{gtt.rung}: no stop at the broker, watched here: {message}", gtt.symbol)
        if not self._exits.unguarded(gtt) and gtt.state is GttState.CANCELLED and self._guards_something(gtt):
            desk.notify(Severity.WARNING, f"{gtt.symbol} P{gtt.rung}: GTT {gtt.gtt_id} is gone: {message}", gtt.symbol)

    def not_moved(self, request: ModifyGtt, text: str) -> None:
        """What stood at the broker stands: the books say what that is, and the position hears of it."""
        gtt = self._desk.ledger.gtt_of(request.gtt_id, None)
        if gtt is not None:
            self._refused.add(gtt.client_id)
            self._desk.refuse(gtt.symbol, gtt.key, gtt.rung, text)
        self._desk.want_books()

    def differs(self, gtt: Gtt, row: GttUpdate) -> None:
        """An active GTT stands otherwise than the journal has it: the higher stop is kept, after a refusal the
        broker's.
        """
        rung = self._desk.ledger.rung_of(gtt)
        if rung is None or rung.exit_working:
            return  # it is on its way out
        if row.stop.trigger_paise > gtt.stop.trigger_paise or gtt.client_id in self._refused:
            self._refused.discard(gtt.client_id)
            self.heard(row, gtt)
        else:
            self._send_again(gtt)

    def cancel(self, gtt_id: str) -> None:
        self._desk.wire.append(CancelGtt(gtt_id))

    # --- inside -----------------------------------------------------------------------------------

    def _refit(self, gtt: Gtt) -> None:
        rung = self._desk.ledger.rung_of(gtt)
        if rung is not None and self._guards_something(gtt):
            self.fit(rung)

    def _guards_something(self, gtt: Gtt) -> bool:
        """It is the newest GTT of a rung that is open."""
        rung = self._desk.ledger.rung_of(gtt)
        return rung is not None and rung.open and self._desk.ledger.is_newest(gtt)

    def _send_again(self, gtt: Gtt) -> None:
        """A modification says the whole GTT as it shall be, so it may be repeated."""
        assert gtt.gtt_id is not None, f"GTT {gtt.client_id} is active without the broker's id"
        self._desk.wire.append(
            ModifyGtt(
                gtt_id=gtt.gtt_id,
                quantity=gtt.quantity,
                stop=gtt.stop,
                target=gtt.target,
                last_paise=self._desk.last(gtt.symbol),
            )
        )

    def _stop_leg(self, wish: Protect | MoveStop) -> Leg:
        parts = self._desk.parts
        return Leg(wish.stop_paise, stop_limit(wish.stop_paise, parts.rules, parts.tick_of(wish.symbol)))


def _target_leg(target_paise: int | None) -> Leg | None:
    """A target's limit is the target itself (trading-rules.md, "The ladder")."""
    return Leg(target_paise, target_paise) if target_paise is not None else None
