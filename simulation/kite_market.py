"""The prices behind the Kite server: last trades, the day so far, circuit limits, candles, an index.

Owns what /quote, /instruments, the history and the ticker tell of the market. Never places an order and never
waits: whoever plays the feed hands in its items in order. Called by kite_exchange.py. Prices in paise, times in ns.

The index is made here from the shares (the mean of their moves since yesterday), because feeds carry shares only.
"""

from __future__ import annotations

import attrs
import numpy as np

from brokers.matching_orders import NEVER_ABOVE, Listing
from market.candles import Candles, CompletedBars
from market.feeds.frame import DayEnd, DayStart, Feed, Frame, Item
from market.history import History, Series
from market.instruments import Universe
from protocol.clock import MINUTE_NS, NS
from protocol.money import BP_PER_UNIT, half_up, round_down, round_up

INDEX_TOKEN = 256265  # NIFTY 50 at Kite: number 1001 of segment 9
INDEX_SYMBOL = "NIFTY 50"
INDEX_BASE_PAISE = 2_500_000
CIRCUIT_BP = 2_000
DEPTH_LEVELS = 5


@attrs.define(eq=False)
class Share:
    """One share as the exchange shows it now. `close_paise` is yesterday's; 0 is a price not known yet."""

    symbol: str
    token: int
    listing: Listing
    name: str = ""
    last_paise: int = 0
    last_quantity: int = 0
    volume: int = 0
    turnover_paise: int = 0
    open_paise: int = 0
    high_paise: int = 0
    low_paise: int = 0
    close_paise: int = 0
    traded_ns: int = 0
    minutes: list[list[int]] = attrs.field(factory=list)  # of today: start, open, high, low, close, volume

    @property
    def average_paise(self) -> int:
        return half_up(self.turnover_paise, self.volume) if self.volume else self.last_paise

    @property
    def circuits_paise(self) -> tuple[int, int]:
        """Lower and upper limit of the day, zeros where there is none."""
        limited = self.listing.upper_paise != NEVER_ABOVE
        return (self.listing.lower_paise, self.listing.upper_paise) if limited else (0, 0)

    def depth(self) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
        """Five bids and five offers as (quantity, price, orders), one tick apart around the last price."""
        tick = self.listing.tick_paise
        bids = [(100 * level, max(self.last_paise - tick * level, 0), level) for level in range(1, DEPTH_LEVELS + 1)]
        offers = [(100 * level, self.last_paise + tick * level, level) for level in range(1, DEPTH_LEVELS + 1)]
        return (bids, offers) if self.last_paise else ([(0, 0, 0)] * DEPTH_LEVELS, [(0, 0, 0)] * DEPTH_LEVELS)

    def begin_day(self, close_paise: int) -> None:
        self.close_paise = close_paise or self.last_paise
        self.volume = self.turnover_paise = self.open_paise = self.high_paise = self.low_paise = 0
        self.minutes.clear()
        if self.close_paise:
            reach = half_up(self.close_paise * CIRCUIT_BP, BP_PER_UNIT)
            tick = self.listing.tick_paise
            self.listing.lower_paise = max(tick, round_up(self.close_paise - reach, tick))
            self.listing.upper_paise = round_down(self.close_paise + reach, tick)

    def trade(self, price_paise: int, volume: int, at_ns: int) -> None:
        """One tick; `volume` is cumulative of the day, -1 where unknown."""
        traded = max(volume - self.volume, 0) if volume >= 0 else 1
        self.last_paise, self.last_quantity, self.traded_ns = price_paise, traded, at_ns
        self.volume += traded
        self.turnover_paise += traded * price_paise
        self.open_paise = self.open_paise or price_paise
        self.high_paise = max(self.high_paise, price_paise)
        self.low_paise = min(self.low_paise or price_paise, price_paise)
        start = at_ns - at_ns % MINUTE_NS
        if not self.minutes or self.minutes[-1][0] != start:
            self.minutes.append([start, price_paise, price_paise, price_paise, price_paise, traded])
            return
        minute = self.minutes[-1]
        minute[2], minute[3], minute[4] = max(minute[2], price_paise), min(minute[3], price_paise), price_paise
        minute[5] += traded


@attrs.define(eq=False)
class Index:
    """The index, in paise of points."""

    last_paise: int = 0
    open_paise: int = 0
    high_paise: int = 0
    low_paise: int = 0
    close_paise: int = INDEX_BASE_PAISE
    at_ns: int = 0

    def begin_day(self) -> None:
        self.close_paise = self.last_paise or self.close_paise
        self.open_paise = self.high_paise = self.low_paise = 0

    def move(self, shares: list[Share], at_ns: int) -> None:
        known = [share for share in shares if share.close_paise and share.last_paise]
        if not known:
            return
        moved_bp = sum(half_up(share.last_paise * BP_PER_UNIT, share.close_paise) for share in known)
        self.last_paise = half_up(self.close_paise * moved_bp, len(known) * BP_PER_UNIT)
        self.open_paise = self.open_paise or self.last_paise
        self.high_paise = max(self.high_paise, self.last_paise)
        self.low_paise = min(self.low_paise or self.last_paise, self.last_paise)
        self.at_ns = at_ns


class KiteMarket:
    """All shares by row, symbol and token. `feed` None: prices come from a test, without a past."""

    def __init__(self, universe: Universe, feed: Feed | None = None) -> None:
        self.shares = [
            Share(each.symbol, each.token, Listing(each.tick_size_paise, each.lot_size), each.name) for each in universe
        ]
        self.by_symbol = {share.symbol: share for share in self.shares}
        self.by_token = {share.token: share for share in self.shares}
        self.index = Index()
        self.history = History(len(universe))
        self._row = {share.symbol: row for row, share in enumerate(self.shares)}
        self._candles = Candles(len(universe))
        self._feed = feed

    @property
    def listings(self) -> dict[str, Listing]:
        return {share.symbol: share.listing for share in self.shares}

    def last_price(self, symbol: str) -> int:
        return self.by_symbol[symbol].last_paise

    def play(self, item: Item) -> list[Share]:
        """What a feed's item does to the prices; answers the shares that traded, once per tick, in order."""
        if isinstance(item, DayStart):
            self._begin_day(item)
            return []
        if isinstance(item, DayEnd):
            self._remember(self._candles.end_day())
            return []
        return self._trade(item)

    def _begin_day(self, item: DayStart) -> None:
        self._candles.start_day(item.session.open_ns)
        self.index.begin_day()
        for share, close in zip(self.shares, item.previous_close.tolist(), strict=True):
            share.begin_day(close)
        if self._feed is not None:
            self._feed.warm_up(self.history, self._candles)

    def _trade(self, frame: Frame) -> list[Share]:
        self._remember(self._candles.roll(frame.at_ns))
        self._candles.apply(frame.rows, frame.price_paise, frame.volume, frame.at_ns, frame.unique)
        traded = []
        for row, price, volume in zip(
            frame.rows.tolist(), frame.price_paise.tolist(), frame.volume.tolist(), strict=True
        ):
            self.shares[row].trade(price, volume, frame.at_ns)
            traded.append(self.shares[row])
        self.index.move(self.shares, frame.at_ns)
        return traded

    def _remember(self, bars: CompletedBars | None) -> None:
        if bars is not None:
            self.history.add_bars(bars)

    # --- history ---------------------------------------------------------------------------------

    def candles(self, token: int, interval: str, first_ns: int, last_ns: int) -> list[list[int]]:
        """Rows of start, open, high, low, close, volume with first <= start <= last, oldest first.

        Minutes are known of today only; bars of 15 minutes and of days as far as the feed remembers.
        """
        share = self.by_token[token]
        if interval == "day":
            rows = _rows(self.history.daily(self._row[share.symbol]))
        elif INTERVAL_MINUTES[interval] % 15 == 0:
            rows = _grouped(self._quarters(share), INTERVAL_MINUTES[interval])
        else:
            rows = _grouped(share.minutes, INTERVAL_MINUTES[interval])
        return [row for row in rows if first_ns <= row[0] <= last_ns]

    def _quarters(self, share: Share) -> list[list[int]]:
        """The remembered bars, and what today's minutes add behind them."""
        past = _rows(self.history.bars_15m(self._row[share.symbol]))
        newest = past[-1][0] if past else -1
        return past + [row for row in _grouped(share.minutes, 15) if row[0] > newest]


INTERVAL_MINUTES = {
    "minute": 1,
    "3minute": 3,
    "5minute": 5,
    "10minute": 10,
    "15minute": 15,
    "30minute": 30,
    "60minute": 60,
}
_OPENS_IN_THE_HOUR_NS = 15 * 60 * NS  # 60-minute bars begin at 09:15, 10:15, ...; IST is half an hour off UTC
_HALF_HOUR_NS = 30 * 60 * NS


def _rows(bars: Series) -> list[list[int]]:
    columns = (bars.start_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows: list[list[int]] = np.stack(columns, axis=1).tolist()
    return rows


def _grouped(rows: list[list[int]], minutes: int) -> list[list[int]]:
    """Bars of so many minutes, counted from 09:15, out of shorter ones."""
    span = minutes * MINUTE_NS
    anchor = (_OPENS_IN_THE_HOUR_NS + _HALF_HOUR_NS) % span
    grouped: list[list[int]] = []
    for start, opened, high, low, close, volume in rows:
        begin = start - (start - anchor) % span
        if grouped and grouped[-1][0] == begin:
            bar = grouped[-1]
            bar[2], bar[3], bar[4], bar[5] = max(bar[2], high), min(bar[3], low), close, bar[5] + volume
        else:
            grouped.append([begin, opened, high, low, close, volume])
    return grouped
