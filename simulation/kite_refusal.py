"""How the Kite server says no, and how it reads the fields of a form.

Owns the error every part of the server raises; kite_routes.py turns it into Kite's error envelope. Names of errors
and statuses: kite.trade/docs/connect/v3/exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from brokers import matching
from protocol.broker import RequestFailed
from protocol.money import paise_from_rupees

Form = Mapping[str, str]
Choice = TypeVar("Choice", bound=Enum)


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, http_status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.error_type = error_type
        self.message = message


_AT_KITE = {
    matching.INVALID_INPUT: (400, "InputException"),
    matching.UNKNOWN_SYMBOL: (400, "InputException"),
    matching.TRIGGER_TOO_NEAR: (400, "InputException"),
    matching.NOT_FOUND: (404, "OrderException"),
    matching.NOT_WORKING: (400, "OrderException"),
    matching.REFUSED: (400, "OrderException"),
}


def refused_by_engine(failure: RequestFailed) -> Refused:
    return Refused(*_AT_KITE[failure.code], failure.message)


def bad_input(message: str) -> Refused:
    return Refused(400, "InputException", message)


def needed(form: Form, name: str) -> str:
    value = form.get(name)
    if not value:
        raise bad_input(f"Missing or empty field `{name}`")
    return value


def whole(form: Form, name: str) -> int:
    value = needed(form, name)
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise bad_input(f"Invalid `{name}`: {value[:20]!r} is not a whole number")
    return int(value)


def price(form: Form, name: str) -> int:
    """Paise of a rupee amount; 0 where the form has none, which no order type that needs a price accepts."""
    return paise(form.get(name, "0") or "0", name)


def paise(value: object, name: str) -> int:
    try:
        amount = paise_from_rupees(str(value))
    except ValueError:
        raise bad_input(f"Invalid `{name}`: {str(value)[:20]!r} is not a price in rupees and paise") from None
    if not 0 <= amount < 10**12:
        raise bad_input(f"Invalid `{name}`: {str(value)[:20]!r} is out of range")
    return amount


def choice(kind: type[Choice], form: Form, name: str) -> Choice:
    try:
        return kind(needed(form, name))
    except ValueError:
        allowed = ", ".join(str(each.value) for each in kind)
        raise bad_input(f"Invalid `{name}`: {form[name][:20]!r} is none of {allowed}") from None
