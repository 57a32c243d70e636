"""The rows of the JSON broker's other books: trades, positions, holdings, margins, quotes.

Owns their layout (broker.schema.json describes the same). Called by broker_wire.py. Pairs of functions: `…_row`
writes, `read_…` reads and raises MalformedFrame.
"""

from __future__ import annotations

from protocol.broker import HoldingRow, Margins, PositionRow, Quote, TradeRow
from protocol.broker_wire_fields import Fields, Json, rupee_number, rupee_number_or_none, utc_text
from protocol.money import half_up
from protocol.orders import Side


def trade_row(trade: TradeRow) -> Json:
    return {
        "trade_id": trade.trade_id,
        "order_id": trade.broker_id,
        "client_order_id": trade.client_id,
        "symbol": trade.symbol,
        "side": trade.side.value,
        "quantity": trade.quantity,
        "price": rupee_number(trade.price_paise),
        "time": utc_text(trade.at_ns),
    }


def read_trade(fields: Fields) -> TradeRow:
    return TradeRow(
        trade_id=fields.text("trade_id"),
        broker_id=fields.text("order_id"),
        client_id=fields.text_or_none("client_order_id"),
        symbol=fields.text("symbol"),
        side=fields.choice("side", Side),
        quantity=fields.whole("quantity"),
        price_paise=fields.price("price"),
        at_ns=fields.time("time"),
    )


def position_row(position: PositionRow, last_paise: int | None) -> Json:
    """`buy_price` is the average of today's buys, for display; `pnl` today's, exact, at the last price."""
    worth = None if last_paise is None and position.quantity else position.quantity * (last_paise or 0)
    earned = position.sold_value_paise - position.bought_value_paise
    average = half_up(position.bought_value_paise, position.bought) if position.bought else None
    return {
        "symbol": position.symbol,
        "quantity": position.quantity,
        "buy_price": rupee_number_or_none(average),
        "current_price": rupee_number_or_none(last_paise),
        "pnl": None if worth is None else rupee_number(earned + worth),
        "bought_qty": position.bought,
        "bought_value": rupee_number(position.bought_value_paise),
        "sold_qty": position.sold,
        "sold_value": rupee_number(position.sold_value_paise),
    }


def read_position(fields: Fields) -> PositionRow:
    return PositionRow(
        symbol=fields.text("symbol"),
        quantity=fields.whole("quantity"),
        bought=fields.whole("bought_qty"),
        bought_value_paise=fields.price("bought_value"),
        sold=fields.whole("sold_qty"),
        sold_value_paise=fields.price("sold_value"),
    )


def holding_row(holding: HoldingRow) -> Json:
    return {
        "symbol": holding.symbol,
        "quantity": holding.quantity,
        "t1_quantity": holding.t1_quantity,
        "average_price": rupee_number(holding.average_paise),
    }


def read_holding(fields: Fields) -> HoldingRow:
    return HoldingRow(
        symbol=fields.text("symbol"),
        quantity=fields.whole("quantity"),
        t1_quantity=fields.whole("t1_quantity"),
        average_paise=fields.price("average_price"),
    )


def margins_row(margins: Margins) -> Json:
    return {"available": rupee_number(margins.available_paise), "used": rupee_number(margins.used_paise)}


def read_margins(fields: Fields) -> Margins:
    return Margins(fields.price("available"), fields.price("used"))


def quote_row(quote: Quote) -> Json:
    return {
        "symbol": quote.symbol,
        "last_price": rupee_number(quote.last_paise),
        "volume": None if quote.volume < 0 else quote.volume,
        "lower_circuit": rupee_number_or_none(quote.lower_circuit_paise),
        "upper_circuit": rupee_number_or_none(quote.upper_circuit_paise),
        "time": utc_text(quote.at_ns),
    }


def read_quote(fields: Fields) -> Quote:
    volume = fields.whole_or_none("volume")
    return Quote(
        symbol=fields.text("symbol"),
        last_paise=fields.price("last_price"),
        at_ns=fields.time("time"),
        volume=-1 if volume is None else volume,
        lower_circuit_paise=fields.price_or_none("lower_circuit"),
        upper_circuit_paise=fields.price_or_none("upper_circuit"),
    )
