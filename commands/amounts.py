"""Money as the logs and the screens write it. Pure; protocol/money.py owns the arithmetic."""

from __future__ import annotations

from protocol.money import rupee_text


def rupee(paise: int) -> str:
    """Rupees for key=value lines, without sign of currency or grouping: 151005 → '1510.05'."""
    whole, rest = divmod(abs(paise), 100)
    return f"{'-' if paise < 0 else ''}{whole}.{rest:02d}"


def grouped(paise: int, *, sign: bool = False) -> str:
    """Rupees for columns, with Indian grouping: 15100500 → '1,51,005.00'. With sign, a gain bears a plus."""
    return rupee_text(paise, sign=sign).replace("₹", "", 1)


def percent(part: int, whole: int) -> str:
    """part / whole in percent with two decimals and its sign, '-' where there is no whole."""
    return f"{100 * part / whole:+.2f}" if whole else "-"


def colour_of(paise: int) -> str:
    """How a gain or a loss is shown."""
    return "green" if paise > 0 else "red" if paise < 0 else ""
