"""What one account owns at the exchange: cash, today's trades and net, holdings of earlier days.

Owns the arithmetic of money and shares. Never decides whether an order trades. Called by matching.py.
All sums are exact: cash = cash at the beginning - value of all buys + value of all sells, gross of charges.
"""

from __future__ import annotations

import attrs

from protocol.broker import HoldingRow, Margins, PositionRow, TradeRow
from protocol.money import half_up
from protocol.orders import Side

UNLIMITED_PAISE = 10**16  # 10 lakh crore rupees: what an account without a cash limit reports as available


@attrs.define(eq=False)
class Held:
    """One symbol of the account. `cost_paise` is the average-price cost of every share owned now."""

    settled: int = 0
    t1: int = 0
    bought: int = 0
    bought_value_paise: int = 0
    sold: int = 0
    sold_value_paise: int = 0
    cost_paise: int = 0
    overnight_average_paise: int = 0

    @property
    def owned(self) -> int:
        return self.settled + self.t1 + self.bought - self.sold


class Ledger:
    """Cash, shares and trades of one account. `cash_paise` None: buys are never refused for money."""

    def __init__(self, cash_paise: int | None) -> None:
        self._cash_paise = cash_paise
        self._blocked_paise = 0
        self._held: dict[str, Held] = {}
        self._trades: list[TradeRow] = []

    @property
    def cash_paise(self) -> int | None:
        return self._cash_paise

    @property
    def available_paise(self) -> int:
        return UNLIMITED_PAISE if self._cash_paise is None else self._cash_paise - self._blocked_paise

    def affords(self, paise: int) -> bool:
        return self._cash_paise is None or paise <= self.available_paise

    def block(self, paise: int) -> None:
        """Set cash aside for a working buy; a negative amount frees it."""
        self._blocked_paise += paise
        assert self._blocked_paise >= 0, f"{-self._blocked_paise} paise more were freed than blocked"

    def owned(self, symbol: str) -> int:
        held = self._held.get(symbol)
        return held.owned if held is not None else 0

    def trade(self, row: TradeRow) -> None:
        """Book one fill."""
        held = self._held.setdefault(row.symbol, Held())
        value = row.quantity * row.price_paise
        self._trades.append(row)
        if row.side is Side.BUY:
            held.bought += row.quantity
            held.bought_value_paise += value
            held.cost_paise += value
        else:
            assert row.quantity <= held.owned, f"{row.symbol}: {row.quantity} sold of {held.owned} owned"
            held.cost_paise -= half_up(held.cost_paise * row.quantity, held.owned)
            held.sold += row.quantity
            held.sold_value_paise += value
        if self._cash_paise is not None:
            self._cash_paise += -value if row.side is Side.BUY else value

    def restore_position(self, symbol: str, bought: int, cost_paise: int, sold: int, proceeds_paise: int) -> None:
        """A rung entered today that the journal knows, its sales included."""
        held = self._held.setdefault(symbol, Held())
        held.bought += bought
        held.bought_value_paise += cost_paise
        held.sold += sold
        held.sold_value_paise += proceeds_paise
        held.cost_paise += cost_paise - (half_up(cost_paise * sold, bought) if bought else 0)
        if self._cash_paise is not None:
            self._cash_paise += proceeds_paise - cost_paise

    def restore_holding(self, symbol: str, settled: int, t1: int, cost_paise: int, *, paid: bool) -> None:
        """Shares of an earlier day. `paid`: their cost left this account's cash, as a rung's did."""
        held = self._held.setdefault(symbol, Held())
        held.settled += settled
        held.t1 += t1
        held.cost_paise += cost_paise
        shares = held.settled + held.t1
        held.overnight_average_paise = half_up(held.cost_paise, shares) if shares else 0
        if paid and self._cash_paise is not None:
            self._cash_paise -= cost_paise

    def start_of_day(self) -> None:
        """Yesterday's T1 is delivered, yesterday's net becomes T1; a net sale leaves the holdings.

        Settlement is T+1 (kite-facts): what was bought yesterday shows as t1_quantity today. Sales take
        settled shares first. Trades and positions begin anew.
        """
        self._trades.clear()
        for symbol in sorted(self._held):
            held = self._held[symbol]
            net = held.bought - held.sold
            settled = held.settled + held.t1 + min(net, 0)
            rolled = Held(settled=settled, t1=max(net, 0), cost_paise=held.cost_paise)
            if rolled.owned:
                rolled.overnight_average_paise = half_up(held.cost_paise, rolled.owned)
                self._held[symbol] = rolled
            else:
                del self._held[symbol]

    def margins(self) -> Margins:
        """Available cash, and what is used: blocked for working buys plus the cost of the shares owned."""
        invested = sum(held.cost_paise for held in self._held.values())
        return Margins(self.available_paise, self._blocked_paise + invested)

    def trades(self) -> tuple[TradeRow, ...]:
        return tuple(self._trades)

    def positions(self) -> tuple[PositionRow, ...]:
        """Today's net per symbol, by name; one that was closed today stays with quantity 0."""
        return tuple(
            PositionRow(
                symbol=symbol,
                quantity=held.bought - held.sold,
                bought=held.bought,
                bought_value_paise=held.bought_value_paise,
                sold=held.sold,
                sold_value_paise=held.sold_value_paise,
            )
            for symbol, held in sorted(self._held.items())
            if held.bought or held.sold
        )

    def holdings(self) -> tuple[HoldingRow, ...]:
        """Shares of earlier days per symbol, by name, as they were this morning (owned = holdings + T1 +
        net).
        """
        return tuple(
            HoldingRow(
                symbol=symbol,
                quantity=held.settled,
                t1_quantity=held.t1,
                average_paise=held.overnight_average_paise,
            )
            for symbol, held in sorted(self._held.items())
            if held.settled or held.t1
        )
