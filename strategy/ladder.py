"""The ladder of up to three rungs per symbol: stops, targets, the trail, the next rung, the end of the day.

Owns the rules of trading-rules.md, "The ladder", as exact integer arithmetic. Never sends, stores or
remembers anything, and reads no clock. Called by the position actor at every look at a price, so each
function takes a few microseconds at most: plain whole numbers, cross-multiplied, never a rounded average.

Prices in paise, `_bp` in basis points, times in ns, times of day in seconds since midnight IST. Prices and
triggers are whole paise, therefore `price <= exact stop` and `price <= exact stop cut to a whole paisa` are
the same statement, and so is `exact - trigger >= step`. The exact stop may be cut down once and compared
from then on.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from protocol.clock import NS
from protocol.money import BP_PER_UNIT
from protocol.rungs import Protection, Rung, RungStatus

NEVER_LEFT = (-1, 1 << 62)  # a band that no price leaves
ALWAYS_LEFT = (1 << 62, 0)  # an empty band: every price is worth a look


@attrs.frozen(kw_only=True)
class RungRule:
    """One row of the ladder's table. Without `target_bp` a runner, without `entry_pnl_bp` not entered here.

    `trailing`: the stop hangs from the highest price since the entry, else from the average entry.
    """

    stop_bp: int
    target_bp: int | None
    trailing: bool
    entry_pnl_bp: int | None


@attrs.frozen(kw_only=True)
class LadderRules:
    """All numbers of the ladder. The trail's step is max(tick, last x trail_step cut to paise)."""

    rungs: tuple[RungRule, RungRule, RungRule]
    capital_per_position_paise: int
    trail_step_bp: int
    trail_interval_ns: int
    stop_grace_ns: int
    stop_limit_offset_bp: int
    first_entry_s: int
    last_entry_s: int
    square_off_s: int
    cooldown_ns: int
    stale_ns: int


DEFAULT_RULES = LadderRules(
    rungs=(
        RungRule(stop_bp=250, target_bp=500, trailing=False, entry_pnl_bp=None),
        RungRule(stop_bp=250, target_bp=None, trailing=True, entry_pnl_bp=25),
        RungRule(stop_bp=500, target_bp=None, trailing=True, entry_pnl_bp=100),
    ),
    capital_per_position_paise=300_000,
    trail_step_bp=10,
    trail_interval_ns=NS,
    stop_grace_ns=3 * NS,
    stop_limit_offset_bp=100,
    first_entry_s=33_960,  # 09:26
    last_entry_s=54_000,  # 15:00
    square_off_s=54_600,  # 15:10
    cooldown_ns=900 * NS,
    stale_ns=5 * NS,
)


def quantity_for(last_paise: int, capital_paise: int) -> int:
    """Shares to buy: floor(capital / last price). 0 when one share costs more, or without a price."""
    return capital_paise // last_paise if last_paise > 0 else 0


# --- one rung's exits -----------------------------------------------------------------------------


def at_stop(rung: Rung, rule: RungRule, last: int) -> bool:
    """An open rung's exit by stop: last <= highest x (1 - stop), or last <= cost / quantity x (1 - stop)."""
    if rule.trailing:
        return last * BP_PER_UNIT <= rung.highest_paise * (BP_PER_UNIT - rule.stop_bp)
    return last * rung.quantity * BP_PER_UNIT <= rung.cost_paise * (BP_PER_UNIT - rule.stop_bp)


def at_target(rung: Rung, rule: RungRule, tick: int, last: int) -> bool:
    """An open rung's exit by target: last >= its target as it is sent to the market."""
    target = target_trigger(rung, rule, tick)
    return target is not None and last >= target


def stop_trigger(rung: Rung, rule: RungRule, tick: int) -> int:
    """The stop as it is sent to the market: the exact stop, rounded down to the tick."""
    return _exact_stop(rung, rule) // tick * tick


def target_trigger(rung: Rung, rule: RungRule, tick: int) -> int | None:
    """The target as it is sent to the market: cost / quantity x (1 + target), rounded up to the tick."""
    if rule.target_bp is None:
        return None
    return -(-rung.cost_paise * (BP_PER_UNIT + rule.target_bp) // (rung.quantity * BP_PER_UNIT * tick)) * tick


def stop_limit(trigger: int, rules: LadderRules, tick: int) -> int:
    """Limit of a stop's sell order: trigger x (1 - offset), rounded down to the tick, at least one tick."""
    limit = trigger * (BP_PER_UNIT - rules.stop_limit_offset_bp) // (BP_PER_UNIT * tick) * tick
    return max(limit, tick)


def trailed_stop(rung: Rung, rule: RungRule, rules: LadderRules, tick: int, last: int) -> int | None:
    """The trigger that the standing stop should be moved to; None while it stays, or while none stands.

    A trailing stop moves when exact - standing >= max(tick, last x trail_step), so it only ever rises. A
    fixed stop follows the average entry, down as well as up, while the entry fills. When only the target
    has to follow the average, the answer is the stop that is to stand beside it.
    """
    standing = rung.stop_paise
    if not standing:
        return None
    if rule.trailing:
        exact = rung.highest_paise * (BP_PER_UNIT - rule.stop_bp) // BP_PER_UNIT
        step = last * rules.trail_step_bp // BP_PER_UNIT
        if exact - standing >= (step if step > tick else tick):
            return exact // tick * tick
        return standing if _average_moved(rung, rule, tick) else None
    wanted = stop_trigger(rung, rule, tick)
    # A stop above the wanted one may be a person's, and is kept, unless the average explains it: the entry
    # still works or the target is off too. The last fill may move the average too little for the target.
    if wanted > standing or _average_moved(rung, rule, tick):
        return wanted
    if wanted < standing and (rung.entry_working or standing - wanted <= tick):
        return wanted
    return None


def square_off_due(rung: Rung, last: int) -> bool:
    """End of day, for an open rung: P1 is sold when last x held > cost of the held; P2 and P3 always are."""
    return rung.number != 1 or last * rung.quantity > rung.cost_paise


# --- the ladder -----------------------------------------------------------------------------------


def ladder_over(rungs: Mapping[int, Rung]) -> bool:
    """A ladder that began, and of which nothing is open or being bought any more."""
    return bool(rungs) and not any(
        rung.entry_working or rung.status is RungStatus.OPEN or rung.status is RungStatus.ENTERING
        for rung in rungs.values()
    )


def next_rung(rungs: Mapping[int, Rung], rules: LadderRules, last: int) -> int | None:
    """The rung whose entry condition holds at this price: 2, 3 or None.

    P2: P1 is open and its PnL % > entry_pnl. P3: P1 and P2 are open and the mean of their PnL % >=
    entry_pnl. Neither while an entry of the rungs below still works, nor while any open rung is being sold
    or the price is at or through its exit. A FAILED rung counts as unused: whether it may be tried again is
    for the caller to say.
    """
    entry = _next_entry(rungs, rules)
    if entry is None or last < entry[1]:
        return None
    for number, rung in rungs.items():
        if rung.status is RungStatus.OPEN:
            rule = rules.rungs[number - 1]
            if _being_sold(rung) or at_stop(rung, rule, last) or _at_standing_target(rung, rule, last):
                return None
    return entry[0]


def quiet_band(
    rungs: Mapping[int, Rung], rules: LadderRules, tick: int, last: int, want_entry: bool
) -> tuple[int, int]:
    """(low, high): as long as every price p satisfies low < p < high, no look could decide anything.

    The prices may take any path inside the band and raise the highest of a trailing rung on their way: both
    edges allow for that, and are rather too near than too far. ALWAYS_LEFT when a condition holds already or
    an open rung has no protection; NEVER_LEFT when no price matters. Rungs being sold are the router's.

    - low is the largest of the exact stops, as high as they can climb before `high` is reached, and of the
      prices at which the trail's step, shrinking with the price, is no more than what the stop lags behind.
    - high is the smallest of the targets, of the next rung's first price, and of the first prices at which a
      trailing stop lags by the step that belongs to the low edge.
    """
    low, high = NEVER_LEFT
    trailing: list[tuple[int, int, int]] = []  # highest, standing stop, basis points kept of the highest
    for number, rung in rungs.items():
        if rung.status is not RungStatus.OPEN or _being_sold(rung):
            continue
        rule = rules.rungs[number - 1]
        if rung.protection is Protection.NONE:
            return ALWAYS_LEFT
        if trailed_stop(rung, rule, rules, tick, last) is not None:
            return ALWAYS_LEFT
        stop = _exact_stop(rung, rule)
        if rule.trailing:
            highest, kept = max(rung.highest_paise, last), BP_PER_UNIT - rule.stop_bp
            stop = highest * kept // BP_PER_UNIT
            trailing.append((highest, rung.stop_paise, kept))
            low = max(low, _step_shrinks_to(stop - rung.stop_paise, rung.stop_paise, rules, tick))
        low = max(low, stop)
        target = target_trigger(rung, rule, tick)
        if target is not None:
            high = min(high, target)
    if want_entry:
        entry = _next_entry(rungs, rules)
        if entry is not None:
            high = min(high, entry[1])
    if not low < last < high:
        return ALWAYS_LEFT
    return _with_trail(low, high, trailing, rules, tick, last) if trailing else (low, high)


def _with_trail(
    low: int, high: int, trailing: list[tuple[int, int, int]], rules: LadderRules, tick: int, last: int
) -> tuple[int, int]:
    """The band narrowed for trailing rungs, given one that is safe as long as no highest price rises."""
    least_step = max(tick, (low + 1) * rules.trail_step_bp // BP_PER_UNIT)
    for _, standing, kept in trailing:
        if standing:
            high = min(high, -(-(standing + least_step) * BP_PER_UNIT // kept))
    raised = max(low, *((high - 1) * kept // BP_PER_UNIT for _, _, kept in trailing))
    if raised < last:
        return raised, high
    # Near the stop: keep the low edge at the stop as it is now and be woken by the first new high instead.
    return low, min(high, *(highest + 1 for highest, _, _ in trailing))


def _step_shrinks_to(lag: int, standing: int, rules: LadderRules, tick: int) -> int:
    """The highest price whose trail step is at most `lag`: exact less standing stop."""
    if not standing or lag < tick:
        return -1
    if rules.trail_step_bp == 0:
        return 1 << 62
    return -(-(lag + 1) * BP_PER_UNIT // rules.trail_step_bp) - 1


def _exact_stop(rung: Rung, rule: RungRule) -> int:
    """The exact stop, cut to a whole paisa."""
    kept = BP_PER_UNIT - rule.stop_bp
    if rule.trailing:
        return rung.highest_paise * kept // BP_PER_UNIT
    return rung.cost_paise * kept // (rung.quantity * BP_PER_UNIT)


def _at_standing_target(rung: Rung, rule: RungRule, last: int) -> bool:
    """At or through the target as it stands; before it stands, through the exact one: needs no tick size."""
    target = target_trigger(rung, rule, 1)
    return target is not None and last >= (rung.target_paise or target)


def _average_moved(rung: Rung, rule: RungRule, tick: int) -> bool:
    """The target that stands was made from another average entry."""
    return rung.target_paise != 0 and target_trigger(rung, rule, tick) not in (None, rung.target_paise)


def _being_sold(rung: Rung) -> bool:
    return rung.exit_working or rung.protection is Protection.FIRED


def _next_entry(rungs: Mapping[int, Rung], rules: LadderRules) -> tuple[int, int] | None:
    """The rung that may come next and the lowest price at which its condition holds, exits left aside.

    PnL % of a rung is price x quantity / cost - 1. P2: that > e, so price > cost x (1 + e) / quantity. P3:
    the mean of two >= e, so price x (quantity1 / cost1 + quantity2 / cost2) >= 2 x (1 + e).
    """
    first = rungs.get(1)
    if first is None or not _carries(first):
        return None
    second = rungs.get(2)
    if second is None or second.status is RungStatus.FAILED:
        gain_bp = rules.rungs[1].entry_pnl_bp
        if gain_bp is None:
            return None
        return 2, first.cost_paise * (BP_PER_UNIT + gain_bp) // (first.quantity * BP_PER_UNIT) + 1
    third = rungs.get(3)
    used = third is not None and third.status is not RungStatus.FAILED
    gain_bp = rules.rungs[2].entry_pnl_bp
    if used or gain_bp is None or not _carries(second):
        return None
    cost1, cost2 = first.cost_paise, second.cost_paise
    shares = (first.quantity * cost2 + second.quantity * cost1) * BP_PER_UNIT
    return 3, -(-2 * cost1 * cost2 * (BP_PER_UNIT + gain_bp) // shares)


def _carries(rung: Rung) -> bool:
    """Open, with its entry over and no exit begun: the next rung may be built on it."""
    return rung.status is RungStatus.OPEN and not rung.entry_working and not _being_sold(rung)
