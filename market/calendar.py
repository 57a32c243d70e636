"""When NSE's equity market trades: days, holidays, special sessions, and the phases of a day.

Owns the holiday lists and session times. Never reads a clock: every question comes with its day or instant.
Used by feeds, the order router (hours), the square-off and the health monitor.

The lists are written out instead of taken from exchange-calendars, which would bring pandas for a few dozen
dates.

Sources. 2014-2016 and 2019-2021: NSE's yearly holiday circulars, and agreeing with the days of official
daily prices 2014-07-01..2016-09-09 and 2019-07-01..2021-06-11 (a test compares them where that data is
present). 2026: NSE's list for the year, with the Maharashtra municipal election of 15 January added by a
later circular; the hours of the Muhurat session of Sunday 8 November 2026 are set only weeks before and
belong into the configuration (extra_sessions). A year without a list here knows weekends and the five
holidays with a fixed date; the others belong into extra_holidays. Session times: 09:00 pre-open,
09:15-15:30 continuous; from 2026-08-03 shares with derivatives trade continuously only until 15:15 and then
in the closing auction until 15:35.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import Enum

import attrs

from protocol.clock import NS, at, ist_date
from protocol.errors import MarketDataError

PRE_OPEN_S = 9 * 3600
OPEN_S = 9 * 3600 + 15 * 60
CLOSE_S = 15 * 3600 + 30 * 60
PRE_OPEN_BEFORE_SPECIAL_S = 15 * 60
DERIVATIVES_CLOSE_S = 15 * 3600 + 15 * 60
AUCTION_END_S = 15 * 3600 + 35 * 60
CLOSING_AUCTION_FROM = date(2026, 8, 3)
SQUARE_OFF_S = 15 * 3600 + 10 * 60
SQUARE_OFF_BEFORE_SPECIAL_CLOSE_S = 20 * 60
SEARCH_DAYS_MAX = 30  # the market has never been closed for this long

SATURDAY = 5
QUARTER_S = 900  # 15-minute bars start on it
FIXED_HOLIDAYS = ((1, 26), (5, 1), (8, 15), (10, 2), (12, 25))

# Month and day of the holidays that fall on a weekday, by year.
HOLIDAYS: dict[int, str] = {
    2014: "02-27 03-17 04-08 04-14 04-18 04-24 05-01 07-29 08-15 08-29 10-02 10-03 10-06 10-15 10-24 11-04 11-06 12-25",
    2015: "01-26 02-17 03-06 04-02 04-03 04-14 05-01 09-17 09-25 10-02 10-22 11-12 11-25 12-25",
    2016: "01-26 03-07 03-24 03-25 04-14 04-15 04-19 07-06 08-15 09-05 09-13 10-11 10-12 10-31 11-14",
    2019: "03-04 03-21 04-17 04-19 04-29 05-01 06-05 08-12 08-15 09-02 09-10 10-02 10-08 10-21 10-28 11-12 12-25",
    2020: "02-21 03-10 04-02 04-06 04-10 04-14 05-01 05-25 10-02 11-16 11-30 12-25",
    2021: "01-26 03-11 03-29 04-02 04-14 04-21 05-13 07-21 08-19 09-10 10-15 11-05 11-19",
    2026: "01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01 05-28 06-26 09-14 10-02 10-20 11-10 11-24 12-25",
}


class Phase(Enum):
    """What the exchange does with an order at an instant."""

    PRE_OPEN = "pre-open"
    CONTINUOUS = "continuous"
    CLOSING_AUCTION = "closing auction"
    CLOSED = "closed"


@attrs.frozen
class SpecialSession:
    """A session outside the usual: Muhurat, a budget on a weekend. Times in seconds of the day, IST."""

    day: date
    open_s: int = OPEN_S
    close_s: int = CLOSE_S

    def __attrs_post_init__(self) -> None:
        if self.open_s % QUARTER_S:
            raise ValueError(f"special session of {self.day}: it must open at a full quarter of an hour")
        if not PRE_OPEN_BEFORE_SPECIAL_S <= self.open_s < self.close_s < 24 * 3600:
            raise ValueError(f"special session of {self.day}: it must open before it closes, both on that day")


def _time(hours: int, minutes: int) -> int:
    return hours * 3600 + minutes * 60


SPECIAL_SESSIONS = (
    SpecialSession(date(2014, 10, 23), _time(18, 15), _time(19, 30)),  # Muhurat
    SpecialSession(date(2015, 2, 28)),  # budget on a Saturday
    SpecialSession(date(2015, 11, 11), _time(17, 45), _time(18, 45)),  # Muhurat
    SpecialSession(date(2016, 10, 30), _time(18, 30), _time(19, 30)),  # Muhurat
    SpecialSession(date(2019, 10, 27), _time(18, 15), _time(19, 15)),  # Muhurat
    SpecialSession(date(2020, 2, 1)),  # budget on a Saturday
    SpecialSession(date(2020, 11, 14), _time(18, 15), _time(19, 15)),  # Muhurat
    SpecialSession(date(2021, 11, 4), _time(18, 15), _time(19, 15)),  # Muhurat
    SpecialSession(date(2026, 2, 1)),  # budget on a Sunday
)


@attrs.frozen
class Session:
    """One trading day. All instants in ns; `close_ns` ends continuous trading of the whole market."""

    day: date
    pre_open_ns: int
    open_ns: int
    close_ns: int
    derivatives_close_ns: int  # end of continuous trading of shares with derivatives; = close_ns before the auction
    auction_end_ns: int
    usual_hours: bool

    def continuous_end_ns(self, derivatives: bool = False) -> int:
        """When continuous trading ends for a share, by whether derivatives are traded on it."""
        return self.derivatives_close_ns if derivatives else self.close_ns

    def phase(self, at_ns: int, derivatives: bool = False) -> Phase:
        """The phase a share is in. Each phase begins at its first instant and ends before the next one's."""
        if self.pre_open_ns <= at_ns < self.open_ns:
            return Phase.PRE_OPEN
        if self.open_ns <= at_ns < self.continuous_end_ns(derivatives):
            return Phase.CONTINUOUS
        if derivatives and self.derivatives_close_ns <= at_ns < self.auction_end_ns:
            return Phase.CLOSING_AUCTION
        return Phase.CLOSED

    def square_off_ns(self, usual_s: int = SQUARE_OFF_S) -> int:
        """When positions are closed for the day: `usual_s` IST, or 20 minutes before an unusual close."""
        if self.usual_hours:
            return at(self.day, usual_s)
        return self.close_ns - SQUARE_OFF_BEFORE_SPECIAL_CLOSE_S * NS


@attrs.frozen
class TradingCalendar:
    """The trading days: the built-in lists and the configured extras. A special session beats a holiday.

    `closing_auction_from` is the first day with a closing auction; None: there never is one.
    """

    extra_holidays: frozenset[date] = frozenset()
    extra_sessions: tuple[SpecialSession, ...] = ()
    closing_auction_from: date | None = CLOSING_AUCTION_FROM
    _special: dict[date, SpecialSession] = attrs.field(
        init=False,
        repr=False,
        eq=False,
        default=attrs.Factory(lambda self: self._all_special(), takes_self=True),
    )
    _holidays: frozenset[date] = attrs.field(
        init=False,
        repr=False,
        eq=False,
        default=attrs.Factory(lambda self: self._all_holidays(), takes_self=True),
    )

    def _all_special(self) -> dict[date, SpecialSession]:
        return {session.day: session for session in SPECIAL_SESSIONS + self.extra_sessions}

    def _all_holidays(self) -> frozenset[date]:
        listed = (date.fromisoformat(f"{year}-{day}") for year, days in HOLIDAYS.items() for day in days.split())
        return frozenset(listed) | self.extra_holidays

    def is_trading_day(self, day: date) -> bool:
        """Whether the market trades on that day at all."""
        if day in self._special:
            return True
        if day.weekday() >= SATURDAY or day in self._holidays:
            return False
        return day.year in HOLIDAYS or (day.month, day.day) not in FIXED_HOLIDAYS

    def session(self, day: date) -> Session | None:
        """The session of a day, None when the market stays closed."""
        if not self.is_trading_day(day):
            return None
        special = self._special.get(day)
        open_s, close_s = (special.open_s, special.close_s) if special else (OPEN_S, CLOSE_S)
        usual = (open_s, close_s) == (OPEN_S, CLOSE_S)
        auction = usual and self.closing_auction_from is not None and day >= self.closing_auction_from
        return Session(
            day=day,
            pre_open_ns=at(day, PRE_OPEN_S if usual else open_s - PRE_OPEN_BEFORE_SPECIAL_S),
            open_ns=at(day, open_s),
            close_ns=at(day, close_s),
            derivatives_close_ns=at(day, DERIVATIVES_CLOSE_S if auction else close_s),
            auction_end_ns=at(day, AUCTION_END_S if auction else close_s),
            usual_hours=usual,
        )

    def session_at(self, at_ns: int) -> Session | None:
        """The session of the Indian day an instant lies in, before, during or after its hours."""
        return self.session(ist_date(at_ns))

    def next_session(self, after_ns: int) -> Session:
        """The first session that opens after an instant."""
        day = ist_date(after_ns)
        session = self.session(day)
        if session is None or session.open_ns <= after_ns:
            session = self.session(self.next_trading_day(day))
            assert session is not None
        return session

    def next_trading_day(self, day: date) -> date:
        """The first trading day strictly after a day."""
        return self._search(day, 1)

    def previous_trading_day(self, day: date) -> date:
        """The last trading day strictly before a day."""
        return self._search(day, -1)

    def _search(self, day: date, step: int) -> date:
        for days in range(1, SEARCH_DAYS_MAX + 1):
            candidate = day + timedelta(days=step * days)
            if self.is_trading_day(candidate):
                return candidate
        raise MarketDataError(f"no trading day within {SEARCH_DAYS_MAX} days of {day}: look at calendar.holidays")
