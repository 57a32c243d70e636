"""What an order router is given, and what outlives its incarnations.

Owns no behaviour. The tree puts these values together (tree.py); every part of the router reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

import attrs

from actors.mailbox import Address, InFlight
from actors.ports import Broker, Journal, LogLine
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from protocol.clock import NS
from protocol.messages import Notice
from strategy.ladder import LadderRules
from strategy.risk import OrderPace, RiskLimits

REJECTIONS_COUNTED = 5  # as many within five minutes stop the account's entries (orders.md)


@attrs.frozen(kw_only=True)
class Timings:
    """Market-time durations in ns, distances in bp, and how often an entry is tried (trading-rules.md, orders.md)."""

    entry_ttl_ns: int = 5 * NS
    entry_timeout_ns: int = 30 * NS
    retry_after_ns: int = 60 * NS
    trigger_grace_ns: int = 10 * NS
    entry_offset_bp: int = 30
    max_slippage_bp: int = 50
    attempts_per_rung: int = 3


@attrs.define(eq=False)
class RouterMemory:
    """What must outlive an incarnation of the router and is no order; the tree keeps it.

    A death of the process may forget it: what is asked then is asked anew by the positions.
    """

    pace: OrderPace
    kill_switch: bool = False
    disk_full: bool = False
    ids: int = 0  # client order ids drawn in this run
    readings: int = 0  # of the broker's books; an older one than the newest is not listened to
    waiting: dict[Hashable, object] = attrs.Factory(dict)  # wishes kept until the account trades again
    blocked: dict[str, str] = attrs.Factory(dict)  # symbol → why it is not entered any more today
    frozen: dict[str, str] = attrs.Factory(dict)  # symbol → why it is not entered until a person has looked
    exit_steps: dict[str, int] = attrs.Factory(dict)  # client id → how often a resting exit was moved
    strikes: dict[tuple[str, int], int] = attrs.Factory(dict)  # rung → how many of its exits were rejected today
    rejections_ns: deque[int] = attrs.Factory(lambda: deque(maxlen=REJECTIONS_COUNTED))
    told: set[str] = attrs.Factory(set)  # findings and alerts of today that need no second telling


@attrs.frozen(kw_only=True)
class RouterParts:
    """What a router is given. `position_of` finds the address of a symbol's position, None when there is none."""

    account: str
    tag: str
    clock: MarketClock
    board: Board
    row_of: Callable[[str], int]
    tick_of: Callable[[str], int]
    journal: Journal
    broker: Broker
    rules: LadderRules
    limits: RiskLimits
    memory: RouterMemory
    entries_stopped: Callable[[], str]
    scanner: Address
    position_of: Callable[[str], Address | None]
    notify: Callable[[Notice], None]
    log: LogLine
    in_flight: InFlight
    out_of_disk: Callable[[str], None]
    timings: Timings
    day_summary: Callable[[Journal, int], str]
    calendar: TradingCalendar
