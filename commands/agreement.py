"""Which settings must agree with each other, beyond each being right on its own.

Pure. Called by configuration.py once every single value has been read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeVar

from protocol.clock import second_from_text
from settings import Settings

Value = TypeVar("Value")
Disagreement = tuple[Sequence[str], str]  # the dotted keys concerned, the one to change first; what would be right

OPEN_SECOND = second_from_text("09:15")
CLOSE_SECOND = second_from_text("15:30")
QUARTER_S = 900  # bars begin at it, and before a special session the exchange takes orders for as long


def disagreements(settings: Settings) -> Iterator[Disagreement]:
    """Everything in which two settings contradict each other."""
    yield from _market(settings)
    yield from _hours(settings)
    yield from _money(settings)
    yield from _people(settings)
    if settings.supervision.backoff_first_s > settings.supervision.backoff_max_s:
        keys = ("supervision.backoff_first_s", "supervision.backoff_max_s")
        yield keys, "at most supervision.backoff_max_s"


def _market(settings: Settings) -> Iterator[Disagreement]:
    market = settings.market
    if market.feed == "recorded" and market.directory is None:
        yield (
            ("market.directory", "market.feed"),
            'the folder of the recording, because market.feed is "recorded"',
        )
    if market.first_day and market.last_day and market.first_day > market.last_day:
        yield ("market.first_day", "market.last_day"), "not after market.last_day"
    for position, session in enumerate(settings.calendar.special_sessions):
        key = f"calendar.special_sessions.{position}.open"
        if session.open_second >= session.close_second:
            yield (key,), "before the session's close"
        elif session.open_second % QUARTER_S or session.open_second < QUARTER_S:
            yield (key,), "a full quarter of an hour, 00:15 at the earliest"
    for position, day in _repeated([session.date for session in settings.calendar.special_sessions]):
        yield (f"calendar.special_sessions.{position}.date",), f"another day: {day} has a session already"


def _hours(settings: Settings) -> Iterator[Disagreement]:
    strategy = settings.strategy
    if strategy.first_entry_second < OPEN_SECOND:
        yield ("strategy.first_entry",), "at or after 09:15, when continuous trading begins"
    if strategy.first_entry_second >= strategy.last_entry_second:
        yield ("strategy.first_entry", "strategy.last_entry"), "before strategy.last_entry"
    if strategy.last_entry_second >= strategy.square_off_second:
        yield ("strategy.last_entry", "strategy.square_off"), "before strategy.square_off"
    if strategy.square_off_second >= CLOSE_SECOND:
        yield ("strategy.square_off",), "before 15:30, when continuous trading ends"


def _money(settings: Settings) -> Iterator[Disagreement]:
    per_position = settings.strategy.capital_per_position_paise
    if per_position > settings.strategy.capital_paise:
        yield ("strategy.capital_per_position", "strategy.capital"), "at most strategy.capital"
    if per_position > settings.risk.max_order_value_paise:
        keys = ("risk.max_order_value", "strategy.capital_per_position")
        yield keys, "at least strategy.capital_per_position, or no entry would ever pass"
    if not settings.charges:
        yield ("charges",), "at least one schedule"
    for position, (earlier, later) in enumerate(itertools.pairwise(settings.charges), start=1):
        if earlier.effective_from >= later.effective_from:
            yield (
                (f"charges.{position}.effective_from",),
                f"after {earlier.effective_from}, oldest schedule first",
            )


def _people(settings: Settings) -> Iterator[Disagreement]:
    if not settings.accounts:
        yield ("accounts",), "at least one account"
    names = [user.name for user in settings.users]
    for position, name in _repeated(names):
        yield (f"users.{position}.name",), f'another name: "{name}" is taken'
    for position, account in enumerate(settings.accounts):
        if account.user not in names:
            expected = "the name of one of [[users]]: " + (", ".join(names) or "there are none")
            yield (f"accounts.{position}.user", "users"), expected
        if account.broker != settings.broker.type:
            yield (f"accounts.{position}.broker", "broker.type"), f'"{settings.broker.type}", as broker.type'
    for position, name in _repeated([account.id for account in settings.accounts]):
        yield (f"accounts.{position}.id",), f'another id: "{name}" is taken'
    for position, tag in _repeated([account.tag for account in settings.accounts]):
        yield (f"accounts.{position}.tag",), f'another tag: "{tag}" is taken'


def _repeated(values: Sequence[Value]) -> Iterator[tuple[int, Value]]:
    """Position and value of everything that stands further ahead already."""
    for position, value in enumerate(values):
        if value in values[:position]:
            yield position, value
