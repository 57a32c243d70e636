"""The market data connection: ticks become frames, a broken connection subscribes again, nonsense is counted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import attrs
import trio
import trio.testing

from effects import Effects, MarketClock
from market.calendar import TradingCalendar
from market.feeds.frame import Frame
from market.feeds.link_options import LinkOptions
from market.feeds.websocket import WebSocketMarketData
from market.instruments import Instrument, Universe
from protocol.broker import SessionState
from protocol.broker_wire import Refusal, Tick, Ticks
from protocol.broker_wire_requests import ClientRequest, Mode, Subscribe
from protocol.clock import NS, at
from simulation.broker_exchange import ServerAccount
from simulation.broker_market import ServerMarket
from simulation.broker_server import BrokerServer
from tests.brokers.scripted_server import KEY, Reply, ScriptedServer

NOW_NS = at(date(2016, 8, 29), 10 * 3600)
UNIVERSE = Universe([Instrument("INFY", 1, 5), Instrument("TCS", 2, 5)])
INFY, TCS = UNIVERSE.row("INFY"), UNIVERSE.row("TCS")


@attrs.define(eq=False)
class Frames:
    """What was put, with a way to wait for it."""

    frames: list[Frame] = attrs.field(factory=list)
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def put(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.news.unpark_all()

    async def next(self, number: int) -> Frame:
        """Frame `number`, counted from 0, now or later."""
        with trio.fail_after(10):
            while len(self.frames) <= number:
                await self.news.park()
        return self.frames[number]


def new_feed(url: str, clock: MarketClock | None = None, universe: Universe = UNIVERSE) -> WebSocketMarketData:
    options = LinkOptions(url=url, api_key=KEY, connect_timeout_s=5.0, longest_pause_s=0.02, first_pause_s=0.01)
    return WebSocketMarketData(Effects(seed="1", market=clock or MarketClock()), options, universe)


def tick(symbol: str, paise: int, second: int = 0, volume: int = 100) -> Tick:
    return Tick(symbol, paise, volume, NOW_NS + second * NS)


async def started(
    nursery: trio.Nursery, server: ScriptedServer, **options: MarketClock | Universe
) -> tuple[WebSocketMarketData, Frames]:
    await nursery.start(server.serve)
    feed, frames = new_feed(server.url, **options), Frames()  # type: ignore[arg-type]
    await nursery.start(feed.run, frames.put)
    await server.was_asked(1)
    return feed, frames


async def test_ticks_become_a_frame_in_their_order(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    _, frames = await started(nursery, server)
    await server.say(Ticks((tick("TCS", 250_005, 1), tick("INFY", 150_000, 2, volume=-1), tick("TCS", 250_010, 3))))
    frame = await frames.next(0)
    assert frame.rows.tolist() == [TCS, INFY, TCS]
    assert frame.price_paise.tolist() == [250_005, 150_000, 250_010]
    assert frame.volume.tolist() == [100, -1, 100]
    assert frame.exchange_ns is not None
    assert frame.exchange_ns.tolist() == [NOW_NS + second * NS for second in (1, 2, 3)]
    assert not frame.unique
    assert frame.at_ns == NOW_NS + 3 * NS
    await server.say(Ticks((tick("INFY", 150_005), tick("TCS", 250_000))))
    assert (await frames.next(1)).unique
    assert frames.frames[1].at_ns == NOW_NS + 3 * NS  # an older tick does not turn time back


async def test_with_a_live_clock_a_frame_bears_the_systems_time(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    _, frames = await started(nursery, server, clock=MarketClock(source=lambda: NOW_NS + 99 * NS))
    await server.say(Ticks((tick("INFY", 150_000, 1),)))
    assert (await frames.next(0)).at_ns == NOW_NS + 99 * NS


async def test_what_cannot_be_used_is_counted_and_the_rest_is(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    feed, frames = await started(nursery, server)
    await server.say(
        "no json",
        '{"type": "TICKS", "ticks": [["INFY"]]}',
        '{"type": "WEATHER"}',
        Ticks((tick("NOSUCH", 100),)),
        Ticks((tick("NOSUCH", 100), tick("INFY", 0), tick("TCS", 250_000))),
    )
    frame = await frames.next(0)
    assert (frame.rows.tolist(), frame.price_paise.tolist()) == ([TCS], [250_000])
    assert (feed.counts.unknown_symbols, feed.counts.impossible, feed.counts.ticks) == (2, 1, 1)
    assert (feed.kept.counts.malformed, feed.kept.counts.unknown) == (2, 1)
    assert feed.state is SessionState.READY


async def test_many_symbols_are_subscribed_in_parts(nursery: trio.Nursery) -> None:
    universe = Universe([Instrument(f"S{place:04d}", place, 5) for place in range(1_201)])
    server = ScriptedServer()
    await started(nursery, server, universe=universe)
    await server.was_asked(3)
    bodies = [request.body for request in server.asked]
    assert [len(body.symbols) for body in bodies if isinstance(body, Subscribe)] == [500, 500, 201]
    assert {body.mode for body in bodies if isinstance(body, Subscribe)} == {Mode.QUOTE}


async def test_symbols_that_the_server_refuses_are_told_and_done_without(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    server.subscribe = lambda request: [refusal(request)]
    feed, frames = await started(nursery, server)
    await server.say(Ticks((tick("INFY", 150_000),)))
    await frames.next(0)
    assert feed.refused == ["UNKNOWN_SYMBOL: no TCS here"]
    assert feed.state is SessionState.READY


def refusal(request: ClientRequest) -> Reply:
    return Refusal(request_id=request.request_id, code="UNKNOWN_SYMBOL", message="no TCS here")


async def test_a_subscription_without_an_answer_is_made_again_on_a_new_connection(nursery: trio.Nursery) -> None:
    server = ScriptedServer()

    def server_error(request: ClientRequest) -> Iterable[Reply]:
        server.subscribe = None
        yield Refusal(request_id=request.request_id, code="SERVER_ERROR", message="oops")

    server.subscribe = server_error
    feed, frames = await started(nursery, server)
    await server.was_asked(2)
    await server.say(Ticks((tick("INFY", 150_000),)))
    await frames.next(0)
    assert feed.kept.connected == 2
    assert feed.state is SessionState.READY


async def test_after_a_broken_connection_ticks_come_again(nursery: trio.Nursery) -> None:
    market = ServerMarket(UNIVERSE, TradingCalendar(), start_ns=NOW_NS)
    server = BrokerServer([ServerAccount(name="A", api_key=KEY)], market)
    listeners = await Effects().listen_tcp(0)
    await nursery.start(server.serve, listeners)
    feed, frames = new_feed(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/ws"), Frames()
    server.price("INFY", 150_000)
    await nursery.start(feed.run, frames.put)
    assert (await frames.next(0)).price_paise.tolist() == [150_000]  # the last price comes with the subscription
    server.price("INFY", 150_005)
    assert (await frames.next(1)).price_paise.tolist() == [150_005]
    server.disconnect_all()
    server.price("INFY", 150_010)  # nobody hears of this one
    assert (await frames.next(2)).price_paise.tolist() == [150_010]
    server.price("TCS", 250_000)
    assert (await frames.next(3)).rows.tolist() == [TCS]
    assert feed.kept.connected == 2


async def test_a_key_that_is_refused_leaves_the_feed_waiting_for_a_person(nursery: trio.Nursery) -> None:
    server = ScriptedServer()
    server.refuse_upgrade = 403
    await nursery.start(server.serve)
    feed = new_feed(server.url)
    await nursery.start(feed.run, Frames().put)
    await trio.testing.wait_all_tasks_blocked(0.1)  # longer than the pauses between its three attempts
    assert (feed.state, "HTTP 403" in feed.reason) == (SessionState.LOGIN_NEEDED, True)
