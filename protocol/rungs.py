"""One rung of a ladder as everybody sees it: what was bought, what protects it, how it ended.

Owns the value that the router keeps, the journal stores as one row of `trades`, and the position receives.
Cumulative: the newest state wins and a repeat changes nothing. Decides nothing (strategy/ladder.py does).
"""

from __future__ import annotations

from enum import Enum

import attrs

from protocol.orders import ExitReason


class RungStatus(Enum):
    """ENTERING has nothing filled yet; FAILED is an attempt that ended without a fill."""

    ENTERING = "ENTERING"
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


class Protection(Enum):
    """What guards an open rung: nothing, a request under way, a standing GTT, or a GTT that has fired."""

    NONE = "NONE"
    REQUESTED = "REQUESTED"
    STANDING = "STANDING"
    FIRED = "FIRED"


@attrs.frozen(kw_only=True)
class Rung:
    """Quantities in shares, money in paise, times in market ns.

    `cost_paise` and `proceeds_paise` are sums of price x quantity over fills, exact. `stop_paise` is the trigger
    that stands at the broker (rounded to the tick), `highest_paise` the highest price known since the entry.
    `attempts` counts entries of this rung that ended unfilled; `retry_ns` is when the next may be tried.
    """

    ladder: str
    symbol: str
    number: int
    status: RungStatus
    rank: float
    trade_id: int = 0
    quantity: int = 0
    cost_paise: int = 0
    sold: int = 0
    proceeds_paise: int = 0
    entry_ns: int = 0
    exit_ns: int = 0
    entry_working: bool = False
    exit_working: bool = False
    protection: Protection = Protection.NONE
    stop_paise: int = 0
    target_paise: int = 0
    highest_paise: int = 0
    gtt_id: str | None = None
    entry_order: str | None = None
    reason: ExitReason | None = None
    attempts: int = 0
    retry_ns: int = 0

    @property
    def open(self) -> bool:
        return self.status is RungStatus.OPEN

    @property
    def held(self) -> int:
        """Shares bought and not yet sold."""
        return self.quantity - self.sold

    @property
    def deployed_paise(self) -> int:
        """Cost of the shares still held: falls in proportion as the exit fills, rounded down."""
        return self.cost_paise * self.held // self.quantity if self.quantity else 0

    @property
    def pnl_paise(self) -> int:
        """Gross: proceeds less the cost of what was sold."""
        return self.proceeds_paise - (self.cost_paise - self.deployed_paise)


def rung_key(ladder: str, number: int, purpose: str, attempt: int | str) -> str:
    """The idempotency key of a request: the same decision made twice has the same key (architecture.md)."""
    return f"{ladder}:{number}:{purpose}:{attempt}"
