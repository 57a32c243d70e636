"""Charges by hand, against exact fractions, and how a day's trading is divided."""

from __future__ import annotations

import math
from datetime import date
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.orders import Side
from strategy.charges import SCHEDULES, Charges, ChargeSchedule, Execution, charges_of_day, schedule_on

ZERODHA = SCHEDULES[0]


def buy(id: str, quantity: int, price: int, symbol: str = "INFY", at_ns: int = 1, rung: int = 1) -> Execution:
    return Execution(
        id=id,
        symbol=symbol,
        side=Side.BUY,
        quantity=quantity,
        value_paise=quantity * price,
        at_ns=at_ns,
        rung=rung,
    )


def sell(id: str, quantity: int, price: int, symbol: str = "INFY", at_ns: int = 2, rung: int = 1) -> Execution:
    return attrs.evolve(buy(id, quantity, price, symbol, at_ns, rung), side=Side.SELL)


def test_bought_and_sold_on_one_day_is_charged_as_intraday() -> None:
    charges = charges_of_day([buy("b", 30, 100_00), sell("s", 30, 101_00)], ZERODHA)
    assert charges["b"] == Charges(brokerage=90, stt=0, exchange=9, sebi=0, stamp=9, gst=18)
    assert charges["s"] == Charges(brokerage=91, stt=76, exchange=9, sebi=0, stamp=0, gst=18)
    assert (charges["b"].total, charges["s"].total) == (126, 194)


def test_what_is_only_bought_is_delivery() -> None:
    charges = charges_of_day([buy("b", 30, 100_00)], ZERODHA)
    assert charges["b"] == Charges(brokerage=0, stt=300, exchange=9, sebi=0, stamp=45, gst=2)


def test_a_delivery_sale_pays_the_depository_once_per_symbol_and_day() -> None:
    charges = charges_of_day([sell("s", 30, 100_00), sell("t", 10, 100_00, symbol="TCS")], ZERODHA)
    assert charges["s"] == Charges(brokerage=0, stt=300, exchange=9, sebi=0, stamp=0, gst=2, depository=1534)
    assert charges["t"].depository == 1534


def test_the_brokerage_of_an_order_is_capped() -> None:
    charges = charges_of_day([buy("b", 1_000, 1_000_00), sell("s", 1_000, 1_000_00)], ZERODHA)
    assert charges["b"].brokerage == charges["s"].brokerage == 2_000


def test_a_carried_rung_and_one_of_today_share_by_quantity() -> None:
    """10 bought today, 30 sold: 10 of them are intraday, a third of each sale."""
    orders = [buy("b", 10, 100_00), sell("s1", 15, 100_00, rung=1), sell("s2", 15, 100_00, rung=2)]
    charges = charges_of_day(orders, ZERODHA)
    assert charges["b"].brokerage == 30
    for name in ("s1", "s2"):
        assert charges[name].brokerage == 15  # 0.03 % of 500.00
        assert charges[name].stt == 113  # 0.1 % of 1,000.00 + 0.025 % of 500.00 = 112.5
        assert charges[name].depository == 767


def test_the_depository_charge_is_divided_in_order_of_time_then_rung_and_adds_up() -> None:
    orders = [
        sell("late", 1, 100_00, at_ns=9, rung=1),
        sell("p2", 1, 100_00, at_ns=5, rung=2),
        sell("p1", 1, 100_00, at_ns=5, rung=1),
    ]
    charges = charges_of_day(orders, ZERODHA)
    # running totals 511.33, 1022.67, 1534 rounded: 511, 1023, 1534
    assert [charges[name].depository for name in ("p1", "p2", "late")] == [511, 512, 511]


def test_an_order_without_a_fill_has_no_charges() -> None:
    assert charges_of_day([buy("b", 0, 100_00)], ZERODHA) == {}


def test_an_execution_given_twice_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="given twice"):
        charges_of_day([buy("b", 1, 100_00), buy("b", 1, 100_00)], ZERODHA)


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 400), st.integers(1_00, 5_000_00), st.integers(0, 3)),
        min_size=1,
        max_size=6,
    )
)
def test_every_component_agrees_with_exact_fractions(drawn: list[tuple[bool, int, int, int]]) -> None:
    orders = [
        (buy if is_buy else sell)(f"o{place}", quantity, price, at_ns=moment)
        for place, (is_buy, quantity, price, moment) in enumerate(drawn)
    ]
    charges = charges_of_day(orders, ZERODHA)
    bought = sum(order.quantity for order in orders if order.side is Side.BUY)
    sold = sum(order.quantity for order in orders if order.side is Side.SELL)
    for order in orders:
        is_buy = order.side is Side.BUY
        intraday = Fraction(order.value_paise * min(bought, sold), bought if is_buy else sold)
        delivery = order.value_paise - intraday
        charged = charges[order.id]
        assert charged.brokerage == half_up(min(intraday * Fraction("0.0003"), Fraction(2000)))
        assert charged.stt == half_up(delivery / 1000 + (0 if is_buy else intraday / 4000))
        assert charged.exchange == half_up(order.value_paise * Fraction("0.0000307"))
        assert charged.sebi == half_up(Fraction(order.value_paise, 1_000_000))
        stamp = delivery * Fraction("0.00015") + intraday * Fraction("0.00003")
        assert charged.stamp == (half_up(stamp) if is_buy else 0)
        assert charged.gst == half_up((charged.brokerage + charged.exchange + charged.sebi) * Fraction("0.18"))
    depository = sum(charged.depository for charged in charges.values())
    assert depository == (1534 if sold > bought else 0)


def half_up(amount: Fraction) -> int:
    return math.floor(amount + Fraction(1, 2))


def test_the_schedule_in_force_is_used_and_the_earliest_for_days_before_it() -> None:
    later = attrs.evolve(ZERODHA, effective_from=date(2027, 4, 1), gst_bp=1_200)
    schedules: tuple[ChargeSchedule, ...] = (later, ZERODHA)
    assert schedule_on(date(2016, 8, 26), schedules) is ZERODHA
    assert schedule_on(date(2026, 4, 1), schedules) is ZERODHA
    assert schedule_on(date(2027, 3, 31), schedules) is ZERODHA
    assert schedule_on(date(2027, 4, 1), schedules) is later


def test_no_schedule_at_all_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="no schedule of charges"):
        schedule_on(date(2027, 4, 1), ())
