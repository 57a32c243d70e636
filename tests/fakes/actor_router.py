"""A router for one position under test: it grants everything at once, as paper does, or does as the test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from actors.mailbox import Address
from effects import MarketClock
from protocol.messages import (
    AbandonEntry,
    EnterRung,
    ExitRung,
    MoveStop,
    Protect,
    RequestRefused,
    RungState,
    TellRungs,
)
from protocol.orders import ExitReason
from protocol.rungs import Protection, Rung, RungStatus
from store.journal import Journal
from tests.fakes.actor_addresses import RecordingAddress


class FakeRouter(RecordingAddress):
    """Keeps the rungs' states and the journal behind them, and tells the position of every change.

    `holding`: requests are written down and not answered. `refusing`: rung number → why its entry is refused.
    """

    def __init__(self, clock: MarketClock, journal: Journal, position: Callable[[], Address]) -> None:
        super().__init__("order_router:main")
        self._clock = clock
        self._journal = journal
        self._position = position
        self._answered: set[str] = set()
        self.rungs: dict[int, Rung] = {}
        self.holding = False
        self.refusing: dict[int, str] = {}

    def post(self, message: Any) -> None:
        if isinstance(message, TellRungs):
            for number in self.rungs:
                self.tell(number)
            return
        super().post(message)
        if not self.holding:
            self.answer(message)

    def answer(self, request: Any) -> None:
        """Carry a request out; one that was heard before is answered with the state of its rung."""
        if isinstance(request, EnterRung) and request.rung in self.refusing:
            self.refuse(request, self.refusing[request.rung])
        elif request.key in self._answered:
            self.tell(request.rung)
        else:
            self._answered.add(request.key)
            self._carry_out(request)

    def _carry_out(self, request: Any) -> None:
        if isinstance(request, EnterRung):
            self.bought(request, request.quantity)
        elif isinstance(request, Protect | MoveStop):
            self.change(
                request.rung,
                protection=Protection.STANDING,
                stop_paise=request.stop_paise,
                target_paise=request.target_paise or 0,
                highest_paise=request.highest_paise,
            )
        elif isinstance(request, ExitRung):
            self.sold(request.rung, request.reason, request.last_paise)
        elif isinstance(request, AbandonEntry):
            self.change(request.rung, entry_working=False)

    def bought(self, request: EnterRung, filled: int, *, working: bool = False) -> None:
        """So many shares of an entry are filled at the price of the decision; more of it may still work."""
        before = self.rungs.get(request.rung)
        opened = before if before is not None and before.open and before.ladder == request.ladder else None
        self._keep(
            Rung(
                ladder=request.ladder,
                symbol=request.symbol,
                number=request.rung,
                status=RungStatus.OPEN,
                rank=request.rank,
                trade_id=opened.trade_id if opened else self._journal.next_trade_id(),
                quantity=filled,
                cost_paise=filled * request.last_paise,
                entry_ns=opened.entry_ns if opened else self._clock.now_ns,
                entry_working=working,
                highest_paise=request.last_paise,
            )
        )

    def sold(self, number: int, reason: ExitReason, price_paise: int) -> None:
        rung = self.rungs[number]
        self.change(
            number,
            status=RungStatus.CLOSED,
            sold=rung.quantity,
            proceeds_paise=rung.quantity * price_paise,
            exit_ns=self._clock.now_ns,
            reason=reason,
            exit_working=False,
            protection=Protection.NONE,
        )

    def failed(self, request: EnterRung, *, retry_ns: int) -> None:
        """An entry ended without a fill."""
        before = self.rungs.get(request.rung)
        self._keep(
            Rung(
                ladder=request.ladder,
                symbol=request.symbol,
                number=request.rung,
                status=RungStatus.FAILED,
                rank=request.rank,
                attempts=1 + (before.attempts if before else 0),
                retry_ns=retry_ns,
            )
        )

    def refuse(self, request: Any, reason: str, *, final: bool = False) -> None:
        self._position().post(RequestRefused(request.key, request.rung, reason, final))

    def change(self, number: int, **changes: Any) -> None:
        """The rung is otherwise now, and the position hears of it."""
        self._keep(attrs.evolve(self.rungs[number], **changes))

    def tell(self, number: int) -> None:
        self._position().post_latest(number, RungState(self.rungs[number]))

    def _keep(self, rung: Rung) -> None:
        self.rungs[rung.number] = rung
        if rung.trade_id:
            self._journal.write([rung])
        self.tell(rung.number)
