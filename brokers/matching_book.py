"""The order book of one account at the exchange: what is accepted, what rests, what trades.

Owns every order of the day and the exchange's own checks (hours, circuit limits, shares, margin). Never
hears of a GTT except as the author of an order, and never of the network. Called by matching.py, which
passes each tick on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import attrs

from brokers.matching_account import Ledger
from brokers.matching_orders import NEVER_ABOVE, NEVER_BELOW, BookOrder, Listing
from protocol.broker import ModifyOrder, OrderUpdate, TradeRow
from protocol.money import rupee_text
from protocol.orders import OrderState, Side

PART_FILL_CHANCE = 0.5  # with partial fills on, every second chance to trade takes only a part


@attrs.frozen
class Market:
    """What the exchange knows of the world: how symbols trade, their last price (0: none yet), its hours."""

    listings: Mapping[str, Listing]
    last_price: Callable[[str], int]
    is_open: Callable[[str, int], bool]


class OrderBook:
    """`chance` turns partial fills on; `new_trade_id` names the fills."""

    def __init__(
        self,
        market: Market,
        ledger: Ledger,
        slippage_bp: int,
        chance: Random | None,
        new_trade_id: Callable[[], str],
    ) -> None:
        self._market = market
        self._ledger = ledger
        self._slippage_bp = slippage_bp
        self._chance = chance
        self._new_trade_id = new_trade_id
        self._orders: dict[str, BookOrder] = {}
        self._by_client: dict[str, BookOrder] = {}
        self._working: dict[str, dict[str, BookOrder]] = {}

    # --- reading ---------------------------------------------------------------------------------

    def get(self, broker_id: str) -> BookOrder | None:
        return self._orders.get(broker_id)

    def placed_as(self, client_id: str) -> BookOrder | None:
        return self._by_client.get(client_id)

    def updates(self) -> tuple[OrderUpdate, ...]:
        return tuple(order.update() for order in self._orders.values())

    def symbols(self) -> set[str]:
        """Symbols in which an order works."""
        return {symbol for symbol, orders in self._working.items() if orders}

    def edges(self, symbol: str) -> tuple[int, int]:
        """(low, high): only a price at or below low, or at or above high, changes an order of the symbol."""
        low, high = NEVER_BELOW, NEVER_ABOVE
        for order in self._working.get(symbol, {}).values():
            order_low, order_high = order.edges()
            low, high = max(low, order_low), min(high, order_high)
        return low, high

    # --- changing --------------------------------------------------------------------------------

    def enter(self, order: BookOrder, price_paise: int, at_ns: int) -> None:
        """A new, well-formed order: REJECTED with a reason, traded at the price (0: none), or resting."""
        self._remember(order)
        reason = self._refusal(order, at_ns)
        if reason:
            order.state = OrderState.REJECTED
            order.message = reason
            return
        self._work(order)
        self._try_at_once(order, price_paise, at_ns)

    def restore(self, order: BookOrder) -> None:
        """An order the exchange had before its process died; its fills are counted by the shares restored."""
        assert order.broker_id not in self._orders, f"order {order.broker_id} was restored twice"
        self._remember(order)
        if order.working:
            self._work(order)

    def modify(self, order: BookOrder, request: ModifyOrder, at_ns: int) -> tuple[str, str]:
        """Change a working order. Returns (what is malformed, why refused), both "" when done."""
        if request.quantity <= order.filled:
            return f"quantity {request.quantity} is not above the {order.filled} already filled", ""
        wanted = attrs.evolve(
            order,
            quantity=request.quantity,
            order_type=request.order_type,
            limit_paise=request.limit_paise,
            trigger_paise=request.trigger_paise,
            released=False,
        )
        problem = wanted.form_problem(self._market.listings[order.symbol])
        if problem:
            return problem, ""
        reason = self._refusal(wanted, at_ns, replaces=order)
        if reason:
            return "", reason
        self._ledger.block(-order.reserve_paise * order.remaining)
        order.quantity = request.quantity
        order.order_type = request.order_type
        order.limit_paise = request.limit_paise
        order.trigger_paise = request.trigger_paise
        order.released = False
        order.at_ns = at_ns
        self._work(order)
        self._try_at_once(order, self._market.last_price(order.symbol), at_ns)
        return "", ""

    def cancel(self, order: BookOrder, at_ns: int, message: str) -> None:
        """What is left of a working order is withdrawn."""
        self._end(order, OrderState.CANCELLED, at_ns, message)

    def tick(self, symbol: str, price_paise: int, at_ns: int) -> list[OrderUpdate]:
        """One trade price: what it releases and fills, oldest order first."""
        changed: list[OrderUpdate] = []
        for order in tuple(self._working.get(symbol, {}).values()):
            if order.waits_for_trigger:
                if not order.touches_trigger(price_paise):
                    continue
                order.released = True
                order.at_ns = at_ns
                self._try_at_once(order, price_paise, at_ns)
            elif order.limit_paise is None:
                self._take(order, price_paise, at_ns)
            elif order.trades_at(price_paise):
                self._fill(order, price_paise, at_ns)
            else:
                continue
            changed.append(order.update())
        return changed

    def end_of_day(self, at_ns: int) -> list[OrderUpdate]:
        """Every order still working lapses; all are DAY orders."""
        changed: list[OrderUpdate] = []
        for symbol in sorted(self._working):
            for order in tuple(self._working[symbol].values()):
                self._end(order, OrderState.CANCELLED, at_ns, "lapsed at the end of the day")
                changed.append(order.update())
        return changed

    def start_of_day(self) -> None:
        """The book lives one day."""
        assert not self.symbols(), "the day before did not end: orders still work"
        self._orders.clear()
        self._by_client.clear()
        self._working.clear()

    # --- the exchange's checks -------------------------------------------------------------------

    def _refusal(self, order: BookOrder, at_ns: int, replaces: BookOrder | None = None) -> str:
        """Why this well-formed order will not be had, "" when it will. `replaces`: the order it modifies."""
        symbol = order.symbol
        if not self._market.is_open(symbol, at_ns):
            return f"market closed: {symbol} is not in continuous trading"
        if order.limit_paise is not None:
            problem = self._market.listings[symbol].band_problem(order.limit_paise)
            if problem:
                return problem
        last = self._market.last_price(symbol)
        if order.waits_for_trigger and last and order.touches_trigger(last):
            side = "below" if order.side is Side.SELL else "above"
            trigger = rupee_text(order.trigger_paise or 0)
            return f"stop order: trigger {trigger} must be {side} the last price {rupee_text(last)}"
        if order.side is Side.SELL:
            return self._shares_problem(order, replaces)
        needed = self._reserve(order) * order.remaining
        freed = replaces.reserve_paise * replaces.remaining if replaces is not None else 0
        if self._ledger.affords(needed - freed):
            return ""
        available = rupee_text(self._ledger.available_paise + freed)
        return f"insufficient margin: needs {rupee_text(needed)}, available {available}"

    def _shares_problem(self, order: BookOrder, replaces: BookOrder | None) -> str:
        owned = self._ledger.owned(order.symbol)
        selling = sum(
            other.remaining
            for other in self._working.get(order.symbol, {}).values()
            if other.side is Side.SELL and other is not replaces
        )
        if order.remaining <= owned - selling:
            return ""
        return (
            f"insufficient shares: {order.remaining} {order.symbol} to be sold, "
            f"{owned} owned, {selling} of them in working sell orders"
        )

    def _reserve(self, order: BookOrder) -> int:
        """Paise per share that a buy blocks: its limit, else its trigger or the last price with slippage."""
        if order.side is Side.SELL:
            return 0
        if order.limit_paise is not None:
            return order.limit_paise
        price = order.trigger_paise or self._market.last_price(order.symbol)
        return order.taking_price(price, self._slippage_bp, self._market.listings[order.symbol])

    # --- an order's life -------------------------------------------------------------------------

    def _remember(self, order: BookOrder) -> None:
        self._orders[order.broker_id] = order
        if order.client_id is not None:
            self._by_client[order.client_id] = order

    def _work(self, order: BookOrder) -> None:
        self._working.setdefault(order.symbol, {})[order.broker_id] = order
        order.reserve_paise = self._reserve(order)
        self._ledger.block(order.reserve_paise * order.remaining)

    def _try_at_once(self, order: BookOrder, price_paise: int, at_ns: int) -> None:
        if price_paise and not order.waits_for_trigger and order.trades_at(price_paise):
            self._take(order, price_paise, at_ns)

    def _take(self, order: BookOrder, price_paise: int, at_ns: int) -> None:
        """Trade at the price there is, with slippage."""
        listing = self._market.listings[order.symbol]
        self._fill(order, order.taking_price(price_paise, self._slippage_bp, listing), at_ns)

    def _fill(self, order: BookOrder, price_paise: int, at_ns: int) -> None:
        quantity = self._part(order.remaining, self._market.listings[order.symbol].lot)
        self._ledger.block(-order.reserve_paise * quantity)
        self._ledger.trade(
            TradeRow(
                trade_id=self._new_trade_id(),
                broker_id=order.broker_id,
                client_id=order.client_id,
                symbol=order.symbol,
                side=order.side,
                quantity=quantity,
                price_paise=price_paise,
                at_ns=at_ns,
            )
        )
        order.filled += quantity
        order.value_paise += quantity * price_paise
        assert order.filled <= order.quantity, f"{order.broker_id}: {order.filled} filled of {order.quantity}"
        if order.remaining:
            order.state = OrderState.PARTIAL
            order.at_ns = at_ns
        else:
            self._end(order, OrderState.COMPLETE, at_ns, "")

    def _part(self, remaining: int, lot: int) -> int:
        """How much of the rest trades now: all of it, unless partial fills are on and chance says a part."""
        lots = remaining // lot
        if self._chance is None or lots <= 1 or self._chance.random() >= PART_FILL_CHANCE:
            return remaining
        return self._chance.randrange(1, lots) * lot

    def _end(self, order: BookOrder, state: OrderState, at_ns: int, message: str) -> None:
        """The order leaves the market: COMPLETE or CANCELLED. What it still blocked is free."""
        self._ledger.block(-order.reserve_paise * order.remaining)
        order.state = state
        order.at_ns = at_ns
        order.message = message
        del self._working[order.symbol][order.broker_id]
