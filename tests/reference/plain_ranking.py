"""Rank_GM of every symbol, part of the plain replay.

It owns the 15-minute closes, the two averages and the ranks of today's scans. It knows nothing of entries.
Called by plain_replay at every tick and every scan.
"""

from __future__ import annotations

import math

import attrs

from tests.reference.plain_data import BAR_S, DailyCloses

SMA200_BARS, SMA50_DAYS = 200, 50


@attrs.define(eq=False)
class Ranking:
    """`closes`: symbol -> number of the 15-minute bar -> its last price in paise, in time order."""

    closes: dict[str, dict[int, int]]
    acceleration_weight: float
    sma50: dict[str, float] = attrs.field(factory=dict)
    sma200: dict[str, float] = attrs.field(factory=dict)
    sma200_bar: int = 0  # number of the bar running when sma200 was taken
    rank_gm: dict[int, dict[str, float]] = attrs.field(factory=dict)  # today's scan instants -> symbol -> Rank_GM

    def start_day(self, before: DailyCloses) -> None:
        """Takes the daily averages from the closes before today. A symbol with fewer than 50 has no rank."""
        self.sma50 = {
            symbol: sum(closes[-SMA50_DAYS:]) / SMA50_DAYS
            for symbol, closes in before.items()
            if len(closes) >= SMA50_DAYS
        }
        self.rank_gm = {}

    def see(self, now: int, symbol: str, price: int) -> None:
        """Every tick is the close so far of the bar it falls in; a bar without a tick does not exist."""
        self.closes[symbol][now // BAR_S] = price

    def final_ranks(self, now: int, last: dict[str, int]) -> dict[str, float]:
        """Symbol -> Rank_final at this scan, of all symbols with a price today and enough history."""
        ranks = {
            symbol: self.rank(price, sma200, self.sma50[symbol])
            for symbol, sma200 in self.sma200_before(now // BAR_S).items()
            if symbol in self.sma50 and (price := last.get(symbol)) is not None
        }
        self.rank_gm[now] = ranks
        earlier = self.rank_gm.get(now - BAR_S, {})
        return {
            symbol: rank + self.acceleration_weight * (rank - earlier.get(symbol, rank))
            for symbol, rank in ranks.items()
        }

    @staticmethod
    def rank(last: int, sma200: float, sma50: float) -> float:
        pct_vs_15m_sma200 = (last - sma200) / sma200 * 100
        pct_vs_daily_sma50 = (last - sma50) / sma50 * 100
        return (math.sqrt((1 + pct_vs_15m_sma200 / 100) * (1 + pct_vs_daily_sma50 / 100)) - 1) * 100

    def sma200_before(self, bar: int) -> dict[str, float]:
        """SMA200 of the completed 15-minute bars; a symbol with fewer than 200 has no rank."""
        if bar != self.sma200_bar:
            self.sma200_bar, self.sma200 = bar, {}
            for symbol, closes in self.closes.items():
                completed = [close for number, close in closes.items() if number < bar][-SMA200_BARS:]
                if len(completed) == SMA200_BARS:
                    self.sma200[symbol] = sum(completed) / SMA200_BARS
        return self.sma200
