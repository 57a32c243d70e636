"""Kite's JSON values as ours: rupees to whole paise, naive Indian times to ns, numbers and texts with a check.

Owns the conversions every reader of Kite's answers shares. Never knows which answer it reads. Called by the other
kite_* files of this folder only. Whatever cannot be read is a RemoteProtocolError that names the field.

Amounts come as `Decimal` made from the text on the wire (kite_wire.decode_json); no float is ever made of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Any

from protocol.clock import IST
from protocol.errors import RemoteProtocolError
from protocol.money import PAISE_PER_RUPEE, paise_from_rupees

Row = Mapping[str, Any]

EQUITY_EXCHANGES = frozenset({"NSE", "BSE"})  # priced in whole paise; the others have finer prices
OUR_EXCHANGE = "NSE"
NUMBER_MAX = 10**17  # quantities and paise stay within the 64 bits of the journal and the board

_EPOCH = datetime(1970, 1, 1, tzinfo=IST) + timedelta(hours=5, minutes=30)
_WIDE = Context(prec=60)


def decode_json(text: str | bytes) -> Any:
    """JSON with every fraction kept exact. Raises RemoteProtocolError for anything that is not JSON."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise RemoteProtocolError(f"not JSON: {problem}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def row_of(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"{what} is {_shown(value)}, not an object")
    return value


def rows_of(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise RemoteProtocolError(f"{what} is {_shown(value)}, not a list")
    return value


def text(row: Row, name: str) -> str:
    """A text that must be there and not empty; ids may also come as whole numbers."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise RemoteProtocolError(f"{name} is {_shown(value)}, not a text")
    return _storable(value)


def text_or_nothing(row: Row, name: str) -> str:
    """A text, "" where there is none."""
    value = row.get(name)
    return _storable(value) if isinstance(value, str) else ""


def _storable(value: str) -> str:
    """JSON can spell half of a surrogate pair, which no database takes."""
    return value.encode("utf-8", "replace").decode()


def whole(row: Row, name: str) -> int:
    """A whole number, as quantities and volumes are; 10.0 counts as 10."""
    value = row.get(name)
    if isinstance(value, Decimal) and value.is_finite() and abs(value) < NUMBER_MAX and value == int(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= NUMBER_MAX:
        raise RemoteProtocolError(f"{name} is {_shown(value)}, not a whole number")
    return value


def amount(row: Row, name: str) -> Decimal:
    """A number of rupees as it stands on the wire."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < NUMBER_MAX:
        return Decimal(value)
    if isinstance(value, Decimal) and value.is_finite() and abs(value) < NUMBER_MAX:
        return value
    raise RemoteProtocolError(f"{name} is {_shown(value)}, not an amount")


def price_paise(row: Row, name: str, exchange: str) -> int:
    """A price in paise: exact on NSE and BSE, half up where an exchange's prices have parts of a paisa."""
    rupees = amount(row, name)
    if exchange not in EQUITY_EXCHANGES:
        return half_up_paise(rupees)
    try:
        return paise_from_rupees(rupees)
    except ValueError:
        raise RemoteProtocolError(f"{name} is {rupees} on {exchange}, not a whole number of paise") from None


def half_up_paise(rupees: Decimal) -> int:
    return _rounded(rupees, ROUND_HALF_UP)


def floor_paise(rupees: Decimal) -> int:
    return _rounded(rupees, ROUND_FLOOR)


def ceiling_paise(rupees: Decimal) -> int:
    return _rounded(rupees, ROUND_CEILING)


def _rounded(rupees: Decimal, rounding: str) -> int:
    return int(_WIDE.multiply(rupees, Decimal(PAISE_PER_RUPEE)).to_integral_value(rounding, _WIDE))


def rupees_text(paise: int) -> str:
    """The amount as Kite's forms want it: 150005 -> '1500.05'."""
    sign = "-" if paise < 0 else ""
    return f"{sign}{abs(paise) // PAISE_PER_RUPEE}.{abs(paise) % PAISE_PER_RUPEE:02d}"


def rupees(paise: int) -> Decimal:
    """The amount as an exact JSON number."""
    return Decimal(rupees_text(paise))


def instant(row: Row, name: str) -> int:
    """A time in ns. Kite writes naive Indian time ('2021-05-31 09:18:57'); historical rows bear +0530."""
    return instant_of(row.get(name), name)


def instant_of(value: object, name: str) -> int:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=IST)
        since_epoch = moment - _EPOCH
    except (ValueError, OverflowError):
        raise RemoteProtocolError(f"{name} is {_shown(value)}, not a time") from None
    at_ns = since_epoch // timedelta(microseconds=1) * 1000
    if not 0 <= at_ns < 1 << 62:
        raise RemoteProtocolError(f"{name} is {_shown(value)}, far from any trading day")
    return at_ns


def newest_instant(row: Row, *names: str) -> int:
    """The latest of the times that are there; at least one must be."""
    times = [instant(row, name) for name in names if row.get(name)]
    if not times:
        raise RemoteProtocolError(f"none of {', '.join(names)} is there")
    return max(times)


def symbol_of(exchange: str, tradingsymbol: str) -> str:
    """Ours for NSE ('INFY'); Kite's own key elsewhere ('BSE:INFY'), which is never mistaken for one of ours."""
    return tradingsymbol if exchange == OUR_EXCHANGE else f"{exchange}:{tradingsymbol}"


def demat_symbol(exchange: str, tradingsymbol: str) -> str:
    """As symbol_of, but one name for NSE and BSE: delivered shares lie in one demat account, whichever
    exchange Kite shows them under.
    """
    return tradingsymbol if exchange in EQUITY_EXCHANGES else f"{exchange}:{tradingsymbol}"


def gtt_named_by(meta: object) -> str | None:
    """The GTT that an order's `meta` names, if any; meta comes as an object or as JSON in a text."""
    if isinstance(meta, str) and meta:
        try:
            meta = decode_json(meta)
        except RemoteProtocolError:
            return None  # a meta of another form says nothing about GTTs
    gtt = meta.get("gtt") if isinstance(meta, dict) else None
    if isinstance(gtt, bool) or not isinstance(gtt, int | str) or gtt == "":
        return None
    return str(gtt)


def _shown(value: object) -> str:
    shown = repr(value) if not isinstance(value, int) or abs(value) < NUMBER_MAX else "a number of too many digits"
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
