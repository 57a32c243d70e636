"""A broker that answers when it is told to: for everything a real one may say late, twice, wrongly, or not at all.

Owns no market. It writes down what was asked of it and says what the test has it say. What the promises of an
honest broker are, the contract suite says (tests/contracts/), and the paper exchange keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from protocol.broker import (
    Books,
    BrokerTraits,
    Event,
    GttUpdate,
    Margins,
    ModifyGtt,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Quote,
    Request,
    RequestFailed,
    SessionChanged,
    SessionState,
)
from protocol.errors import BrokerUnavailable
from protocol.orders import GttState, OrderState, OrderType, Side

EMPTY = Books(orders=(), gtts=(), trades=(), positions=(), holdings=(), at_ns=0)


class ToldBroker:
    """`sent` is what was asked, in order; `book` is what its books say, None while they cannot be read.

    `at_once` answers a request within `submit`; without it every answer comes through the session.
    """

    def __init__(self, now_ns: Callable[[], int], *, absent_after_s: int = 120) -> None:
        self.traits = BrokerTraits(name="told", entry_type=OrderType.LIMIT, absent_after_s=absent_after_s)
        self.state = SessionState.READY
        self.sent: list[Request] = []
        self.book: Books | None = EMPTY
        self.readings = 0
        self.at_once: Callable[[Request], list[Event]] | None = None
        self._now_ns = now_ns

    def submit(self, requests: Sequence[Request]) -> list[Event]:
        self.sent += requests
        if self.at_once is None:
            return []
        return [event for request in requests for event in self.at_once(request)]

    async def session(self, post: Callable[[Event], None], task_status: trio.TaskStatus[None]) -> None:
        post(SessionChanged(self.state, "told", self._now_ns()))
        task_status.started()
        await trio.sleep_forever()

    async def books(self) -> Books:
        self.readings += 1
        await trio.lowlevel.checkpoint()
        if self.book is None:
            raise BrokerUnavailable("told: no answer")
        return self.book

    async def margins(self) -> Margins:
        return Margins(10**12, 0)

    async def quotes(self, symbols: Sequence[str]) -> list[Quote]:
        return []

    def take(self) -> list[Request]:
        """What was asked since the last take."""
        sent, self.sent = self.sent, []
        return sent

    def has(self, *rows: OrderUpdate | GttUpdate) -> None:
        """From now on its books say this."""
        orders = tuple(row for row in rows if isinstance(row, OrderUpdate))
        gtts = tuple(row for row in rows if isinstance(row, GttUpdate))
        self.book = attrs.evolve(EMPTY, orders=orders, gtts=gtts, at_ns=self._now_ns())

    # --- what it may say --------------------------------------------------------------------------

    def order(
        self,
        request: PlaceOrder,
        state: OrderState = OrderState.OPEN,
        filled: int = 0,
        price: int = 0,
        **otherwise: Any,
    ) -> OrderUpdate:
        """News of an order: `filled` shares so far, all at `price` paise."""
        news = OrderUpdate(
            broker_id=f"B{request.client_id[-4:]}",
            client_id=request.client_id,
            gtt_id=None,
            symbol=request.symbol,
            side=request.side,
            state=state,
            quantity=request.quantity,
            filled=filled,
            value_paise=filled * price,
            at_ns=self._now_ns(),
            limit_paise=request.limit_paise,
        )
        return attrs.evolve(news, **otherwise)

    def gtt(self, request: PlaceGtt, state: GttState = GttState.ACTIVE, **otherwise: Any) -> GttUpdate:
        """News of a GTT as it was placed."""
        news = GttUpdate(
            gtt_id=f"G{request.client_id[-4:]}",
            client_id=request.client_id,
            symbol=request.symbol,
            state=state,
            quantity=request.quantity,
            stop=request.stop,
            target=request.target,
            at_ns=self._now_ns(),
        )
        return attrs.evolve(news, **otherwise)

    def modified(self, before: GttUpdate, request: ModifyGtt) -> GttUpdate:
        """News of a GTT after a modification."""
        return attrs.evolve(
            before, quantity=request.quantity, stop=request.stop, target=request.target, at_ns=self._now_ns()
        )

    def child(
        self, gtt: GttUpdate, state: OrderState = OrderState.OPEN, filled: int = 0, price: int = 0
    ) -> OrderUpdate:
        """News of the order that a GTT released by its stop."""
        return OrderUpdate(
            broker_id=f"C{gtt.gtt_id}",
            client_id=None,
            gtt_id=gtt.gtt_id,
            symbol=gtt.symbol,
            side=Side.SELL,
            state=state,
            quantity=gtt.quantity,
            filled=filled,
            value_paise=filled * price,
            at_ns=self._now_ns(),
            limit_paise=gtt.stop.limit_paise,
        )

    def failed(self, request: Request, message: str = "no", *, reached: bool = False) -> RequestFailed:
        """`reached`: nobody knows whether it was carried out."""
        return RequestFailed(request=request, reached=reached, code="TOLD", message=message, at_ns=self._now_ns())
