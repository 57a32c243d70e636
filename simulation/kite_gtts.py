"""The GTTs of one account at the Kite server, by Kite's rules, on the matching engine.

Owns trigger ids, the reading of a GTT's form (two JSON texts) and what Kite refuses in it. Never speaks HTTP and
never waits. Called by kite_routes.py and kite_exchange.py; the children it releases are orders of kite_account.py.

Only sells are traded here. A single whose trigger lies above the last price of its form is a target alone: the
engine, which knows stops with an optional target, holds it as one with a stop that no price can reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from brokers.matching_gtts import KEPT_NS
from protocol.broker import CancelGtt, GttUpdate, ModifyGtt, OrderUpdate, PlaceGtt, RequestFailed
from protocol.errors import RemoteProtocolError
from protocol.kite_values import decode_json
from protocol.orders import GttState, Leg
from simulation.kite_account import KiteAccount
from simulation.kite_book import GttEntry, OrderEntry, gtt_row
from simulation.kite_market import Share
from simulation.kite_refusal import Form, Refused, bad_input, needed, paise, refused_by_engine
from simulation.kite_rows import Row

LEGS = {"single": 1, "two-leg": 2}
CHEAP_PAISE = 5_000  # under 50 rupees a trigger keeps 9 paise away (kite-facts 8)
CHEAP_DISTANCE_PAISE = 9


@attrs.frozen(kw_only=True)
class _Wanted:
    """A GTT as its form wants it."""

    kind: str
    above: bool
    product: str
    share: Share
    quantity: int
    stop: Leg
    target: Leg | None
    last_paise: int


class GttDesk:
    """`changed` hears of every GTT in its new state."""

    def __init__(self, account: KiteAccount) -> None:
        self.entries: dict[int, GttEntry] = {}
        self.changed: Callable[[GttEntry], None] = lambda entry: None
        self.last_id = 0
        self._account = account
        self._by_engine_id: dict[str, GttEntry] = {}

    # --- what the account asks for ---------------------------------------------------------------

    def place(self, form: Form, at_ns: int) -> int:
        wanted = self._wanted(form)
        if self.active >= self._account.options.gtts_max:
            raise Refused(400, "InputException", f"Maximum of {self._account.options.gtts_max} active GTTs reached.")
        request = PlaceGtt(
            client_id=f"GTT{self.last_id + 1}",
            symbol=wanted.share.symbol,
            quantity=wanted.quantity,
            stop=wanted.stop,
            target=wanted.target,
            last_paise=wanted.last_paise,
        )
        update = self._engine_says(request, at_ns)
        self.last_id += 1
        entry = GttEntry(
            trigger_id=self.last_id,
            kind=wanted.kind,
            above=wanted.above,
            product=wanted.product,
            last_paise=wanted.last_paise,
            created_ns=at_ns,
            token=wanted.share.token,
            update=update,
        )
        self.put_back(entry)
        self.changed(entry)
        return entry.trigger_id

    def modify(self, trigger_id: str, form: Form, at_ns: int) -> int:
        """The whole GTT again. A triggered or deleted one stays as it is."""
        entry = self._active(trigger_id)
        wanted = self._wanted(form)
        if wanted.share.symbol != entry.update.symbol:
            raise bad_input(f"Invalid `condition`: GTT {trigger_id} is of {entry.update.symbol}")
        request = ModifyGtt(
            gtt_id=entry.update.gtt_id,
            quantity=wanted.quantity,
            stop=wanted.stop,
            target=wanted.target,
            last_paise=wanted.last_paise,
        )
        entry.update = self._engine_says(request, at_ns)
        entry.kind, entry.above, entry.last_paise = wanted.kind, wanted.above, wanted.last_paise
        self.changed(entry)
        return entry.trigger_id

    def delete(self, trigger_id: str, at_ns: int, ended_as: str = "") -> int:
        """`ended_as`: disabled, expired, cancelled ... when it was not the account that deleted it."""
        entry = self._active(trigger_id)
        entry.update = self._engine_says(CancelGtt(entry.update.gtt_id), at_ns)
        entry.ended_as = ended_as
        self.changed(entry)
        return entry.trigger_id

    # --- what happens to them --------------------------------------------------------------------

    def absorb(self, update: GttUpdate) -> None:
        """What the engine says of a GTT; a triggered one is told of once its child is entered."""
        entry = self._by_engine_id[update.gtt_id]
        entry.update = update
        if update.state is not GttState.TRIGGERED:
            self.changed(entry)

    def enter_child(self, update: OrderUpdate, at_ns: int) -> None:
        """The order a trigger released: in the book without a tag."""
        assert update.gtt_id is not None
        parent = self._by_engine_id[update.gtt_id]
        account = self._account
        parent.child = OrderEntry(
            order_id=account.new_id(at_ns),
            tag=None,
            product=parent.product,
            order_type="LIMIT",
            validity="DAY",
            price_paise=update.limit_paise or 0,
            placed_ns=at_ns,
            token=parent.token,
            update=update,
            placed_by=account.options.user_id,
            gtt_id=parent.trigger_id,
            meta={"gtt": parent.trigger_id} if account.options.gtt_named_in_child else {},
        )
        account.enter(parent.child)
        self.changed(parent)

    def forget_old(self, at_ns: int) -> None:
        """The list keeps what is over for a week, as the engine does."""
        for entry in list(self.entries.values()):
            if entry.update.state is not GttState.ACTIVE and at_ns - entry.update.at_ns > KEPT_NS:
                del self.entries[entry.trigger_id]
                del self._by_engine_id[entry.update.gtt_id]

    def put_back(self, entry: GttEntry) -> None:
        self.entries[entry.trigger_id] = entry
        self._by_engine_id[entry.update.gtt_id] = entry
        self.last_id = max(self.last_id, entry.trigger_id)

    # --- what can be read ------------------------------------------------------------------------

    @property
    def active(self) -> int:
        return sum(entry.update.state is GttState.ACTIVE for entry in self.entries.values())

    def rows(self) -> list[Row]:
        user_id = self._account.options.user_id
        return [gtt_row(entry, user_id) for entry in self.entries.values()]

    def row(self, trigger_id: str) -> Row:
        return gtt_row(self._known(trigger_id), self._account.options.user_id)

    # --- inside ----------------------------------------------------------------------------------

    def _engine_says(self, request: PlaceGtt | ModifyGtt | CancelGtt, at_ns: int) -> GttUpdate:
        (event,) = self._account.engine.submit(request, at_ns)
        if isinstance(event, RequestFailed):
            raise refused_by_engine(event)
        assert isinstance(event, GttUpdate)
        return event

    def _known(self, trigger_id: str) -> GttEntry:
        known = trigger_id.isascii() and trigger_id.isdigit() and len(trigger_id) < 19
        entry = self.entries.get(int(trigger_id)) if known else None
        if entry is None:
            raise Refused(404, "GeneralException", f"Trigger {trigger_id[:30]!r} does not exist.")
        return entry

    def _active(self, trigger_id: str) -> GttEntry:
        entry = self._known(trigger_id)
        if entry.update.state is not GttState.ACTIVE:
            raise Refused(400, "InputException", f"Trigger {trigger_id} is {entry.update.state.value.lower()}.")
        return entry

    def _wanted(self, form: Form) -> _Wanted:
        kind = needed(form, "type")
        if kind not in LEGS:
            raise bad_input("Invalid `type`: single or two-leg")
        condition, orders = _decoded(form, "condition", dict), _decoded(form, "orders", list)
        triggers = condition.get("trigger_values")
        if not isinstance(triggers, list) or len(triggers) != LEGS[kind] or len(orders) != LEGS[kind]:
            raise bad_input(f"Invalid `condition`: a {kind} GTT has {LEGS[kind]} trigger values and as many orders")
        share = self._account.share(condition)
        last = paise(condition.get("last_price"), "last_price")
        legs = [
            Leg(paise(trigger, "trigger_values"), _limit(order))
            for trigger, order in zip(triggers, orders, strict=True)
        ]
        quantities = {order.get("quantity") for order in orders}
        (quantity, *others) = quantities
        if others or not isinstance(quantity, int) or isinstance(quantity, bool):
            raise bad_input("Invalid `quantity`: a whole number, the same in each order")
        above = kind == "single" and legs[0].trigger_paise > last
        unreachable = Leg(share.listing.tick_paise, share.listing.tick_paise)
        if share.last_paise < CHEAP_PAISE:
            _check_cheap(legs, share.last_paise or last)
        return _Wanted(
            kind=kind,
            above=above,
            product=str(orders[0]["product"]),
            share=share,
            quantity=quantity,
            stop=unreachable if above else legs[0],
            target=legs[-1] if above or len(legs) > 1 else None,
            last_paise=last,
        )


def _decoded(form: Form, name: str, kind: type) -> Any:
    try:
        value = decode_json(needed(form, name))
    except RemoteProtocolError:
        raise bad_input(f"Invalid `{name}`: not JSON") from None
    if not isinstance(value, kind):
        raise bad_input(f"Invalid `{name}`: not of the documented form")
    return value


def _limit(order: object) -> int:
    """The limit of one of the GTT's orders, which must be a delivery sell with a limit."""
    if not isinstance(order, dict):
        raise bad_input("Invalid `orders`: not a list of orders")
    if order.get("order_type") != "LIMIT":
        raise bad_input("Invalid `order_type`: GTT orders are LIMIT orders")
    if order.get("product") not in ("CNC", "MTF"):
        raise bad_input("Invalid `product`: GTTs are for CNC, MTF and NRML; here for CNC and MTF")
    if order.get("transaction_type") != "SELL":
        raise bad_input("Invalid `transaction_type`: only GTTs that sell are traded here")
    return paise(order.get("price"), "price")


def _check_cheap(legs: list[Leg], last_paise: int) -> None:
    for leg in legs:
        if last_paise < CHEAP_PAISE and abs(leg.trigger_paise - last_paise) < CHEAP_DISTANCE_PAISE:
            raise bad_input("Trigger price is nearer than 9 paise to the last price")
