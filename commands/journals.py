"""Which journal a verb reads: that of the account asked for, opened beside the process that trades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from json import loads

from protocol.clock import DAY_S, NS, at
from protocol.errors import PureAlphaError
from settings import AccountSettings, Settings
from store.journal_reads import JournalReads
from store.opening import open_for_reading


class NoSuchAccount(PureAlphaError):
    """An account that the settings do not have."""


def account_of(settings: Settings, wanted: str | None) -> AccountSettings:
    """The account called `wanted`; without a name, the first. Raises NoSuchAccount, listing them."""
    for account in settings.accounts:
        if wanted is None or account.id == wanted:
            return account
    known = ", ".join(account.id for account in settings.accounts)
    raise NoSuchAccount(f"account {wanted!r} is none of {known}")


@contextmanager
def journal_for_reading(settings: Settings, account: str | None) -> Iterator[JournalReads]:
    """The account's journal, which cannot be changed. Raises NoSuchAccount, StoreError when there is none."""
    chosen = account_of(settings, account)
    mode = "paper" if chosen.broker == "paper" else "live"
    journal = open_for_reading(settings.storage.directory, mode=mode, account=chosen.id)
    try:
        yield journal
    finally:
        journal.close()


def kill_switch_left_on(journal: JournalReads) -> bool:
    """Whether a person switched entries off and not on again: a restart of the process changes nothing about it."""
    said = journal.file.rows("SELECT body FROM events WHERE kind = 'kill_switch' ORDER BY seq DESC LIMIT 1")
    return bool(said) and bool(loads(said[0][0])["on"])


def bounds_ns(day: date) -> tuple[int, int]:
    """The first and the last nanosecond of a day in India."""
    first = at(day, 0)
    return first, first + DAY_S * NS - 1
