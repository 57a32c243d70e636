"""What actors say to each other. Frozen values; every request carries a key that makes a repeat harmless.

Flow is downward only: feed → ticker → position → router → broker; answers come back as cumulative state.
Prices in paise, quantities in shares, times in market ns.
"""

from __future__ import annotations

from enum import Enum

import attrs

from protocol.broker import Books, Quote
from protocol.orders import ExitReason
from protocol.rungs import Rung

# --- scanner → router → scanner → position ------------------------------------------------------


@attrs.frozen(kw_only=True)
class Candidate:
    """A symbol the scan would enter, best first in its list."""

    symbol: str
    last_paise: int
    quantity: int
    rank: float


@attrs.frozen
class Reserve:
    """Reserve rung 1 for as many candidates as fit, in order. Answered with Reserved to the scanner.

    A message and its answer, not an ask: the asker must not keep its own message unacknowledged, because in a
    replay the router waits until everybody else has finished.
    """

    at_ns: int
    candidates: tuple[Candidate, ...]


@attrs.frozen(kw_only=True)
class Reservation:
    """Capital and a slot set aside for rung 1 of a new ladder; lapses at `until_ns` when it is not used."""

    ladder: str
    symbol: str
    quantity: int
    last_paise: int
    rank: float
    at_ns: int
    until_ns: int


@attrs.frozen
class Reserved:
    """What was granted, and why the others were not: (symbol, reason a person can read)."""

    account: str
    at_ns: int
    granted: tuple[Reservation, ...]
    refused: tuple[tuple[str, str], ...]


@attrs.frozen
class Enter:
    """Scanner → position: begin this ladder."""

    reservation: Reservation


# --- position → router --------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class EnterRung:
    key: str
    ladder: str
    symbol: str
    rung: int
    quantity: int
    last_paise: int
    rank: float
    at_ns: int


@attrs.frozen(kw_only=True)
class Protect:
    """Place the rung's GTT: its stop and, where the rung has one, its target."""

    key: str
    ladder: str
    symbol: str
    rung: int
    stop_paise: int
    target_paise: int | None
    highest_paise: int
    last_paise: int
    at_ns: int


@attrs.frozen(kw_only=True)
class MoveStop:
    """Move the rung's stop (and its target, when the average entry changed) at the broker."""

    key: str
    ladder: str
    symbol: str
    rung: int
    stop_paise: int
    target_paise: int | None
    highest_paise: int
    last_paise: int
    at_ns: int


@attrs.frozen(kw_only=True)
class ExitRung:
    """Sell what the rung holds at market, after its protection is cancelled and the cancellation confirmed."""

    key: str
    ladder: str
    symbol: str
    rung: int
    reason: ExitReason
    last_paise: int
    at_ns: int
    who: str = ""  # the person that asked, for the audit log


@attrs.frozen(kw_only=True)
class AbandonEntry:
    """Cancel what still works of the rung's entry (square-off, or its time is over)."""

    key: str
    ladder: str
    symbol: str
    rung: int
    at_ns: int


RungRequest = EnterRung | Protect | MoveStop | ExitRung | AbandonEntry


# --- router → position --------------------------------------------------------------------------


@attrs.frozen
class RungState:
    """The rung as it is now; the newest wins."""

    rung: Rung


@attrs.frozen
class RequestRefused:
    """A request was not carried out. Asked again at the next new price unless `final`."""

    key: str
    rung: int
    reason: str
    final: bool = False


# --- ticker → position --------------------------------------------------------------------------


@attrs.frozen
class Wake:
    """The price left the band: last, and highest and lowest since the last look."""

    last_paise: int
    high_paise: int
    low_paise: int
    at_ns: int


@attrs.frozen
class TellRungs:
    """Position → router: an incarnation has begun; say how its rungs stand."""

    symbol: str


# --- scanner → candle recorder ------------------------------------------------------------------


@attrs.frozen
class Ranked:
    """One scan's ranking, best first: (symbol, Rank_GM, Rank_final, why it was not entered or "")."""

    at_ns: int
    rows: tuple[tuple[str, float, float, str], ...]


# --- market time --------------------------------------------------------------------------------


class Phase(Enum):
    """The order of what is due at one instant of market time (trading-rules.md, "An instant plays in order")."""

    ROLL = 0
    TIMER = 1
    SQUARE_OFF = 2
    SCAN = 3
    DAY_END = 4


@attrs.frozen
class AlarmRang:
    """A market-time alarm, delivered as a message so that it outlives whoever set it."""

    name: str
    at_ns: int
    rung: int = 0


# --- router's own helpers → router ---------------------------------------------------------------


@attrs.frozen
class BooksRead:
    """The broker's books, read for reconciliation number `number`; None when reading failed, with the reason."""

    number: int
    books: Books | None
    problem: str = ""


# --- edge → actors ------------------------------------------------------------------------------


@attrs.frozen
class PersonExit:
    """A person closes one rung of the symbol; `who` goes to the journal."""

    rung: int
    who: str


@attrs.frozen
class SetKillSwitch:
    on: bool
    who: str


@attrs.frozen
class AskSnapshot:
    """Ask any actor what it has to show: answered with a dict of JSON values."""


# --- actors → health monitor / candle recorder ---------------------------------------------------


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    ALERT = "alert"


@attrs.frozen(kw_only=True)
class Notice:
    """Something a person should know: alerts, refusals, restarts. Logged, and kept for the dashboard."""

    severity: Severity
    source: str
    text: str
    at_ns: int
    symbol: str = ""


@attrs.frozen
class Polled:
    """Poller → ticker: quotes asked for while the stream is silent."""

    quotes: tuple[Quote, ...]


@attrs.frozen
class StartPolling:
    reason: str


@attrs.frozen
class StopPolling:
    reason: str
