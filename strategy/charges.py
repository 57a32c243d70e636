"""What the broker, the exchange and the state take of each order: equity, delivery and intraday.

Owns the schedules and how a day's trading is divided. Never asks a broker and never rounds before the end
of a component. Called for the day's statistics, the reports and the replay.

Rates are whole rupees per crore of turnover (1 % = 100,000), the coarsest unit in which 0.00307 % is exact;
money in paise. Source of the figures: Zerodha's published schedule after 2026-04-01; depository charge Rs
13 + 18 % GST.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import attrs

from protocol.money import BP_PER_UNIT, half_up
from protocol.orders import Side

CRORE = 10_000_000


@attrs.frozen(kw_only=True)
class ChargeSchedule:
    """The rates valid from a day on, until the next schedule begins."""

    effective_from: datetime.date
    intraday_brokerage_per_crore: int
    intraday_brokerage_max_paise: int
    delivery_brokerage_per_crore: int
    intraday_stt_sell_per_crore: int
    delivery_stt_per_crore: int
    exchange_per_crore: int
    sebi_per_crore: int
    intraday_stamp_buy_per_crore: int
    delivery_stamp_buy_per_crore: int
    gst_bp: int
    depository_per_scrip_paise: int


SCHEDULES = (
    ChargeSchedule(
        effective_from=datetime.date(2026, 4, 1),
        intraday_brokerage_per_crore=3_000,  # 0.03 %
        intraday_brokerage_max_paise=2_000,
        delivery_brokerage_per_crore=0,
        intraday_stt_sell_per_crore=2_500,  # 0.025 %
        delivery_stt_per_crore=10_000,  # 0.1 %, both sides
        exchange_per_crore=307,  # 0.00307 %, NSE
        sebi_per_crore=10,
        intraday_stamp_buy_per_crore=300,  # 0.003 %
        delivery_stamp_buy_per_crore=1_500,  # 0.015 %
        gst_bp=1_800,
        depository_per_scrip_paise=1_534,
    ),
)


def schedule_on(day: datetime.date, schedules: Sequence[ChargeSchedule] = SCHEDULES) -> ChargeSchedule:
    """The schedule of a day: the newest in force, or the earliest known for a day before all of them.

    Raises ValueError when there is no schedule at all.
    """
    if not schedules:
        raise ValueError("no schedule of charges: at least one [[charges]] table is needed")
    ordered = sorted(schedules, key=lambda schedule: schedule.effective_from)
    in_force = [schedule for schedule in ordered if schedule.effective_from <= day]
    return in_force[-1] if in_force else ordered[0]


@attrs.frozen(kw_only=True)
class Execution:
    """What one order traded in a day: shares, their value (sum of price x quantity), last fill's time."""

    id: str
    symbol: str
    side: Side
    quantity: int
    value_paise: int
    at_ns: int
    rung: int


@attrs.frozen(kw_only=True)
class Charges:
    """One order's charges, each component rounded to a paisa."""

    brokerage: int
    stt: int
    exchange: int
    sebi: int
    stamp: int
    gst: int
    depository: int = 0

    @property
    def total(self) -> int:
        return self.brokerage + self.stt + self.exchange + self.sebi + self.stamp + self.gst + self.depository


def charges_of_day(executions: Iterable[Execution], schedule: ChargeSchedule) -> dict[str, Charges]:
    """Charges by execution id. All executions of an account's day must be in it, each id once.

    Per symbol min(bought, sold) is intraday, whatever product the orders had; every order has its share of
    that by quantity, and the rest of it is delivery.
    """
    by_symbol: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        if execution.quantity > 0:
            by_symbol[execution.symbol].append(execution)
    charges: dict[str, Charges] = {}
    for orders in by_symbol.values():
        bought = sum(order.quantity for order in orders if order.side is Side.BUY)
        sold = sum(order.quantity for order in orders if order.side is Side.SELL)
        depository = _depository_shares(orders, sold, schedule) if sold > bought else {}
        for order in orders:
            assert order.id not in charges, f"execution {order.id} is given twice"
            side_quantity = bought if order.side is Side.BUY else sold
            charged = _charges_of(order, min(bought, sold), side_quantity, schedule)
            charges[order.id] = attrs.evolve(charged, depository=depository.get(order.id, 0))
    return charges


def _charges_of(order: Execution, part: int, whole: int, schedule: ChargeSchedule) -> Charges:
    """Charges of an order of which part / whole is intraday; each component is exact until its rounding."""
    intraday = order.value_paise * part  # in 1 / whole paise, like delivery
    delivery = order.value_paise * (whole - part)
    unit = whole * CRORE

    capped = min(intraday * schedule.intraday_brokerage_per_crore, schedule.intraday_brokerage_max_paise * unit)
    brokerage = half_up(capped + delivery * schedule.delivery_brokerage_per_crore, unit)
    exchange = half_up(order.value_paise * schedule.exchange_per_crore, CRORE)
    sebi = half_up(order.value_paise * schedule.sebi_per_crore, CRORE)
    stt = delivery * schedule.delivery_stt_per_crore
    stamp = 0
    if order.side is Side.SELL:
        stt += intraday * schedule.intraday_stt_sell_per_crore
    else:
        stamp = delivery * schedule.delivery_stamp_buy_per_crore + intraday * schedule.intraday_stamp_buy_per_crore
    return Charges(
        brokerage=brokerage,
        stt=half_up(stt, unit),
        exchange=exchange,
        sebi=sebi,
        stamp=half_up(stamp, unit),
        gst=half_up((brokerage + exchange + sebi) * schedule.gst_bp, BP_PER_UNIT),
    )


def _depository_shares(orders: Sequence[Execution], sold: int, schedule: ChargeSchedule) -> Mapping[str, int]:
    """The charge of one symbol and day over its sells by quantity, in (time, rung) order.

    Each gets what the rounded running total grows by, so that the shares add up to the charge.
    """
    shares: dict[str, int] = {}
    sold_so_far = charged_so_far = 0
    sells = (order for order in orders if order.side is Side.SELL)
    for order in sorted(sells, key=lambda sell: (sell.at_ns, sell.rung, sell.id)):
        sold_so_far += order.quantity
        charged = half_up(schedule.depository_per_scrip_paise * sold_so_far, sold)
        shares[order.id] = charged - charged_so_far
        charged_so_far = charged
    return shares
