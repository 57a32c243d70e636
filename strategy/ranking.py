"""Rank_GM: how far a symbol stands above its two averages, as one number in percent.

Owns the formula, the reasons why a symbol has no rank, and the order of the picks. Never drops a symbol for
what is open, working or stale: the caller says which are eligible. Called by the scanner at every scan.

All arrays have one entry per symbol, in name order. Prices and averages in paise, ranks in percent, NaN =
none.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

BARS_15M = 200
BARS_DAILY = 50


@attrs.frozen(eq=False)
class RankResult:
    """The ranks of one scan. Reasons are made for the symbols that somebody asks about."""

    rank_gm: Floats
    priced: Booleans
    have_15m: Integers
    have_daily: Integers

    def reason(self, row: int) -> str | None:
        """Why the row has no rank, in words; None when it has one."""
        if not np.isnan(self.rank_gm[row]):
            return None
        for have, need in ((self.have_15m[row], BARS_15M), (self.have_daily[row], BARS_DAILY)):
            if have < need:
                return f"not enough history (have {have}, need {need})"
        return "no price yet" if not self.priced[row] else "no rank: an average is not above zero"


def rank(last: Integers, sma_15m: Floats, have_15m: Integers, sma_daily: Floats, have_daily: Integers) -> RankResult:
    """Rank_GM of every symbol (trading-rules.md, "Ranking").

    g1 = 1 + (last - SMA200 of 15-minute closes) / SMA200, g2 likewise with SMA50 of daily closes; Rank_GM =
    (sqrt(g1 x g2) - 1) x 100. `have_` are the numbers of closes known: without 200 and 50 of them, without
    a price, or with g1 x g2 <= 0 there is no rank.
    """
    priced = last > 0
    known = priced & (have_15m >= BARS_15M) & (have_daily >= BARS_DAILY) & (sma_15m > 0) & (sma_daily > 0)
    rank_gm = np.full(len(last), np.nan)
    price, average_15m, average_daily = last[known], sma_15m[known], sma_daily[known]
    g1 = 1 + (price - average_15m) / average_15m
    g2 = 1 + (price - average_daily) / average_daily
    rank_gm[known] = (np.sqrt(g1 * g2) - 1) * 100
    return RankResult(rank_gm, priced, have_15m, have_daily)


def acceleration(rank_gm: Floats, earlier: Floats | None) -> Floats:
    """Rank_GM less that of the scan exactly 15 minutes earlier on the same day; 0 for whom there is none."""
    if earlier is None:
        return np.zeros_like(rank_gm)
    return np.nan_to_num(rank_gm - earlier, nan=0.0)


def rank_final(rank_gm: Floats, earlier: Floats | None, acceleration_weight: float) -> Floats:
    """Rank_GM + acceleration_weight x acceleration, NaN where there is no rank."""
    return rank_gm + acceleration_weight * acceleration(rank_gm, earlier)


def select(final: Floats, min_rank_gm: float, eligible: Booleans | None = None) -> NDArray[np.intp]:
    """Rows to ask entries for, best first: rank > min_rank_gm, strictly, and eligible; ties by name."""
    picked = final > min_rank_gm
    if eligible is not None:
        picked &= eligible
    rows = np.flatnonzero(picked)
    return rows[np.argsort(-final[rows], kind="stable")]
