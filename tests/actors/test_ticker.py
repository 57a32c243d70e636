"""The ticker alone: an instant plays in order; prices that cannot be reach nothing; bars end without a tick."""

from __future__ import annotations

from functools import partial

import attrs
import numpy as np
import pytest
import trio
import trio.testing

from actors.ticker import Ticker
from market.board import ALWAYS
from market.candles import BAR_NS, CompletedBars
from protocol.messages import AlarmRang, AskSnapshot, Phase, Wake
from tests.fakes.actor_addresses import RecordingAddress
from tests.fakes.actor_market import MONDAY, frame, instant, made_day
from tests.fakes.actor_ticker import UNIVERSE, TickerWorld, frames, woken

# --- the order of an instant ------------------------------------------------------------------------


async def test_a_frame_is_matched_and_settled_before_it_wakes_anybody() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000))))
    world.watch_all()
    heard = await world.play()
    at_ns = instant("09:20:00")
    wake = Wake(10_000, 10_000, 10_000, at_ns)
    assert heard[1:3] == [("matched", at_ns, (10_000, 10_000, 10_000)), ("filled", at_ns)]
    assert woken(heard[3:6]) == [("woke", f"position:{symbol}", wake) for symbol in UNIVERSE.symbols]


async def test_positions_are_woken_in_row_order() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000))))
    woken_rows: list[int] = []

    def told(row: int, last: int, high: int, low: int, at_ns: int) -> None:
        woken_rows.append(row)

    for row in (2, 0, 1):
        world.board.watch(0, row, *ALWAYS, partial(told, row))
    await world.play()
    assert woken_rows == [0, 1, 2]


async def test_only_the_owners_whose_band_was_left_are_woken() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000), ("09:20:01", 10_100))))
    elsewhere = RecordingAddress()
    world.board.watch(0, 0, 9_900, 10_101, elsewhere.wake)
    world.board.watch(0, 1, 9_900, 10_100, elsewhere.wake)
    await world.play()
    assert elsewhere.posted == [Wake(10_100, 10_100, 10_000, instant("09:20:01"))]


async def test_alarms_ring_before_at_and_after_frames_in_order() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000), ("09:20:10", 10_000))))
    first, second = instant("09:20:00"), instant("09:20:10")
    world.alarm("before", first - 1)
    world.alarm("scan", first, Phase.SCAN)
    world.alarm("square off", first, Phase.SQUARE_OFF)
    world.alarm("timer", first)
    world.alarm("after", first + 1)
    world.alarm("with the next", second)
    heard = [entry for entry in await world.play() if entry[0] in ("rang", "matched")]
    assert [entry[1] for entry in heard] == [
        "before",
        first,
        "timer",
        "square off",
        "scan",
        "after",
        second,
        "with the next",
    ]
    assert [entry[2] for entry in heard if entry[0] == "rang"] == [first - 1, first, first, first, first + 1, second]


async def test_each_alarm_is_played_to_its_end_before_the_next() -> None:
    world = TickerWorld(made_day(UNIVERSE, []))
    at_ns = instant("09:30:00")
    done: list[str] = []

    def ring(name: str) -> None:
        assert world.in_flight.count == world.in_flight.deferred == 0
        world.positions[0].post(name)
        done.append(name)

    for name in ("one", "two", "three"):
        world.clock.alarm(name, at_ns, Phase.TIMER, name, 0, partial(ring, name))
    await world.play()
    assert done == ["one", "three", "two"]


async def test_nothing_is_played_before_the_tree_is_ready() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000))))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.serve_ticker)
        await trio.testing.wait_all_tasks_blocked()
        assert world.feed.place == 0
        assert not world.heard
        nursery.cancel_scope.cancel()


async def test_the_end_is_told_when_the_last_message_is_settled() -> None:
    world = TickerWorld(made_day(UNIVERSE, []))
    world.alarm("at the close", instant("15:30:00"))
    await world.play()
    assert world.playback.ended.is_set()
    assert world.in_flight.count == world.in_flight.deferred == 0
    assert world.heard[-1][:2] == ("rang", "at the close")


# --- prices that cannot be --------------------------------------------------------------------------


@pytest.mark.parametrize("price", [0, -5, 7_999, 12_001])
async def test_a_price_that_cannot_be_reaches_nothing(price: int) -> None:
    items = made_day(UNIVERSE, [frame(instant("09:20:00"), (0, price))], previous_close=(10_000, 10_000, 10_000))
    world = TickerWorld(items)
    world.watch_all()
    heard = await world.play()
    assert [entry[0] for entry in heard] == ["day begins", "day ends"]
    assert world.board.last[0] == 0
    assert world.board.dropped[0] == 1
    assert not world.recorder.posted


@pytest.mark.parametrize("price", [8_000, 12_000])
async def test_twenty_percent_from_the_previous_close_is_possible(price: int) -> None:
    items = made_day(UNIVERSE, [frame(instant("09:20:00"), (0, price))], previous_close=(10_000, 10_000, 10_000))
    world = TickerWorld(items)
    await world.play()
    assert world.board.last[0] == price


async def test_the_possible_prices_of_a_frame_with_impossible_ones_are_played() -> None:
    bad = frame(instant("09:20:00"), (0, 10_000), (1, 0), (2, 99_999))
    world = TickerWorld(made_day(UNIVERSE, [bad], previous_close=(10_000, 10_000, 10_000)))
    world.watch_all()
    heard = await world.play()
    assert ("matched", bad.at_ns, (10_000,)) in heard
    assert [entry[1] for entry in heard if entry[0] == "woke"] == ["position:ALPHA"]
    (bars,) = world.recorder.posted
    assert bars.rows.tolist() == [0]


# --- bars -------------------------------------------------------------------------------------------


def seen_at(world: TickerWorld, at_ns: int) -> list[int]:
    """How many bars of ALPHA are known at an instant: asked by an alarm in the scan's place."""
    known: list[int] = []
    world.clock.alarm(f"scan {at_ns}", at_ns, Phase.SCAN, "", 0, lambda: known.append(int(world.history.have_15m()[0])))
    return known


async def test_a_bar_is_complete_at_its_end_without_a_tick_then() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000), ("09:31:00", 10_000))))
    before, at_end = seen_at(world, instant("09:30:00") - 1), seen_at(world, instant("09:30:00"))
    await world.play()
    assert (before, at_end) == ([0], [1])


async def test_after_a_quarter_without_a_tick_the_next_bar_is_complete_at_its_end_again() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000), ("09:50:00", 10_000), ("10:05:00", 10_000))))
    at_end = seen_at(world, instant("10:00:00"))
    await world.play()
    assert at_end == [2]


async def test_a_late_start_completes_its_first_bar_at_its_end() -> None:
    items = made_day(UNIVERSE, frames(("11:07:00", 10_000), ("11:20:00", 10_000)))
    items[0] = attrs.evolve(items[0], at_ns=instant("11:06:00"))
    world = TickerWorld(items)
    at_end = seen_at(world, instant("11:15:00"))
    await world.play()
    assert at_end == [1]


async def test_a_bar_goes_to_the_history_and_to_the_recorder() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000), ("09:29:59", 10_040), ("09:30:00", 10_100))))
    await world.play()
    first, last = world.recorder.posted
    assert isinstance(first, CompletedBars)
    assert (first.start_ns, first.close.tolist()) == (instant("09:15:00"), [10_040] * 3)
    assert (last.start_ns, last.close.tolist()) == (instant("09:30:00"), [10_100] * 3)
    assert world.history.have_15m().tolist() == [2, 2, 2]
    assert last.start_ns - first.start_ns == BAR_NS


# --- speed ------------------------------------------------------------------------------------------


async def test_speed_only_puts_real_sleeps_between_frames(autojump_clock: trio.testing.MockClock) -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:16:00", 10_000), ("09:25:00", 10_000))), speed=60.0)
    world.watch_all()
    slow = woken(await world.play())
    assert trio.current_time() == pytest.approx(375.0)  # 6 h 15 min of market
    fast = TickerWorld(made_day(UNIVERSE, frames(("09:16:00", 10_000), ("09:25:00", 10_000))))
    fast.watch_all()
    assert woken(await fast.play()) == slow


async def test_a_new_day_begins_at_once(autojump_clock: trio.testing.MockClock) -> None:
    tuesday = MONDAY.replace(day=6)
    items = made_day(UNIVERSE, []) + made_day(UNIVERSE, [], day=tuesday)
    await TickerWorld(items, speed=22_500.0).play()
    assert trio.current_time() == pytest.approx(2.0)  # two days of one second each, and no night


# --- questions --------------------------------------------------------------------------------------


async def test_the_snapshot_says_where_the_market_stands() -> None:
    world = TickerWorld(made_day(UNIVERSE, [frame(instant("09:20:00"), (0, 0))]))
    await world.play()
    shown = await Ticker(world.address, world.parts).handle(AskSnapshot())
    assert shown == {"market_time": "2026-01-05 15:30:00", "items": 3, "finished": True, "dropped": 1}


async def test_an_alarm_of_a_bar_that_has_rolled_already_changes_nothing() -> None:
    world = TickerWorld(made_day(UNIVERSE, frames(("09:20:00", 10_000), ("09:30:00", 10_000))))
    await world.play()
    bars = len(world.recorder.posted)
    await Ticker(world.address, world.parts).handle(AlarmRang("roll", instant("09:30:00")))
    assert len(world.recorder.posted) == bars
    assert np.array_equal(world.history.have_15m(), [2, 2, 2])
