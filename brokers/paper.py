"""Trading on paper: the Broker port of one account on the paper exchange.

Owns nothing but the account's name: all state is the exchange's (paper_exchange.py), which outlives the
broker actor. Never waits for anything but a checkpoint. The order router calls `submit` and the reads, the
broker actor `session`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import trio

from brokers.paper_exchange import PaperExchange, PaperOptions, Post
from market.calendar import Phase, TradingCalendar
from market.instruments import Universe
from protocol.broker import Books, BrokerTraits, Event, Margins, Quote, Request, SessionState
from protocol.clock import ist_date
from protocol.errors import BrokerUnavailable
from protocol.orders import OrderType

__all__ = ["PaperBroker", "PaperExchange", "PaperOptions", "continuous_trading"]


class PaperBroker:
    """The Broker port of one account on the paper exchange; all state is the exchange's."""

    def __init__(self, exchange: PaperExchange, account: str) -> None:
        self._exchange = exchange
        self._account = account
        self.traits = BrokerTraits(
            name="paper",
            entry_type=OrderType.MARKET,
            gtt_min_distance_bp=exchange.options.gtt_min_distance_bp,
            absent_after_s=0,  # its book is complete at every instant
        )

    @property
    def state(self) -> SessionState:
        return SessionState.READY if self._exchange.connected(self._account) else SessionState.CONNECTING

    def submit(self, requests: Sequence[Request]) -> list[Event]:
        """Everything is known at once; with a latency the answers come through the session instead."""
        return self._exchange.submit(self._account, requests)

    async def session(self, post: Post, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be connected until cancelled."""
        self._exchange.connect(self._account, post)
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._exchange.disconnect(self._account)

    async def books(self) -> Books:
        """Raises BrokerUnavailable while no session runs."""
        await self._reached()
        return self._exchange.books(self._account)

    async def margins(self) -> Margins:
        """Raises BrokerUnavailable while no session runs."""
        await self._reached()
        return self._exchange.margins(self._account)

    async def quotes(self, symbols: Sequence[str]) -> list[Quote]:
        """Raises BrokerUnavailable while no session runs."""
        await self._reached()
        return self._exchange.quotes(symbols)

    async def _reached(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._exchange.connected(self._account):
            raise BrokerUnavailable("paper: no session runs")


def continuous_trading(calendar: TradingCalendar, universe: Universe) -> Callable[[str, int], bool]:
    """is_open of a calendar: whether a symbol of the universe is in continuous trading at an instant."""
    derivatives = {instrument.symbol: instrument.derivatives for instrument in universe}
    # Asked for every order and every touched GTT: the session of a day is looked up once.
    session_of = lru_cache(maxsize=4)(calendar.session)

    def is_open(symbol: str, at_ns: int) -> bool:
        session = session_of(ist_date(at_ns))
        return session is not None and session.phase(at_ns, derivatives[symbol]) is Phase.CONTINUOUS

    return is_open
