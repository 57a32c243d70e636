"""Market time: integer nanoseconds since the Unix epoch, and the Indian clock on the wall.

Owns the conversions between instants, days and text. Never reads a clock (effects.py does).
IST is UTC+05:30 all year, without summer time, so a fixed offset is exact.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone

NS = 1_000_000_000
IST = timezone(timedelta(hours=5, minutes=30), "IST")
IST_OFFSET_NS = 19_800 * NS
DAY_S = 86_400
MINUTE_NS = 60 * NS

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def at(day: date, second_of_day: int) -> int:
    """The instant of a day's second in IST, in ns since the epoch: at(day, 33_300) is 09:15:00."""
    return ((day.toordinal() - _EPOCH_ORDINAL) * DAY_S + second_of_day) * NS - IST_OFFSET_NS


def second_of_day(at_ns: int) -> int:
    """Whole seconds since midnight IST."""
    return (at_ns + IST_OFFSET_NS) // NS % DAY_S


def ns_of_day(at_ns: int) -> int:
    """Nanoseconds since midnight IST: for hours that are inclusive to the last instant."""
    return (at_ns + IST_OFFSET_NS) % (DAY_S * NS)


def ist_date(at_ns: int) -> date:
    """The calendar day in India at that instant."""
    return date.fromordinal((at_ns + IST_OFFSET_NS) // (DAY_S * NS) + _EPOCH_ORDINAL)


def ist_text(at_ns: int) -> str:
    """'YYYY-MM-DD HH:MM:SS' in IST, parts of a second left out."""
    return f"{ist_date(at_ns).isoformat()} {clock_text(second_of_day(at_ns))}"


def ist_time_text(at_ns: int) -> str:
    """'HH:MM:SS' in IST."""
    return clock_text(second_of_day(at_ns))


def clock_text(second: int) -> str:
    """'HH:MM:SS' of a second of the day."""
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def from_ist_text(text: str) -> int:
    """The inverse of ist_text. Raises ValueError when the text has another form."""
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    at_ns = at(moment.date(), moment.hour * 3600 + moment.minute * 60 + moment.second)
    if ist_text(at_ns) != text:
        raise ValueError(f"{text!r} is not of the form 2026-01-05 09:05:00")
    return at_ns


def second_from_text(text: str) -> int:
    """Second of the day of 'HH:MM' or 'HH:MM:SS'. Raises ValueError when it is no time of day."""
    moment = time.fromisoformat(text)
    if text[2:3] != ":" or moment.microsecond or moment.tzinfo:
        raise ValueError(f"{text!r} is not a time of day such as 09:26 or 09:26:00")
    return moment.hour * 3600 + moment.minute * 60 + moment.second
