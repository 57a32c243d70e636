"""An exchange's side of one account: orders and GTTs in, what became of them out. Pure.

Owns which request does what, how a GTT's child is released, and the turn of the day; the parts are the order
book (matching_book.py), the GTTs (matching_gtts.py) and the account's money and shares
(matching_account.py). Has no clock, no board and no Trio: the instant comes with every call, prices come by
`tick`. Called by the paper exchange, by broker servers of the simulation, and by tests.

The rules of a price (trading-rules.md, "Replaying recorded bars"):
- a market order and a marketable limit trade at the last price, worse by the slippage if one is set;
- a resting limit trades at the first later tick that reaches it, at that tick's price;
- a GTT's stop triggers at a tick <= its trigger, its target at a tick >= it; the child trades at that tick's
  price if that is >= its limit, else it rests as a DAY order;
- nothing is ever compared with a tick older than its placing or its last modification.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import attrs

from brokers.matching_account import Ledger
from brokers.matching_book import Market, OrderBook
from brokers.matching_gtts import BookGtt, GttBook
from brokers.matching_orders import BookOrder
from protocol.broker import (
    Books,
    CancelGtt,
    CancelOrder,
    Event,
    Margins,
    ModifyGtt,
    ModifyOrder,
    PlaceGtt,
    PlaceOrder,
    Request,
    RequestFailed,
)
from protocol.clock import ist_date
from protocol.orders import ExitReason, GttState, Leg, OrderType, Side

# Codes of a RequestFailed of ours: the request was certainly not carried out.
INVALID_INPUT = "INVALID_INPUT"  # malformed: quantity, lot, tick size, prices its type needs or may not have
UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
NOT_FOUND = "NOT_FOUND"  # no such order today, no such GTT
NOT_WORKING = "NOT_WORKING"  # there is one, but it is over (a GTT: triggered or cancelled)
REFUSED = "REFUSED"  # a modification that the exchange or its risk check will not have
TRIGGER_TOO_NEAR = "TRIGGER_TOO_NEAR"


@attrs.frozen(kw_only=True)
class EngineOptions:
    """How real the exchange is. `cash_paise` None: no margin limit. `id_prefix` tells runs apart."""

    cash_paise: int | None = None
    slippage_bp: int = 0
    gtt_min_distance_bp: int = 0
    id_prefix: str = ""


class MatchingEngine:
    """One account at an exchange; `chance` turns partial fills on.

    A request that is malformed or names nothing that works answers RequestFailed; an order that the exchange
    will not have is REJECTED and stays in the book, with a reason. Without a price yet an order rests.
    """

    def __init__(
        self, market: Market, at_ns: int, options: EngineOptions | None = None, chance: Random | None = None
    ) -> None:
        self._market = market
        self._options = options or EngineOptions()
        self._day = ist_date(at_ns)
        self._ids = 0
        self._ledger = Ledger(self._options.cash_paise)
        self._gtts = GttBook(self._options.gtt_min_distance_bp)
        self._orders = OrderBook(market, self._ledger, self._options.slippage_bp, chance, lambda: self._new_id("T"))
        self._answers: dict[type, Callable[[Any, int], list[Event]]] = {
            PlaceOrder: self._place_order,
            ModifyOrder: self._modify_order,
            CancelOrder: self._cancel_order,
            PlaceGtt: self._place_gtt,
            ModifyGtt: self._modify_gtt,
            CancelGtt: self._cancel_gtt,
        }

    # --- what happens to it ----------------------------------------------------------------------

    def submit(self, request: Request, at_ns: int) -> list[Event]:
        """Carry out one request; the answer is complete. Never raises for a refusal."""
        return self._answers[type(request)](request, at_ns)

    def tick(self, symbol: str, price_paise: int, at_ns: int) -> list[Event]:
        """One trade price: what it fills and triggers, orders before GTTs, oldest first.

        Outside continuous trading nothing happens.
        """
        if not self._market.is_open(symbol, at_ns):
            return []
        events: list[Event] = []
        events += self._orders.tick(symbol, price_paise, at_ns)
        for gtt in self._gtts.active(symbol):
            hit = gtt.leg_hit(price_paise)
            if hit is not None:
                events += self._trigger(gtt, *hit, price_paise, at_ns)
        return events

    def end_of_day(self, at_ns: int) -> list[Event]:
        """Continuous trading is over: every order still working is CANCELLED, children of GTTs included."""
        return list(self._orders.end_of_day(at_ns))

    def start_of_day(self, at_ns: int) -> list[Event]:
        """A new day: the order and trade books begin empty, positions become holdings.

        A repeat on the same day changes nothing. Answers what had not lapsed the evening before.
        """
        if ist_date(at_ns) <= self._day:
            return []
        events = self.end_of_day(at_ns)
        self._day = ist_date(at_ns)
        self._orders.start_of_day()
        self._ledger.start_of_day()
        self._gtts.forget_old(at_ns)
        return events

    # --- what can be read ------------------------------------------------------------------------

    def edges(self, symbol: str) -> tuple[int, int]:
        """(low, high): only a price at or below low, or at or above high, changes anything here."""
        order_low, order_high = self._orders.edges(symbol)
        gtt_low, gtt_high = self._gtts.edges(symbol)
        return max(order_low, gtt_low), min(order_high, gtt_high)

    def symbols(self) -> set[str]:
        """Symbols in which an order or a GTT stands."""
        return self._orders.symbols() | self._gtts.symbols()

    def books(self, at_ns: int) -> Books:
        return Books(
            orders=self._orders.updates(),
            gtts=self._gtts.updates(),
            trades=self._ledger.trades(),
            positions=self._ledger.positions(),
            holdings=self._ledger.holdings(),
            at_ns=at_ns,
        )

    def margins(self) -> Margins:
        return self._ledger.margins()

    # --- orders ----------------------------------------------------------------------------------

    def _place_order(self, request: PlaceOrder, at_ns: int) -> list[Event]:
        known = self._orders.placed_as(request.client_id)
        if known is not None:
            return [known.update()]
        listing = self._market.listings.get(request.symbol)
        if listing is None:
            return [_failed(request, UNKNOWN_SYMBOL, f"{request.symbol} is not traded here", at_ns)]
        order = BookOrder(
            broker_id=self._new_id("P"),
            client_id=request.client_id,
            gtt_id=None,
            symbol=request.symbol,
            side=request.side,
            quantity=request.quantity,
            order_type=request.order_type,
            limit_paise=request.limit_paise,
            trigger_paise=request.trigger_paise,
            at_ns=at_ns,
        )
        problem = order.form_problem(listing)
        if problem:
            return [_failed(request, INVALID_INPUT, problem, at_ns)]
        self._orders.enter(order, self._market.last_price(order.symbol), at_ns)
        return [order.update()]

    def _modify_order(self, request: ModifyOrder, at_ns: int) -> list[Event]:
        order = self._orders.get(request.broker_id)
        if order is None or not order.working:
            return [_no_order(request, order, at_ns)]
        malformed, refused = self._orders.modify(order, request, at_ns)
        if malformed:
            return [_failed(request, INVALID_INPUT, malformed, at_ns)]
        if refused:
            return [_failed(request, REFUSED, refused, at_ns)]
        return [order.update()]

    def _cancel_order(self, request: CancelOrder, at_ns: int) -> list[Event]:
        order = self._orders.get(request.broker_id)
        if order is None or not order.working:
            return [_no_order(request, order, at_ns)]
        self._orders.cancel(order, at_ns, "cancelled on request")
        return [order.update()]

    # --- GTTs ------------------------------------------------------------------------------------

    def _place_gtt(self, request: PlaceGtt, at_ns: int) -> list[Event]:
        known = self._gtts.placed_as(request.client_id)
        if known is not None:
            return [known.update()]
        if request.symbol not in self._market.listings:
            return [_failed(request, UNKNOWN_SYMBOL, f"{request.symbol} is not traded here", at_ns)]
        refusal = self._gtt_refusal(request, request.symbol, at_ns)
        if refusal is not None:
            return [refusal]
        gtt = BookGtt(
            gtt_id=self._new_id("G"),
            client_id=request.client_id,
            symbol=request.symbol,
            quantity=request.quantity,
            stop=request.stop,
            target=request.target,
            at_ns=at_ns,
        )
        self._gtts.add(gtt)
        return [gtt.update()]

    def _modify_gtt(self, request: ModifyGtt, at_ns: int) -> list[Event]:
        gtt = self._gtts.get(request.gtt_id)
        if gtt is None or gtt.state is not GttState.ACTIVE:
            return [_no_gtt(request, gtt, at_ns)]
        refusal = self._gtt_refusal(request, gtt.symbol, at_ns)
        if refusal is not None:
            return [refusal]
        gtt.quantity = request.quantity
        gtt.stop = request.stop
        gtt.target = request.target
        gtt.at_ns = at_ns
        return [gtt.update()]

    def _cancel_gtt(self, request: CancelGtt, at_ns: int) -> list[Event]:
        gtt = self._gtts.get(request.gtt_id)
        if gtt is None or gtt.state is not GttState.ACTIVE:
            return [_no_gtt(request, gtt, at_ns)]
        self._gtts.end(gtt, GttState.CANCELLED, at_ns, "cancelled on request")
        return [gtt.update()]

    def _gtt_refusal(self, request: PlaceGtt | ModifyGtt, symbol: str, at_ns: int) -> RequestFailed | None:
        stop, target = request.stop, request.target
        problem = self._gtts.form_problem(request.quantity, stop, target, self._market.listings[symbol])
        if problem:
            return _failed(request, INVALID_INPUT, problem, at_ns)
        if self._options.gtt_min_distance_bp:
            last = self._market.last_price(symbol) or request.last_paise
            problem = self._gtts.distance_problem(stop, target, last)
            if problem:
                return _failed(request, TRIGGER_TOO_NEAR, problem, at_ns)
        return None

    def _trigger(self, gtt: BookGtt, fired: ExitReason, leg: Leg, price_paise: int, at_ns: int) -> list[Event]:
        """Release the leg's child, a LIMIT sell; one that is refused is REJECTED in the book."""
        child = BookOrder(
            broker_id=self._new_id("P"),
            client_id=None,
            gtt_id=gtt.gtt_id,
            symbol=gtt.symbol,
            side=Side.SELL,
            quantity=gtt.quantity,
            order_type=OrderType.LIMIT,
            limit_paise=leg.limit_paise,
            trigger_paise=None,
            at_ns=at_ns,
        )
        gtt.fired = fired
        gtt.child_id = child.broker_id
        self._gtts.end(gtt, GttState.TRIGGERED, at_ns, "")
        self._orders.enter(child, price_paise, at_ns)
        return [gtt.update(), child.update()]

    # --- a process starts again ------------------------------------------------------------------

    def restore_order(self, order: BookOrder) -> None:
        """An order of today that the exchange had; restore the shares first, they count its fills."""
        self._orders.restore(order)

    def restore_gtt(self, gtt: BookGtt) -> None:
        """GTTs are restored in the order of their creation, which is the order in which they trigger."""
        self._gtts.add(gtt)

    def restore_position(self, symbol: str, bought: int, cost_paise: int, sold: int, proceeds_paise: int) -> None:
        """Shares bought today, and what was sold of them."""
        self._ledger.restore_position(symbol, bought, cost_paise, sold, proceeds_paise)

    def restore_holding(self, symbol: str, settled: int, t1: int, cost_paise: int, *, paid: bool) -> None:
        """Shares of earlier days. `paid`: their cost left this account's cash."""
        self._ledger.restore_holding(symbol, settled, t1, cost_paise, paid=paid)

    def _new_id(self, kind: str) -> str:
        """An id nobody has had in this run; the prefix tells runs apart."""
        self._ids += 1
        return f"{kind}{self._options.id_prefix}-{self._ids}"


def _failed(request: Request, code: str, message: str, at_ns: int) -> RequestFailed:
    return RequestFailed(request=request, reached=False, code=code, message=message, at_ns=at_ns)


def _no_order(request: ModifyOrder | CancelOrder, order: BookOrder | None, at_ns: int) -> RequestFailed:
    if order is None:
        return _failed(request, NOT_FOUND, f"there is no order {request.broker_id} today", at_ns)
    return _failed(request, NOT_WORKING, f"order {request.broker_id} is {order.state.value}", at_ns)


def _no_gtt(request: ModifyGtt | CancelGtt, gtt: BookGtt | None, at_ns: int) -> RequestFailed:
    if gtt is None:
        return _failed(request, NOT_FOUND, f"there is no GTT {request.gtt_id}", at_ns)
    return _failed(request, NOT_WORKING, f"GTT {request.gtt_id} is {gtt.state.value}", at_ns)
