"""One account at a broker server: what a request does there, and what its clients hear of it.

Owns the account's engine and book. An answer is a value: sending it is the connection's matter, putting it on the
disk before that the exchange's. Called by broker_exchange.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from brokers.matching import NOT_FOUND, NOT_WORKING, MatchingEngine
from protocol.broker import (
    CancelGtt,
    CancelOrder,
    Event,
    GttUpdate,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Quote,
    RequestFailed,
)
from protocol.broker_wire import GttTriggered, Refusal, Response
from protocol.broker_wire_requests import (
    Changed,
    ChangeGtt,
    ChangeOrder,
    GetGtts,
    GetHoldings,
    GetMargins,
    GetOrder,
    GetOrders,
    GetPositions,
    GetQuotes,
    GetTrades,
    Read,
)
from protocol.broker_wire_rows import OrderReport
from protocol.orders import ExitReason, GttState
from simulation.broker_book import TRADING, AccountBook, Form
from simulation.broker_market import ServerMarket
from simulation.trouble import Trouble

Update = OrderReport | GttTriggered  # what clients are told without asking
Answered = tuple[Response | Refusal, list[Update]]
Later = Callable[[float, Callable[[], None]], None]  # (seconds of machine time, what to do then)


class Seat:
    """`later` runs something after a while."""

    def __init__(
        self, engine: MatchingEngine, book: AccountBook, market: ServerMarket, trouble: Trouble, later: Later
    ) -> None:
        self.engine = engine
        self.book = book
        self._market = market
        self._trouble = trouble
        self._later = later
        self._answers: dict[type, Callable[[str, Any], Answered]] = {
            PlaceOrder: self._place_order,
            ChangeOrder: self._change_order,
            CancelOrder: self._cancel_order,
            PlaceGtt: self._place_gtt,
            ChangeGtt: self._change_gtt,
            CancelGtt: self._submit_gtt,
        }

    def carry_out(self, request_id: str, body: Changed) -> Answered:
        """Do what a request asks: its answer, and what the account's clients are to hear besides."""
        return self._answers[type(body)](request_id, body)

    def note(self, event: Event) -> list[Update]:
        """Keep what the market did, and say what the account's clients are to hear of it."""
        if isinstance(event, OrderUpdate):
            order = self.book.note_order(event)
            return [] if order is None else [order]
        assert isinstance(event, GttUpdate), f"a price cannot cause {event}"
        report = self.book.note_gtt(event)
        if event.state is not GttState.TRIGGERED or event.fired is None:
            return []
        leg = event.target if event.fired is ExitReason.TARGET and event.target is not None else event.stop
        return [
            GttTriggered(
                gtt_id=event.gtt_id,
                symbol=event.symbol,
                trigger_paise=leg.trigger_paise,
                leg=event.fired,
                order_id=event.child_id,
                gtt=report,
            )
        ]

    def read(self, request_id: str, body: Read) -> Response | Refusal:
        """What a request wants to know."""
        book, now_ns = self.book, self._market.now_ns
        match body:
            case GetOrders(since_ns):
                first = since_ns or 0
                orders = tuple(row for row in book.orders.values() if row.update.at_ns >= first)
                return Response(request_id=request_id, orders=orders)
            case GetOrder():
                client_id = body.client_order_id
                row = book.order_placed_as(client_id) if client_id else book.orders.get(body.order_id or "")
                if row is None:
                    return _refused(request_id, NOT_FOUND, f"there is no order {client_id or body.order_id}")
                return Response(request_id=request_id, order_id=row.update.broker_id, order=row)
            case GetGtts():
                return Response(request_id=request_id, gtts=tuple(book.gtts.values()))
            case GetTrades(since_ns):
                first = since_ns or 0
                return Response(request_id=request_id, trades=tuple(row for row in book.trades if row.at_ns >= first))
            case GetPositions():
                return Response(request_id=request_id, positions=self.engine.books(now_ns).positions)
            case GetHoldings():
                return Response(request_id=request_id, holdings=self.engine.books(now_ns).holdings)
            case GetMargins():
                return Response(request_id=request_id, margins=self.engine.margins())
            case GetQuotes(symbols):
                return Response(request_id=request_id, quotes=self._quotes(symbols))

    def _quotes(self, symbols: Sequence[str]) -> tuple[Quote, ...]:
        found = (self._market.quote(symbol) for symbol in symbols)
        return tuple(quote for quote in found if quote is not None)

    # --- orders ----------------------------------------------------------------------------------------

    def _place_order(self, request_id: str, body: PlaceOrder) -> Answered:
        known = self.book.order_placed_as(body.client_id)
        if known is not None:
            return Response(request_id=request_id, order_id=known.update.broker_id, order=known), []
        return self._submit_order(request_id, body, Form(body.order_type, body.trigger_paise))

    def _change_order(self, request_id: str, body: ChangeOrder) -> Answered:
        report = self.book.orders.get(body.order_id)
        if report is None or report.update.state not in TRADING:
            return _no_order(request_id, body.order_id, report), []
        whole = body.applied(report)
        return self._submit_order(request_id, whole, Form(whole.order_type, whole.trigger_paise))

    def _cancel_order(self, request_id: str, body: CancelOrder) -> Answered:
        report = self.book.orders.get(body.broker_id)
        if report is None or report.update.state not in TRADING:
            return _no_order(request_id, body.broker_id, report), []
        if self._trouble.happens("late_fill", "CANCEL_ORDER"):
            return self._pretend_to_cancel(request_id, report)
        return self._submit_order(request_id, body, None)

    def _pretend_to_cancel(self, request_id: str, report: OrderReport) -> Answered:
        """The order is said to be cancelled and can still trade for a while: a fill that overtakes a cancel."""
        order_id = report.update.broker_id
        self.book.ghosts.add(order_id)
        self._later(self._trouble.span_s("late_fill_ms"), lambda: self._lay(order_id))
        update = attrs.evolve(report.update, at_ns=self._market.now_ns, message="cancelled on request")
        shown = self.book.note_order(update) or report
        return Response(request_id=request_id, order_id=order_id, order=shown), [shown]

    def _lay(self, order_id: str) -> None:
        """The ghost of an order is cancelled for good; nobody hears of it a second time."""
        self.engine.submit(CancelOrder(order_id), self._market.now_ns)
        self.book.ghosts.discard(order_id)

    def _submit_order(
        self, request_id: str, request: PlaceOrder | ModifyOrder | CancelOrder, form: Form | None
    ) -> Answered:
        (event,) = self.engine.submit(request, self._market.now_ns)
        if isinstance(event, RequestFailed):
            return _refused(request_id, event.code, event.message), []
        assert isinstance(event, OrderUpdate), f"an order request was answered with {event}"
        report = self.book.note_order(event, form) or self.book.orders[event.broker_id]
        return Response(request_id=request_id, order_id=event.broker_id, order=report), [report]

    # --- GTTs ------------------------------------------------------------------------------------------

    def _place_gtt(self, request_id: str, body: PlaceGtt) -> Answered:
        known = self.book.gtt_placed_as(body.client_id)
        if known is not None:
            return Response(request_id=request_id, gtt_id=known.update.gtt_id, gtt=known), []
        return self._submit_gtt(request_id, body)

    def _change_gtt(self, request_id: str, body: ChangeGtt) -> Answered:
        report = self.book.gtts.get(body.gtt_id)
        if report is None:
            return _refused(request_id, NOT_FOUND, f"there is no GTT {body.gtt_id}"), []
        last = self._market.last_price(report.update.symbol)
        return self._submit_gtt(request_id, body.applied(report.update, last))

    def _submit_gtt(self, request_id: str, request: PlaceGtt | ModifyGtt | CancelGtt) -> Answered:
        (event,) = self.engine.submit(request, self._market.now_ns)
        if isinstance(event, RequestFailed):
            return _refused(request_id, event.code, event.message), []
        assert isinstance(event, GttUpdate), f"a GTT request was answered with {event}"
        report = self.book.note_gtt(event)
        return Response(request_id=request_id, gtt_id=event.gtt_id, gtt=report), []


def _refused(request_id: str, code: str, message: str) -> Refusal:
    return Refusal(request_id=request_id, code=code, message=message)


def _no_order(request_id: str, order_id: str, report: OrderReport | None) -> Refusal:
    if report is None:
        return _refused(request_id, NOT_FOUND, f"there is no order {order_id}")
    return _refused(request_id, NOT_WORKING, f"order {order_id} is {report.update.state.value}")
