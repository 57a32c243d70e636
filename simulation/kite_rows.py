"""The Kite server's shares, money and quotes in Kite's words: one function per kind of row.

Owns the field names and forms of what Kite answers (kite.trade/docs/connect/v3; the mocks); those of orders and GTTs
are in kite_book.py. Knows no rule of the exchange. Called by kite_routes.py. Amounts are exact
decimals of rupees.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from protocol.broker import Books, HoldingRow, Margins, PositionRow
from protocol.clock import ist_date, ist_text
from protocol.kite_values import rupees
from protocol.money import half_up
from simulation.kite_market import KiteMarket, Share

Row = dict[str, Any]
DAY_MARGIN_KEYS = ("adhoc_margin", "collateral", "intraday_payin")
USED_KEYS = (
    "exposure",
    "m2m_realised",
    "m2m_unrealised",
    "option_premium",
    "payout",
    "span",
    "holding_sales",
    "turnover",
    "liquid_collateral",
    "stock_collateral",
    "delivery",
)
_json = msgspec.json.Encoder(decimal_format="number")


def to_json(value: object) -> bytes:
    return _json.encode(value)


def average(value_paise: int, quantity: int) -> Decimal:
    """Rupees per share, to a millionth, as far as Kite shows it."""
    return Decimal(half_up(value_paise * 10_000, quantity)).scaleb(-6) if quantity else Decimal(0)


def position_rows(books: Books, market: KiteMarket) -> list[Row]:
    return [_position_row(position, market.by_symbol[position.symbol]) for position in books.positions]


def holding_rows(books: Books, market: KiteMarket) -> list[Row]:
    """Shares of earlier days, less what was sold of them today."""
    sold = {position.symbol: max(-position.quantity, 0) for position in books.positions}
    day = ist_date(books.at_ns).isoformat()
    return [
        _holding_row(holding, market.by_symbol[holding.symbol], sold.get(holding.symbol, 0), day)
        for holding in books.holdings
    ]


def _position_row(position: PositionRow, share: Share) -> Row:
    bought, sold = rupees(position.bought_value_paise), rupees(position.sold_value_paise)
    value = position.sold_value_paise - position.bought_value_paise
    pnl = rupees(value + position.quantity * share.last_paise)
    sides = {
        "quantity": (position.bought, position.sold),
        "price": (
            average(position.bought_value_paise, position.bought),
            average(position.sold_value_paise, position.sold),
        ),
        "value": (bought, sold),
    }
    row: Row = {
        "tradingsymbol": position.symbol,
        "exchange": "NSE",
        "instrument_token": share.token,
        "product": "CNC",
        "quantity": position.quantity,
        "overnight_quantity": 0,
        "multiplier": 1,
        "average_price": average(position.bought_value_paise, position.bought) if position.quantity else 0,
        "close_price": rupees(share.close_paise),
        "last_price": rupees(share.last_paise),
        "value": rupees(value),
        "pnl": pnl,
        "m2m": pnl,
        "unrealised": pnl,
        "realised": 0,
        "buy_m2m": bought,
        "sell_m2m": sold,
    }
    for name, (buy, sell) in sides.items():
        row |= {f"buy_{name}": buy, f"sell_{name}": sell, f"day_buy_{name}": buy, f"day_sell_{name}": sell}
    return row


def _holding_row(holding: HoldingRow, share: Share, sold_today: int, day: str) -> Row:
    shares = holding.quantity + holding.t1_quantity
    used = min(sold_today, shares)
    return {
        "tradingsymbol": holding.symbol,
        "exchange": "NSE",
        "instrument_token": share.token,
        "isin": f"INE{share.token:08d}1",
        "product": "CNC",
        "price": 0,
        "quantity": shares - used,
        "used_quantity": used,
        "t1_quantity": holding.t1_quantity,
        "realised_quantity": holding.quantity,
        "authorised_quantity": 0,
        "authorised_date": f"{day} 00:00:00",
        "authorisation": {},
        "opening_quantity": shares,
        "short_quantity": 0,
        "collateral_quantity": 0,
        "collateral_type": "",
        "discrepancy": False,
        "average_price": rupees(holding.average_paise),
        "last_price": rupees(share.last_paise),
        "close_price": rupees(share.close_paise),
        "pnl": rupees((share.last_paise - holding.average_paise) * shares),
        "day_change": rupees(share.last_paise - share.close_paise),
        "day_change_percentage": 0,
    }


def margin_row(margins: Margins) -> Row:
    available, used = rupees(margins.available_paise), rupees(margins.used_paise)
    cash = rupees(margins.available_paise + margins.used_paise)
    return {
        "enabled": True,
        "net": available,
        "available": dict.fromkeys(DAY_MARGIN_KEYS, 0)
        | {"cash": cash, "opening_balance": cash, "live_balance": available},
        "utilised": dict.fromkeys(USED_KEYS, 0) | {"debits": used},
    }


def quote_row(share: Share) -> Row:
    lower, upper = share.circuits_paise
    bids, offers = share.depth()
    traded = ist_text(share.traded_ns)
    return {
        "instrument_token": share.token,
        "timestamp": traded,
        "last_trade_time": traded,
        "last_price": rupees(share.last_paise),
        "last_quantity": share.last_quantity,
        "buy_quantity": sum(quantity for quantity, _, _ in bids),
        "sell_quantity": sum(quantity for quantity, _, _ in offers),
        "volume": share.volume,
        "average_price": rupees(share.average_paise),
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
        "net_change": 0,
        "lower_circuit_limit": rupees(lower),
        "upper_circuit_limit": rupees(upper),
        "ohlc": ohlc(share),
        "depth": {"buy": _levels(bids), "sell": _levels(offers)},
    }


def ohlc(share: Share) -> Row:
    return {
        "open": rupees(share.open_paise),
        "high": rupees(share.high_paise),
        "low": rupees(share.low_paise),
        "close": rupees(share.close_paise),
    }


def _levels(levels: list[tuple[int, int, int]]) -> list[Row]:
    return [{"price": rupees(price), "quantity": quantity, "orders": orders} for quantity, price, orders in levels]
