"""The GTTs of one account at the exchange: sells that wait for a trigger, single stops and two-leg ones.

Owns their states and which leg a price triggers. Never releases the child order itself (matching.py does)
and checks no shares: as at Kite, only the child must be covered. Called by matching.py.

A modified GTT is compared with the next tick, never with the one already seen. Prices in paise.
"""

from __future__ import annotations

import attrs

from brokers.matching_orders import NEVER_ABOVE, NEVER_BELOW, Listing
from protocol.broker import GttUpdate
from protocol.clock import DAY_S, NS
from protocol.money import BP_PER_UNIT, rupee_text
from protocol.orders import ExitReason, GttState, Leg

KEPT_NS = 7 * DAY_S * NS  # Kite lists a GTT that is over for seven days (kite-facts, GTT)


@attrs.define(eq=False, kw_only=True)
class BookGtt:
    """A row of the GTT book."""

    gtt_id: str
    client_id: str | None
    symbol: str
    quantity: int
    stop: Leg
    target: Leg | None
    at_ns: int
    state: GttState = GttState.ACTIVE
    fired: ExitReason | None = None
    child_id: str | None = None
    message: str = ""

    @classmethod
    def of(cls, update: GttUpdate) -> BookGtt:
        """The GTT that a broker's word describes: the inverse of telling it."""
        return cls(
            gtt_id=update.gtt_id,
            client_id=update.client_id,
            symbol=update.symbol,
            quantity=update.quantity,
            stop=update.stop,
            target=update.target,
            at_ns=update.at_ns,
            state=update.state,
            fired=update.fired,
            child_id=update.child_id,
            message=update.message,
        )

    def leg_hit(self, price_paise: int) -> tuple[ExitReason, Leg] | None:
        """The leg this tick triggers: the stop at or below its trigger, the target at or above."""
        if price_paise <= self.stop.trigger_paise:
            return ExitReason.STOP, self.stop
        if self.target is not None and price_paise >= self.target.trigger_paise:
            return ExitReason.TARGET, self.target
        return None

    def update(self) -> GttUpdate:
        return GttUpdate(
            gtt_id=self.gtt_id,
            client_id=self.client_id,
            symbol=self.symbol,
            state=self.state,
            quantity=self.quantity,
            stop=self.stop,
            target=self.target,
            at_ns=self.at_ns,
            fired=self.fired,
            child_id=self.child_id,
            message=self.message,
        )


class GttBook:
    """All GTTs by id, by client id, and the active ones by symbol in the order of their creation."""

    def __init__(self, min_distance_bp: int) -> None:
        self._min_distance_bp = min_distance_bp
        self._by_id: dict[str, BookGtt] = {}
        self._by_client: dict[str, BookGtt] = {}
        self._active: dict[str, dict[str, BookGtt]] = {}

    def add(self, gtt: BookGtt) -> None:
        assert gtt.gtt_id not in self._by_id, f"GTT id {gtt.gtt_id} was given twice"
        self._by_id[gtt.gtt_id] = gtt
        if gtt.client_id is not None:
            self._by_client[gtt.client_id] = gtt
        if gtt.state is GttState.ACTIVE:
            self._active.setdefault(gtt.symbol, {})[gtt.gtt_id] = gtt

    def get(self, gtt_id: str) -> BookGtt | None:
        return self._by_id.get(gtt_id)

    def placed_as(self, client_id: str) -> BookGtt | None:
        return self._by_client.get(client_id)

    def active(self, symbol: str) -> tuple[BookGtt, ...]:
        return tuple(self._active.get(symbol, {}).values())

    def symbols(self) -> set[str]:
        """Symbols in which a GTT waits."""
        return {symbol for symbol, gtts in self._active.items() if gtts}

    def end(self, gtt: BookGtt, state: GttState, at_ns: int, message: str) -> None:
        """The GTT waits no longer: TRIGGERED or CANCELLED."""
        gtt.state = state
        gtt.at_ns = at_ns
        gtt.message = message
        del self._active[gtt.symbol][gtt.gtt_id]

    def edges(self, symbol: str) -> tuple[int, int]:
        """(low, high): only a price at or below low, or at or above high, triggers a GTT of the symbol."""
        low, high = NEVER_BELOW, NEVER_ABOVE
        for gtt in self._active.get(symbol, {}).values():
            low = max(low, gtt.stop.trigger_paise)
            if gtt.target is not None:
                high = min(high, gtt.target.trigger_paise)
        return low, high

    def form_problem(self, quantity: int, stop: Leg, target: Leg | None, listing: Listing) -> str:
        """What is wrong with a GTT as written, "" when nothing is."""
        tick, lot = listing.tick_paise, listing.lot
        trigger, limit = stop.trigger_paise, stop.limit_paise
        if quantity <= 0 or quantity % lot:
            return listing.quantity_problem(quantity)
        if trigger <= 0 or limit <= 0 or trigger % tick or limit % tick:
            return listing.step_problem(trigger, limit)
        if target is None:
            return ""
        if target.trigger_paise <= trigger:
            return f"target {rupee_text(target.trigger_paise)} is not above the stop {rupee_text(trigger)}"
        return listing.step_problem(target.trigger_paise, target.limit_paise)

    def distance_problem(self, stop: Leg, target: Leg | None, last_paise: int) -> str:
        """Why a trigger is too near to the last price, "" when none is (Kite: 0.25 %, kite-facts 8)."""
        if not self._min_distance_bp:
            return ""
        for leg in (stop, target):
            if leg is not None:
                distance = abs(last_paise - leg.trigger_paise)
                if distance * BP_PER_UNIT < last_paise * self._min_distance_bp:
                    trigger, last = rupee_text(leg.trigger_paise), rupee_text(last_paise)
                    least = f"{self._min_distance_bp / 100} %"
                    return f"trigger {trigger} is nearer than {least} to the last price {last}"
        return ""

    def forget_old(self, at_ns: int) -> None:
        """Drop what has been over for a week, as the broker's list does."""
        for gtt in [gtt for gtt in self._by_id.values() if gtt.state is not GttState.ACTIVE]:
            if at_ns - gtt.at_ns > KEPT_NS:
                del self._by_id[gtt.gtt_id]
                if gtt.client_id is not None:
                    del self._by_client[gtt.client_id]

    def updates(self) -> tuple[GttUpdate, ...]:
        return tuple(gtt.update() for gtt in self._by_id.values())
