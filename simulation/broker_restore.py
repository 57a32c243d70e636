"""What a broker server had when it died, rebuilt from its record.

Owns the reading of the record's lines into books and into each account's money and shares. Never writes. Called
once by broker_exchange.py, before the server listens.

Money and shares come from the trades, played through the same ledger that counted them first; the engine gets
the holdings of the morning of the record's last day, that day's net and that day's orders.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from brokers.matching import MatchingEngine
from brokers.matching_account import Ledger
from brokers.matching_gtts import BookGtt
from brokers.matching_orders import NEEDS_TRIGGER, BookOrder
from protocol.broker import HoldingRow
from protocol.broker_wire_fields import Fields, Json
from protocol.broker_wire_rows import OrderReport
from protocol.clock import ist_date
from protocol.orders import OrderType
from simulation.broker_book import AccountBook


@attrs.define(eq=False)
class Past:
    """One account's past: its ledger now, and what it had in the morning."""

    book: AccountBook
    ledger: Ledger
    holdings: tuple[HoldingRow, ...] = ()
    morning_cash_paise: int | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.morning_cash_paise = self.ledger.cash_paise

    def start_of_day(self) -> None:
        self.ledger.start_of_day()
        self.morning_cash_paise = self.ledger.cash_paise
        self.holdings = self.ledger.holdings()


@attrs.define
class Restored:
    """`starts` counts how often the server was started before; `now_ns` is the last instant it recorded, 0: none;
    `prices` are the last ones, in paise.
    """

    starts: int = 0
    now_ns: int = 0
    prices: dict[str, int] = attrs.field(factory=dict)


def replay(lines: Iterable[Json], pasts: dict[str, Past]) -> Restored:
    """Play the record into the accounts. Lines of accounts that are not served any more are left out."""
    restored = Restored()
    for line in lines:
        fields = Fields(line)
        if fields.has("start"):
            restored.starts = fields.whole("start")
        for name in ("at", "now"):
            if fields.has(name):
                restored.now_ns = max(restored.now_ns, fields.time(name))
        if fields.has("prices"):
            prices = fields.part("prices")
            restored.prices.update({symbol: prices.price(symbol) for symbol in prices.names()})
        if fields.has("day"):
            for past in pasts.values():
                past.start_of_day()
        if fields.has("account") and (account := pasts.get(fields.text("account"))) is not None:
            trade = account.book.load(line)
            if trade is not None:
                account.ledger.trade(trade)
                restored.now_ns = max(restored.now_ns, trade.at_ns)
    for past in pasts.values():
        changed = [row.update.at_ns for row in past.book.orders.values()]
        changed += [row.update.at_ns for row in past.book.gtts.values()]
        restored.now_ns = max([restored.now_ns, *changed])
    return restored


def fill_engine(engine: MatchingEngine, past: Past, now_ns: int) -> None:
    """Give the engine what the exchange had at that instant; shares first, because orders are checked by them."""
    for holding in past.holdings:
        cost = (holding.quantity + holding.t1_quantity) * holding.average_paise
        engine.restore_holding(holding.symbol, holding.quantity, holding.t1_quantity, cost, paid=False)
    for position in past.ledger.positions():
        engine.restore_position(
            position.symbol,
            position.bought,
            position.bought_value_paise,
            position.sold,
            position.sold_value_paise,
        )
    for report in past.book.orders.values():
        if ist_date(report.placed_ns) == ist_date(now_ns):
            engine.restore_order(_book_order(report))
    for gtt in past.book.gtts.values():
        engine.restore_gtt(BookGtt.of(gtt.update))


def _book_order(report: OrderReport) -> BookOrder:
    update = report.update
    order_type = report.order_type or OrderType.LIMIT
    return BookOrder(
        broker_id=update.broker_id,
        client_id=update.client_id,
        gtt_id=update.gtt_id,
        symbol=update.symbol,
        side=update.side,
        quantity=update.quantity,
        order_type=order_type,
        limit_paise=update.limit_paise,
        trigger_paise=report.trigger_paise,
        at_ns=update.at_ns,
        state=update.state,
        filled=update.filled,
        value_paise=update.value_paise,
        message=update.message,
        released=order_type in NEEDS_TRIGGER and update.raw_status != "PENDING",
    )
