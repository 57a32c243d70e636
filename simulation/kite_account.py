"""One account at the Kite server: its orders, trades and shares, by Kite's rules, on the matching engine.

Owns Kite's order ids, what Kite refuses before an exchange would see it, the histories and the day's trades. GTTs
are in kite_gtts.py. Never speaks HTTP and never waits. Called by kite_routes.py with form fields and by
kite_exchange.py with prices. The engine (brokers/matching.py) decides what trades.

Differences from Kite, each refused with a clear text: only NSE, delivery (CNC) and regular orders are traded here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from random import Random

import attrs

from brokers.matching import EngineOptions, MatchingEngine
from brokers.matching_book import Market
from brokers.matching_orders import NEEDS_LIMIT, NEEDS_TRIGGER
from protocol.broker import (
    CancelOrder,
    Event,
    ModifyOrder,
    OrderUpdate,
    PlaceOrder,
    Request,
    RequestFailed,
    TradeRow,
)
from protocol.clock import ist_date
from protocol.kite_orders import TAG
from protocol.orders import OrderState, OrderType, Side
from simulation.kite_book import OrderEntry, order_row, trade_row
from simulation.kite_market import KiteMarket, Share
from simulation.kite_protection import protected_limit, protection_of
from simulation.kite_refusal import Form, Refused, bad_input, choice, price, refused_by_engine, whole
from simulation.kite_rows import Row

MODIFICATIONS_MAX = 25
ON_THE_WAY = ("PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING")
BEING_MODIFIED = ("MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED")


@attrs.frozen(kw_only=True)
class AccountOptions:
    """The account and how Kite treats it. `cash_paise` None: no margin limit. `run` tells restarts apart."""

    user_id: str = "PA0001"
    cash_paise: int | None = None
    slippage_bp: int = 0
    partial_fills: bool = False
    gtt_min_distance_bp: int = 25
    gtts_max: int = 500
    demat_consent: bool = True
    gtt_named_in_child: bool = False  # whether the order book names a child's GTT is not documented
    run: int = 1


class KiteAccount:
    """`changed` hears of every order in its new state, `traded` of every fill; `chance` is for partial fills."""

    def __init__(
        self,
        market: KiteMarket,
        is_open: Callable[[str, int], bool],
        at_ns: int,
        options: AccountOptions,
        chance: Random | None = None,
    ) -> None:
        self.options = options
        self.market = market
        self.changed: Callable[[OrderEntry], None] = lambda entry: None
        self.traded: Callable[[TradeRow], None] = lambda trade: None
        self.engine = MatchingEngine(
            Market(market.listings, market.last_price, is_open),
            at_ns,
            EngineOptions(
                cash_paise=options.cash_paise,
                slippage_bp=options.slippage_bp,
                gtt_min_distance_bp=options.gtt_min_distance_bp,
                id_prefix=str(options.run),
            ),
            chance,
        )
        self.orders: dict[str, OrderEntry] = {}
        self.trades: list[TradeRow] = []
        self._by_engine_id: dict[str, OrderEntry] = {}
        self._numbers = 0

    # --- what the account asks for ---------------------------------------------------------------

    def place(self, form: Form, at_ns: int) -> str:
        """The new order's id. A refusal by the exchange or for margin is a REJECTED order, as at Kite."""
        share = self.share(form)
        order_type, side = choice(OrderType, form, "order_type"), choice(Side, form, "transaction_type")
        tag, validity, protection = _tag(form), _validity(form), protection_of(form, order_type)
        if form.get("product") != "CNC":
            raise bad_input("Invalid `product`: only CNC is traded here")
        quantity = whole(form, "quantity")
        if side is Side.SELL:
            self._check_demat(share, quantity, at_ns)
        order_id = self.new_id(at_ns)
        request = PlaceOrder(
            client_id=order_id,  # Kite's tags are not unique, the engine's client ids are
            symbol=share.symbol,
            side=side,
            quantity=quantity,
            order_type=order_type,
            limit_paise=price(form, "price") if order_type in NEEDS_LIMIT else None,
            trigger_paise=price(form, "trigger_price") if order_type in NEEDS_TRIGGER else None,
        )
        entry = OrderEntry(
            order_id=order_id,
            tag=tag,
            product="CNC",
            order_type=order_type.value,
            validity=validity,
            price_paise=request.limit_paise or 0,
            trigger_paise=request.trigger_paise or 0,
            protection=protection,
            placed_ns=at_ns,
            token=share.token,
            update=self._engine_says(request, at_ns),
            placed_by=self.options.user_id,
        )
        self.enter(entry)
        self._rest_as_limit(entry, share, at_ns)
        if validity == "IOC" and entry.works:
            self._change(entry, CancelOrder(entry.update.broker_id), at_ns)
        return order_id

    def modify(self, order_id: str, form: Form, at_ns: int) -> str:
        """What the form does not name stays as it is."""
        entry = self._working(order_id)
        if entry.modifications >= MODIFICATIONS_MAX:
            raise Refused(400, "OrderException", "Maximum allowed order modifications exceeded.")
        order_type = choice(OrderType, form, "order_type") if "order_type" in form else OrderType(entry.order_type)
        limit = price(form, "price") if "price" in form else entry.price_paise
        trigger = price(form, "trigger_price") if "trigger_price" in form else entry.trigger_paise
        protection = protection_of(form, order_type) if "order_type" in form else entry.protection
        request = ModifyOrder(
            broker_id=entry.update.broker_id,
            quantity=whole(form, "quantity") if "quantity" in form else entry.update.quantity,
            order_type=order_type,
            limit_paise=limit if order_type in NEEDS_LIMIT else None,
            trigger_paise=trigger if order_type in NEEDS_TRIGGER else None,
        )
        update = self._engine_says(request, at_ns)
        entry.history += [order_row(entry, status) for status in BEING_MODIFIED]
        entry.modifications += 1
        entry.order_type, entry.protection = order_type.value, protection
        entry.price_paise, entry.trigger_paise = request.limit_paise or 0, request.trigger_paise or 0
        self._advance(entry, update)
        self._rest_as_limit(entry, self.market.by_symbol[entry.update.symbol], at_ns)
        return order_id

    def cancel(self, order_id: str, at_ns: int, *, only_say: bool = False) -> str:
        """`only_say`: it is said to be cancelled and can trade until `cancel_at_last`."""
        entry = self._working(order_id)
        if only_say:
            entry.said_cancelled = True
            self._advance(entry, attrs.evolve(entry.update, at_ns=at_ns))
        else:
            self._change(entry, CancelOrder(entry.update.broker_id), at_ns)
        return order_id

    def cancel_at_last(self, order_id: str, at_ns: int) -> None:
        """The end of an order that was only said to be cancelled."""
        entry = self.orders.get(order_id)
        if entry is not None and entry.works:
            self._change(entry, CancelOrder(entry.update.broker_id), at_ns)

    # --- what happens to it ----------------------------------------------------------------------

    def absorb(self, update: OrderUpdate) -> None:
        """What the engine says of an order that is known here."""
        self._advance(self._by_engine_id[update.broker_id], update)

    def knows(self, update: OrderUpdate) -> bool:
        return update.broker_id in self._by_engine_id

    def enter(self, entry: OrderEntry) -> None:
        """A new order, with the states it passed through on its way."""
        self.orders[entry.order_id] = entry
        self._by_engine_id[entry.update.broker_id] = entry
        rejected = entry.update.state is OrderState.REJECTED
        entry.history += [order_row(entry, status) for status in (ON_THE_WAY[:2] if rejected else ON_THE_WAY)]
        self._advance(entry, entry.update, filled_before=0, value_before=0)

    def put_back(self, entry: OrderEntry) -> None:
        """An order that was in the book before this process; nobody hears of it again."""
        self.orders[entry.order_id] = entry
        self._by_engine_id[entry.update.broker_id] = entry
        entry.history = [order_row(entry)]

    def forget_before(self, today: date) -> None:
        """The books live one day."""
        for entry in [entry for entry in self.orders.values() if ist_date(entry.placed_ns) != today]:
            del self.orders[entry.order_id]
            del self._by_engine_id[entry.update.broker_id]
        self.trades = [trade for trade in self.trades if trade.broker_id in self._by_engine_id]

    def new_id(self, at_ns: int) -> str:
        """Nineteen digits, as Kite's are: the day, the run of this server, a number."""
        self._numbers += 1
        return f"{ist_date(at_ns):%y%m%d}{self.options.run:05d}{self._numbers:08d}"

    # --- what can be read ------------------------------------------------------------------------

    def order_rows(self) -> list[Row]:
        return [order_row(entry) for entry in self.orders.values()]

    def history_rows(self, order_id: str) -> list[Row]:
        return self._known(order_id).history

    def trade_rows(self, order_id: str | None = None) -> list[Row]:
        if order_id is not None:
            self._known(order_id)
        found = [(trade, self._by_engine_id[trade.broker_id]) for trade in self.trades]
        return [trade_row(trade, entry) for trade, entry in found if order_id in (None, entry.order_id)]

    def share(self, form: Form) -> Share:
        """The share a form names. Raises Refused for what is not traded here."""
        if form.get("exchange") != "NSE":
            raise bad_input("Invalid `exchange`: only NSE is traded here")
        symbol = str(form.get("tradingsymbol", ""))
        share = self.market.by_symbol.get(symbol)
        if share is None:
            raise bad_input(f"The instrument {symbol[:40]!r} is not traded here")
        return share

    # --- inside ----------------------------------------------------------------------------------

    def _engine_says(self, request: Request, at_ns: int) -> OrderUpdate:
        return order_update_of(self.engine.submit(request, at_ns))

    def _change(self, entry: OrderEntry, request: Request, at_ns: int) -> None:
        self._advance(entry, self._engine_says(request, at_ns))

    def _advance(
        self,
        entry: OrderEntry,
        update: OrderUpdate,
        filled_before: int | None = None,
        value_before: int | None = None,
    ) -> None:
        filled = update.filled - (entry.update.filled if filled_before is None else filled_before)
        value = update.value_paise - (entry.update.value_paise if value_before is None else value_before)
        entry.update = update
        entry.rejected_for = update.message if update.state is OrderState.REJECTED else ""
        entry.history.append(order_row(entry))
        if filled:
            self._book_trade(entry, filled, value)
        self.changed(entry)

    def _book_trade(self, entry: OrderEntry, quantity: int, value_paise: int) -> None:
        assert value_paise % quantity == 0, f"{entry.order_id}: one fill has one price"
        self._numbers += 1
        trade = TradeRow(
            trade_id=f"{self.options.run}{self._numbers:07d}",
            broker_id=entry.update.broker_id,
            client_id=None,
            symbol=entry.update.symbol,
            side=entry.update.side,
            quantity=quantity,
            price_paise=value_paise // quantity,
            at_ns=entry.update.at_ns,
        )
        self.trades.append(trade)
        self.traded(trade)

    def _rest_as_limit(self, entry: OrderEntry, share: Share, at_ns: int) -> None:
        """What a market order could not trade at once rests as a limit at its protection."""
        if entry.order_type != OrderType.MARKET.value or not entry.works or not share.last_paise:
            return
        limit = protected_limit(entry.update.side, share, entry.protection)
        request = ModifyOrder(
            broker_id=entry.update.broker_id,
            quantity=entry.update.quantity,
            order_type=OrderType.LIMIT,
            limit_paise=limit,
        )
        entry.order_type, entry.price_paise = OrderType.LIMIT.value, limit
        self._change(entry, request, at_ns)

    def _check_demat(self, share: Share, quantity: int, at_ns: int) -> None:
        bought_today = sum(row.quantity for row in self.engine.books(at_ns).positions if row.symbol == share.symbol)
        if quantity > max(bought_today, 0) and not self.options.demat_consent:
            raise Refused(428, "HoldingException", f"Authorise the sale of {share.symbol} with your TPIN first.")

    def _known(self, order_id: str) -> OrderEntry:
        entry = self.orders.get(order_id)
        if entry is None:
            raise Refused(404, "OrderException", f"Couldn't find that `order_id`: {order_id[:30]!r} is not of today.")
        return entry

    def _working(self, order_id: str) -> OrderEntry:
        entry = self._known(order_id)
        if not entry.works or entry.said_cancelled:
            raise Refused(400, "OrderException", f"Order cannot be changed: it is {entry.status}.")
        return entry


def order_update_of(events: Sequence[Event]) -> OrderUpdate:
    """The engine's answer to a request about an order. Raises Refused when it is a refusal."""
    (event,) = events
    if isinstance(event, RequestFailed):
        raise refused_by_engine(event)
    assert isinstance(event, OrderUpdate)
    return event


def _tag(form: Form) -> str | None:
    tag = form.get("tag") or None
    if tag is not None and not TAG.fullmatch(tag):
        raise bad_input("Invalid `tag`: up to 20 letters and digits are allowed")
    return tag


def _validity(form: Form) -> str:
    validity = form.get("validity") or "DAY"
    if validity not in ("DAY", "IOC"):
        raise bad_input("Invalid `validity`: only DAY and IOC are traded here")
    return validity
