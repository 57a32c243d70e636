"""Feed → board → wake-ups: the one actor that touches every price.

Plays the feed's items in order and moves market time with them. Owns nothing that must survive: board, candles,
history, clock and the place in the current item belong to the tree, so a new incarnation goes on where the last
one was killed. Never sends a tick to anybody: it wakes, in name order, the owners whose band was left.

An instant plays in order (trading-rules.md): alarms due before it, the frame on the board and at the exchange,
the positions it touches, alarms due at it; each step only when no message is unacknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import trio

from actors.actor import Actor
from actors.alarms import alarm_name, set_alarm
from actors.mailbox import Address, InFlight
from actors.ports import Exchange
from effects import MarketClock, machine_s
from market.board import Board
from market.candles import BAR_NS, Candles, CompletedBars
from market.feeds.frame import DayEnd, DayStart, Feed, Frame, Item, LiveFeed
from market.history import History
from protocol.broker import Quote
from protocol.clock import NS, ist_text
from protocol.messages import AlarmRang, AskSnapshot, Phase, Polled

PRICE_BAND_BP = 2_000  # a price further than 20 % from the previous close is dropped and counted
CHECKPOINT_EVERY = 16  # items; a market in which nobody wakes must still let others run


@attrs.define(eq=False)
class Playback:
    """The place in the feed's current item; the tree keeps it while the ticker dies and comes back."""

    item: Item | None = None
    accepted: Frame | None = None
    matched: bool = False
    woken: bool = False
    items: int = 0
    stream_ns: int = 0  # the newest frame's instant: polled quotes do not count
    ended: trio.Event = attrs.Factory(trio.Event)  # the recording is over, to the last message

    def begin(self, item: Item) -> None:
        if self.item is not item:
            self.item, self.accepted, self.matched, self.woken = item, None, False, False
            self.items += 1


@attrs.frozen(kw_only=True)
class TickerParts:
    """What the ticker is given. `speed` is market seconds per real second, math.inf for as fast as possible.

    `live` is the feed again where its prices arrive by themselves; `lockstep`: the market waits for the actors.
    """

    feed: Feed
    board: Board
    candles: Candles
    history: History
    clock: MarketClock
    exchanges: Sequence[Exchange]
    layers: int
    in_flight: InFlight
    recorder: Address
    playback: Playback
    speed: float
    live: LiveFeed | None = None
    lockstep: bool = True
    begin: trio.Event  # set when the whole tree is ready: nothing is played before


class Ticker(Actor):
    """The actor. Its mailbox takes polled quotes and alarms; the feed is played by a helper task."""

    def __init__(self, address: Address, parts: TickerParts) -> None:
        super().__init__(address)
        self._parts = parts
        self._anchor: tuple[float, int] | None = None  # machine s and market ns that belong together
        self._roll_alarm = alarm_name(address, "roll")

    async def started(self) -> None:
        parts = self._parts
        if parts.live is not None:
            self.nursery.start_soon(parts.live.run, name="ticker:connection")
        if parts.clock.live:
            self.nursery.start_soon(parts.clock.ring_as_time_goes_by, name="ticker:alarms")
        self.nursery.start_soon(self._play, name="ticker:play")

    async def handle(self, message: object) -> object:
        if isinstance(message, Polled):
            self._take_quotes(message.quotes)
        elif isinstance(message, AlarmRang):
            self._roll(message.at_ns)
        elif isinstance(message, AskSnapshot):
            return self._snapshot()
        return None

    # --- playing the feed ---------------------------------------------------------------------------

    async def _play(self) -> None:
        """Every item of the feed, acknowledged after it was played to its end."""
        parts, playback = self._parts, self._parts.playback
        await parts.begin.wait()
        await self._settle()  # what the last incarnation was killed over
        while (item := await self._next_item()) is not None:
            playback.begin(item)
            await self._ring_until(item.at_ns - 1)
            await self._pace(item)
            parts.clock.advance_to(item.at_ns)
            if isinstance(item, Frame):
                await self._play_frame(item)
            elif not playback.matched:
                self._turn_of_day(item)
                playback.matched = True
            await self._settle()
            await self._ring_until(item.at_ns)
            parts.feed.ack()
        await self._settle()
        playback.ended.set()

    async def _next_item(self) -> Item | None:
        """The feed's next item; waited for where the feed is live. None at the end of a recording."""
        feed, live = self._parts.feed, self._parts.live
        while (item := feed.peek()) is None and live is not None:
            await live.arrival()
        return item

    async def _settle(self) -> None:
        """Until everybody has finished; in a live market nobody waits for anybody."""
        in_flight = self._parts.in_flight
        if not self._parts.lockstep:
            await trio.lowlevel.checkpoint()
        elif in_flight.count or in_flight.deferred:
            await in_flight.settled()

    async def _play_frame(self, frame: Frame) -> None:
        parts, playback = self._parts, self._parts.playback
        if not playback.matched:
            self._on_frame(frame)
            playback.matched = True
        if parts.lockstep and (parts.in_flight.count or parts.in_flight.deferred):
            await parts.in_flight.settled()  # what was filled is journalled, its money free, before anyone looks
        if not playback.woken:
            self._wake(playback.accepted)
            playback.woken = True

    def _on_frame(self, frame: Frame) -> None:
        """The frame reaches bars, board and exchange."""
        parts = self._parts
        self._roll(frame.at_ns)
        parts.playback.stream_ns = frame.at_ns
        accepted = parts.board.apply(frame)
        parts.playback.accepted = accepted
        if accepted is not None:
            parts.candles.apply(accepted.rows, accepted.price_paise, accepted.volume, accepted.at_ns, accepted.unique)
            if not parts.clock.armed(self._roll_alarm):  # the first bar after a silent one, or after a late start
                self._arm_roll(accepted.at_ns - accepted.at_ns % BAR_NS)
            for exchange in parts.exchanges:
                exchange.match(accepted)

    def _wake(self, accepted: Frame | None) -> None:
        if accepted is not None:
            for layer in range(self._parts.layers):
                self._parts.board.wake_left(layer, accepted)

    async def _ring_until(self, at_ns: int) -> None:
        """Alarms one at a time, in order, each played to its end before the next."""
        while self._parts.clock.ring_next(at_ns):
            await self._settle()

    async def _pace(self, item: Item) -> None:
        """Speed only puts real sleeps between frames; a new day begins at once."""
        parts = self._parts
        if math.isinf(parts.speed):
            if parts.playback.items % CHECKPOINT_EVERY == 0:
                await trio.lowlevel.checkpoint()
            return
        if self._anchor is None or isinstance(item, DayStart):
            self._anchor = (machine_s(), item.at_ns)
        started_s, started_ns = self._anchor
        due_s = started_s + (item.at_ns - started_ns) / (NS * parts.speed)
        await trio.sleep_until(due_s)

    # --- days and bars --------------------------------------------------------------------------------

    def _turn_of_day(self, item: DayStart | DayEnd) -> None:
        parts = self._parts
        if isinstance(item, DayEnd):
            self._completed(parts.candles.end_day())
            for exchange in parts.exchanges:
                exchange.end_of_day(item.at_ns)
            return
        parts.candles.start_day(item.session.open_ns)
        for bars in parts.feed.warm_up(parts.history, parts.candles):
            parts.recorder.post(bars)
        close = item.previous_close
        known = close > 0
        parts.board.set_limits(
            np.where(known, -(-close * (10_000 - PRICE_BAND_BP) // 10_000), 1),
            np.where(known, close * (10_000 + PRICE_BAND_BP) // 10_000, 1 << 62),
        )
        for exchange in parts.exchanges:
            exchange.start_of_day(item.at_ns)
        self._arm_roll(item.session.open_ns)

    def _roll(self, at_ns: int) -> None:
        bars = self._parts.candles.roll(at_ns)
        if bars is not None:
            self._completed(bars)
            self._arm_roll(bars.start_ns + BAR_NS)

    def _arm_roll(self, bar_start_ns: int) -> None:
        """A bar is complete at its end instant, with or without a tick then: the scan of that instant uses it."""
        set_alarm(self._parts.clock, self.address, "roll", bar_start_ns + BAR_NS, phase=Phase.ROLL)

    def _completed(self, bars: CompletedBars | None) -> None:
        if bars is not None:
            self._parts.history.add_bars(bars)
            self._parts.recorder.post(bars)

    # --- polled prices --------------------------------------------------------------------------------

    def _take_quotes(self, quotes: Sequence[Quote]) -> None:
        """Quotes newer than what the board has are played like a frame; older ones say nothing new."""
        parts = self._parts
        newer = [
            (row, quote)
            for quote in quotes
            if quote.symbol in parts.feed.universe
            and quote.at_ns > parts.board.exchange_ns[row := parts.feed.universe.row(quote.symbol)]
        ]
        if not newer:
            return
        newer.sort(key=lambda pair: pair[0])
        for at_ns in sorted({quote.at_ns for _, quote in newer}):
            same = [(row, quote) for row, quote in newer if quote.at_ns == at_ns]
            frame = Frame(
                at_ns,
                np.array([row for row, _ in same], np.int32),
                np.array([quote.last_paise for _, quote in same], np.int64),
                np.array([quote.volume for _, quote in same], np.int64),
                True,
            )
            accepted = parts.board.apply(frame)
            if accepted is not None:
                for exchange in parts.exchanges:
                    exchange.match(accepted)
                self._wake(accepted)

    def _snapshot(self) -> dict[str, object]:
        parts = self._parts
        return {
            "market_time": ist_text(parts.clock.now_ns) if parts.clock.now_ns else "",
            "items": parts.playback.items,
            "finished": parts.playback.ended.is_set(),
            "dropped": int(parts.board.dropped.sum()),
        }
