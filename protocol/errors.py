"""Every error of ours that another part may want to catch, in one place.

A LocalProtocolError is our own bug and crashes the actor; a RemoteProtocolError is the other side's and is
quarantined, counted and followed by reconciliation (style: assert bugs, raise faults).
"""

from __future__ import annotations


class PureAlphaError(Exception):
    """The root of all errors raised on purpose."""


class LocalProtocolError(PureAlphaError):
    """We asked for something that our own state machines forbid."""


class RemoteProtocolError(PureAlphaError):
    """The broker or the feed said something impossible or unreadable."""


class BrokerUnavailable(PureAlphaError):
    """No answer: time-out, broken link, 5xx. The request may have reached the broker."""


class MarketDataError(PureAlphaError):
    """A recording, an instruments file or a history that cannot be used; the text says which and why."""


class StoreError(PureAlphaError):
    """The journal or market.db cannot be used as asked."""


class StoreFull(StoreError):
    """The disk or the quota is full: entries stop, exits go on from the reserve."""


class StoreBusy(StoreError):
    """Another process holds the account's database."""
