"""Market time: whole nanoseconds, and the wall clock of India on any machine."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.clock import (
    IST,
    NS,
    at,
    clock_text,
    from_ist_text,
    ist_date,
    ist_text,
    ist_time_text,
    second_from_text,
    second_of_day,
)

DAYS = st.dates(date(1971, 1, 1), date(2100, 12, 31))
SECONDS = st.integers(0, 86_399)
PARTS = st.integers(0, NS - 1)


def test_the_open_of_a_known_day_is_a_known_instant() -> None:
    opened = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)
    assert at(date(2026, 11, 20), 33_300) == int(opened.timestamp()) * NS
    assert ist_text(at(date(2026, 11, 20), 33_300)) == "2026-11-20 09:15:00"


@given(DAYS, SECONDS, PARTS)
def test_day_and_second_come_back_from_every_instant(day: date, second: int, part_ns: int) -> None:
    at_ns = at(day, second) + part_ns
    assert (ist_date(at_ns), second_of_day(at_ns)) == (day, second)


@given(DAYS, SECONDS, PARTS)
def test_the_clock_agrees_with_the_standard_library(day: date, second: int, part_ns: int) -> None:
    moment = datetime(day.year, day.month, day.day, tzinfo=IST) + timedelta(seconds=second)
    at_ns = at(day, second) + part_ns
    assert at(day, second) == int(moment.timestamp()) * NS
    assert ist_text(at_ns) == moment.strftime("%Y-%m-%d %H:%M:%S")
    assert ist_time_text(at_ns) == clock_text(second) == moment.strftime("%H:%M:%S")


@given(DAYS, SECONDS)
def test_written_times_can_be_read_back(day: date, second: int) -> None:
    assert from_ist_text(ist_text(at(day, second))) == at(day, second)
    assert second_from_text(clock_text(second)) == second


def test_the_day_changes_at_midnight_in_india_not_in_greenwich() -> None:
    midnight = at(date(2026, 3, 2), 0)
    assert ist_date(midnight) == date(2026, 3, 2)
    assert ist_date(midnight - 1) == date(2026, 3, 1)
    assert ist_time_text(midnight - 1) == "23:59:59"


def test_a_time_of_day_may_leave_its_seconds_out() -> None:
    assert second_from_text("09:26") == second_from_text("09:26:00") == 9 * 3600 + 26 * 60


@pytest.mark.parametrize(
    "text",
    ["", "9:26", "25:00", "09:60", "09:26:61", "09:26:00.5", "09:26+05:30", "noon", "0926", "09", "T09:26"],
)
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|isoformat|hour|minute|second"):
        second_from_text(text)


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-20", "2026-11-20T09:15:00", "2026-11-20 09:15", "2026-02-30 09:15:00", "2026-1-5 9:5:0"],
)
def test_a_written_time_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|form|day"):
        from_ist_text(text)
