"""What the actors need from outside, as protocols: brokers, the journal, market records, the paper exchange.

Owns no behaviour. The real things live in brokers/ and store/ (which actors never import) and are put together in
commands/compose.py; tests plug in fakes that pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from market.candles import CompletedBars
from market.feeds.frame import Frame
from protocol.broker import Books, BrokerTraits, Event, Margins, Quote, Request, SessionState
from protocol.journal import Change, EventRow
from protocol.orders import Gtt, Order
from protocol.rungs import Rung


class Broker(Protocol):
    """One account at one broker. Outlives the broker actor, which only runs its session."""

    @property
    def traits(self) -> BrokerTraits: ...

    @property
    def state(self) -> SessionState: ...

    def submit(self, requests: Sequence[Request]) -> list[Event]:
        """Send in order. Returns what is known at once (paper: everything); other answers come through the
        session. A refusal is a RequestFailed, never an exception. A GttUpdate that says CANCELLED has been
        read from the broker after the request, so it confirms the cancellation.
        """

    async def session(self, post: Callable[[Event], None], task_status: trio.TaskStatus[None]) -> None:
        """The connection, until cancelled. Posts SessionChanged and every update; updates while no session
        runs are lost, which the next reconciliation makes good.
        """

    async def books(self) -> Books:
        """Orders, GTTs, trades, positions and holdings as the broker has them. Raises BrokerUnavailable."""

    async def margins(self) -> Margins: ...

    async def quotes(self, symbols: Sequence[str]) -> list[Quote]: ...


class Journal(Protocol):
    """One account's database (store/journal.py). Synchronous; the order router is its only writer."""

    @property
    def database_id(self) -> str: ...

    @property
    def start_counter(self) -> int: ...

    def write(self, changes: Sequence[Change], *, before_wire: bool = False) -> None:
        """All changes in one transaction. Raises StoreFull or StoreError, and then nothing was written."""

    def next_trade_id(self) -> int: ...

    def live_rungs(self, cooled_after_ns: int) -> list[Rung]: ...

    def rungs_of(self, symbol: str, cooled_after_ns: int) -> list[Rung]: ...

    def working_orders(self) -> list[Order]: ...

    def entry_orders(self, ladder: str) -> list[Order]: ...

    def orders_since(self, at_ns: int) -> list[Order]: ...

    def live_gtts(self) -> list[Gtt]: ...

    def order_by_key(self, key: str) -> Order | None: ...

    def knows_order(self, client_id: str) -> bool: ...

    def gtt_by_key(self, key: str) -> Gtt | None: ...

    def trades(
        self,
        *,
        first_ns: int | None = None,
        last_ns: int | None = None,
        symbol: str | None = None,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[Rung]: ...

    def events(self, after: int = 0, limit: int = 500) -> list[tuple[int, EventRow]]: ...

    def free_reserve(self) -> None:
        """Give the reserve file's space back to the disk, so that exits can still be written."""


class MarketRecords(Protocol):
    """market.db: candles and rankings. The candle recorder is its only writer."""

    def write_bars(self, bars: CompletedBars, symbols: Sequence[str]) -> None: ...

    def write_ranking(self, at_ns: int, rows: Sequence[tuple[str, float, float, str]]) -> None: ...


class Exchange(Protocol):
    """The paper exchange, where orders meet prices before positions hear of them. Outlives every actor."""

    def start_of_day(self, at_ns: int) -> None: ...

    def match(self, frame: Frame) -> None: ...

    def end_of_day(self, at_ns: int) -> None: ...


class LogLine(Protocol):
    """One line of an order-path log: `stop_moved symbol=INFY rung=P2 stop=1510.05`."""

    def __call__(self, kind: str, actor: str, text: str) -> None: ...
