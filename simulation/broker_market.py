"""The market that a simulated broker server trades in: last prices, listings, hours and the time of day.

Owns what is known of each symbol and market time. Never decides about an order: the matching engines look here.
Fed by the server with a feed's frames, or with prices set by hand.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from brokers.matching_book import Market
from brokers.matching_orders import NEVER_ABOVE, Listing
from brokers.paper import continuous_trading
from market.calendar import TradingCalendar
from market.instruments import Universe
from protocol.broker import Quote
from protocol.broker_wire import Tick


@attrs.define
class _Seen:
    """The newest trade of a symbol; volume -1 where it is not known."""

    price_paise: int
    volume: int
    at_ns: int


class ServerMarket:
    """`now_ns` stands at the start and moves with the prices; with a `clock` it is the clock's time instead.

    `always_open` switches the market's hours off, for tests and for evenings.
    """

    def __init__(
        self,
        universe: Universe,
        calendar: TradingCalendar,
        *,
        start_ns: int,
        always_open: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.universe = universe
        self.calendar = calendar
        self.listings = {row.symbol: Listing(row.tick_size_paise, row.lot_size) for row in universe}
        is_open = _always if always_open else continuous_trading(calendar, universe)
        self.for_engines = Market(self.listings, self.last_price, is_open)
        self._clock = clock
        self._now_ns = start_ns
        self._seen: dict[str, _Seen] = {}
        self._unrecorded: set[str] = set()

    @property
    def now_ns(self) -> int:
        return self._now_ns if self._clock is None else self._clock()

    def advance_to(self, at_ns: int) -> None:
        """Market time never runs backwards."""
        self._now_ns = max(self._now_ns, at_ns)

    def last_price(self, symbol: str) -> int:
        """In paise, 0 while there is none."""
        seen = self._seen.get(symbol)
        return seen.price_paise if seen is not None else 0

    def see(self, symbol: str, price_paise: int, volume: int) -> None:
        """A trade happened now."""
        self._seen[symbol] = _Seen(price_paise, volume, self.now_ns)
        self._unrecorded.add(symbol)

    def take_unrecorded(self) -> dict[str, int]:
        """The last prices that changed since this was asked before, in paise by symbol."""
        changed = {symbol: self._seen[symbol].price_paise for symbol in sorted(self._unrecorded)}
        self._unrecorded.clear()
        return changed

    def set_limits(self, symbol: str, lower_paise: int, upper_paise: int) -> None:
        """The day's circuit limits, both inclusive."""
        self.listings[symbol].lower_paise = lower_paise
        self.listings[symbol].upper_paise = upper_paise

    def tick(self, symbol: str, *, with_volume: bool) -> Tick | None:
        """The newest trade as it is said to a subscriber, None when there was none."""
        seen = self._seen.get(symbol)
        if seen is None:
            return None
        return Tick(symbol, seen.price_paise, seen.volume if with_volume else -1, seen.at_ns)

    def quote(self, symbol: str) -> Quote | None:
        seen, listing = self._seen.get(symbol), self.listings.get(symbol)
        if seen is None or listing is None:
            return None
        limited = listing.upper_paise != NEVER_ABOVE
        return Quote(
            symbol=symbol,
            last_paise=seen.price_paise,
            at_ns=seen.at_ns,
            volume=seen.volume,
            lower_circuit_paise=listing.lower_paise if limited else None,
            upper_circuit_paise=listing.upper_paise if limited else None,
        )


def _always(symbol: str, at_ns: int) -> bool:
    return True
