"""Kite's books, read so that they agree with each other.

Owns which calls make up a reading and how orders, trades and GTTs are tied together: a trade gets its order's id, a
fill the exact value of its trades, a GTT's child its GTT. Never changes anything at Kite. Used by the broker's
`books()` and by kite_news.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import trio

from brokers.kite_memory import KiteMemory
from brokers.kite_options import KiteOptions
from brokers.kite_rest import KiteRest
from protocol.broker import Books, GttUpdate, OrderUpdate, TradeRow
from protocol.kite_gtts import KiteGtt, read_gtts
from protocol.kite_orders import exact_values, read_orders, read_trades
from protocol.kite_portfolio import read_holdings, read_positions
from protocol.kite_wire import GTTS, HOLDINGS, ORDERS, POSITIONS, TRADES
from protocol.orders import GttState

READINGS_MAX = 3  # of orders and trades, until the trades account for every fill
AGAIN_S = 0.3


@attrs.frozen
class OrderBook:
    orders: tuple[OrderUpdate, ...]
    trades: tuple[TradeRow, ...]


class KiteBooks:
    """Every read raises KiteFailure, NoAnswer and RemoteProtocolError. `remove` is told of extra GTTs."""

    def __init__(
        self,
        rest: KiteRest,
        options: KiteOptions,
        memory: KiteMemory,
        now_ns: Callable[[], int],
        remove: Callable[[str], None],
    ) -> None:
        self._rest = rest
        self._style = options.style
        self._memory = memory
        self._now_ns = now_ns
        self._remove = remove

    async def orders(self) -> OrderBook:
        """Today's orders with the values of their trades. While something fills, orders and trades are read again
        until they agree; after three readings the average price has to do.
        """
        book = await self._orders_once()
        for _ in range(READINGS_MAX - 1):
            if _accounted(book):
                break
            await trio.sleep(AGAIN_S)
            book = await self._orders_once()
        return book

    async def _orders_once(self) -> OrderBook:
        orders = read_orders(await self._rest.read(ORDERS))
        if not any(order.filled for order in orders):
            return OrderBook(orders, ())
        trades = read_trades(await self._rest.read(TRADES))
        return OrderBook(exact_values(orders, trades), trades)

    async def gtts(self) -> tuple[KiteGtt, ...]:
        """The account's GTTs in our product. Those that nobody answered for get their ids, extras are removed."""
        listed = read_gtts(await self._rest.read(GTTS))
        style = self._style
        found = tuple(gtt for gtt in listed if (gtt.exchange, gtt.product) == (style.exchange, style.product))
        self._memory.active_gtts = sum(gtt.update.state is GttState.ACTIVE for gtt in listed)
        for gtt_id in self._memory.adopt(found):
            self._remove(gtt_id)
        return found

    async def all(self) -> Books:
        """Everything reconciliation compares. GTTs first: a child is then found among the orders read after."""
        gtts = await self.gtts()
        book = await self.orders()
        positions = read_positions(await self._rest.read(POSITIONS), self._style.product)
        holdings = read_holdings(await self._rest.read(HOLDINGS))
        orders = self._memory.linked(book.orders, gtts)
        if self._memory.mystery(orders):
            gtts = await self.gtts()
            orders = self._memory.linked(book.orders, gtts)
        return Books(
            orders=orders,
            gtts=self._memory.ours(gtts),
            trades=_named(book.trades, orders),
            positions=positions,
            holdings=holdings,
            at_ns=self._now_ns(),
        )

    async def news(self, *, with_gtts: bool) -> list[OrderUpdate | GttUpdate]:
        """What the router has not been told yet, GTTs before the children they released."""
        memory = self._memory
        gtts = await self.gtts() if with_gtts else ()
        book = await self.orders()
        orders = memory.linked(book.orders, gtts)
        if memory.mystery(orders):
            gtts = await self.gtts()
            orders = memory.linked(book.orders, gtts)
        return [*memory.new_gtts(memory.ours(gtts)), *memory.new_orders(orders)]


def _accounted(book: OrderBook) -> bool:
    traded: dict[str, int] = {}
    for trade in book.trades:
        traded[trade.broker_id] = traded.get(trade.broker_id, 0) + trade.quantity
    return all(traded.get(order.broker_id, 0) == order.filled for order in book.orders)


def _named(trades: Iterable[TradeRow], orders: Iterable[OrderUpdate]) -> tuple[TradeRow, ...]:
    """Kite's trades carry no tag; their orders do."""
    names = {order.broker_id: order.client_id for order in orders}
    return tuple(attrs.evolve(trade, client_id=names.get(trade.broker_id)) for trade in trades)
