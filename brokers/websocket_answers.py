"""What a JSON broker's answers and updates mean to the order router.

Owns the outcome rules: a refusal was certainly not carried out; a broken link, a time-out, a server error and an
unreadable answer leave it open; a GTT is CANCELLED only when it was read so after the request. Never waits and
never sends a request again. Called by WebSocketBroker with what comes over the WebSocket or over HTTP.

Updates are cumulative and may come twice or out of order: `seq` sorts those of an order, and a GTT that is over
stays over; what is older than what was told is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import attrs

from effects import machine_s
from market.feeds.link import UNREADABLE, Answer, Heard, Lost, Unasked
from protocol.broker import (
    Books,
    CancelGtt,
    CancelOrder,
    Event,
    GttUpdate,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Request,
    RequestFailed,
    Resync,
)
from protocol.broker_wire import GttTriggered, Refusal, Response, Ticks
from protocol.broker_wire_fields import MalformedFrame
from protocol.broker_wire_requests import Body, GetGtts
from protocol.broker_wire_rows import OrderReport
from protocol.orders import GttState, OrderState

Value = TypeVar("Value")

REMEMBERED_MAX = 20_000  # orders or GTTs; four times what a broker allows in a day
RESYNC_PAUSE_S = 1.0

Send = Callable[[Sequence[tuple[Body, Heard]]], None]  # how a line to the server takes requests


class Answers:
    """One account's. `tell` takes the events, `now_ns` is the market's clock."""

    def __init__(self, tell: Callable[[Event], None], now_ns: Callable[[], int]) -> None:
        self.outdated = 0  # updates that came after newer ones
        self._tell = tell
        self._now_ns = now_ns
        self._seqs: dict[str, int] = {}  # newest per order
        self._gtts: dict[str, GttUpdate] = {}  # newest per GTT
        self._to_confirm: list[CancelGtt] = []  # answered; the GTTs are still to be read
        self._confirming = False
        self._resynced_s = float("-inf")  # machine time of the last

    # --- requests and their answers ---------------------------------------------------------------------

    def send(self, requests: Sequence[Request], line: Send) -> None:
        """Send in order over a line; each request is told of by events, once."""
        line([(request, partial(self._answered, request, line)) for request in requests])

    def _answered(self, request: Request, line: Send, answer: Answer) -> None:
        if not isinstance(answer, Response):
            self._fail(request, answer)
        elif isinstance(request, CancelGtt):
            self._to_confirm.append(request)
            self._confirm(line)
        elif isinstance(request, PlaceOrder | ModifyOrder | CancelOrder):
            self._order_answered(request, answer)
        else:
            self._gtt_answered(request, answer)

    def _order_answered(self, request: PlaceOrder | ModifyOrder | CancelOrder, answer: Response) -> None:
        if answer.order is not None:
            self._order(answer.order, asked=True)
        elif not isinstance(request, PlaceOrder):
            self._tell(Resync(f"{type(request).__name__} {request.broker_id}: carried out, the books say how"))
        elif answer.order_id is not None:
            if answer.order_id not in self._seqs:  # else an update has said more already
                self._tell(_accepted_order(request, answer.order_id, self._now_ns()))
        else:
            self._fail(request, Lost(True, UNREADABLE, "an answer without order_id"))

    def _gtt_answered(self, request: PlaceGtt | ModifyGtt, answer: Response) -> None:
        if answer.gtt is not None:
            self._gtt(answer.gtt.update)
        elif isinstance(request, ModifyGtt):
            self._tell(Resync(f"GTT {request.gtt_id}: modified, the books say how"))
        elif answer.gtt_id is not None:
            self._gtt(_accepted_gtt(request, answer.gtt_id, self._now_ns()))
        else:
            self._fail(request, Lost(True, UNREADABLE, "an answer without gtt_id"))

    def _fail(self, request: Request, answer: Refusal | Lost) -> None:
        reached = answer.reached if isinstance(answer, Lost) else not answer.certain
        self._tell(
            RequestFailed(
                request=request, reached=reached, code=answer.code, message=answer.message, at_ns=self._now_ns()
            )
        )

    # --- a cancelled GTT is read before it is believed -----------------------------------------------------

    def _confirm(self, line: Send) -> None:
        """One reading serves all cancellations answered before it began."""
        if self._to_confirm and not self._confirming:
            self._confirming = True
            cancelled, self._to_confirm = self._to_confirm, []
            line([(GetGtts(), partial(self._read_after, cancelled, line))])

    def _read_after(self, cancelled: Sequence[CancelGtt], line: Send, answer: Answer) -> None:
        self._confirming = False
        if isinstance(answer, Response) and answer.gtts is not None:
            rows = {row.update.gtt_id: row.update for row in answer.gtts}
            for request in cancelled:
                self._read_one(request, rows.get(request.gtt_id))
        else:
            said = "" if isinstance(answer, Response) else f": {answer.code}: {answer.message}"
            for request in cancelled:
                text = f"GTT {request.gtt_id}: the cancellation could not be confirmed{said}"
                self._fail(request, Lost(True, "NOT_CONFIRMED", text))
        self._confirm(line)

    def _read_one(self, request: CancelGtt, row: GttUpdate | None) -> None:
        known = self._gtts.get(request.gtt_id)
        if row is None and known is not None and known.state is GttState.ACTIVE:
            # Some servers list only what is active: not there, after an answer of success, is cancelled.
            row = attrs.evolve(known, state=GttState.CANCELLED, at_ns=self._now_ns(), message="not listed any more")
        if row is None:
            self._fail(request, Lost(True, "NOT_CONFIRMED", f"GTT {request.gtt_id} is not in the list of GTTs"))
        elif row.state is GttState.ACTIVE:
            self._fail(request, Lost(True, "NOT_CONFIRMED", f"GTT {request.gtt_id} is still active"))
        else:
            self._gtt(row)

    # --- updates ------------------------------------------------------------------------------------------

    def said(self, message: Unasked) -> None:
        """What the server says by itself, and answers that nobody waits for any more."""
        if isinstance(message, OrderReport):
            self._order(message, asked=False)
        elif isinstance(message, GttTriggered):
            self._triggered(message)
        elif isinstance(message, MalformedFrame):
            self._resync(f"a frame could not be read: {message}")
        elif not isinstance(message, Ticks):
            self._resync("an answer came too late: the books say what it changed")

    def learn(self, books: Books) -> None:
        """GTTs as the books have them, so that a trigger without its row can be told whole."""
        for gtt in books.gtts:
            if not self._outdated(gtt):
                _remember(self._gtts, gtt.gtt_id, gtt)

    def _resync(self, reason: str) -> None:
        """What was lost is in the books. A flood of garbage asks for them once a second, not once a frame."""
        now_s = machine_s()
        if now_s - self._resynced_s >= RESYNC_PAUSE_S:
            self._resynced_s = now_s
            self._tell(Resync(reason))

    def _order(self, report: OrderReport, *, asked: bool) -> None:
        """The answer to a request is told even when an update has said the same."""
        broker_id = report.update.broker_id
        if report.seq:
            newest = self._seqs.get(broker_id, 0)
            if report.seq < newest or (report.seq == newest and not asked):
                self.outdated += 1
                return
        _remember(self._seqs, broker_id, max(report.seq, self._seqs.get(broker_id, 0)))
        self._tell(report.update)

    def _gtt(self, update: GttUpdate) -> None:
        if self._outdated(update):
            self.outdated += 1
            return
        _remember(self._gtts, update.gtt_id, update)
        self._tell(update)

    def _triggered(self, message: GttTriggered) -> None:
        if message.gtt is not None:
            self._gtt(message.gtt.update)
            return
        known = self._gtts.get(message.gtt_id)
        if known is None:
            self._tell(Resync(f"GTT {message.gtt_id} in {message.symbol} triggered: the books say which it is"))
            return
        self._gtt(
            attrs.evolve(
                known,
                state=GttState.TRIGGERED,
                at_ns=self._now_ns(),
                fired=message.leg,
                child_id=message.order_id or known.child_id,
            )
        )

    def _outdated(self, update: GttUpdate) -> bool:
        known = self._gtts.get(update.gtt_id)
        return known is not None and known.state is not GttState.ACTIVE and update.state is GttState.ACTIVE


def _accepted_order(request: PlaceOrder, broker_id: str, at_ns: int) -> OrderUpdate:
    return OrderUpdate(
        broker_id=broker_id,
        client_id=request.client_id,
        gtt_id=None,
        symbol=request.symbol,
        side=request.side,
        state=OrderState.OPEN,
        quantity=request.quantity,
        filled=0,
        value_paise=0,
        at_ns=at_ns,
        limit_paise=request.limit_paise,
    )


def _accepted_gtt(request: PlaceGtt, gtt_id: str, at_ns: int) -> GttUpdate:
    return GttUpdate(
        gtt_id=gtt_id,
        client_id=request.client_id,
        symbol=request.symbol,
        state=GttState.ACTIVE,
        quantity=request.quantity,
        stop=request.stop,
        target=request.target,
        at_ns=at_ns,
    )


def _remember(memory: dict[str, Value], key: str, value: Value) -> None:
    """The newest at the end; the oldest are forgotten."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > REMEMBERED_MAX:
        del memory[next(iter(memory))]
