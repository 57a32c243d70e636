"""One order as the exchange has it: what it reacts to, what it trades at, how it is shown.

Owns the form of an order (tick size, lot, which prices a type needs) and the rules by which a price touches
it. Never looks at money, shares owned or the hour (matching.py asks matching_account.py for those). Called
by matching.py. Prices in paise, quantities in shares.
"""

from __future__ import annotations

import attrs

from protocol.broker import OrderUpdate
from protocol.money import BP_PER_UNIT, round_down, round_up, rupee_text
from protocol.orders import OrderState, OrderType, Side

NEVER_BELOW = -1  # no price is at or below it
NEVER_ABOVE = 1 << 62  # no price is at or above it

NEEDS_LIMIT = frozenset({OrderType.LIMIT, OrderType.SL})
NEEDS_TRIGGER = frozenset({OrderType.SL, OrderType.SL_M})
AT_EXCHANGE = frozenset({OrderState.OPEN, OrderState.PARTIAL})


@attrs.define
class Listing:
    """How the exchange trades one symbol: price step, lot, and the day's circuit limits, both inclusive."""

    tick_paise: int
    lot: int = 1
    lower_paise: int = 1
    upper_paise: int = NEVER_ABOVE

    def band_problem(self, price_paise: int) -> str:
        """Why the exchange refuses a limit at this price today, "" when it does not."""
        if self.lower_paise <= price_paise <= self.upper_paise:
            return ""
        band = f"{rupee_text(self.lower_paise)} to {rupee_text(self.upper_paise)}"
        return f"limit {rupee_text(price_paise)} is outside the circuit limits {band}"

    def step_problem(self, *prices_paise: int) -> str:
        """Why these are no prices of the symbol, "" when they are."""
        for price in prices_paise:
            if price <= 0:
                return f"{rupee_text(price)} is no price: it must be above zero"
            if price % self.tick_paise:
                return f"{rupee_text(price)} is not a multiple of the tick size {rupee_text(self.tick_paise)}"
        return ""

    def quantity_problem(self, quantity: int) -> str:
        if quantity <= 0:
            return f"quantity {quantity} is not above zero"
        return f"quantity {quantity} is not a multiple of the lot {self.lot}" if quantity % self.lot else ""


@attrs.define(eq=False, kw_only=True)
class BookOrder:
    """A row of the order book. `released` turns True when the trigger of a stop order was touched.

    `reserve_paise` is what a buy keeps blocked per share that has not traded yet; 0 for a sell.
    """

    broker_id: str
    client_id: str | None
    gtt_id: str | None
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    limit_paise: int | None
    trigger_paise: int | None
    at_ns: int
    state: OrderState = OrderState.OPEN
    filled: int = 0
    value_paise: int = 0
    message: str = ""
    released: bool = False
    reserve_paise: int = 0

    @property
    def working(self) -> bool:
        return self.state in AT_EXCHANGE

    @property
    def remaining(self) -> int:
        return self.quantity - self.filled

    @property
    def waits_for_trigger(self) -> bool:
        return self.order_type in NEEDS_TRIGGER and not self.released

    def form_problem(self, listing: Listing) -> str:
        """What is wrong with the order as written, whatever the market does; "" when nothing is."""
        kind = self.order_type.value
        limit, trigger = self.limit_paise, self.trigger_paise
        if (limit is not None) != (self.order_type in NEEDS_LIMIT):
            return f"a {kind} order needs a limit" if limit is None else f"a {kind} order has no limit"
        if (trigger is not None) != (self.order_type in NEEDS_TRIGGER):
            return f"a {kind} order needs a trigger" if trigger is None else f"a {kind} order has no trigger"
        if limit is not None and trigger is not None:
            # A stop with its limit beyond the trigger could never trade at the price that released it.
            wrong_side = limit > trigger if self.side is Side.SELL else limit < trigger
            if wrong_side:
                return f"limit {rupee_text(limit)} is on the wrong side of the trigger {rupee_text(trigger)}"
        prices = [price for price in (limit, trigger) if price is not None]
        return listing.quantity_problem(self.quantity) or listing.step_problem(*prices)

    def touches_trigger(self, price_paise: int) -> bool:
        assert self.trigger_paise is not None, f"{self.broker_id} has no trigger"
        if self.side is Side.SELL:
            return price_paise <= self.trigger_paise
        return price_paise >= self.trigger_paise

    def trades_at(self, price_paise: int) -> bool:
        """Whether the order, once released, can trade at this price."""
        if self.limit_paise is None:
            return True
        if self.side is Side.SELL:
            return price_paise >= self.limit_paise
        return price_paise <= self.limit_paise

    def edges(self) -> tuple[int, int]:
        """(low, high): only a price at or below low, or at or above high, can change the order."""
        if self.waits_for_trigger:
            assert self.trigger_paise is not None
            if self.side is Side.SELL:
                return self.trigger_paise, NEVER_ABOVE
            return NEVER_BELOW, self.trigger_paise
        if self.limit_paise is None:
            return NEVER_ABOVE, NEVER_ABOVE  # what is left of a market order trades at any price
        if self.side is Side.SELL:
            return NEVER_BELOW, self.limit_paise
        return self.limit_paise, NEVER_ABOVE

    def taking_price(self, price_paise: int, slippage_bp: int, listing: Listing) -> int:
        """What an order that takes the price pays: worse by the slippage, rounded to the tick against us.

        Never worse than its own limit or the circuit limits. Without slippage: the price itself.
        """
        if not slippage_bp:
            return price_paise
        if self.side is Side.BUY:
            worse = -(-price_paise * (BP_PER_UNIT + slippage_bp) // BP_PER_UNIT)
            limit = self.limit_paise or NEVER_ABOVE
            return max(price_paise, min(round_up(worse, listing.tick_paise), limit, listing.upper_paise))
        worse = price_paise * (BP_PER_UNIT - slippage_bp) // BP_PER_UNIT
        limit = self.limit_paise or 1
        return min(price_paise, max(round_down(worse, listing.tick_paise), limit, listing.lower_paise))

    def update(self) -> OrderUpdate:
        if self.state in AT_EXCHANGE:
            raw_status = "TRIGGER PENDING" if self.waits_for_trigger else "OPEN"
        else:
            raw_status = self.state.value
        return OrderUpdate(
            broker_id=self.broker_id,
            client_id=self.client_id,
            gtt_id=self.gtt_id,
            symbol=self.symbol,
            side=self.side,
            state=self.state,
            quantity=self.quantity,
            filled=self.filled,
            value_paise=self.value_paise,
            at_ns=self.at_ns,
            limit_paise=self.limit_paise,
            message=self.message,
            raw_status=raw_status,
        )
