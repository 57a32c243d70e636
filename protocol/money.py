"""Money as whole paise: the arithmetic every price, stop and proceeds goes through.

Owns rounding and the text form of money. Never holds a float. Used by every folder.
1 rupee = 100 paise; 1 percent = 100 basis points (bp).
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

Paise = int

PAISE_PER_RUPEE = 100
BP_PER_UNIT = 10_000  # 100 % in basis points

_EXACT = Context(prec=28, traps=[InvalidOperation, Overflow, Inexact])  # a rounded amount is an error, not an amount


def round_down(price_paise: Paise, tick_paise: Paise) -> Paise:
    """The highest multiple of the tick at or below the price: how a stop is rounded (trading-rules, ladder)."""
    return price_paise // tick_paise * tick_paise


def round_up(price_paise: Paise, tick_paise: Paise) -> Paise:
    """The lowest multiple of the tick at or above the price: how a target is rounded."""
    return -(-price_paise // tick_paise) * tick_paise


def half_up(numerator: int, denominator: int) -> int:
    """numerator / denominator to the nearest integer, halves away from zero. The denominator is positive."""
    doubled = 2 * abs(numerator) + denominator
    nearest = doubled // (2 * denominator)
    return nearest if numerator >= 0 else -nearest


def rupees(paise: Paise) -> float:
    """Rupees for the edges: JSON, SQL columns kept for people, the screen."""
    return paise / PAISE_PER_RUPEE


def paise_from_rupees(text: str | int | float | Decimal) -> Paise:
    """Exact paise of a rupee amount. Raises ValueError when it is no number or has parts of a paisa."""
    try:
        paise = _EXACT.multiply(Decimal(str(text)), Decimal(PAISE_PER_RUPEE))
        whole = paise.is_finite() and paise == paise.to_integral_value()
    except ArithmeticError:
        raise ValueError(f"{text!r} is not an amount in rupees") from None
    if not whole:
        raise ValueError(f"{text!r} is not a whole number of paise: at most two decimals are possible")
    return int(paise)


def rupee_text(paise: Paise, *, sign: bool = False) -> str:
    """₹ with Indian grouping and two decimals: 24000000 → ₹2,40,000.00. With sign, a gain bears a plus."""
    whole, rest = divmod(abs(paise), PAISE_PER_RUPEE)
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    groups = [tail]
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    mark = "-" if paise < 0 else "+" if sign and paise > 0 else ""
    return f"{mark}₹{','.join(groups)}.{rest:02d}"
