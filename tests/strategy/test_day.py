"""What a day earned, cost, and how often it was right."""

from __future__ import annotations

import attrs
import pytest

from protocol.orders import Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Rung, RungStatus
from strategy.charges import SCHEDULES, charges_of_day
from strategy.day import DayStatistics, cost_of_sale, executions_of, statistics_of_day


def order(id: str, side: Side, quantity: int, price: int, ladder: str = "L1", rung: int = 1) -> Order:
    return Order(
        client_id=id,
        key=id,
        symbol=f"SYM{ladder}",
        side=side,
        quantity=quantity,
        order_type=OrderType.MARKET,
        purpose=Purpose.ENTRY if side is Side.BUY else Purpose.EXIT,
        ladder=ladder,
        rung=rung,
        decision_paise=price,
        created_ns=1,
        updated_ns=2,
        state=OrderState.COMPLETE,
        filled=quantity,
        value_paise=quantity * price,
    )


def bought(quantity: int, cost: int, ladder: str = "L1", rung: int = 1) -> Rung:
    return Rung(
        ladder=ladder,
        symbol=f"SYM{ladder}",
        number=rung,
        status=RungStatus.OPEN,
        rank=3.0,
        quantity=quantity,
        cost_paise=cost,
    )


def closed(rung: Rung, proceeds: int) -> Rung:
    return attrs.evolve(rung, status=RungStatus.CLOSED, sold=rung.quantity, proceeds_paise=proceeds)


def test_a_day_is_its_closed_rungs_and_the_charges_of_all_its_orders() -> None:
    rungs = [
        closed(bought(30, 3_000_00), 3_060_00),
        closed(bought(10, 1_000_00, rung=2), 990_00),
        bought(5, 500_00, "L2"),
    ]
    orders = [
        order("b1", Side.BUY, 30, 100_00),
        order("b2", Side.BUY, 10, 100_00, rung=2),
        order("b3", Side.BUY, 5, 100_00, "L2"),
        order("s1", Side.SELL, 30, 102_00),
        order("s2", Side.SELL, 10, 99_00, rung=2),
    ]
    day = statistics_of_day(rungs, orders, SCHEDULES[0])
    charges = sum(each.total for each in charges_of_day(executions_of(orders), SCHEDULES[0]).values())
    assert day == DayStatistics(gross_paise=50_00, charges_paise=charges, entries=3, trades=2, wins=1)
    assert day.net_paise == 50_00 - charges
    assert day.win_rate == 0.5


def test_a_day_without_trades_has_no_win_rate() -> None:
    day = statistics_of_day([], [], SCHEDULES[0])
    assert day == DayStatistics()
    assert day.win_rate is None


def test_an_order_that_ended_unfilled_counts_for_nothing() -> None:
    cancelled = attrs.evolve(order("b1", Side.BUY, 30, 100_00), filled=0, value_paise=0, state=OrderState.CANCELLED)
    assert statistics_of_day([], [cancelled], SCHEDULES[0]) == DayStatistics()


def test_a_rung_sold_in_two_orders_is_one_trade() -> None:
    rung = closed(bought(30, 3_000_00), 3_030_00)
    orders = [order("s1", Side.SELL, 10, 101_00), order("s2", Side.SELL, 20, 101_00)]
    day = statistics_of_day([rung], orders, SCHEDULES[0])
    assert (day.gross_paise, day.entries, day.trades, day.wins) == (30_00, 0, 1, 1)


def test_the_days_of_a_rung_sold_on_two_of_them_add_up_to_its_gain() -> None:
    whole = bought(3, 100_00)  # a third of the cost is no whole paisa
    first = attrs.evolve(whole, sold=1, proceeds_paise=40_00)
    last = closed(whole, 40_00 + 72_00)
    day1 = statistics_of_day([first], [order("s1", Side.SELL, 1, 40_00)], SCHEDULES[0])
    day2 = statistics_of_day([last], [order("s2", Side.SELL, 2, 36_00)], SCHEDULES[0])
    assert day1.gross_paise == first.pnl_paise
    assert day1.gross_paise + day2.gross_paise == last.pnl_paise
    assert (day1.trades, day2.trades) == (0, 1)
    assert cost_of_sale(last, 3) == 100_00


def test_a_sale_without_its_rung_is_an_error() -> None:
    with pytest.raises(KeyError):
        statistics_of_day([], [order("s1", Side.SELL, 10, 101_00)], SCHEDULES[0])
