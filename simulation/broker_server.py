"""A JSON broker to try a strategy against: `python -m simulation.broker_server --port 8765`.

Owns the parts and how they hang together: the market (simulated, recorded, or prices set by hand), the exchange
behind it, every connection. Speaks broker-protocol.md over WebSocket and HTTP on one port of the loopback. With
`--record` it knows its books again after it was killed. What goes wrong on purpose is in trouble.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

import trio
import trio_websocket

from market.feeds.frame import DayEnd, DayStart, Feed, Frame, Item
from protocol.broker_wire import Response
from protocol.broker_wire_fields import Json, utc_text
from protocol.clock import NS
from simulation.broker_desk import Desk
from simulation.broker_exchange import ExchangeOptions, ServerAccount, ServerExchange, Told
from simulation.broker_link import Counts, Link
from simulation.broker_market import ServerMarket
from simulation.broker_record import Record
from simulation.broker_rest import Rest
from simulation.broker_seat import Update
from simulation.one_port import serve_stream
from simulation.trouble import Trouble

CHECKPOINT_EVERY = 16  # frames; a market at full speed must still let others run
NOTE_MARKET_EVERY = 60  # frames between two notes of the market in the record
PRICE_BAND_PARTS = 5  # circuit limits at 1/5 below and above the previous close


class BrokerServer:
    """Everything of one server but its sockets. Raises RecordError when its record cannot be used, ValueError when
    two accounts share a name or a key.

    Run `serve` first, with listeners or none; any other stream may be given to `handle` while it runs.
    """

    def __init__(
        self,
        accounts: Sequence[ServerAccount],
        market: ServerMarket,
        *,
        record: Path | None = None,
        trouble: Trouble | None = None,
        options: ExchangeOptions | None = None,
    ) -> None:
        for what, values in (("name", [row.name for row in accounts]), ("key", [row.api_key for row in accounts])):
            if len(set(values)) < len(values):
                raise ValueError(f"two accounts have the same {what}: each needs its own")
        self.market = market
        self.trouble = trouble or Trouble()
        self._record = Record(record)
        self.exchange = ServerExchange(
            accounts, market, self._record, self.trouble, options or ExchangeOptions(), self._later
        )
        self._desk = Desk(accounts, self.exchange, self.trouble)
        self._rest = Rest(self._desk, market, self.trouble, self, self._publish)
        self._links: list[Link] = []
        self._counts = Counts()
        self._nursery: trio.Nursery | None = None

    # --- connections -----------------------------------------------------------------------------------

    async def serve(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; then every connection is cut and the record closed."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for listener in listeners:
                    await nursery.start(trio.serve_listeners, self.handle, [listener])
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._record.close()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, to its end."""
        await serve_stream(stream, self._rest.answer, self._websocket)

    async def _websocket(self, request: trio_websocket.WebSocketRequest) -> None:
        websocket = await request.accept()
        link = Link(websocket, self._desk, self.market, self.trouble, self._counts, self._publish)
        self._links.append(link)
        try:
            await link.run()
        finally:
            self._links.remove(link)

    def disconnect_all(self) -> None:
        """Cut every WebSocket without a word."""
        for link in self._links:
            link.cut()

    def _publish(self, account: str, updates: Iterable[Update]) -> None:
        for update in updates:
            for link in self._links:
                if link.account == account:
                    link.push(update)

    def _tell(self, told: Told) -> None:
        for account, update in told:
            self._publish(account, (update,))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        assert self._nursery is not None, "a request came while nothing was served"
        self._nursery.start_soon(_after, seconds, act)

    # --- the market ------------------------------------------------------------------------------------

    async def play(self, feed: Feed, speed: float) -> None:
        """Play a feed to its end, `speed` market seconds per second (math.inf: as fast as possible)."""
        anchor: tuple[float, int] | None = None
        frames = 0
        while (item := feed.peek()) is not None:
            if math.isinf(speed):
                if frames % CHECKPOINT_EVERY == 0:
                    await trio.lowlevel.checkpoint()
            else:
                if anchor is None or isinstance(item, DayStart):
                    anchor = trio.current_time(), item.at_ns  # a new day begins at once
                await trio.sleep_until(anchor[0] + (item.at_ns - anchor[1]) / (NS * speed))
            self.show(item)
            feed.ack()
            frames += 1
            if frames % NOTE_MARKET_EVERY == 0:
                self.exchange.note_market()

    def show(self, item: Item) -> None:
        """One item of a feed: market time moves, orders trade, subscribers hear of it."""
        market = self.market
        market.advance_to(item.at_ns)
        if isinstance(item, Frame):
            symbols = market.universe.symbols
            rows, prices, volumes = item.rows.tolist(), item.price_paise.tolist(), item.volume.tolist()
            self._trade(
                [(symbols[row], price, volume) for row, price, volume in zip(rows, prices, volumes, strict=True)]
            )
        elif isinstance(item, DayEnd):
            self._tell(self.exchange.end_of_day())
        else:
            for symbol, close in zip(market.universe.symbols, item.previous_close.tolist(), strict=True):
                if close:
                    band = close // PRICE_BAND_PARTS
                    market.set_limits(symbol, close - band, close + band)
            self._tell(self.exchange.start_of_day())

    def _trade(self, trades: Sequence[tuple[str, int, int]]) -> None:
        """(symbol, price in paise, volume of the day) of one instant; orders hear of them before subscribers."""
        told: Told = []
        for symbol, price_paise, volume in trades:
            self.market.see(symbol, price_paise, volume)
            told += self.exchange.match(symbol, price_paise)
        self.exchange.commit()
        self._tell(told)
        moved = [symbol for symbol, _, _ in trades]
        for link in self._links:
            link.push_ticks(moved)

    # --- what a tester may do ----------------------------------------------------------------------------

    def price(self, symbol: str, price_paise: int) -> None:
        """One trade by hand, a second after the one before. Raises ValueError for what cannot be a trade."""
        if symbol not in self.market.universe:
            raise ValueError(f"{symbol} is not traded here; traded are {', '.join(self.market.universe.symbols[:20])}")
        if price_paise <= 0:
            raise ValueError(f"{symbol}: a price is above zero")
        self.market.advance_to(self.market.now_ns + NS)
        self._trade([(symbol, price_paise, -1)])
        self.exchange.note_market()

    def limits(self, symbol: str, lower_paise: int, upper_paise: int) -> None:
        """The day's circuit limits. Raises ValueError for a symbol that is not traded."""
        if symbol not in self.market.universe:
            raise ValueError(f"{symbol} is not traded here")
        self.market.set_limits(symbol, lower_paise, upper_paise)

    def end_of_day(self) -> None:
        """The close, now: day orders lapse and, unless the market is always open, nothing trades any more."""
        session = self.market.calendar.session_at(self.market.now_ns)
        if session is not None:
            self.market.advance_to(session.close_ns)
        self._tell(self.exchange.end_of_day())

    def start_of_day(self, day: str) -> None:
        """The open of a later trading day, such as 2026-01-06. Raises ValueError when it is none."""
        session = self.market.calendar.session(date.fromisoformat(day))
        if session is None or session.day <= self.exchange.day:
            raise ValueError(f"{day} is no trading day after {self.exchange.day}")
        self.market.advance_to(session.open_ns)
        self._tell(self.exchange.start_of_day())

    def status(self) -> Json:
        """Where the server stands, for people and tests."""
        return {
            "now": utc_text(self.market.now_ns),
            "day": self.exchange.day.isoformat(),
            "starts": self.exchange.starts,
            "accounts": list(self.exchange.seats),
            "connections": [link.account for link in self._links],
            "malformed": self._counts.malformed,
            "unknown_types": self._counts.unknown_types,
        }

    def books(self, account: str) -> Response:
        """Everything an account has, in one answer: what tests compare a journal with. Raises ValueError."""
        seat = self.exchange.seats.get(account)
        if seat is None:
            raise ValueError(f"there is no account {account!r}; there are {', '.join(self.exchange.seats)}")
        books = seat.engine.books(self.market.now_ns)
        return Response(
            request_id=None,
            orders=tuple(seat.book.orders.values()),
            gtts=tuple(seat.book.gtts.values()),
            trades=tuple(seat.book.trades),
            positions=books.positions,
            holdings=books.holdings,
            margins=seat.engine.margins(),
        )


async def _after(seconds: float, act: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    act()


if __name__ == "__main__":
    from simulation.broker_command import main

    main()
