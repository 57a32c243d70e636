"""The charges of one day's orders, part of the plain replay.

It owns the equity delivery and intraday schedule (brokerage, STT, exchange, SEBI, stamp, GST, depository),
the same for every date, and the rule which part of a day's trading is intraday. It knows nothing of ladders.
Called by plain_replay at the end of each day.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

import attrs

INTRADAY_BROKERAGE = Fraction("0.0003")
BROKERAGE_CAP_PAISE = 2_000
STT_DELIVERY, STT_INTRADAY_SELL = Fraction("0.001"), Fraction("0.00025")
EXCHANGE = Fraction("0.0000307")
SEBI = Fraction(10, 10_000_000)  # Rs 10 per crore
STAMP_DELIVERY, STAMP_INTRADAY = Fraction("0.00015"), Fraction("0.00003")  # buys only
GST = Fraction("0.18")
DEPOSITORY_PAISE = 1_534  # per symbol and day of a delivery sale


@attrs.frozen
class Order:
    """One filled order: a rung's entry or exit, at one price. `at` orders the sells of a day."""

    symbol: str
    rung: str
    is_buy: bool
    qty: int
    price: int
    at: int

    @property
    def value(self) -> int:
        return self.qty * self.price


def half_up(amount: Fraction) -> int:
    return math.floor(amount + Fraction(1, 2))


def day_charges(orders: Sequence[Order]) -> list[int]:
    """Charges in paise of each of one day's orders, in the order given; all of the day must be there."""
    bought: dict[str, int] = defaultdict(int)
    sold: dict[str, int] = defaultdict(int)
    for order in orders:
        side = bought if order.is_buy else sold
        side[order.symbol] += order.qty
    charges = []
    for order in orders:
        intraday_qty = min(bought[order.symbol], sold[order.symbol])
        side_qty = bought[order.symbol] if order.is_buy else sold[order.symbol]
        charges.append(order_charges(order, Fraction(intraday_qty, side_qty)))
    for symbol, sold_qty in sold.items():
        if sold_qty > bought[symbol]:
            add_depository_charge(charges, orders, symbol, sold_qty)
    return charges


def order_charges(order: Order, intraday_share: Fraction) -> int:
    """Charges in paise of one order, `intraday_share` (0..1) of it intraday; no depository charge."""
    intraday = order.value * intraday_share
    delivery = order.value - intraday
    brokerage = half_up(min(intraday * INTRADAY_BROKERAGE, Fraction(BROKERAGE_CAP_PAISE)))
    stt = half_up(delivery * STT_DELIVERY + (0 if order.is_buy else intraday * STT_INTRADAY_SELL))
    exchange = half_up(order.value * EXCHANGE)
    sebi = half_up(order.value * SEBI)
    stamp = half_up(delivery * STAMP_DELIVERY + intraday * STAMP_INTRADAY) if order.is_buy else 0
    gst = half_up((brokerage + exchange + sebi) * GST)
    return brokerage + stt + exchange + sebi + stamp + gst


def add_depository_charge(charges: list[int], orders: Sequence[Order], symbol: str, sold: int) -> None:
    """Shares the charge over the symbol's sells by quantity; cumulative rounding makes the shares add up."""
    sells = [place for place, order in enumerate(orders) if order.symbol == symbol and not order.is_buy]
    sold_before = 0
    for place in sorted(sells, key=lambda place: (orders[place].at, orders[place].rung)):
        sold_so_far = sold_before + orders[place].qty
        charges[place] += half_up(Fraction(DEPOSITORY_PAISE * sold_so_far, sold))
        charges[place] -= half_up(Fraction(DEPOSITORY_PAISE * sold_before, sold))
        sold_before = sold_so_far
