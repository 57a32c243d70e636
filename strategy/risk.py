"""What an account may not buy: too much, too many, too often, at the wrong hour, or the wrong share.

Owns the limits, the sum of what is spoken for, and the words in which an entry is refused. Never sends or
stores anything and reads no clock; exits and protection never come here, because nothing may hold them back.
Called by the order router: `reserve` is the check and the reservation in one step, and `Exposure.follow`
keeps the reservation true while the entry works, fills, and is sold again.

Prices and money in paise, quantities in shares, times in ns.
"""

from __future__ import annotations

import re
from collections import deque

import attrs

from protocol.clock import MINUTE_NS, NS, clock_text, ns_of_day
from protocol.money import BP_PER_UNIT, rupee_text
from protocol.orders import Order, Purpose
from protocol.rungs import Rung

# Kite writes series other than EQ into the symbol: ABC-BE (trade for trade), ABC-BZ, ABC-SM, ABC-N1, ... Two
# characters; BAJAJ-AUTO and MCDOWELL-N are names.
SERIES_SUFFIX = re.compile(r"-[A-Z][A-Z0-9]$")
NARROW_BAND_BP = 500  # a daily band of 5 % or less marks a share under watch
GTTS_USED_MAX_BP = 9_000  # of the broker's allowance


@attrs.frozen(kw_only=True)
class RiskLimits:
    """One account's limits: capital, slots, fat fingers, and hours (seconds of the day IST, inclusive).

    `gtts_allowed` None: the broker has no allowance.
    """

    capital_paise: int = 24_000_000
    max_positions: int = 90
    max_order_value_paise: int = 10_000_000
    max_order_quantity: int = 10_000
    max_orders_per_minute_per_symbol: int = 30
    max_distance_bp: int = 2_000
    surveillance: frozenset[str] = frozenset()
    first_entry_s: int = 33_960
    last_entry_s: int = 54_000
    stale_ns: int = 5 * NS
    gtts_allowed: int | None = None


@attrs.frozen(kw_only=True)
class Entry:
    """A rung that somebody would buy. `limit_paise` None: at market."""

    ladder: str
    rung: int
    symbol: str
    quantity: int
    last_paise: int
    at_ns: int
    limit_paise: int | None = None

    @property
    def cost_paise(self) -> int:
        """What is reserved: quantity x last price at the decision."""
        return self.quantity * self.last_paise


@attrs.frozen(kw_only=True)
class Circumstances:
    """What stands around an entry besides the numbers of the account. The defaults forbid nothing.

    `not_trading` (the account) and `blocked` (the symbol) are reasons in words, such as "reconciling" or
    "frozen until explained", empty where there is none. `price_ns` is when the last price was made,
    `funds_paise` the broker's available funds less what was sent since, the circuits are the day's; None
    where that is not limited or not known.
    """

    kill_switch: bool = False
    not_trading: str = ""
    blocked: str = ""
    series: str = "EQ"
    price_ns: int | None = None
    lower_circuit_paise: int | None = None
    upper_circuit_paise: int | None = None
    funds_paise: int | None = None
    gtts_standing: int = 0


NOTHING_SPECIAL = Circumstances()


@attrs.define
class Exposure:
    """Slots in use and capital deployed, by rung; a running sum, so a check costs the same with 90."""

    deployed_paise: int = attrs.field(default=0, init=False)
    _held: dict[tuple[str, int], int] = attrs.field(factory=dict, init=False)

    @property
    def slots(self) -> int:
        """Rungs open, working, unknown, queued or reserved."""
        return len(self._held)

    def held_by(self, ladder: str, rung: int) -> int | None:
        """What a rung has spoken for, in paise; None when it uses no slot."""
        return self._held.get((ladder, rung))

    def hold(self, ladder: str, rung: int, paise: int) -> None:
        """The rung uses a slot and this much capital, whatever it used before."""
        self.deployed_paise += paise - self._held.get((ladder, rung), 0)
        self._held[ladder, rung] = paise

    def release(self, ladder: str, rung: int) -> None:
        """The rung uses nothing any more; harmless when it used nothing before."""
        self.deployed_paise -= self._held.pop((ladder, rung), 0)

    def follow(self, ladder: str, number: int, rung: Rung | None, entry: Order | None) -> None:
        """Make the hold what the rung and its newest entry order say; for each change of either."""
        paise = committed_paise(rung, entry)
        if paise is None:
            self.release(ladder, number)
        else:
            self.hold(ladder, number, paise)


def committed_paise(rung: Rung | None, entry: Order | None) -> int | None:
    """Cost of the shares held + pending shares of the entry at its decision price; None: no slot is in use.

    So capital is free again when an entry ends unfilled, and in proportion as the exit fills.
    """
    held = rung.deployed_paise if rung is not None and rung.open else None
    if entry is not None and entry.working and entry.purpose is Purpose.ENTRY:
        return (held or 0) + entry.pending * entry.decision_paise
    return held


class OrderPace:
    """When a symbol's last orders were sent; remembers no more of them than the limit asks about."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._sent: dict[str, deque[int]] = {}

    def note(self, symbol: str, at_ns: int) -> None:
        """An order in the symbol was sent."""
        self._sent.setdefault(symbol, deque(maxlen=self._per_minute)).append(at_ns)

    def exhausted(self, symbol: str, at_ns: int) -> bool:
        """The symbol has had its orders of 60 seconds; one of exactly a minute ago no longer counts."""
        sent = self._sent.get(symbol)
        return sent is not None and len(sent) == self._per_minute and at_ns - sent[0] < MINUTE_NS


def reserve(
    entry: Entry,
    limits: RiskLimits,
    exposure: Exposure,
    pace: OrderPace,
    around: Circumstances = NOTHING_SPECIAL,
) -> str | None:
    """Check an entry and, when nothing speaks against it, set its slot and capital aside: one step.

    None when it is reserved, else the reason of the refusal, and then nothing has changed. What the rung has
    reserved before is its own and is replaced.
    """
    reason = refusal(entry, limits, exposure, pace, around)
    if reason is None:
        exposure.hold(entry.ladder, entry.rung, entry.cost_paise)
    return reason


def refusal(
    entry: Entry,
    limits: RiskLimits,
    exposure: Exposure,
    pace: OrderPace,
    around: Circumstances = NOTHING_SPECIAL,
) -> str | None:
    """Why this entry may not be sent now, in words for a person; None when it may."""
    return (
        _account_refusal(entry, limits, around)
        or _share_refusal(entry.symbol, limits, around)
        or _order_refusal(entry, limits, pace, around)
        or _capacity_refusal(entry, limits, exposure, around)
    )


def within_hours(at_ns: int, first_entry_s: int, last_entry_s: int) -> bool:
    """Whether rungs may be entered at that instant: from first to last entry, both inclusive, to the ns."""
    return first_entry_s * NS <= ns_of_day(at_ns) <= last_entry_s * NS


def _account_refusal(entry: Entry, limits: RiskLimits, around: Circumstances) -> str | None:
    if around.kill_switch:
        return "kill switch is on"
    if around.not_trading:
        return around.not_trading
    if not within_hours(entry.at_ns, limits.first_entry_s, limits.last_entry_s):
        return f"outside entry hours: {clock_text(limits.first_entry_s)} to {clock_text(limits.last_entry_s)}"
    standing, allowed = around.gtts_standing, limits.gtts_allowed
    if allowed is not None and standing * BP_PER_UNIT > allowed * GTTS_USED_MAX_BP:
        return f"broker GTTs: {standing} of {allowed} in use, entries stop above 90 %"
    return None


def _share_refusal(symbol: str, limits: RiskLimits, around: Circumstances) -> str | None:
    """Why this share is not bought, whatever it costs."""
    if around.blocked:
        return around.blocked
    if around.series != "EQ":
        return f"series {around.series}: only EQ is traded"
    if SERIES_SUFFIX.search(symbol):
        return f"series {symbol[-2:]}: only EQ is traded"
    if symbol in limits.surveillance:
        return "on the surveillance list"
    lower, upper = around.lower_circuit_paise, around.upper_circuit_paise
    # Each circuit is the previous close ± the band: half their distance against their middle is the band.
    if lower is not None and upper is not None and (upper - lower) * BP_PER_UNIT <= (upper + lower) * NARROW_BAND_BP:
        return f"daily band of 5 % or less: {rupee_text(lower)} to {rupee_text(upper)}"
    return None


def _order_refusal(entry: Entry, limits: RiskLimits, pace: OrderPace, around: Circumstances) -> str | None:
    """Prices that are too old, fat fingers, and loops that have run away."""
    last, quantity = entry.last_paise, entry.quantity
    if last <= 0:
        return "no price yet"
    age_ns = 0 if around.price_ns is None else entry.at_ns - around.price_ns
    if age_ns > limits.stale_ns:
        return f"stale price: {age_ns / NS:.1f} s old, at most {limits.stale_ns / NS:g} s"
    if quantity < 1:
        return "price above capital per position"
    if quantity > limits.max_order_quantity:
        return f"order quantity: {quantity} shares, at most {limits.max_order_quantity}"
    price = last if entry.limit_paise is None else entry.limit_paise
    if quantity * price > limits.max_order_value_paise:
        return f"order value: {rupee_text(quantity * price)}, at most {rupee_text(limits.max_order_value_paise)}"
    if abs(price - last) * BP_PER_UNIT > limits.max_distance_bp * last:
        allowed, last_text = f"{limits.max_distance_bp / 100:g} %", rupee_text(last)
        return f"distance: limit {rupee_text(price)} is more than {allowed} from the last price {last_text}"
    if pace.exhausted(entry.symbol, entry.at_ns):
        return f"order rate: {limits.max_orders_per_minute_per_symbol} orders in {entry.symbol} within a minute"
    return None


def _capacity_refusal(entry: Entry, limits: RiskLimits, exposure: Exposure, around: Circumstances) -> str | None:
    """Slots, capital and the broker's funds: unlike the other reasons, gone perhaps at the next price."""
    own = exposure.held_by(entry.ladder, entry.rung)
    if own is None and exposure.slots >= limits.max_positions:
        return f"no free slot: {exposure.slots} of {limits.max_positions} rungs in use"
    free = limits.capital_paise - exposure.deployed_paise + (own or 0)
    if entry.cost_paise > free:
        return f"capital: needs {rupee_text(entry.cost_paise)}, free {rupee_text(free)}"
    to_pay = entry.quantity * (entry.last_paise if entry.limit_paise is None else entry.limit_paise)
    if around.funds_paise is not None and to_pay > around.funds_paise:
        return f"broker funds: needs {rupee_text(to_pay)}, available {rupee_text(around.funds_paise)}"
    return None
