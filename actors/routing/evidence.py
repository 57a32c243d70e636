"""What the broker says, as it happens: orders, GTTs, and requests that did not do what they asked.

Owns who hears of which news: the books are brought up to date first (bookkeeping.py), then entries, guards and
exits say what follows. What cannot be is quarantined: told, journalled, and compared with the broker's books.
What is a person's own is left alone. Called with what the session posts, what `submit` knows at once, and what
reconciliation finds.
"""

from __future__ import annotations

from actors.routing.desk import Desk
from actors.routing.entries import Entries
from actors.routing.exits import Exits
from actors.routing.guards import Guards
from protocol.broker import GttUpdate, ModifyGtt, OrderUpdate, PlaceGtt, PlaceOrder, RequestFailed
from protocol.errors import RemoteProtocolError
from protocol.messages import Severity
from protocol.money import half_up
from protocol.orders import Gtt, GttEvent, Order, OrderEvent, OrderState, Purpose
from protocol.rungs import RungStatus


class Evidence:
    """One account's. Every call leaves ledger and rungs consistent; what is to be sent stands on the desk."""

    def __init__(self, desk: Desk, entries: Entries, guards: Guards, exits: Exits) -> None:
        self._desk = desk
        self._entries = entries
        self._guards = guards
        self._exits = exits

    def hear(self, event: GttUpdate | OrderUpdate | RequestFailed) -> None:
        try:
            if type(event) is GttUpdate:
                gtt = self._desk.ledger.gtt_of(event.gtt_id, event.client_id)
                if gtt is not None:
                    self._guards.heard(event, gtt)
            elif type(event) is OrderUpdate:
                order = self._order_of(event)
                if order is not None:
                    self._heard_of_order(event, order)
            elif type(event) is RequestFailed:
                self._failed(event)
        except RemoteProtocolError as impossible:
            self._quarantine(event, impossible)

    # --- orders -----------------------------------------------------------------------------------

    def _order_of(self, update: OrderUpdate) -> Order | None:
        """One of ours, or the child of one of our GTTs, which becomes one; None for a person's own."""
        desk = self._desk
        order = desk.ledger.order_of(update, desk.clock.now_ns)
        if order is None and update.gtt_id is not None:
            gtt = desk.ledger.gtt_of(update.gtt_id, None)
            if gtt is not None:
                order = desk.keeper.adopt_child(update, gtt)
        return order

    def _heard_of_order(self, update: OrderUpdate, order: Order) -> None:
        desk = self._desk
        after = desk.keeper.heard_of_order(update, order)
        if after is order:
            return
        if order.state is OrderState.INTENT:
            desk.notify(
                Severity.ALERT, f"the broker knows {order.client_id}, which was not sent: adopted", order.symbol
            )
        if after.filled > order.filled or after.state is not order.state:
            self._log_outcome(order, after, update)
        self._follow(order, after, update.message)

    def _follow(self, before: Order, after: Order, text: str) -> None:
        """What news of an order asks for next."""
        desk, keeper = self._desk, self._desk.keeper
        over = before.working and not after.working
        if after.purpose is Purpose.ENTRY:
            if over:
                self._entries.ended(after)
            self._heard_of_entry(before, after)
        elif over:
            self._exits.ended(after, text)
        elif after.working:
            self._exits.working(after)
        if over and after.state is OrderState.REJECTED and not after.filled:
            desk.notify(Severity.WARNING, f"{after.symbol} P{after.rung}: broker refused: {text}", after.symbol)
            desk.refuse(after.symbol, after.key, after.rung, text)
            if after.purpose is Purpose.ENTRY:
                self._entries.rejected(after, text)
        if keeper.bought_late:
            keeper.bought_late = False
            self._exits.sell_late()
        if keeper.oversold:
            self._exits.tell_oversold()

    def _heard_of_entry(self, before: Order, after: Order) -> None:
        rung = self._desk.ledger.rung_of(after)
        if rung is not None and rung.open and rung.entry_order == after.client_id:
            self._guards.fit(rung)
            if after.filled > before.filled and self._desk.nobody_watches(rung.symbol):
                self._exits.sell_unwatched(rung)

    # --- requests that failed -----------------------------------------------------------------------

    def _failed(self, failed: RequestFailed) -> None:
        """A request that was certainly not carried out ends there; one of unknown fate is asked about in the
        broker's books, never sent again.
        """
        desk, request = self._desk, failed.request
        text = f"{failed.code}: {failed.message}"
        if isinstance(request, PlaceOrder):
            order = desk.ledger.orders.get(request.client_id)
            if order is not None and order.working:
                event = OrderEvent.NO_ANSWER if failed.reached else OrderEvent.REJECTED
                self.end_order(order, event, text)
        elif isinstance(request, PlaceGtt):
            gtt = desk.ledger.gtts.get(request.client_id)
            if gtt is not None and gtt.standing:
                self._gtt_failed(gtt, failed, text)
        elif isinstance(request, ModifyGtt) and not failed.reached:
            self._guards.not_moved(request, text)
        else:
            desk.log("errors", f"request_failed kind={type(request).__name__} problem={text!r}")
            desk.want_books()  # what the request wanted to change may look different from what we think
        if failed.reached:
            desk.want_books()

    def _gtt_failed(self, gtt: Gtt, failed: RequestFailed, text: str) -> None:
        if failed.reached:
            self._desk.keeper.end_gtt(gtt, GttEvent.NO_ANSWER, failed.at_ns, text)
        else:
            self._guards.over(self._desk.keeper.end_gtt(gtt, GttEvent.REJECTED, failed.at_ns, text), text)

    def end_order(self, order: Order, event: OrderEvent, text: str) -> None:
        """An order that ended, or is in doubt, without the broker's book having said so."""
        desk = self._desk
        after = desk.keeper.end_order(order, event, desk.clock.now_ns, text)
        desk.note(f"order_{event.value}", order.symbol, order.client_id, {"message": text})
        self._follow(order, after, text)

    def _quarantine(self, news: GttUpdate | OrderUpdate | RequestFailed, impossible: RemoteProtocolError) -> None:
        """Nothing has changed; the broker's books, asked once, will say what is true."""
        desk, text = self._desk, f"impossible news from the broker, set aside: {impossible}"
        if text not in desk.memory.told:
            desk.note("quarantined", "", "", {"problem": str(impossible), "news": repr(news)})
            desk.want_books()
        desk.alert_once(text)

    # --- the log ------------------------------------------------------------------------------------

    def _log_outcome(self, before: Order, after: Order, update: OrderUpdate) -> None:
        """One line per fill or end of an order: the log people grep for."""
        desk = self._desk
        reason = f" reason={after.reason.value}" if after.reason else ""
        price = half_up(after.value_paise, after.filled) if after.filled else 0
        desk.log(
            "orders",
            f"order_{after.state.value.lower()} symbol={after.symbol} rung=P{after.rung} side={after.side.value}"
            f" filled={after.filled}/{after.quantity} average={price} order={after.client_id}"
            f" broker={after.broker_id}{reason}" + (f" message={update.message!r}" if update.message else ""),
        )
        rung = desk.ledger.rung_of(after)
        if rung is None:
            return
        if after.purpose is Purpose.ENTRY and after.filled and not before.filled:
            desk.log(
                "strategy",
                f"entered symbol={rung.symbol} rung=P{rung.number} qty={rung.quantity} price={price}"
                f" rank={rung.rank:.2f}",
            )
        elif rung.status is RungStatus.CLOSED and after.purpose is Purpose.EXIT:
            desk.log(
                "strategy",
                f"exited symbol={rung.symbol} rung=P{rung.number} qty={rung.sold} price={price}"
                f" reason={rung.reason.value if rung.reason else ''} gross={rung.pnl_paise}",
            )
