"""The trading calendar: days, hours and phases, held to the days of the recorded data where it is present."""

from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path

import pytest

from market.calendar import Phase, SpecialSession, TradingCalendar
from protocol.clock import NS, at, ist_text

DATA = Path(__file__).parents[3] / "shared" / "data"
CALENDAR = TradingCalendar()


@pytest.mark.parametrize("folder", ["nse2016", "nse2021"])
def test_the_calendar_trades_on_exactly_the_days_of_the_official_daily_prices(folder: str) -> None:
    path = DATA / folder / "daily.csv.gz"
    if not path.is_file():
        pytest.skip(f"the recorded data is not there: {path}")
    with gzip.open(path, "rt") as lines:
        next(lines)
        traded = {date.fromisoformat(line.split(",")[1]) for line in lines}
    first, last = min(traded), max(traded)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    assert {day for day in days if CALENDAR.is_trading_day(day)} == traded


def test_before_the_closing_auction_every_share_trades_until_half_past_three() -> None:
    session = CALENDAR.session(date(2026, 7, 31))
    assert session is not None
    assert ist_text(session.open_ns) == "2026-07-31 09:15:00"
    assert ist_text(session.continuous_end_ns(derivatives=True)) == "2026-07-31 15:30:00"
    assert session.phase(session.close_ns, derivatives=True) is Phase.CLOSED


def test_shares_with_derivatives_go_into_the_closing_auction_at_a_quarter_past_three() -> None:
    day = date(2026, 8, 3)
    session = CALENDAR.session(day)
    assert session is not None
    quarter_past = at(day, 15 * 3600 + 15 * 60)
    assert session.phase(quarter_past - 1, derivatives=True) is Phase.CONTINUOUS
    assert session.phase(quarter_past, derivatives=True) is Phase.CLOSING_AUCTION
    assert session.phase(quarter_past + 20 * 60 * NS, derivatives=True) is Phase.CLOSED
    assert session.phase(quarter_past) is Phase.CONTINUOUS
    assert session.phase(session.close_ns) is Phase.CLOSED


@pytest.mark.parametrize(
    ("begins", "until"), [(None, "15:30:00"), (date(2026, 9, 1), "15:30:00"), (date(2026, 8, 4), "15:15:00")]
)
def test_the_first_day_of_the_closing_auction_can_be_configured(begins: date | None, until: str) -> None:
    session = TradingCalendar(closing_auction_from=begins).session(date(2026, 8, 4))
    assert session is not None
    assert ist_text(session.continuous_end_ns(derivatives=True)) == f"2026-08-04 {until}"
    assert ist_text(session.close_ns) == "2026-08-04 15:30:00"


def test_a_usual_day_goes_from_closed_over_pre_open_to_continuous_trading() -> None:
    day = date(2016, 8, 16)
    session = CALENDAR.session(day)
    assert session is not None
    nine = at(day, 9 * 3600)
    assert session.phase(nine - 1) is Phase.CLOSED
    assert session.phase(nine) is Phase.PRE_OPEN
    assert session.phase(session.open_ns - 1) is Phase.PRE_OPEN
    assert session.phase(session.open_ns) is Phase.CONTINUOUS


def test_square_off_is_at_ten_past_three_but_twenty_minutes_before_a_special_session_ends() -> None:
    usual = CALENDAR.session(date(2026, 2, 2))
    muhurat = CALENDAR.session(date(2021, 11, 4))
    budget_sunday = CALENDAR.session(date(2026, 2, 1))
    assert usual is not None
    assert muhurat is not None
    assert budget_sunday is not None
    assert ist_text(usual.square_off_ns()) == "2026-02-02 15:10:00"
    assert ist_text(usual.square_off_ns(15 * 3600)) == "2026-02-02 15:00:00"
    assert ist_text(muhurat.open_ns) == "2021-11-04 18:15:00"
    assert ist_text(muhurat.square_off_ns()) == "2021-11-04 18:55:00"
    assert ist_text(budget_sunday.square_off_ns()) == "2026-02-01 15:10:00"


def test_weekends_and_holidays_have_no_session() -> None:
    assert CALENDAR.session(date(2026, 11, 21)) is None
    assert CALENDAR.session(date(2026, 11, 10)) is None
    assert CALENDAR.session(date(2026, 1, 15)) is None


def test_a_year_without_a_list_still_knows_the_holidays_with_a_fixed_date() -> None:
    assert not CALENDAR.is_trading_day(date(2027, 1, 26))
    assert CALENDAR.is_trading_day(date(2027, 1, 27))


def test_configured_holidays_and_sessions_come_on_top() -> None:
    muhurat = SpecialSession(date(2026, 11, 8), 18 * 3600, 19 * 3600)
    calendar = TradingCalendar(frozenset({date(2026, 11, 23)}), (muhurat,))
    assert not calendar.is_trading_day(date(2026, 11, 23))
    session = calendar.session(date(2026, 11, 8))
    assert session is not None
    assert ist_text(session.pre_open_ns) == "2026-11-08 17:45:00"
    assert ist_text(session.close_ns) == "2026-11-08 19:00:00"


def test_the_next_session_opens_after_the_instant() -> None:
    friday = CALENDAR.session(date(2026, 11, 20))
    assert friday is not None
    assert CALENDAR.next_session(friday.open_ns - 1) == friday
    assert CALENDAR.next_session(friday.open_ns).day == date(2026, 11, 23)
    assert CALENDAR.previous_trading_day(date(2026, 11, 23)) == date(2026, 11, 20)
    assert CALENDAR.next_trading_day(date(2026, 11, 23)) == date(2026, 11, 25)
    assert CALENDAR.session_at(friday.close_ns + 3600 * NS) == friday


@pytest.mark.parametrize(("open_s", "close_s"), [(70_000, 80_000), (72_000, 72_000), (0, 3600), (72_000, 90_000)])
def test_a_special_session_that_cannot_be_is_refused(open_s: int, close_s: int) -> None:
    with pytest.raises(ValueError, match="special session of 2026-11-08: it must open"):
        SpecialSession(date(2026, 11, 8), open_s, close_s)
