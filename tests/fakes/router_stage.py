"""One order router alone: a journal, a board, a clock and a broker; positions and scanner only listen.

The broker is the real paper exchange, or one that answers when it is told (told_broker.py). Time stands still
between two calls, and each call returns once the router has nothing left to do. INFY and TCS are traded, tick
size 5 paise, on Monday, 5 January 2026.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import attrs
import numpy as np
import trio
import trio.testing

from actors.mailbox import Address, Asked, InFlight
from actors.order_router import OrderRouter
from actors.routing.parts import RouterMemory, RouterParts, Timings
from brokers.paper import PaperBroker, PaperExchange, PaperOptions, continuous_trading
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from market.feeds.frame import Frame
from market.instruments import Instrument, Universe
from protocol.broker import Event, SessionState
from protocol.clock import NS, at, ist_date, second_from_text
from protocol.messages import (
    AskSnapshot,
    Candidate,
    EnterRung,
    ExitRung,
    MoveStop,
    Notice,
    Protect,
    RequestRefused,
    Reserve,
    Reserved,
    RungState,
    Severity,
)
from protocol.orders import ExitReason, Gtt, Order, OrderState
from protocol.rungs import Rung, rung_key
from store.journal import Journal
from store.opening import memory_journal, open_journal
from strategy.ladder import DEFAULT_RULES
from strategy.risk import OrderPace, RiskLimits
from tests.fakes.actor_addresses import RecordingAddress
from tests.fakes.told_broker import ToldBroker

MONDAY = date(2026, 1, 5)
CALENDAR = TradingCalendar()
UNIVERSE = Universe([Instrument("INFY", 1, 5), Instrument("TCS", 2, 5)])
PRICE = 150_000
QUANTITY = 10


class RouterStage:
    """`directory` keeps the journal in a file, for the deaths of a process. Prices in paise."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        told: bool = False,
        absent_after_s: int = 120,
        options: PaperOptions | None = None,
        limits: RiskLimits | None = None,
        journal: Journal | None = None,
        directory: Path | None = None,
    ) -> None:
        self._nursery = nursery
        self._options = options or PaperOptions()
        self._directory = directory
        self._session = trio.CancelScope()
        self.clock = MarketClock(at(MONDAY, second_from_text("10:00:00")))
        self.board = Board(len(UNIVERSE), 1)
        self.journal = journal or self._open_journal()
        self.told = ToldBroker(lambda: self.clock.now_ns, absent_after_s=absent_after_s)
        self._is_told = told
        self.limits = limits or RiskLimits()
        self.entries_stopped = ""
        self.out_of_disk: list[str] = []
        self.notices: list[Notice] = []
        self.logged: list[str] = []
        self.scanner = RecordingAddress("scanner")
        self.positions = {symbol: RecordingAddress(f"position:{symbol}") for symbol in UNIVERSE.symbols}
        self.memory = RouterMemory(OrderPace(30))
        self.address = Address("order_router:main", capacity=1024)
        self.router: OrderRouter
        self._make_exchange()

    # --- lives ------------------------------------------------------------------------------------

    async def begin(self, *, connected: bool = True) -> None:
        """The first incarnation; with prices of INFY and TCS, and a session unless told otherwise."""
        await self.tick(INFY=PRICE, TCS=PRICE)
        await self._incarnate()
        if connected:
            await self.connect()

    async def die(self) -> None:
        """The router is killed where it stands; the next incarnation begins at once."""
        await self._incarnate()

    async def process_dies(self, *, later_s: float = 1, to: date | None = None) -> None:
        """Everything is gone but the journal; at the paper exchange, what the journal knows of it."""
        assert self._directory is not None, "a journal in memory dies with its process"
        prices = {symbol: int(self.board.last[row]) for row, symbol in enumerate(UNIVERSE.symbols)}
        self.journal.close()
        now = at(to, second_from_text("10:00:00")) if to else self.clock.now_ns + round(later_s * NS)
        self.clock = MarketClock(now)
        self.board = Board(len(UNIVERSE), 1)
        self.journal = self._open_journal()
        self.memory = RouterMemory(OrderPace(30))
        self.address = Address("order_router:main", capacity=1024)
        self._make_exchange()
        await self.tick(**prices)
        await self._incarnate()
        await self.connect()

    async def memory_is_lost(self) -> None:
        """A death of the process beside a broker that lives on: alarms and memory are gone, the journal is not."""
        self.clock = MarketClock(self.clock.now_ns)
        self.memory = RouterMemory(OrderPace(30), ids=1_000)  # in place of the start counter of a file
        await self._incarnate()

    async def _incarnate(self) -> None:
        self.parts = RouterParts(
            account="main",
            tag="01",
            clock=self.clock,
            board=self.board,
            row_of=UNIVERSE.row,
            tick_of=lambda symbol: 5,
            journal=self.journal,
            broker=self.broker,
            rules=DEFAULT_RULES,
            limits=self.limits,
            memory=self.memory,
            entries_stopped=lambda: self.entries_stopped,
            scanner=self.scanner,
            position_of=self.positions.get,
            notify=self.notices.append,
            log=lambda kind, actor, text: self.logged.append(f"{kind} {text}"),
            in_flight=InFlight(),
            out_of_disk=self.out_of_disk.append,
            timings=Timings(),
            day_summary=lambda journal, at_ns: "a day",
            calendar=CALENDAR,
        )
        self.router = OrderRouter(self.address, self.parts)
        self.router.nursery = self._nursery
        await self.router.recover()
        await self.router.started()
        await self.settle()

    def _open_journal(self) -> Journal:
        if self._directory is None:
            return memory_journal(chance=Random(7))
        return open_journal(self._directory, mode="paper", chance=Random(7), now_ns=self.clock.now_ns, reserve_mb=0)[0]

    def _make_exchange(self) -> None:
        """A seat at a new paper exchange, with what the journal says it had there (commands/compose.py)."""
        self.exchange = PaperExchange(
            UNIVERSE, self.board, self.clock, continuous_trading(CALENDAR, UNIVERSE), Random, self._options
        )
        self.exchange.open_account("main", f"{self.journal.start_counter}-")
        midnight = at(ist_date(self.clock.now_ns), 0)
        orders = {o.client_id: o for o in (*self.journal.working_orders(), *self.journal.orders_since(midnight))}
        rungs = self.journal.live_rungs(midnight)
        self.exchange.restore("main", list(orders.values()), self.journal.live_gtts(), rungs)
        self.broker: Any = self.told if self._is_told else PaperBroker(self.exchange, "main")

    # --- the session ------------------------------------------------------------------------------

    async def connect(self) -> None:
        """A session begins; the router compares the books and trades."""
        self._session = trio.CancelScope()
        self.told.state = SessionState.READY
        await self._nursery.start(self._run_session)
        await self.settle()

    async def disconnect(self) -> None:
        self.told.state = SessionState.CONNECTING
        self._session.cancel()
        await self.settle()

    async def _run_session(self, task_status: trio.TaskStatus[None]) -> None:
        with self._session:
            await self.broker.session(self.address.post, task_status)

    # --- what happens ------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let the router handle all that waits, the books it reads included."""
        await trio.testing.wait_all_tasks_blocked()
        while self.address.depth:
            messages = await self.address.next_batch()
            await self.router.handle_batch(messages)
            self.address.ack_batch()
            await trio.testing.wait_all_tasks_blocked()

    async def say(self, *messages: object) -> None:
        """All in one turn, if the router is not in the middle of something."""
        for message in messages:
            self.address.post(message)
        await self.settle()

    async def hear(self, *events: Event) -> None:
        """The broker says something through its session."""
        await self.say(*events)

    async def ask(self, question: object) -> Any:
        asked = Asked(question)
        await self.say(asked)
        return await asked.outcome()

    async def tick(self, **prices: int) -> None:
        """One frame at this instant: board, paper exchange, then the router hears what came of it."""
        rows = [UNIVERSE.row(symbol) for symbol in sorted(prices)]
        count = len(rows)
        frame = Frame(
            self.clock.now_ns,
            np.array(rows, dtype=np.int32),
            np.array([prices[symbol] for symbol in sorted(prices)], dtype=np.int64),
            np.full(count, -1, dtype=np.int64),
            True,
        )
        accepted = self.board.apply(frame)
        if accepted is not None and not self._is_told:
            self.exchange.match(accepted)
        if hasattr(self, "router"):
            await self.settle()

    async def after(self, seconds: float) -> None:
        """Market time passes, alarms and all."""
        await self.until(self.clock.now_ns + round(seconds * NS))

    async def until(self, at_ns: int) -> None:
        while self.clock.ring_next(at_ns):
            await self.settle()
        self.clock.advance_to(at_ns)

    # --- what positions and the scanner ask ---------------------------------------------------------

    def enter(self, number: int = 1, symbol: str = "INFY", *, attempt: int = 1, **otherwise: Any) -> EnterRung:
        ladder = otherwise.pop("ladder", f"{symbol}-1")
        wish = EnterRung(
            key=rung_key(ladder, number, "entry", attempt),
            ladder=ladder,
            symbol=symbol,
            rung=number,
            quantity=QUANTITY,
            last_paise=PRICE,
            rank=3.5,
            at_ns=self.clock.now_ns,
        )
        return attrs.evolve(wish, **otherwise)

    def protect(
        self, number: int = 1, stop: int = 146_250, target: int | None = 157_500, ladder: str = "INFY-1"
    ) -> Protect:
        return Protect(
            key=rung_key(ladder, number, "protect", f"{stop}@{self.clock.now_ns}"),
            ladder=ladder,
            symbol="INFY",
            rung=number,
            stop_paise=stop,
            target_paise=target,
            highest_paise=PRICE,
            last_paise=PRICE,
            at_ns=self.clock.now_ns,
        )

    def move(self, stop: int, number: int = 1, target: int | None = 157_500, ladder: str = "INFY-1") -> MoveStop:
        return MoveStop(
            key=rung_key(ladder, number, "move", f"{stop}@{self.clock.now_ns}"),
            ladder=ladder,
            symbol="INFY",
            rung=number,
            stop_paise=stop,
            target_paise=target,
            highest_paise=PRICE + 1_000,
            last_paise=PRICE + 1_000,
            at_ns=self.clock.now_ns,
        )

    def leave(self, reason: ExitReason = ExitReason.SAFETY, number: int = 1, ladder: str = "INFY-1") -> ExitRung:
        return ExitRung(
            key=rung_key(ladder, number, "exit", f"{reason.value}@{self.clock.now_ns}"),
            ladder=ladder,
            symbol="INFY",
            rung=number,
            reason=reason,
            last_paise=int(self.board.last[UNIVERSE.row("INFY")]),
            at_ns=self.clock.now_ns,
        )

    def reserve(self, *symbols: str, quantity: int = QUANTITY) -> Reserve:
        return Reserve(
            self.clock.now_ns,
            tuple(Candidate(symbol=symbol, last_paise=PRICE, quantity=quantity, rank=3.5) for symbol in symbols),
        )

    async def open_rung(self, *, protected: bool = True) -> Rung:
        """P1 of INFY, bought on paper."""
        await self.say(self.enter())
        if protected:
            await self.say(self.protect())
        return self.rung()

    # --- what came of it ----------------------------------------------------------------------------

    def told_everything(self) -> bool:
        """Connected, nothing on the way to the paper exchange, the books compared."""
        on_the_way = self.clock.armed("paper exchange: requests of main arrive")
        return self.exchange.connected("main") and not on_the_way and self.address.depth == 0

    def rung(self, number: int = 1, symbol: str = "INFY") -> Rung:
        """As the position of the symbol heard of it last."""
        said = self.positions[symbol].posted
        states = [m.rung for m in said if isinstance(m, RungState) and m.rung.number == number]
        assert states, f"{symbol} has not heard of P{number}"
        return states[-1]

    def refusals(self, symbol: str = "INFY") -> list[str]:
        return [m.reason for m in self.positions[symbol].posted if isinstance(m, RequestRefused)]

    def reserved(self) -> Reserved:
        """The router's last answer to the scanner."""
        answer = self.scanner.posted[-1]
        assert isinstance(answer, Reserved)
        return answer

    def orders(self, *states: OrderState) -> list[Order]:
        """From the journal, oldest first."""
        orders = sorted(self.journal.orders_since(0), key=lambda order: (order.created_ns, order.client_id))
        return [order for order in orders if not states or order.state in states]

    def gtts(self) -> list[Gtt]:
        return self.journal.live_gtts()

    def trade(self, number: int = 1) -> Rung:
        """The rung as the journal has it."""
        (rung,) = [rung for rung in self.journal.trades() if rung.number == number]
        return rung

    def alerts(self) -> list[str]:
        return [notice.text for notice in self.notices if notice.severity is Severity.ALERT]

    def events(self, *kinds: str) -> list[str]:
        """Kinds of the audit log's lines, in order; only those asked for, if any."""
        kinds_written = [row.kind for _, row in self.journal.events()]
        return [kind for kind in kinds_written if not kinds or kind in kinds]

    async def snapshot(self) -> Any:
        return await self.ask(AskSnapshot())


def requests_of(kind: type, requests: Iterable[object]) -> list[Any]:
    return [request for request in requests if isinstance(request, kind)]
