"""The exchange behind the Kite server: prices come in, orders and GTTs of the account trade, somebody is told.

Owns the order in which things happen to a price (prices, then orders and GTTs, then the ticker), the turn of the
day, and the record. Never speaks a wire and never waits. Called by whoever plays the market (kite_server.py's feed,
or a test) and by kite_routes.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from random import Random

import attrs
import numpy as np

from brokers.matching_gtts import BookGtt
from brokers.matching_orders import NEEDS_LIMIT, NEEDS_TRIGGER, NEVER_ABOVE, BookOrder
from brokers.paper import continuous_trading
from effects import Effects, machine_s
from market.calendar import TradingCalendar
from market.feeds.frame import DayEnd, DayStart, Feed, Frame, Item
from market.instruments import Universe
from protocol.broker import Event, GttUpdate, OrderUpdate
from protocol.clock import ist_date
from protocol.orders import OrderType, Side
from simulation.kite_account import AccountOptions, KiteAccount
from simulation.kite_book import OrderEntry
from simulation.kite_gtts import GttDesk
from simulation.kite_login import Logins
from simulation.kite_market import KiteMarket, Share
from simulation.kite_record import Record, Remembered, remembered
from simulation.trouble import Trouble


class PartialFills(Random):
    """Chance for the engine: a part instead of the whole whenever trouble (or the options) says so."""

    def __init__(self, trouble: Trouble, always: bool, sizes: Random) -> None:
        super().__init__(0)
        self._trouble = trouble
        self._always = always
        self._sizes = sizes

    def random(self) -> float:
        if self._always:
            return self._sizes.random()
        return 0.0 if self._trouble.happens("partial_fill") else 1.0

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return self._sizes.randrange(start, stop, step)


class KiteExchange:
    """One account in one market. `order_changed` hears of every order, `moved` of the shares that traded."""

    def __init__(
        self,
        universe: Universe,
        effects: Effects,
        logins: Logins,
        *,
        options: AccountOptions | None = None,
        calendar: TradingCalendar | None = None,
        feed: Feed | None = None,
        always_open: bool = False,
        record: Path | None = None,
        trouble: Trouble | None = None,
        machine_s: Callable[[], float] = machine_s,
    ) -> None:
        """`machine_s` counts the seconds of late fills. Raises ValueError for a record that cannot be read."""
        past = remembered(record)
        options = attrs.evolve(options or AccountOptions(), run=past.run + 1)
        if past.run and past.cash_paise is not None:
            options = attrs.evolve(options, cash_paise=past.cash_paise)
        self.clock = effects.market
        self.clock.advance_to(past.at_ns)
        self.day = ist_date(self.clock.now_ns)
        self.trouble = trouble or Trouble()
        self.logins = logins
        self.market = KiteMarket(universe, feed)
        self._calendar = calendar or TradingCalendar()
        self._machine_s = machine_s
        self._late_cancels: deque[tuple[float, str]] = deque()
        is_open = continuous_trading(self._calendar, universe)
        self.account = KiteAccount(
            self.market,
            (lambda symbol, at_ns: True) if always_open else is_open,
            self.clock.now_ns,
            options,
            PartialFills(self.trouble, options.partial_fills, effects.rng("partial fills")),
        )
        self.gtts = GttDesk(self.account)
        self.order_changed: Callable[[OrderEntry], None] = lambda entry: None
        self.moved: Callable[[Sequence[Share]], None] = lambda shares: None
        self._put_back(past)
        self._record = Record(record)
        self._record.began(options.run, self.clock.now_ns)
        if not past.run:
            self._record.day(self.clock.now_ns, options.cash_paise, ())
        self.account.changed = self._order_changed
        self.account.traded = self._record.trade
        self.gtts.changed = self._record.gtt
        logins.changed = lambda: self._record.login(logins.access_token, logins.login_ns)

    # --- the market ------------------------------------------------------------------------------

    def play(self, item: Item) -> None:
        """The next item of a feed."""
        self.clock.advance_to(item.at_ns)
        if isinstance(item, DayStart):
            self.start_of_day(item.at_ns)
        traded = self.market.play(item)
        if isinstance(item, Frame):
            for share, price_paise in zip(traded, item.price_paise.tolist(), strict=True):
                self._tick(share.symbol, price_paise)
            self.moved(traded)
        elif isinstance(item, DayEnd):
            self.end_of_day(item.at_ns)

    def price(self, symbol: str, price_paise: int) -> None:
        """One trade, now."""
        share = self.market.by_symbol[symbol]
        share.trade(price_paise, -1, self.clock.now_ns)
        self.market.index.move(self.market.shares, self.clock.now_ns)
        self._tick(symbol, price_paise)
        self.moved([share])

    def set_limits(self, symbol: str, lower_paise: int, upper_paise: int) -> None:
        """The day's circuit limits; 0 and 0: none."""
        listing = self.market.by_symbol[symbol].listing
        listing.lower_paise, listing.upper_paise = max(lower_paise, 1), upper_paise or NEVER_ABOVE

    def start_of_day(self, at_ns: int) -> None:
        """A new day: the books begin empty, positions become holdings. A repeat changes nothing."""
        self.clock.advance_to(at_ns)
        if ist_date(at_ns) <= self.day:
            return
        self.day = ist_date(at_ns)
        self._dispatch(self.account.engine.start_of_day(at_ns))
        self.account.forget_before(self.day)
        self.gtts.forget_old(at_ns)
        books = self.account.engine.books(at_ns)
        cash = None if self.account.options.cash_paise is None else self.account.engine.margins().available_paise
        self._record.day(at_ns, cash, books.holdings)

    def end_of_day(self, at_ns: int) -> None:
        """Continuous trading is over: what works lapses."""
        self.clock.advance_to(at_ns)
        self._dispatch(self.account.engine.end_of_day(at_ns))

    def open_on(self, day: date) -> None:
        """The open of a later trading day, at once. Raises ValueError for a day without a session."""
        session = self._calendar.session(day)
        if session is None or session.open_ns < self.clock.now_ns:
            raise ValueError(f"{day} is no trading day to come")
        closes = np.array([share.last_paise for share in self.market.shares], dtype=np.int64)
        self.play(DayStart(session.open_ns, session, closes))

    def close_trading(self) -> None:
        """The close of today's session, at once."""
        session = self._calendar.session(self.day)
        self.end_of_day(self.clock.now_ns if session is None else max(self.clock.now_ns, session.close_ns))

    def cancel(self, order_id: str) -> str:
        """Cancel an order; with trouble `late_fill` it is only said to be cancelled and trades on for a while."""
        late = self.trouble.happens("late_fill", "DELETE /orders")
        self.account.cancel(order_id, self.clock.now_ns, only_say=late)
        if late:
            self._late_cancels.append((self._machine_s() + self.trouble.span_s("late_fill_ms"), order_id))
        return order_id

    def end_late_cancels(self) -> None:
        """The end of orders whose while is over; called before anything else can trade or be read."""
        while self._late_cancels and self._late_cancels[0][0] <= self._machine_s():
            self.account.cancel_at_last(self._late_cancels.popleft()[1], self.clock.now_ns)

    def close(self) -> None:
        """Nothing is recorded any more."""
        self._record.close()

    def _tick(self, symbol: str, price_paise: int) -> None:
        self.end_late_cancels()
        self._dispatch(self.account.engine.tick(symbol, price_paise, self.clock.now_ns))

    def _dispatch(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, GttUpdate):
                self.gtts.absorb(event)
            elif isinstance(event, OrderUpdate):
                if self.account.knows(event):
                    self.account.absorb(event)
                else:
                    self.gtts.enter_child(event, self.clock.now_ns)

    def _order_changed(self, entry: OrderEntry) -> None:
        self._record.order(entry)
        self.order_changed(entry)

    # --- after a restart -------------------------------------------------------------------------

    def _put_back(self, past: Remembered) -> None:
        """Shares first, because an order's checks count them; everything in the order of its creation."""
        engine = self.account.engine
        for holding in past.holdings:
            cost = (holding.quantity + holding.t1_quantity) * holding.average_paise
            engine.restore_holding(holding.symbol, holding.quantity, holding.t1_quantity, cost, paid=False)
        for symbol in sorted({trade.symbol for trade in past.trades}):
            bought, cost = _sum(past, symbol, Side.BUY)
            sold, proceeds = _sum(past, symbol, Side.SELL)
            engine.restore_position(symbol, bought, cost, sold, proceeds)
        for entry in past.orders.values():
            self.account.put_back(entry)
            engine.restore_order(_book_order(entry))
        self.account.trades += past.trades
        for gtt in past.gtts.values():
            if gtt.child is not None:
                gtt.child = past.orders.get(gtt.child.order_id, gtt.child)  # its newest state
            self.gtts.put_back(gtt)
            engine.restore_gtt(BookGtt.of(gtt.update))
        self.logins.access_token, self.logins.login_ns = past.access_token, past.login_ns


def _sum(past: Remembered, symbol: str, side: Side) -> tuple[int, int]:
    trades = [trade for trade in past.trades if trade.symbol == symbol and trade.side is side]
    return sum(trade.quantity for trade in trades), sum(trade.quantity * trade.price_paise for trade in trades)


def _book_order(entry: OrderEntry) -> BookOrder:
    update, order_type = entry.update, OrderType(entry.order_type)
    return BookOrder(
        broker_id=update.broker_id,
        client_id=update.client_id,
        gtt_id=update.gtt_id,
        symbol=update.symbol,
        side=update.side,
        quantity=update.quantity,
        order_type=order_type,
        limit_paise=entry.price_paise if order_type in NEEDS_LIMIT else None,
        trigger_paise=entry.trigger_paise if order_type in NEEDS_TRIGGER else None,
        at_ns=update.at_ns,
        state=update.state,
        filled=update.filled,
        value_paise=update.value_paise,
        message=update.message,
        released=order_type in NEEDS_TRIGGER and update.raw_status != "TRIGGER PENDING",
    )
