"""What the broker object remembers of an account at Kite: which ids are ours, and what the router was told last.

Owns the client ids of GTTs (Kite keeps none), the link from a GTT to its child order, the count of modifications,
and the placements of which nobody knows yet what became. Outlives the sessions, not the process: after a restart the
journal knows the ids and the books say the rest. Pure; called by the other kite_* files of this folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date

import attrs

from protocol.broker import CancelGtt, GttUpdate, ModifyGtt, OrderUpdate, PlaceGtt, PlaceOrder, Request
from protocol.kite_gtts import KiteGtt, matches
from protocol.kite_orders import linked_children
from protocol.orders import WORKING, GttState, Side


@attrs.frozen
class Unanswered:
    """A GTT that was sent and not answered: it may stand in the list, or not."""

    request: PlaceGtt
    sent_ns: int


@attrs.define(eq=False)
class KiteMemory:
    """One account's. `orders` and `gtts` hold what was told last, by Kite's ids."""

    orders: dict[str, OrderUpdate] = attrs.Factory(dict)
    gtts: dict[str, GttUpdate] = attrs.Factory(dict)
    order_ids: dict[str, str] = attrs.Factory(dict)  # by client id
    gtt_ids: dict[str, str] = attrs.Factory(dict)
    gtt_clients: dict[str, str] = attrs.Factory(dict)
    children: dict[str, str] = attrs.Factory(dict)  # child order → its GTT
    modified: Counter[str] = attrs.Factory(Counter)
    placing: Counter[str] = attrs.Factory(Counter)  # GTT placements on the wire, by symbol
    unanswered: list[Unanswered] = attrs.Factory(list)
    given_up: list[Unanswered] = attrs.Factory(list)  # told as not placed: one that turns up later is an extra
    in_doubt: set[str] = attrs.Factory(set)  # client ids that may or may not be at Kite
    active_gtts: int = 0
    day: date = date.min

    def begin_day(self, day: date) -> None:
        """Kite's order book lives one day; its GTTs go on."""
        if day != self.day:
            self.day = day
            self.orders.clear()
            self.order_ids.clear()
            self.children.clear()
            self.modified.clear()
            self.given_up.clear()
            self.in_doubt.clear()

    def line_of(self, request: Request) -> str:
        """What a request has to wait its turn for: its symbol, or its id where the symbol is not known."""
        if isinstance(request, PlaceOrder | PlaceGtt):
            return request.symbol
        told: GttUpdate | OrderUpdate | None
        if isinstance(request, ModifyGtt | CancelGtt):
            told = self.gtts.get(request.gtt_id)
        else:
            told = self.orders.get(request.broker_id)
        return told.symbol if told is not None else request_id(request)

    def doubt(self, request: Request) -> None:
        """It may have reached Kite: the same id is never sent again today."""
        if isinstance(request, PlaceOrder | PlaceGtt):
            self.in_doubt.add(request.client_id)

    # --- what the books say ------------------------------------------------------------------------

    def linked(self, orders: Iterable[OrderUpdate], gtts: Sequence[KiteGtt] = ()) -> tuple[OrderUpdate, ...]:
        """The orders, the children of GTTs named as such; what the list says of children is remembered."""
        for gtt in gtts:
            self.children.update((child, gtt.update.gtt_id) for child in gtt.child_ids)
        return tuple(
            attrs.evolve(order, gtt_id=self.children[order.broker_id], client_id=None)
            if order.broker_id in self.children
            else order
            for order in linked_children(orders, gtts)
        )

    def mystery(self, orders: Iterable[OrderUpdate]) -> bool:
        """Whether an order that nobody told of yet may be the child of a GTT: the list knows."""
        return any(
            order.client_id is None
            and order.gtt_id is None
            and order.side is Side.SELL
            and self.orders.get(order.broker_id) != order
            for order in orders
        )

    def ours(self, gtts: Sequence[KiteGtt]) -> tuple[GttUpdate, ...]:
        """The account's GTTs as the router may see them: sells only, with our ids where we know them."""
        return tuple(
            attrs.evolve(gtt.update, client_id=self.gtt_clients.get(gtt.update.gtt_id))
            for gtt in gtts
            if gtt.side is Side.SELL
        )

    def adopt(self, gtts: Sequence[KiteGtt]) -> list[str]:
        """Give GTTs that nobody answered for their ids. Returns those that were told as not placed: extras.

        While a placement in the same symbol is on the wire nothing is decided: the list may show it before its
        answer comes.
        """
        extras = []
        for gtt in gtts:
            gtt_id, symbol = gtt.update.gtt_id, gtt.update.symbol
            if gtt_id in self.gtt_clients or self.placing[symbol]:
                continue
            fits = [each for each in self.unanswered if matches(gtt, each.request, each.sent_ns)]
            if fits:
                self.unanswered.remove(fits[0])
                self.own_gtt(fits[0].request.client_id, gtt_id)
                continue
            late = [each for each in self.given_up if matches(gtt, each.request, each.sent_ns)]
            if late and gtt.update.state is GttState.ACTIVE:
                self.given_up.remove(late[0])
                self.own_gtt(late[0].request.client_id, gtt_id)
                extras.append(gtt_id)
        return extras

    def own_gtt(self, client_id: str, gtt_id: str) -> None:
        self.gtt_ids[client_id] = gtt_id
        self.gtt_clients[gtt_id] = client_id

    def own_order(self, client_id: str, broker_id: str) -> None:
        self.order_ids[client_id] = broker_id

    # --- what the router was told --------------------------------------------------------------------

    def new_gtts(self, gtts: Iterable[GttUpdate]) -> list[GttUpdate]:
        """Those that differ from what was told, now told. Strangers' are told too: the router knows its own."""
        news = [gtt for gtt in gtts if self.gtts.get(gtt.gtt_id) != gtt]
        self.gtts.update((gtt.gtt_id, gtt) for gtt in news)
        return news

    def new_orders(self, orders: Iterable[OrderUpdate]) -> list[OrderUpdate]:
        """Those of ours that say more than what was told, now told. A fill is never taken back, and what was over
        does not work again: an older reading says nothing.
        """
        news = []
        for order in orders:
            told = self.orders.get(order.broker_id)
            if told is not None and (
                told == order
                or order.filled < told.filled
                or (told.state not in WORKING and order.state in WORKING and order.filled == told.filled)
            ):
                continue
            self.orders[order.broker_id] = order
            if order.client_id is not None:
                self.own_order(order.client_id, order.broker_id)
            if order.client_id is not None or order.gtt_id is not None:
                news.append(order)
        return news


def request_id(request: Request) -> str:
    """The id by which a request names what it changes."""
    if isinstance(request, PlaceOrder | PlaceGtt):
        return request.client_id
    if isinstance(request, ModifyGtt | CancelGtt):
        return request.gtt_id
    return request.broker_id
