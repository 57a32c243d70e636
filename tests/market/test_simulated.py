"""The simulated market: the same from the same seed, well formed, and lively enough for the strategy."""

from __future__ import annotations

import hashlib
from datetime import date

import numpy as np
import pytest

from market.calendar import SpecialSession, TradingCalendar
from market.candles import Candles, CompletedBars
from market.feeds.frame import DayEnd, DayStart, Feed, Frame
from market.feeds.simulated import SimulatedFeed
from market.feeds.simulated_days import GeneratorOf
from market.feeds.simulated_symbols import simulated_universe
from market.history import History
from protocol.clock import NS, from_ist_text, ist_text, second_of_day
from protocol.errors import MarketDataError

CALENDAR = TradingCalendar()
MONDAY, TUESDAY = date(2026, 11, 16), date(2026, 11, 17)
FIRST_ENTRY_S = 9 * 3600 + 26 * 60
MIN_RANK_GM = 2.5
QUARTER_PAST_THREE_S = 15 * 3600 + 15 * 60


def seeded(seed: str) -> GeneratorOf:
    def generator(name: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16]))

    return generator


def feed_of(seed: str = "lively", first_day: date = MONDAY) -> SimulatedFeed:
    return SimulatedFeed(seeded(seed), CALENDAR, first_day=first_day)


def start_day(feed: Feed, history: History, candles: Candles) -> DayStart:
    start = feed.peek()
    assert isinstance(start, DayStart)
    candles.start_day(start.session.open_ns)
    feed.warm_up(history, candles)
    feed.ack()
    return start


def play_day(feed: Feed, history: History) -> tuple[DayStart, list[Frame], list[CompletedBars]]:
    """One whole day, kept the way the ticker keeps it."""
    candles = Candles(len(feed.universe))
    start = start_day(feed, history, candles)
    frames: list[Frame] = []
    completed: list[CompletedBars | None] = []
    while isinstance(item := feed.peek(), Frame):
        frames.append(item)
        completed.append(candles.roll(item.at_ns))
        candles.apply(item.rows, item.price_paise, item.volume, item.at_ns, item.unique)
        feed.ack()
    assert isinstance(item, DayEnd)
    completed.append(candles.end_day())
    feed.ack()
    bars = [each for each in completed if each is not None]
    for each in bars:
        history.add_bars(each)
    return start, frames, bars


@pytest.fixture(scope="module")
def monday() -> tuple[DayStart, list[Frame], list[CompletedBars]]:
    feed = feed_of()
    return play_day(feed, History(len(feed.universe)))


def digest(frames: list[Frame]) -> str:
    sha = hashlib.sha256()
    for frame in frames:
        for part in (frame.rows, frame.price_paise, frame.volume):
            sha.update(part.tobytes())
    return sha.hexdigest()


def test_a_day_is_the_same_for_the_same_seed_whatever_was_played_before() -> None:
    feed = feed_of()
    history = History(len(feed.universe))
    play_day(feed, history)
    _, frames, _ = play_day(feed, history)
    alone = feed_of(first_day=TUESDAY)
    known = History(len(feed.universe))
    start, frames_alone, _ = play_day(alone, known)
    assert start.session.day == TUESDAY
    assert digest(frames_alone) == digest(frames)
    np.testing.assert_array_equal(known.sma_15m(), history.sma_15m())
    np.testing.assert_array_equal(known.sma_daily(), history.sma_daily())
    for row in range(len(feed.universe)):
        assert known.bars_15m(row).volume.tolist() == history.bars_15m(row).volume.tolist()
    other = feed_of("other")
    _, other_frames, _ = play_day(other, History(len(feed.universe)))
    assert digest(other_frames) != digest(frames)


def test_one_frame_a_second_in_which_about_half_of_the_shares_tick(
    monday: tuple[DayStart, list[Frame], list[CompletedBars]],
) -> None:
    start, frames, _ = monday
    assert len(frames) == 22_500
    assert [frame.at_ns for frame in frames] == [start.session.open_ns + n * NS for n in range(22_500)]
    until_auction = frames[: 6 * 3600]
    assert 0.45 < np.mean([len(frame.rows) for frame in until_auction]) / 62 < 0.55
    assert len(frames[0].rows) == 62
    assert all(len(frame.rows) > 0 for frame in frames)
    assert all((np.diff(frame.rows) > 0).all() for frame in frames)


def test_every_share_ticks_at_least_every_third_second_unless_it_is_halted(
    monday: tuple[DayStart, list[Frame], list[CompletedBars]],
) -> None:
    _, frames, _ = monday
    universe = simulated_universe()
    seen: dict[int, list[int]] = {row: [] for row in range(62)}
    for second, frame in enumerate(frames):
        for row in frame.rows.tolist():
            seen[row].append(second)
    halts = 0
    for row, seconds in seen.items():
        pauses = np.diff(seconds)
        halts += int(np.count_nonzero(pauses > 3))
        assert all(pause <= 3 or pause >= 5 * 60 for pause in pauses)
        end_s = QUARTER_PAST_THREE_S if universe[row].derivatives else QUARTER_PAST_THREE_S + 15 * 60
        assert second_of_day(frames[seconds[-1]].at_ns) == end_s - 1
    assert 1 <= halts <= 10


def test_prices_lie_on_the_tick_grid_inside_the_band_and_volumes_never_fall(
    monday: tuple[DayStart, list[Frame], list[CompletedBars]],
) -> None:
    start, frames, _ = monday
    ticks = simulated_universe().tick_size_paise
    volume = np.zeros(62, dtype=np.int64)
    for frame in frames:
        assert not (frame.price_paise % ticks[frame.rows]).any()
        assert (
            np.abs(frame.price_paise - start.previous_close[frame.rows]) * 5 <= start.previous_close[frame.rows]
        ).all()
        assert (frame.volume >= volume[frame.rows]).all()
        volume[frame.rows] = frame.volume
    assert (volume > 1000).all()


def test_volume_is_u_shaped_and_the_opening_bursts(
    monday: tuple[DayStart, list[Frame], list[CompletedBars]],
) -> None:
    _, _, bars = monday
    assert len(bars) == 25
    turnover = [int((bar.volume * bar.close).sum()) for bar in bars]
    middle = float(np.median(turnover[8:16]))
    assert turnover[0] > 2 * middle
    assert turnover[23] > 1.2 * middle
    spread = [float(np.mean(bar.high / bar.low - 1)) for bar in bars]
    assert spread[0] > 2 * float(np.median(spread[8:16]))


def test_the_generated_past_is_enough_to_rank_and_fits_the_open() -> None:
    feed = feed_of()
    history, candles = History(len(feed.universe), days=250), Candles(len(feed.universe))
    start = start_day(feed, history, candles)
    assert (history.have_15m() == 200).all()
    assert (history.have_daily() == 250).all()
    np.testing.assert_array_equal(history.previous_close(), start.previous_close)
    newest = np.array([history.closes_15m(row)[-1] for row in range(62)])
    np.testing.assert_array_equal(newest, start.previous_close)
    first = feed.peek()
    assert isinstance(first, Frame)
    assert (np.abs(first.price_paise / start.previous_close - 1) < 0.04).all()


@pytest.mark.parametrize("seed", ["lively", "pure alpha", "1"])
def test_a_day_gives_the_default_strategy_something_to_do(seed: str) -> None:
    """Shares to enter at 09:26, and among them rises to the target and falls to the stop."""
    feed = feed_of(seed)
    history = History(len(feed.universe))
    candles = Candles(len(feed.universe))
    start_day(feed, history, candles)
    last = np.zeros(62)
    highest = lowest = entry = picked = None
    while isinstance(frame := feed.peek(), Frame):
        last[frame.rows] = frame.price_paise
        if second_of_day(frame.at_ns) == FIRST_ENTRY_S:
            rank_gm = (np.sqrt(last / history.sma_15m() * last / history.sma_daily()) - 1) * 100
            picked, entry, highest, lowest = rank_gm > MIN_RANK_GM, last.copy(), last.copy(), last.copy()
        if highest is not None and lowest is not None:
            np.maximum(highest, last, out=highest)
            np.minimum(lowest, last, out=lowest)
        feed.ack()
    assert entry is not None
    assert highest is not None
    assert lowest is not None
    assert picked is not None
    affordable = picked & (entry <= 300_000)
    assert 8 <= np.count_nonzero(affordable) <= 40
    assert np.count_nonzero(affordable & (highest >= entry * 1.05)) >= 1
    assert np.count_nonzero(affordable & (highest >= entry * 1.01)) >= 5
    assert np.count_nonzero(affordable & (lowest <= entry * 0.975)) >= 1


def test_a_restart_in_the_middle_of_a_day_goes_on_with_the_same_frames() -> None:
    feed = feed_of()
    history = History(len(feed.universe))
    _, frames, bars = play_day(feed, history)
    again = feed_of()
    at_ns = from_ist_text("2026-11-16 10:47:31")
    again.skip_to(at_ns)
    start = again.peek()
    assert isinstance(start, DayStart)
    assert start.at_ns == at_ns
    candles, known = Candles(len(feed.universe)), History(len(feed.universe))
    candles.start_day(start.session.open_ns)
    warm_bars = again.warm_up(known, candles)
    again.ack()
    frame = again.peek()
    assert isinstance(frame, Frame)
    assert frame.at_ns == at_ns
    expected = next(each for each in frames if each.at_ns == at_ns)
    np.testing.assert_array_equal(frame.price_paise, expected.price_paise)
    assert len(warm_bars) == 6
    for one, other in zip(warm_bars, bars, strict=False):
        np.testing.assert_array_equal(one.high, other.high)
        np.testing.assert_array_equal(one.volume, other.volume)


def test_days_follow_the_calendar_over_weekends_holidays_and_special_sessions() -> None:
    muhurat = SpecialSession(date(2026, 11, 8), 18 * 3600, 19 * 3600)
    calendar = TradingCalendar(extra_sessions=(muhurat,))
    feed = SimulatedFeed(seeded("diwali"), calendar, first_day=date(2026, 11, 7))
    history = History(len(feed.universe))
    seen = []
    for _ in range(3):
        start, frames, _ = play_day(feed, history)
        seen.append((ist_text(start.at_ns), len(frames)))
    assert seen == [
        ("2026-11-08 18:00:00", 3600),
        ("2026-11-09 09:15:00", 22_500),
        ("2026-11-11 09:15:00", 22_500),
    ]


def test_a_first_day_without_room_for_a_past_is_refused() -> None:
    with pytest.raises(MarketDataError, match="the first day needs 250 trading days before it, 2024-06-03 has fewer"):
        feed_of(first_day=date(2024, 6, 3))


def test_the_universe_has_62_shares_with_tick_sizes_of_their_prices() -> None:
    universe = simulated_universe()
    assert len(universe) == 62
    assert universe[universe.row("RELIANCE")].tick_size_paise == 10
    assert universe[universe.row("IDFCFIRSTB")].tick_size_paise == 1
    assert universe[universe.row("MARUTI")].tick_size_paise == 100
    assert 40 <= np.count_nonzero(universe.derivatives) < 62
