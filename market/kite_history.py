"""The past of Kite's instruments: the daily instruments file and historical candles, asked for once and kept.

Owns the cache on disk and which candles are still missing. Never opens a connection: an injected `get` does, within
Kite's three calls a second (brokers/kite_rest.py). The `Past` of a live feed (market/feeds/stream.py): `prepare`
loads, `warm_up` hands on what was loaded.

A past day never changes, so its candles are asked for once; today's are asked for anew and not kept. Kite adjusts old
prices for splits and bonuses: `forget` then drops a symbol's cache. Prices in paise, times in ns.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import trio
from numpy.typing import NDArray

from effects import MarketClock
from market.calendar import Session, TradingCalendar
from market.candles import BAR_NS, Candles, CompletedBars
from market.history import History
from market.instruments import Instrument, InstrumentError, Universe
from protocol.clock import NS, at, ist_date
from protocol.errors import BrokerUnavailable, MarketDataError, RemoteProtocolError
from protocol.kite_errors import KiteFailure
from protocol.kite_market import Candle, candles, read_candles, read_instruments
from protocol.kite_wire import INSTRUMENTS_NSE, HttpRequest, answer

Get = Callable[[HttpRequest], Awaitable[bytes]]  # the body of a successful answer

QUARTERS, DAILY = "15minute", "day"
QUARTERS_BACK = timedelta(days=21)  # 200 bars of 15 minutes are 8 trading days; holidays may double that
DAILY_BACK = timedelta(days=320)  # 200 trading days
READY_AT_S = 8 * 3600 + 45 * 60  # the instruments file of the day is there from about 08:30
AGAIN_S = 60
HTTP_OK = 200


class KiteInstruments:
    """The NSE instruments of the day, from a file of that day where there is one."""

    def __init__(self, get: Get, folder: Path) -> None:
        self._get = get
        self._folder = folder

    async def universe(self, day: date, symbols: Collection[str], derivatives: Collection[str] = ()) -> Universe:
        """The instruments of these symbols. Raises MarketDataError naming those that NSE does not list in whole
        paise, RemoteProtocolError for a file that is none, and what `get` raises.
        """
        path = self._folder / f"instruments-{day}.csv"
        if not path.exists():
            body = await self._get(INSTRUMENTS_NSE)
            read_instruments(body.decode("utf-8", "replace"))  # a page of an error is not kept
            _replace(path, body)
        rows = read_instruments(path.read_text(encoding="utf-8", errors="replace"))
        listed = {row.symbol: row for row in rows if row.exchange == "NSE" and row.segment == "NSE"}
        missing = [name for name in sorted(symbols) if name not in listed or not listed[name].tick_size_paise]
        if missing:
            raise MarketDataError(f"{path}: not listed at NSE in whole paise: {', '.join(missing[:8])}")
        try:
            return Universe(
                Instrument(
                    symbol=row.symbol,
                    token=row.token,
                    tick_size_paise=row.tick_size_paise or 0,
                    lot_size=row.lot_size,
                    series=row.instrument_type,
                    segment=row.segment,
                    name=row.name,
                    derivatives=row.symbol in derivatives,
                )
                for row in (listed[name] for name in sorted(symbols))
            )
        except (InstrumentError, ValueError) as wrong:
            raise MarketDataError(f"{path}: {wrong}") from None


class KiteHistory:
    """Candles of a universe. `prepare` asks Kite, everything else answers from what was prepared."""

    def __init__(
        self,
        get: Get,
        folder: Path,
        universe: Universe,
        calendar: TradingCalendar,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`tell` gets a line for people about what could not be loaded."""
        self.universe = universe
        self.calls = 0  # asked of Kite so far
        self._get = get
        self._folder = folder
        self._calendar = calendar
        self._tell = tell
        self._quarters: dict[int, tuple[Candle, ...]] = {}  # by row, oldest first
        self._daily: dict[int, tuple[Candle, ...]] = {}

    async def prepare(self, now_ns: int) -> None:
        """Load what the market did before `now_ns`: two calls for a symbol never seen, one or none afterwards.

        A symbol that Kite has no history of is told and left out. Raises what `get` raises in trouble, and
        RemoteProtocolError; what was loaded until then is kept, so it can be repeated.
        """
        today = ist_date(now_ns)
        for row, instrument in enumerate(self.universe):
            try:
                self._daily[row] = await self._past(instrument, DAILY, today - DAILY_BACK, today)
                past = await self._past(instrument, QUARTERS, today - QUARTERS_BACK, today)
                self._quarters[row] = past + await self._todays(instrument, now_ns)
            except KiteFailure as failure:
                if failure.broken or failure.login_needed or failure.rate_limited:
                    raise
                self._tell(f"no history of {instrument.symbol}: {failure}")

    async def keep_prepared(self, clock: MarketClock) -> None:
        """Prepare for every further trading day at 08:45 IST, until cancelled; in trouble again a minute later."""
        while True:
            now_ns = clock.now_ns
            day = ist_date(now_ns)
            if at(day, READY_AT_S) <= now_ns or not self._calendar.is_trading_day(day):
                day = self._calendar.next_trading_day(day)
            await trio.sleep((at(day, READY_AT_S) - now_ns) / NS)
            while True:
                try:
                    await self.prepare(clock.now_ns)
                    break
                except (BrokerUnavailable, KiteFailure, RemoteProtocolError) as problem:
                    self._tell(f"the history of the day cannot be loaded yet: {problem}")
                    await trio.sleep(AGAIN_S)

    def forget(self, symbol: str) -> None:
        """Drop what is kept of a symbol: its past was adjusted for a split, a bonus, a dividend."""
        for interval in (QUARTERS, DAILY):
            self._path(self.universe[self.universe.row(symbol)], interval).unlink(missing_ok=True)

    # --- the Past of a feed ------------------------------------------------------------------------

    def previous_close(self, session: Session) -> NDArray[np.int64]:
        """Close of the last day before the session, by row; 0 where none is known."""
        closes = np.zeros(len(self.universe), dtype=np.int64)
        for row, daily in self._daily.items():
            before = [candle for candle in daily if ist_date(candle.start_ns) < session.day]
            closes[row] = before[-1].close_paise if before else 0
        return closes

    def warm_up(self, session: Session, history: History, candles: Candles) -> list[CompletedBars]:
        """Add what was prepared; the bars of today that are complete are returned too."""
        daily = [
            bars for bars in _together(self._daily, shift_to_midnight=True) if ist_date(bars.start_ns) < session.day
        ]
        for bars in daily:
            history.add_daily(bars)
        quarters = _together(self._quarters)
        for bars in quarters:
            history.add_bars(bars)
        return [bars for bars in quarters if bars.start_ns >= session.open_ns]

    # --- asking, and keeping -----------------------------------------------------------------------

    async def _past(self, instrument: Instrument, interval: str, first: date, today: date) -> tuple[Candle, ...]:
        """The candles of the days first..yesterday: those kept, and those that are missing."""
        path = self._path(instrument, interval)
        known_until, kept = _read(path)
        yesterday = self._calendar.previous_trading_day(today)
        if known_until < yesterday:
            begin = max(first, known_until + timedelta(days=1)) if kept else first
            kept += await self._ask(instrument.token, interval, begin, yesterday)
            kept = [candle for candle in kept if ist_date(candle.start_ns) >= first]
            _replace(path, _written(yesterday, kept))
        return tuple(candle for candle in kept if ist_date(candle.start_ns) <= yesterday)

    async def _todays(self, instrument: Instrument, now_ns: int) -> tuple[Candle, ...]:
        """The bars of today that are complete; none before the first one is."""
        session = self._calendar.session_at(now_ns)
        if session is None or now_ns < session.open_ns + BAR_NS:
            return ()
        found = await self._ask(instrument.token, QUARTERS, session.day, session.day)
        return tuple(candle for candle in found if candle.start_ns + BAR_NS <= now_ns)

    async def _ask(self, token: int, interval: str, first: date, last: date) -> list[Candle]:
        found: list[Candle] = []
        for request in candles(token, interval, first, last):
            self.calls += 1
            found += read_candles(answer(HTTP_OK, await self._get(request)))
        return found

    def _path(self, instrument: Instrument, interval: str) -> Path:
        return self._folder / interval / f"{instrument.token}.json"


def _together(by_row: dict[int, tuple[Candle, ...]], *, shift_to_midnight: bool = False) -> list[CompletedBars]:
    """The candles of all rows as bars of one instant each, oldest first."""
    at_instant: dict[int, list[tuple[int, Candle]]] = {}
    for row in sorted(by_row):
        for candle in by_row[row]:
            start_ns = at(ist_date(candle.start_ns), 0) if shift_to_midnight else candle.start_ns
            at_instant.setdefault(start_ns, []).append((row, candle))
    return [_bars(start_ns, at_instant[start_ns]) for start_ns in sorted(at_instant)]


def _bars(start_ns: int, rows: Sequence[tuple[int, Candle]]) -> CompletedBars:
    def column(name: str) -> NDArray[np.int64]:
        return np.array([getattr(candle, name) for _, candle in rows], dtype=np.int64)

    return CompletedBars(
        start_ns,
        np.array([row for row, _ in rows], dtype=np.int32),
        column("open_paise"),
        column("high_paise"),
        column("low_paise"),
        column("close_paise"),
        column("volume"),
    )


def _read(path: Path) -> tuple[date, list[Candle]]:
    """The day up to which candles are kept, and those. A file that cannot be read is asked for again."""
    try:
        kept = json.loads(path.read_bytes())
        return date.fromisoformat(kept["until"]), [Candle(*map(int, values)) for values in kept["candles"]]
    except (OSError, ValueError, KeyError, TypeError):
        return date.min, []


def _written(until: date, kept: Sequence[Candle]) -> bytes:
    rows = [
        [each.start_ns, each.open_paise, each.high_paise, each.low_paise, each.close_paise, each.volume]
        for each in kept
    ]
    return json.dumps({"until": until.isoformat(), "candles": rows}).encode()


def _replace(path: Path, content: bytes) -> None:
    """Written as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)
