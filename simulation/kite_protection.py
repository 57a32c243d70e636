"""Market protection at the Kite server: what a market order must say, and how far it may then go.

Owns the rule in force since 2026-04-01 (kite-facts, market_protection). Called by kite_account.py.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from protocol.kite_orders import AT_MARKET
from protocol.money import round_down, round_up
from protocol.orders import OrderType, Side
from simulation.kite_market import Share
from simulation.kite_refusal import Form, bad_input

# Automatic protection: (price up to, percent), and the percent above (kite-facts, market_protection).
AUTOMATIC_PROTECTION = ((10_000, Decimal(2)), (50_000, Decimal(1)))
AUTOMATIC_PROTECTION_ABOVE = Decimal("0.5")


def protection_of(form: Form, order_type: OrderType) -> Decimal:
    """Market orders need one since 2026-04-01: -1, or a percentage up to 100."""
    if order_type not in AT_MARKET:
        return Decimal(0)
    try:
        percent = Decimal(form.get("market_protection") or "0")
    except InvalidOperation:
        percent = Decimal("NaN")
    if percent == -1 or 0 < percent <= 100:
        return percent
    raise bad_input(
        f"{order_type.value} orders without market protection are not allowed: "
        "`market_protection` is -1 or a percentage up to 100"
    )


def protected_limit(side: Side, share: Share, percent: Decimal) -> int:
    """How far a market order may go from the last price, as a limit within the day's circuits."""
    last, tick = share.last_paise, share.listing.tick_paise
    if percent < 0:
        below = [each for highest, each in AUTOMATIC_PROTECTION if last <= highest]
        percent = below[0] if below else AUTOMATIC_PROTECTION_ABOVE
    reach = int(last * percent / 100)
    if side is Side.BUY:
        return min(round_up(last + reach, tick), share.listing.upper_paise)
    return max(round_down(last - reach, tick), share.listing.lower_paise, tick)
