"""The statistics of a day: what it earned, what it cost, and how often it was right.

Owns the definitions of gross, charges, net, trades and win rate. Never reads the journal: its caller, at
the end of the day, for reports and for the replay, hands in what the journal has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import attrs

from protocol.orders import Order, Side
from protocol.rungs import Rung, RungStatus
from strategy.charges import ChargeSchedule, Execution, charges_of_day


@attrs.frozen(kw_only=True)
class DayStatistics:
    """`entries` are rungs bought, `trades` rungs whose last share was sold, `wins` those of them with a gain.

    Gross is realised: proceeds of the day's sales less the cost of what they sold.
    """

    gross_paise: int = 0
    charges_paise: int = 0
    entries: int = 0
    trades: int = 0
    wins: int = 0

    @property
    def net_paise(self) -> int:
        return self.gross_paise - self.charges_paise

    @property
    def win_rate(self) -> float | None:
        """Share of the trades with a gross gain, 0..1; None on a day without a trade."""
        return self.wins / self.trades if self.trades else None


def executions_of(orders: Iterable[Order]) -> list[Execution]:
    """What the orders traded, in the form in which it is charged."""
    return [
        Execution(
            id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            quantity=order.filled,
            value_paise=order.value_paise,
            at_ns=order.updated_ns,
            rung=order.rung,
        )
        for order in orders
        if order.filled
    ]


def statistics_of_day(rungs: Iterable[Rung], orders: Iterable[Order], schedule: ChargeSchedule) -> DayStatistics:
    """The day of one account: all its orders of the day, and at least every rung that they bought or sold.

    The rungs are as they were when the day ended. Raises KeyError for a sale whose rung is missing.
    """
    traded = [order for order in orders if order.filled]
    by_place = {(rung.ladder, rung.number): rung for rung in rungs if rung.quantity}
    sold: dict[tuple[str, int], int] = defaultdict(int)
    proceeds: dict[tuple[str, int], int] = defaultdict(int)
    for order in traded:
        if order.side is Side.SELL:
            sold[order.ladder, order.rung] += order.filled
            proceeds[order.ladder, order.rung] += order.value_paise
    closed = [by_place[place] for place in sold if by_place[place].status is RungStatus.CLOSED]
    charges = charges_of_day(executions_of(traded), schedule)
    return DayStatistics(
        gross_paise=sum(proceeds[place] - cost_of_sale(by_place[place], sold[place]) for place in sold),
        charges_paise=sum(charge.total for charge in charges.values()),
        entries=len({(order.ladder, order.rung) for order in traded if order.side is Side.BUY}),
        trades=len(closed),
        wins=sum(rung.pnl_paise > 0 for rung in closed),
    )


def cost_of_sale(rung: Rung, sold: int) -> int:
    """Cost in paise of the last `sold` shares that the rung sold.

    The cost of what is held is rounded down, as in Rung.deployed_paise, so that the days of a rung that is
    sold on several add up to its whole cost.
    """
    held_before = rung.held + sold
    return rung.cost_paise * held_before // rung.quantity - rung.deployed_paise
