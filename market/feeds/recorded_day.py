"""One recorded day made playable: bars become ticks, ticks are cleaned and cut into frames.

Owns the rule by which a minute bar plays (trading rules, "Replaying recorded bars") and what of a recording
is left out. Never reads a file and knows no cursor. Called by recorded.py.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from market.calendar import Session
from market.feeds.frame import Frame
from market.feeds.recorded_data import BarTable, TickTable
from protocol.clock import NS

TICKS_PER_BAR = 4
TICK_STEP_NS = 15 * NS
HOLE_NS = 90 * NS
PRICE_BAND_PARTS = 5  # further than 1/5 from the previous close is no price of the day
_VOLUME_ROOM = 1 << 40  # above any volume of a day, so that rows do not mix in a running maximum


@attrs.frozen
class Defects:
    """What was wrong in a recording, counted. Only the last three are also left out."""

    duplicates: int = 0  # ticks that repeat time, price and volume of the one before (played, volume 0)
    backwards_volume: int = 0  # ticks whose cumulative volume fell (price played, volume 0)
    holes: int = 0  # pauses of a symbol longer than 90 s
    repeated_bars: int = 0  # second bars of a symbol and minute
    dropped_prices: int = 0  # prices <= 0 or more than 20 % from the previous close
    outside_session: int = 0  # ticks outside continuous trading

    def __add__(self, other: Defects) -> Defects:
        return Defects(*(a + b for a, b in zip(attrs.astuple(self), attrs.astuple(other), strict=True)))


@attrs.frozen(eq=False)
class RecordedDay:
    """The frames of a recorded day (keeps the contract `market.feeds.days.PlayedDay`)."""

    session: Session
    previous_close: NDArray[np.int64]
    rows: NDArray[np.int32]
    price_paise: NDArray[np.int64]
    volume: NDArray[np.int64]
    frame_at_ns: NDArray[np.int64]
    frame_ends: NDArray[np.int64]  # frame i holds ticks frame_ends[i - 1] .. frame_ends[i]
    frame_unique: NDArray[np.bool_]
    defects: Defects

    def __len__(self) -> int:
        return len(self.frame_at_ns)

    def frame(self, index: int) -> Frame:
        start = self.frame_ends[index - 1] if index else 0
        end = self.frame_ends[index]
        return Frame(
            int(self.frame_at_ns[index]),
            self.rows[start:end],
            self.price_paise[start:end],
            self.volume[start:end],
            bool(self.frame_unique[index]),
        )

    def first_at_or_after(self, at_ns: int) -> int:
        return int(np.searchsorted(self.frame_at_ns, at_ns))


def ticks_of_bars(bars: BarTable) -> tuple[TickTable, int]:
    """The four ticks of each minute bar, and how many repeated bars were left out.

    :00 open, :15 and :30 the two extremes (the low first if close >= open, else the high), :45 close; the
    volume is spread evenly. `bars` are those of one day in order of time, then row; so are the ticks.
    """
    fresh = np.ones(len(bars), dtype=np.bool_)
    fresh[1:] = (bars.at_ns[1:] != bars.at_ns[:-1]) | (bars.rows[1:] != bars.rows[:-1])
    repeated = int(len(bars) - np.count_nonzero(fresh))
    at_ns, rows, opens, highs, lows, closes, volumes = (column[fresh] for column in attrs.astuple(bars, recurse=False))
    low_first = closes >= opens
    second = np.where(low_first, lows, highs)
    third = np.where(low_first, highs, lows)
    before = _volume_before(rows, volumes)
    steps = range(TICKS_PER_BAR)
    tick_at_ns = np.concatenate([at_ns + step * TICK_STEP_NS for step in steps])
    order = np.argsort(tick_at_ns, kind="stable")
    return (
        TickTable(
            tick_at_ns[order],
            np.tile(rows, TICKS_PER_BAR)[order],
            np.concatenate((opens, second, third, closes)).astype(np.int64)[order],
            np.concatenate([before + volumes * (step + 1) // TICKS_PER_BAR for step in steps])[order],
        ),
        repeated,
    )


def _volume_before(rows: NDArray[np.int32], volumes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Volume of the day traded in a row before each of its bars."""
    order = np.argsort(rows, kind="stable")
    grouped = volumes[order]
    total = np.cumsum(grouped) - grouped
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(rows)))
    before = np.empty_like(total)
    before[order] = total - np.repeat(total[starts], lengths)
    return before


def make_day(
    ticks: TickTable, session: Session, previous_close: NDArray[np.int64], repeated_bars: int = 0
) -> RecordedDay:
    """Clean the ticks of a day and cut them into frames, one per equal timestamp.

    Left out: ticks outside continuous trading, prices <= 0 or more than 20 % from the previous close (where
    it is known). A cumulative volume that falls is replaced by the highest before it, so that it counts 0.
    """
    close = previous_close[ticks.rows]
    inside = (ticks.at_ns >= session.open_ns) & (ticks.at_ns < session.close_ns)
    far = (close > 0) & (np.abs(ticks.price_paise - close) * PRICE_BAND_PARTS > close)
    bad_price = inside & ((ticks.price_paise <= 0) | far)
    keep = inside & ~bad_price
    at_ns, rows, price, volume = (column[keep] for column in attrs.astuple(ticks, recurse=False))

    by_row = np.argsort(rows, kind="stable")
    same_row = np.diff(rows[by_row], prepend=-1) == 0
    pause_ns = np.diff(at_ns[by_row], prepend=0)
    same_tick = (
        same_row
        & (pause_ns == 0)
        & (np.diff(price[by_row], prepend=0) == 0)
        & (np.diff(volume[by_row], prepend=-1) == 0)
    )
    base = rows[by_row].astype(np.int64) * _VOLUME_ROOM
    highest = np.maximum.accumulate(base + np.maximum(volume[by_row], 0)) - base
    backwards = int(np.count_nonzero(highest > volume[by_row]))
    good_volume = np.empty_like(volume)
    good_volume[by_row] = highest

    new_frame = np.diff(at_ns, prepend=-1) != 0
    starts = np.flatnonzero(new_frame)
    unique = np.ones(len(starts), dtype=np.bool_)
    frame_of_tick = np.cumsum(new_frame) - 1
    unique[frame_of_tick[by_row][same_row & (pause_ns == 0)]] = False
    return RecordedDay(
        session=session,
        previous_close=previous_close,
        rows=rows,
        price_paise=price,
        volume=good_volume,
        frame_at_ns=at_ns[starts],
        frame_ends=np.append(starts[1:], len(rows)) if len(rows) else starts,
        frame_unique=unique,
        defects=Defects(
            duplicates=int(np.count_nonzero(same_tick)),
            backwards_volume=backwards,
            holes=int(np.count_nonzero(same_row & (pause_ns > HOLE_NS))),
            repeated_bars=repeated_bars,
            dropped_prices=int(np.count_nonzero(bad_price)),
            outside_session=int(len(keep) - np.count_nonzero(inside)),
        ),
    )
