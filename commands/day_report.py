"""A day of one account: its statistics, its line in the log, and its parts per symbol for `report`.

Pure formatting and sums over strategy/day.py and strategy/charges.py; the journal is handed in. Never writes.
Called by the tree at the end of a day (as `day_summary`), by report, status, trades and replay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Protocol

import attrs

from commands.amounts import rupee
from commands.journals import bounds_ns
from market.calendar import TradingCalendar
from protocol.clock import ist_date
from protocol.orders import Order, Side
from protocol.rungs import Rung, RungStatus
from settings import Settings
from strategy.charges import Charges, ChargeSchedule, charges_of_day, schedule_on
from strategy.day import DayStatistics, cost_of_sale, executions_of, statistics_of_day


class DayBooks(Protocol):
    """What a day is summed up from: the account's journal, open for writing or only for reading."""

    def orders_since(self, at_ns: int) -> list[Order]: ...

    def trades(self, *, first_ns: int | None = None, last_ns: int | None = None) -> list[Rung]: ...


@attrs.frozen(kw_only=True)
class SymbolDay:
    """One symbol's part of a day, as in DayStatistics."""

    symbol: str
    statistics: DayStatistics


@attrs.frozen(kw_only=True)
class Sale:
    """What one order sold on the day, gross of charges."""

    order: Order
    gross_paise: int


@attrs.frozen(kw_only=True)
class Day:
    """One account's day. `bought` and `sold` in the order of their last fill; `held` was open at its end."""

    day: date
    statistics: DayStatistics
    symbols: tuple[SymbolDay, ...]
    bought: tuple[Order, ...]
    sold: tuple[Sale, ...]
    held: tuple[Rung, ...]


def schedules_of(settings: Settings) -> tuple[ChargeSchedule, ...]:
    """The schedules of the settings as charges are computed with them."""
    return tuple(ChargeSchedule(**attrs.asdict(schedule)) for schedule in settings.charges)


def day_line(journal: DayBooks, at_ns: int, schedules: Sequence[ChargeSchedule], calendar: TradingCalendar) -> str:
    """The day of an instant so far in one line, rupees: `stage=final open=3 cost=9012.50 gross=758.00 charges=120.35
    net=637.65 trades=24 wins=13 win_rate=54%`.

    The stage is `final` from the close on, before it `square_off`; open and cost are the rungs held and what was
    paid for them. Without a trade the win rate is `-`.
    """
    told = day_of(journal, ist_date(at_ns), schedules)
    statistics, session = told.statistics, calendar.session_at(at_ns)
    stage = "final" if session is None or at_ns >= session.close_ns else "square_off"
    cost_paise = sum(rung.deployed_paise for rung in told.held)
    return (
        f"stage={stage} open={len(told.held)} cost={rupee(cost_paise)}"
        f" gross={rupee(statistics.gross_paise)} charges={rupee(statistics.charges_paise)}"
        f" net={rupee(statistics.net_paise)} trades={statistics.trades} wins={statistics.wins}"
        f" win_rate={win_rate_text(statistics)}"
    )


def win_rate_text(statistics: DayStatistics) -> str:
    return "-" if statistics.win_rate is None else f"{statistics.win_rate:.0%}"


def day_of(journal: DayBooks, day: date, schedules: Sequence[ChargeSchedule]) -> Day:
    """Sum up a day from the journal, as it stood when the day ended, whatever was traded since.

    Days before the first schedule are charged by it (trading-rules.md, "Charges").
    """
    first_ns, last_ns = bounds_ns(day)
    traded = [order for order in journal.orders_since(first_ns) if order.filled]
    orders = [order for order in traded if order.updated_ns <= last_ns]
    later = [order for order in traded if order.updated_ns > last_ns]
    rungs = rungs_before(journal.trades(first_ns=first_ns, last_ns=last_ns), later)
    schedule = schedule_on(day, schedules)
    return Day(
        day=day,
        statistics=statistics_of_day(rungs, orders, schedule),
        symbols=tuple(
            _of_symbol(symbol, rungs, orders, schedule) for symbol in sorted({order.symbol for order in orders})
        ),
        bought=tuple(order for order in orders if order.side is Side.BUY),
        sold=_sales(rungs, orders),
        held=tuple(rung for rung in rungs if rung.open),
    )


def charges_by_order(orders: Iterable[Order], schedules: Sequence[ChargeSchedule]) -> dict[str, Charges]:
    """Charges of filled orders by client id, each by the schedule of its day.

    Of each day all orders must be in it: what was bought and sold decides together what is intraday.
    """
    by_day: dict[date, list[Order]] = defaultdict(list)
    for order in orders:
        if order.filled:
            by_day[ist_date(order.updated_ns)].append(order)
    result: dict[str, Charges] = {}
    for day, todays in sorted(by_day.items()):
        result |= charges_of_day(executions_of(todays), schedule_on(day, schedules))
    return result


def rungs_before(rungs: Iterable[Rung], later: Iterable[Order]) -> list[Rung]:
    """The rungs as they were before some later sales: a rung sold since then was open, and held more."""
    sold: dict[tuple[str, int], int] = defaultdict(int)
    proceeds: dict[tuple[str, int], int] = defaultdict(int)
    for order in later:
        if order.side is Side.SELL:
            sold[order.ladder, order.rung] += order.filled
            proceeds[order.ladder, order.rung] += order.value_paise
    return [
        attrs.evolve(
            rung,
            status=RungStatus.OPEN,
            sold=rung.sold - sold[rung.ladder, rung.number],
            proceeds_paise=rung.proceeds_paise - proceeds[rung.ladder, rung.number],
            exit_ns=0,
            reason=None,
        )
        if rung.quantity and (rung.ladder, rung.number) in sold
        else rung
        for rung in rungs
    ]


def _of_symbol(symbol: str, rungs: Iterable[Rung], orders: Iterable[Order], schedule: ChargeSchedule) -> SymbolDay:
    """Charges are computed symbol by symbol, so the parts add up to the day."""
    own_rungs = [rung for rung in rungs if rung.symbol == symbol]
    own_orders = [order for order in orders if order.symbol == symbol]
    return SymbolDay(symbol=symbol, statistics=statistics_of_day(own_rungs, own_orders, schedule))


def _sales(rungs: Iterable[Rung], orders: Sequence[Order]) -> tuple[Sale, ...]:
    """The day's sales with what each gained, taken back from the last to the first."""
    after = {(rung.ladder, rung.number): rung for rung in rungs if rung.quantity}
    sales: list[Sale] = []
    for order in reversed(orders):
        if order.side is Side.SELL:
            rung = after[order.ladder, order.rung]
            sales.append(Sale(order=order, gross_paise=order.value_paise - cost_of_sale(rung, order.filled)))
            after[order.ladder, order.rung] = attrs.evolve(rung, sold=rung.sold - order.filled)
    return tuple(reversed(sales))
