"""Quotes that were asked for while the stream is silent: played like a frame if they say anything new."""

from __future__ import annotations

from actors.ticker import Ticker
from protocol.broker import Quote
from protocol.messages import Polled
from tests.fakes.actor_market import instant, made_day
from tests.fakes.actor_ticker import UNIVERSE, TickerWorld, frames


def quote(symbol: str, price: int, text: str) -> Quote:
    return Quote(symbol=symbol, last_paise=price, at_ns=instant(text))


async def test_polled_quotes_are_played_like_a_frame() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000))))
    world.watch_all()
    await world.play()
    world.heard.clear()
    ticker = Ticker(world.address, world.parts)
    await ticker.handle(Polled((quote("GAMMA", 9_900, "15:31:00"), quote("ALPHA", 9_950, "15:31:00"))))
    assert world.heard == [("matched", instant("15:31:00"), (9_950, 9_900))]
    assert [address.depth for address in world.positions] == [1, 0, 1]
    assert world.board.last.tolist() == [9_950, 10_000, 9_900]


async def test_polled_quotes_no_newer_than_the_board_are_ignored() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000))))
    world.watch_all()
    await world.play()
    world.heard.clear()
    ticker = Ticker(world.address, world.parts)
    old = Polled((quote("ALPHA", 9_000, "09:20:00"), quote("BETA", 9_000, "09:19:59"), quote("OMEGA", 1, "15:31:00")))
    await ticker.handle(old)
    assert not world.heard
    assert world.board.last.tolist() == [10_000] * 3


async def test_polled_quotes_handled_again_match_and_wake_once() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000))))
    world.watch_all()
    await world.play()
    world.heard.clear()
    polled = Polled((quote("ALPHA", 9_950, "15:31:00"), quote("BETA", 9_960, "15:31:01")))
    for _ in range(2):  # it was killed before it could acknowledge
        await Ticker(world.address, world.parts).handle(polled)
    assert [entry[1] for entry in world.heard] == [instant("15:31:00"), instant("15:31:01")]
    assert [address.depth for address in world.positions] == [1, 1, 0]


async def test_polled_quotes_do_not_count_as_the_stream() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000))))
    await world.play()
    await Ticker(world.address, world.parts).handle(Polled((quote("ALPHA", 9_950, "15:31:00"),)))
    assert world.playback.stream_ns == instant("09:20:00")


async def test_an_impossible_polled_price_reaches_nothing() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000)), previous_close=(10_000,) * 3))
    world.watch_all()
    await world.play()
    world.heard.clear()
    await Ticker(world.address, world.parts).handle(Polled((quote("ALPHA", 5_000, "15:31:00"),)))
    assert not world.heard
    assert world.board.last[0] == 10_000
