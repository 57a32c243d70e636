"""A feed that falls silent for a while although the market goes on, and a broker who can still be asked for prices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from typing import Any

import trio

from brokers.paper import PaperBroker, PaperExchange
from market.candles import Candles, CompletedBars
from market.feeds.frame import Feed, Frame, Item
from market.history import History
from market.instruments import Universe
from protocol.broker import Quote


class SilentFeed:
    """Passes a feed on, but for the frames from `first_ns` up to `last_ns`, which nobody gets to see.

    `quotes` knows all of them at their time, except of the `unquoted` symbols.
    """

    def __init__(self, feed: Feed, first_ns: int, last_ns: int, *, unquoted: Collection[str] = ()) -> None:
        self._feed = feed
        self._first_ns = first_ns
        self._last_ns = last_ns
        self._unquoted = frozenset(unquoted)
        self._prices: dict[str, tuple[list[int], list[int]]] = {}  # symbol → times and prices
        self._noted: Item | None = None
        self.withheld = 0

    @property
    def universe(self) -> Universe:
        return self._feed.universe

    @property
    def interval_s(self) -> float:
        return self._feed.interval_s

    def peek(self) -> Item | None:
        while (item := self._feed.peek()) is not None:
            if isinstance(item, Frame) and item is not self._noted:
                self._note(item)
                self._noted = item
            if not isinstance(item, Frame) or not self._first_ns <= item.at_ns <= self._last_ns:
                return item
            self.withheld += 1
            self._feed.ack()
        return None

    def ack(self) -> None:
        self._feed.ack()

    def skip_to(self, at_ns: int) -> None:
        self._feed.skip_to(at_ns)

    def warm_up(self, history: History, candles: Candles) -> list[CompletedBars]:
        return self._feed.warm_up(history, candles)

    def quotes(self, symbols: Sequence[str], now_ns: int) -> list[Quote]:
        """The last price of each symbol at that time, with the time it was made."""
        found = []
        for symbol in symbols:
            times, prices = self._prices.get(symbol, ([], []))
            place = bisect_right(times, now_ns) - 1
            if place >= 0 and symbol not in self._unquoted:
                found.append(Quote(symbol=symbol, last_paise=prices[place], at_ns=times[place]))
        return found

    def _note(self, frame: Frame) -> None:
        symbols = self._feed.universe.symbols
        for row, price in zip(frame.rows.tolist(), frame.price_paise.tolist(), strict=True):
            times, prices = self._prices.setdefault(symbols[row], ([], []))
            times.append(frame.at_ns)
            prices.append(price)


def broker_that_quotes(feed: SilentFeed, now_ns: Callable[[], int]) -> type[PaperBroker]:
    """Paper whose quotes come from the market itself and not from what our stream has brought."""

    class QuotingBroker(PaperBroker):
        def __init__(self, exchange: PaperExchange, account: str) -> None:
            super().__init__(exchange, account)
            self.asked = 0

        async def quotes(self, symbols: Sequence[str]) -> list[Quote]:
            await trio.lowlevel.checkpoint()
            self.asked += 1
            return feed.quotes(symbols, now_ns())

    return QuotingBroker


def unprotected_or_inconsistent(journal: Any) -> list[str]:
    """What is wrong with a journal, in words: orders and rungs that disagree, open rungs without their one GTT."""
    wrong = []
    rungs = journal.trades()
    orders = journal.orders_since(0)
    standing = [gtt for gtt in journal.live_gtts() if gtt.standing]
    for rung in rungs:
        place = (rung.ladder, rung.number)
        fills = {
            side: sum(o.filled for o in orders if (o.ladder, o.rung) == place and o.side.value == side)
            for side in ("BUY", "SELL")
        }
        if fills != {"BUY": rung.quantity, "SELL": rung.sold}:
            wrong.append(f"{place}: {fills} filled, the rung says {rung.quantity} bought and {rung.sold} sold")
        guards = [gtt.quantity for gtt in standing if (gtt.ladder, gtt.rung) == place]
        if guards != ([rung.held] if rung.open else []):
            wrong.append(f"{place}: {rung.held} held, GTTs for {guards}")
    wrong += [f"{order.client_id} still works" for order in journal.working_orders()]
    wrong += [f"two orders of one key: {key}" for key in _doubles([order.key for order in orders])]
    return wrong


def _doubles(keys: Sequence[str]) -> set[str]:
    return {key for key in keys if keys.count(key) > 1}
