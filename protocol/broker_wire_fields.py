"""The grains of the JSON broker's wire: rupees, instants, and the fields of one object.

Owns how a price, a time and a field are written and read, and what is wrong with one that cannot be. Knows no
message. Used by broker_wire.py and its parts. Prices are rupees with at most two decimals on the wire and whole
paise here; times are ISO-8601 UTC with Z there and nanoseconds since the epoch here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from enum import Enum
from functools import lru_cache
from typing import TypeVar

import msgspec

from protocol.clock import DAY_S, NS
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.money import PAISE_PER_RUPEE

Json = dict[str, object]
Choice = TypeVar("Choice", bound=Enum)

TEXT_MAX = 256  # characters of an id, a symbol, a key
MESSAGE_MAX = 4_096  # characters of a text for people; what is longer is cut
LIST_MAX = 200_000  # rows of a list
WHOLE_MAX = 10**12
PAISE_MAX = 10**16  # 10 lakh crore rupees: the available cash of an account without a limit

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


class MalformedFrame(RemoteProtocolError):
    """A frame, or an object in one, that cannot be read. `request_id` is the one it bears, if that much is clear."""

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


def parse_object(text: str | bytes) -> Json:
    """The one JSON object of a frame. Raises MalformedFrame."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
        raise MalformedFrame(f"not JSON: {wrong}") from None
    if not isinstance(value, dict):
        raise MalformedFrame(f"a frame is one JSON object, got {_shown(value)}")
    return value


def dump(fields: Json) -> str:
    """The text of an object. Ours are always writable: numbers, texts, lists of them."""
    return msgspec.json.encode(fields).decode()


# --- rupees -------------------------------------------------------------------------------------------


def rupee_number(paise: int) -> int | float:
    """The JSON number of an amount: exact, with at most two decimals.

    Raises LocalProtocolError for an amount that a JSON number of 64 bits cannot hold to the paisa (from 7 x 10^13
    rupees on).
    """
    whole, rest = divmod(paise, PAISE_PER_RUPEE)
    if not rest:
        return whole
    number = paise / PAISE_PER_RUPEE
    if round(number * PAISE_PER_RUPEE) != paise:
        raise LocalProtocolError(f"{paise} paise cannot be written as rupees without a loss")
    return number


def rupee_number_or_none(paise: int | None) -> int | float | None:
    return None if paise is None else rupee_number(paise)


def paise_of_number(value: object, name: str) -> int:
    """The paise of a JSON number in rupees. Raises MalformedFrame for anything finer, longer or else."""
    if isinstance(value, float):
        # A number of two decimals is the float nearest to it, so coming back to the same float proves it.
        paise = round(value * PAISE_PER_RUPEE) if abs(value) <= PAISE_MAX else PAISE_MAX + 1
        if paise / PAISE_PER_RUPEE != value:
            raise MalformedFrame(f"{name}: {value!r} is not rupees with at most two decimals")
    elif isinstance(value, int) and not isinstance(value, bool):
        paise = value * PAISE_PER_RUPEE
    else:
        raise MalformedFrame(f"{name}: expected rupees as a number, got {_shown(value)}")
    if abs(paise) > PAISE_MAX:
        raise MalformedFrame(f"{name}: {_shown(value)} rupees is more than there can be")
    return paise


# --- times --------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)  # all ticks of a frame bear the same instant
def utc_text(at_ns: int) -> str:
    """'2026-01-05T04:00:00Z', with as many decimals (3, 6 or 9) as the instant needs."""
    seconds, rest = divmod(at_ns, NS)
    days, second = divmod(seconds, DAY_S)
    decimals = f".{rest:09d}" if rest else ""
    for _ in range(2):
        decimals = decimals.removesuffix("000")
    day = date.fromordinal(days + _EPOCH_ORDINAL).isoformat()
    return f"{day}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}{decimals}Z"


@lru_cache(maxsize=256)
def ns_of_utc(text: str) -> int:
    """The instant of an ISO-8601 UTC time with Z. Raises ValueError when it is none."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:TEXT_MAX]!r} is not a time such as 2026-01-05T04:00:00.250Z")
    day, hours, minutes, seconds, decimals = found.groups()
    clock = int(hours), int(minutes), int(seconds)
    if clock > (23, 59, 59) or clock[1] > 59 or clock[2] > 59:
        raise ValueError(f"{text!r} is no time of day")
    second = clock[0] * 3600 + clock[1] * 60 + clock[2]
    days = date.fromisoformat(day).toordinal() - _EPOCH_ORDINAL
    return (days * DAY_S + second) * NS + int((decimals or "").ljust(9, "0"))


# --- fields -------------------------------------------------------------------------------------------


class Fields:
    """The fields of one object, read by name and kind. Every method raises MalformedFrame, naming the field."""

    def __init__(self, values: object, what: str = "") -> None:
        if not isinstance(values, dict):
            raise MalformedFrame(f"{what}: expected an object, got {_shown(values)}")
        self._values = values

    def has(self, name: str) -> bool:
        """Whether the field is there at all; null counts as there."""
        return name in self._values

    def names(self) -> list[str]:
        """The names of all fields, known or not."""
        return [str(name) for name in self._values]

    def empty(self, name: str) -> bool:
        """Whether the field is missing or null."""
        return self._values.get(name) is None

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX:
            raise MalformedFrame(f"{name}: expected a text of 1 to {TEXT_MAX} characters, got {_shown(value)}")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self.empty(name) else self.text(name)

    def message(self, name: str) -> str:
        """A text for people: may be missing, is cut when it is long."""
        value = self._values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise MalformedFrame(f"{name}: expected a text, got {_shown(value)}")
        return value[:MESSAGE_MAX]

    def whole(self, name: str) -> int:
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > WHOLE_MAX:
            raise MalformedFrame(f"{name}: expected a whole number, got {_shown(value)}")
        return value

    def whole_or_none(self, name: str) -> int | None:
        return None if self.empty(name) else self.whole(name)

    def price(self, name: str) -> int:
        """Rupees on the wire, paise here."""
        return paise_of_number(self._values.get(name), name)

    def price_or_none(self, name: str) -> int | None:
        return None if self.empty(name) else self.price(name)

    def time(self, name: str) -> int:
        try:
            return ns_of_utc(self.text(name))
        except ValueError as wrong:
            raise MalformedFrame(f"{name}: {wrong}") from None

    def time_or_none(self, name: str) -> int | None:
        return None if self.empty(name) else self.time(name)

    def choice(self, name: str, kind: type[Choice]) -> Choice:
        value = self._values.get(name)
        try:
            return kind(value)
        except ValueError:
            allowed = ", ".join(str(member.value) for member in kind)
            raise MalformedFrame(f"{name}: expected one of {allowed}, got {_shown(value)}") from None

    def choice_or_none(self, name: str, kind: type[Choice]) -> Choice | None:
        return None if self.empty(name) else self.choice(name, kind)

    def items(self, name: str, most: int = LIST_MAX) -> Sequence[object]:
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise MalformedFrame(f"{name}: expected a list of at most {most}, got {_shown(value)}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        found = self.items(name)
        for value in found:
            if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX:
                raise MalformedFrame(f"{name}: expected texts of 1 to {TEXT_MAX} characters, got {_shown(value)}")
        return tuple(str(value) for value in found)

    def part(self, name: str) -> Fields:
        """An object within this one."""
        return Fields(self._values.get(name), name)

    def parts(self, name: str) -> list[Fields]:
        """A list of objects within this one."""
        return [Fields(value, name) for value in self.items(name)]


def _shown(value: object) -> str:
    """A value of the other side's in an error text, cut so that no frame can fill a log."""
    text = repr(value) if not isinstance(value, (dict, list)) else f"a JSON {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
