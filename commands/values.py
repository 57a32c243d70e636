"""How one value of config.toml is read into a settings attribute, and written back.

Owns the unit conversions of every `settings.Kind`. Pure: no file, no environment. Called by configuration.py.
Every reader takes what TOML gives (numbers as int or Decimal) and raises ValueError with the words for what
would be right; tables are configuration.py's, because their faults lie deeper.
"""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from protocol.clock import clock_text, second_from_text
from settings import Form, Kind

SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9&_-]{0,31}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?")


def read(form: Form, value: Any) -> Any:
    """The attribute's value. Raises ValueError saying what would be right."""
    match form.kind:
        case Kind.EXACT:
            return _exact(form, value)
        case Kind.NUMBER:
            return float(_within(form, value, f"{form.unit} {_range(form)}"))
        case Kind.SPEED:
            expected = f'market seconds per second {_range(form)}, or "max"'
            return math.inf if value == "max" else float(_within(form, value, expected))
        case Kind.SWITCH:
            if not isinstance(value, bool):
                raise ValueError("true or false")
            return _unless_refused(form, value)
        case Kind.CHOICE:
            return _choice(form, value)
        case Kind.TEXT:
            if not isinstance(value, str) or not re.fullmatch(form.pattern, value):
                raise ValueError(form.expected)
            return value
        case Kind.PATH:
            return _path(form, value)
        case Kind.TIME:
            return _time(value)
        case Kind.DAY:
            return None if form.optional and value == "" else _day(form, value)
        case Kind.DAYS:
            days = _list(value, 'a list of days, ["YYYY-MM-DD", …]')
            return tuple(sorted({_day(form, each) for each in days}))
        case Kind.SYMBOLS:
            return _symbols(value)
        case _:
            raise AssertionError(f"{form.kind} is not a single value")


def written(form: Form, value: Any) -> Any:
    """The inverse of `read`: what the file would say, in the types TOML gives."""
    match form.kind:
        case Kind.EXACT:
            whole, rest = divmod(value, form.parts)
            return whole if not rest else Decimal(value) / form.parts
        case Kind.NUMBER:
            return Decimal(str(value))
        case Kind.SPEED:
            return "max" if math.isinf(value) else Decimal(str(value))
        case Kind.TIME:
            return clock_text(value)
        case Kind.PATH:
            return "" if value is None else str(value)
        case Kind.DAY:
            return "" if value is None else value.isoformat()
        case Kind.DAYS:
            return [day.isoformat() for day in value]
        case Kind.SYMBOLS:
            return list(value)
        case _:
            return value


def _range(form: Form) -> str:
    return f"from {form.low:.12g} to {form.high:.12g}"


def _within(form: Form, value: Any, expected: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(expected)
    exact = Decimal(value)
    if not exact.is_finite() or not Decimal(str(form.low)) <= exact <= Decimal(str(form.high)):
        raise ValueError(expected)
    return exact


def _exact(form: Form, value: Any) -> int:
    places = len(str(form.parts)) - 1
    expected = f"{form.unit} {_range(form)}, " + (f"at most {places} decimals" if places else "a whole number")
    scaled = Fraction(_within(form, value, expected)) * form.parts
    if scaled.denominator != 1:
        raise ValueError(expected)
    return scaled.numerator


def _unless_refused(form: Form, value: Any) -> Any:
    if value in form.refused:
        raise ValueError(form.refused[value])
    return value


def _choice(form: Form, value: Any) -> str:
    expected = " or ".join(f'"{option}"' for option in form.options)
    if not isinstance(value, str):
        raise ValueError(expected)
    if value in form.refused:
        raise ValueError(f"{expected} ({form.refused[value]})")
    if value not in form.options:
        raise ValueError(expected)
    return value


def _path(form: Form, value: Any) -> Path | None:
    if not isinstance(value, str) or "\0" in value or not (value.strip() or form.optional):
        raise ValueError("the path of a file or folder" + (', or ""' if form.optional else ""))
    return Path(value) if value.strip() else None


def _time(value: Any) -> int:
    expected = 'a time of day in IST, "HH:MM" or "HH:MM:SS"'
    if isinstance(value, datetime.time):  # TOML has times of its own, written without quotes
        value = value.isoformat()
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise ValueError(expected)
    try:
        return second_from_text(value)
    except ValueError:
        raise ValueError(expected) from None


def _day(form: Form, value: Any) -> datetime.date:
    expected = 'a day, "YYYY-MM-DD"' + (', or ""' if form.optional else "")
    if type(value) is datetime.date:
        return value
    if not isinstance(value, str) or not DAY.fullmatch(value):
        raise ValueError(expected)
    try:
        return datetime.date.fromisoformat(value)
    except ValueError:
        raise ValueError(expected) from None


def _list(value: Any, expected: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(expected)
    return value


def _symbols(value: Any) -> tuple[str, ...]:
    expected = 'a list of exchange symbols, ["RELIANCE", …]'
    for symbol in _list(value, expected):
        if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
            raise ValueError(expected)
    return tuple(sorted(set(value)))
