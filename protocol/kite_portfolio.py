"""Kite's positions and holdings as the rows that reconciliation compares.

Owns which of Kite's many quantities say what an account owns: owned = holdings + T1 + today's net. Never compares
anything itself. Called by brokers/kite.py.
"""

from __future__ import annotations

import attrs

from protocol.broker import HoldingRow, PositionRow
from protocol.errors import RemoteProtocolError
from protocol.kite_values import Row, amount, demat_symbol, half_up_paise, row_of, rows_of, text, whole
from protocol.money import half_up


def read_positions(data: object, product: str = "CNC") -> tuple[PositionRow, ...]:
    """Today's trades per symbol of one product, by name; a closed position stays with quantity 0.

    A person's intraday or futures positions are other products and never count as shares owned. NSE and BSE are
    one row: what was sold on either is gone from the demat account.
    """
    rows = rows_of(row_of(data, "the positions").get("net"), "the net positions")
    found: dict[str, PositionRow] = {}
    for row in (row_of(row, "a position") for row in rows):
        if text(row, "product") == product:
            one = _position(row)
            found[one.symbol] = _joined(found[one.symbol], one) if one.symbol in found else one
    return tuple(found[symbol] for symbol in sorted(found))


def read_holdings(data: object) -> tuple[HoldingRow, ...]:
    """Shares of earlier days per symbol, by name, as they were this morning.

    `realised_quantity` is what lies in the demat account and `t1_quantity` what arrives today; neither changes when
    shares are sold during the day, whereas `quantity` is said to be their sum (docs, Portfolio, Holdings).
    """
    found: dict[str, HoldingRow] = {}
    for row in (row_of(row, "a holding") for row in rows_of(data, "the holdings")):
        symbol = demat_symbol(text(row, "exchange"), text(row, "tradingsymbol"))
        one = HoldingRow(
            symbol=symbol,
            quantity=_shares(row, "realised_quantity"),
            t1_quantity=_shares(row, "t1_quantity"),
            average_paise=half_up_paise(amount(row, "average_price")),
        )
        found[symbol] = _added(found[symbol], one) if symbol in found else one
    return tuple(found[symbol] for symbol in sorted(found))


def _position(row: Row) -> PositionRow:
    bought, sold = _shares(row, "day_buy_quantity"), _shares(row, "day_sell_quantity")
    return PositionRow(
        symbol=demat_symbol(text(row, "exchange"), text(row, "tradingsymbol")),
        quantity=bought - sold,
        bought=bought,
        bought_value_paise=half_up_paise(amount(row, "day_buy_value")),
        sold=sold,
        sold_value_paise=half_up_paise(amount(row, "day_sell_value")),
    )


def _joined(one: PositionRow, other: PositionRow) -> PositionRow:
    return attrs.evolve(
        one,
        quantity=one.quantity + other.quantity,
        bought=one.bought + other.bought,
        bought_value_paise=one.bought_value_paise + other.bought_value_paise,
        sold=one.sold + other.sold,
        sold_value_paise=one.sold_value_paise + other.sold_value_paise,
    )


def _added(one: HoldingRow, other: HoldingRow) -> HoldingRow:
    shares = one.quantity + one.t1_quantity
    others = other.quantity + other.t1_quantity
    cost = shares * one.average_paise + others * other.average_paise
    return attrs.evolve(
        one,
        quantity=one.quantity + other.quantity,
        t1_quantity=one.t1_quantity + other.t1_quantity,
        average_paise=half_up(cost, shares + others) if shares + others else one.average_paise,
    )


def _shares(row: Row, name: str) -> int:
    shares = whole(row, name)
    if shares < 0:
        raise RemoteProtocolError(f"{name} is {shares}: shares cannot be fewer than none")
    return shares
