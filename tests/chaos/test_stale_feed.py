"""The stream falls silent for two minutes while the market goes on: polled prices take its place, and then end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from random import Random
from typing import Any

import attrs
import pytest
import trio

from actors.tree import Tree
from commands import compose
from effects import Effects
from market.feeds.frame import Feed
from protocol.clock import at, ist_time_text
from protocol.rungs import Rung
from settings import Settings
from store.journal import Journal
from tests.chaos.recorded_day import Records, day_settings
from tests.fakes.actor_market import ListFeed, every_second, instant, made_day, universe_of
from tests.fakes.actor_silence import SilentFeed, broker_that_quotes, unprotected_or_inconsistent
from tests.fakes.actor_tree import settings

UNIVERSE = universe_of("ALPHA", "BETA", "DELTA", "GAMMA")
PAST = (10_000,) * 4
SILENT = ("09:40:06", "09:42:04")  # the first and the last frame that do not arrive
PRICES = {
    "ALPHA": [("09:15:00", 10_300), ("09:41:02", 10_000)],  # P1 at 09:26; its stop at 100.40 is reached unseen
    "BETA": [("09:15:00", 10_300), ("09:30:00", 10_340), ("09:40:48", 10_400)],  # P2's trail has to move unseen
    "DELTA": [("09:15:00", 10_000), ("09:40:52", 10_300)],  # first worth buying when only polls know it
    "GAMMA": [("09:15:00", 10_000), ("09:40:03", 10_300)],  # worth buying since just before, and nobody quotes it
}


@attrs.define(eq=False)
class Day:
    """What a day with a silence left."""

    tree: Tree
    feed: SilentFeed
    journal: Journal
    records: Records
    lines: list[tuple[int, str, str]] = attrs.Factory(list)  # market ns, actor, text

    @property
    def rungs(self) -> dict[tuple[str, int], Rung]:
        return {(rung.symbol, rung.number): rung for rung in self.journal.trades()}

    def alerts(self) -> list[tuple[str, str]]:
        """(time, text) of what the health monitor said of the feed; the notices hold only the newest few hundred."""
        return [
            (ist_time_text(at_ns), text.removeprefix("alert "))
            for at_ns, actor, text in self.lines
            if actor == "health_monitor" and "polling" in text
        ]

    def entry_of(self, symbol: str, number: int = 1) -> str:
        return ist_time_text(self.rungs[symbol, number].entry_ns)

    def exit_of(self, symbol: str, number: int = 1) -> tuple[str, str]:
        rung = self.rungs[symbol, number]
        assert rung.reason is not None, f"{symbol} P{number} is not closed"
        return ist_time_text(rung.exit_ns), rung.reason.value


async def play(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Settings,
    feed: SilentFeed,
    beside: Callable[[Tree], Any] | None = None,
) -> Day:
    effects = Effects(seed="silence", threads=False)
    journals, records, lines = compose.in_memory(wanted, effects), Records(), list[tuple[int, str, str]]()
    monkeypatch.setattr(compose, "PaperBroker", broker_that_quotes(feed, lambda: effects.market.now_ns))

    def gave_up(reason: str) -> None:
        raise AssertionError(reason)

    tree, _ = compose.plant(
        wanted,
        effects,
        journals=journals,
        records=records,
        log=lambda kind, actor, text: lines.append((effects.market.now_ns, actor, text)),
        give_up_process=gave_up,
        out_of_disk=gave_up,
        feed=feed,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        if beside is not None:
            nursery.start_soon(beside, tree)
        await tree.playback.ended.wait()
        nursery.cancel_scope.cancel()
    return Day(tree, feed, journals["main"], records, lines)


def made_up_feed(silent: bool = True) -> SilentFeed:
    """35 minutes of a Monday, a frame every second; the recording is over before the day is."""
    frames = every_second(UNIVERSE, PRICES, "09:15:00", "09:50:00")
    feed: Feed = ListFeed(UNIVERSE, made_day(UNIVERSE, frames, previous_close=PAST)[:-1], past=PAST)
    first, last = (instant(text) for text in SILENT)
    return SilentFeed(feed, first, last if silent else first - 1, unquoted=["GAMMA"])


async def test_polling_begins_after_thirty_seconds_and_ends_when_the_stream_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    day = await play(monkeypatch, settings(), made_up_feed())
    assert day.feed.withheld == 119
    assert day.alerts() == [
        ("09:40:35", "no price of any symbol for 30 s: polling for quotes"),
        ("09:42:05", "the feed speaks again: polling ended after 90 s"),
    ]


async def test_a_stop_that_only_polled_prices_reach_is_still_acted_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    day = await play(monkeypatch, settings(), made_up_feed())
    assert day.exit_of("ALPHA") == ("09:41:05", "stop")  # the first poll after the fall at 09:41:02
    assert day.rungs["ALPHA", 1].proceeds_paise == 29 * 10_000


async def test_a_trailing_stop_follows_polled_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    day = await play(monkeypatch, settings(), made_up_feed())
    runner = day.rungs["BETA", 2]
    assert (runner.open, runner.highest_paise, runner.stop_paise) == (True, 10_400, 10_140)
    moves = [ist_time_text(at_ns) for at_ns, _, text in day.lines if text.startswith("stop_moved symbol=BETA")]
    assert moves == ["09:40:50"]


async def test_entries_in_symbols_whose_price_is_stale_are_refused_until_the_stream_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    day = await play(monkeypatch, settings(), made_up_feed())
    notes = {
        text: {symbol: note for symbol, _, _, note in day.records.rankings[instant(text)]}
        for text in ("09:41:00", "09:42:00", "09:43:00")
    }
    assert [notes[text]["GAMMA"] for text in notes] == ["stale price", "stale price", ""]
    assert day.entry_of("GAMMA") == "09:43:00"


async def test_a_symbol_whose_polled_price_is_fresh_may_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    day = await play(monkeypatch, settings(), made_up_feed())
    assert day.entry_of("DELTA") == "09:41:00"


async def test_the_journal_is_consistent_after_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    day = await play(monkeypatch, settings(), made_up_feed())
    assert unprotected_or_inconsistent(day.journal) == []
    assert {place for place, rung in day.rungs.items() if rung.open} == {
        ("BETA", 1),
        ("BETA", 2),
        ("DELTA", 1),
        ("GAMMA", 1),
    }


async def test_without_a_silence_nobody_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    day = await play(monkeypatch, settings(), made_up_feed(silent=False))
    assert day.alerts() == []
    assert day.exit_of("ALPHA") == ("09:41:02", "stop")


async def test_a_silence_in_which_the_market_actors_are_killed_ends_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = await play(monkeypatch, settings(), made_up_feed())
    chance = Random("silence")
    killed: list[str] = []

    async def assassin(tree: Tree) -> None:
        while True:
            for _ in range(chance.randrange(1, 40)):
                await trio.lowlevel.checkpoint()
            name = chance.choice(["ticker", "poller", "health_monitor", "scanner", "position:ALPHA", "position:BETA"])
            if tree.kill(name):
                killed.append(name)

    wanted = settings("supervision.intensity=1000")
    disturbed = await play(monkeypatch, wanted, made_up_feed(), assassin)
    assert len(set(killed)) == 6
    assert {place: comparable(rung) for place, rung in disturbed.rungs.items()} == {
        place: comparable(rung) for place, rung in calm.rungs.items()
    }
    assert disturbed.alerts() == calm.alerts()
    assert disturbed.records.rankings == calm.records.rankings
    assert unprotected_or_inconsistent(disturbed.journal) == []


def comparable(rung: Rung) -> Rung:
    """The rung without the ids that count what was sent."""
    return attrs.evolve(rung, trade_id=0, gtt_id=None, entry_order=None)


@pytest.mark.parametrize("minute", [11 * 60, 15 * 60 + 9])
async def test_a_recorded_day_with_a_silence_of_two_minutes_ends_in_order(
    monkeypatch: pytest.MonkeyPatch, minute: int
) -> None:
    """In mid-morning, and over the square-off; the recording has a tick every 15 s, so 37.5 s are silence."""
    recorded = date(2016, 8, 26)
    wanted = day_settings(recorded)
    first = at(recorded, minute * 60)
    calendar = compose.trading_calendar(wanted)
    feed = SilentFeed(compose.make_feed(wanted, calendar, Effects(seed="silence")), first + 1, first + 119 * 10**9)
    day = await play(monkeypatch, wanted, feed)
    assert day.feed.withheld == 7
    (began, ended) = day.alerts()
    assert began[1] == "no price of any symbol for 37 s: polling for quotes"
    assert ended[1].startswith("the feed speaks again")
    assert len(day.records.rankings) == 375
    assert len(day.rungs) > 50
    assert unprotected_or_inconsistent(day.journal) == []
    assert {number for (_, number), rung in day.rungs.items() if rung.open} <= {1}
