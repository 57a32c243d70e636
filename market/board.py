"""The board: the newest price of every instrument, and the bands in which its owners sleep.

Owns one row per instrument (last price, volume, times) and, per layer, one band per row: the edges that its
owner named, and the highest and lowest price since the owner last looked. A layer belongs to one kind of
owner: one per account's positions, one per paper exchange. Never decides anything and never waits.

The ticker is the only writer of prices: `apply`, then `wake_left` per layer. Owners call `watch`, which is a
synchronous call by design (architecture.md, "Prices without a message per tick"). Everybody else reads the
public arrays, which cannot be written to; read them in one go and copy before an await.

Prices in paise, volume in shares since the day began, times in market ns.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

from market.feeds.frame import Frame

Prices = NDArray[np.int64]
Rows = NDArray[np.intp]  # as an index five times as fast as int32: NumPy need not convert it at each use
Wake = Callable[[int, int, int, int], None]  # last, highest, lowest since the last look, at_ns

NEVER_LOW = -1
NEVER_HIGH = 1 << 62
NEVER = (NEVER_LOW, NEVER_HIGH)  # the band that no price leaves
ALWAYS = (NEVER_HIGH, 0)  # the empty band: every price leaves it

_ZERO = np.array(0)  # a Python 0 is converted at each use, which costs as much as comparing a few ticks with it
_NO_HIGHEST = -1
_NO_LOWEST = NEVER_HIGH


@attrs.define(eq=False)
class _Layer:
    """The bands of one kind of owner, by row."""

    low: Prices  # a price at or below leaves the band
    high: Prices  # a price at or above leaves it
    highest: Prices  # since the owner's last look; kept for watched rows only
    lowest: Prices
    wakes: list[Wake | None]
    watched: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: int) -> _Layer:
        return cls(
            low=np.full(rows, NEVER_LOW, dtype=np.int64),
            high=np.full(rows, NEVER_HIGH, dtype=np.int64),
            highest=np.full(rows, _NO_HIGHEST, dtype=np.int64),
            lowest=np.full(rows, _NO_LOWEST, dtype=np.int64),
            wakes=[None] * rows,
            watched=np.zeros(rows, dtype=np.bool_),
        )

    def look_at(self, row: int, last: int) -> None:
        """The owner knows everything up to this price: extremes start there (0: there was no price yet)."""
        self.highest[row] = last or _NO_HIGHEST
        self.lowest[row] = last or _NO_LOWEST


class Board:
    """`rows` instruments and `layers` sets of bands. Its public arrays, one entry per row, are read-only."""

    def __init__(self, rows: int, layers: int) -> None:
        self._last = np.zeros(rows, dtype=np.int64)
        self._volume = np.full(rows, -1, dtype=np.int64)
        self._exchange_ns = np.zeros(rows, dtype=np.int64)
        self._received_ns = np.zeros(rows, dtype=np.int64)
        self._dropped = np.zeros(rows, dtype=np.int64)
        self._lower = np.ones(rows, dtype=np.int64)
        self._upper = np.full(rows, NEVER_HIGH, dtype=np.int64)
        self._layers = [_Layer.of(rows) for _ in range(layers)]

        self.last = _readonly(self._last)  # 0 = no price yet
        self.volume = _readonly(self._volume)  # -1 = never told
        self.exchange_ns = _readonly(self._exchange_ns)  # 0 = no packet yet
        self.received_ns = _readonly(self._received_ns)  # instant of the frame that brought it
        self.dropped = _readonly(self._dropped)  # impossible prices refused so far

    def __len__(self) -> int:
        return len(self._last)

    # --- prices: the ticker ---------------------------------------------------------------------

    def set_limits(self, lower: Prices, upper: Prices) -> None:
        """The prices that are possible, per row, both inclusive: circuit limits, previous close ± 20 %.

        A price of 0 or less is never possible, whatever `lower` says.
        """
        assert len(lower) == len(upper) == len(self), "one limit per row"
        np.maximum(lower, 1, out=self._lower)
        self._upper[:] = upper

    def apply(self, frame: Frame) -> Frame | None:
        """Write a frame's prices and give back what was accepted; None when that is nothing.

        Impossible prices are dropped and counted. The frame itself comes back when all of it was possible.
        A tick that bears no exchange time counts by the frame's own instant, one without volume keeps the volume
        that is known. Applying a frame again changes nothing but `dropped`.
        """
        rows = frame.rows.astype(np.intp)
        price = frame.price_paise
        impossible = (price < self._lower[rows]) | (price > self._upper[rows])
        if np.count_nonzero(impossible):
            np.add.at(self._dropped, rows[impossible], 1)
            possible = ~impossible
            times = frame.exchange_ns
            frame = attrs.evolve(
                frame,
                rows=frame.rows[possible],
                price_paise=price[possible],
                volume=frame.volume[possible],
                exchange_ns=None if times is None else times[possible],
            )
            rows, price = rows[possible], frame.price_paise
        if not len(rows):
            return None

        volume, exchange_ns = frame.volume, frame.exchange_ns
        if not frame.unique:
            newest = _Repeats.of(rows, price).newest
            rows, price, volume = rows[newest], price[newest], volume[newest]
            if exchange_ns is not None:
                exchange_ns = exchange_ns[newest]
        untold = volume < _ZERO
        if np.count_nonzero(untold):
            volume = np.where(untold, self._volume[rows], volume)

        self._last[rows] = price
        self._volume[rows] = volume
        self._received_ns[rows] = frame.at_ns
        if exchange_ns is None:
            self._exchange_ns[rows] = frame.at_ns
        else:
            self._exchange_ns[rows] = np.where(exchange_ns > 0, exchange_ns, frame.at_ns)
        return frame

    def left(self, layer: int, frame: Frame) -> list[int]:
        """The rows whose band was left by any price of an applied frame, ascending, each once.

        Counts the frame's prices into the layer's extremes: call it (or `wake_left`) for every frame.
        """
        bands = self._layers[layer]
        rows, price = frame.rows.astype(np.intp), frame.price_paise
        watched = bands.watched[rows]
        watchers = np.count_nonzero(watched)
        if not watchers:
            return []
        if watchers < len(rows):  # as a rule few of a large universe are
            rows, price = rows[watched], price[watched]
        high = low = price
        if not frame.unique:
            repeats = _Repeats.of(rows, price)
            rows, high, low = rows[repeats.newest], repeats.highest, repeats.lowest
        bands.highest[rows] = np.maximum(bands.highest[rows], high)
        bands.lowest[rows] = np.minimum(bands.lowest[rows], low)
        outside = (low <= bands.low[rows]) | (high >= bands.high[rows])
        if not np.count_nonzero(outside):
            return []
        gone: list[int] = np.sort(rows[outside]).tolist()
        return gone

    def wake_left(self, layer: int, frame: Frame) -> int:
        """Wake the owners whose band was left, in row order, and return how many were woken.

        Each hears the last price, the highest and the lowest since its last look, and the frame's instant.
        Then its extremes start again at the last price. An owner whose wake raises has not looked.
        """
        bands = self._layers[layer]
        rows = self.left(layer, frame)
        if not rows:
            return 0
        woken = 0
        values = (self._last[rows].tolist(), bands.highest[rows].tolist(), bands.lowest[rows].tolist())
        for row, last, highest, lowest in zip(rows, *values, strict=True):
            wake = bands.wakes[row]
            if wake is not None:
                wake(last, highest, lowest, frame.at_ns)
                bands.look_at(row, last)
                woken += 1
        return woken

    # --- bands: their owners ---------------------------------------------------------------------

    def watch(self, layer: int, row: int, low: int, high: int, wake: Wake | None, *, seen: int = 0) -> None:
        """Sleep until a price is <= low or >= high; an owner without `wake` reads `left` instead.

        Compared at once with the last price, if there is one: outside, `wake` is called before this returns,
        unless that price is the one the owner has `seen` and decided upon. Extremes are kept from band to
        band; who takes over a free row starts at the last price. NEVER without a `wake` makes the row free.
        """
        bands = self._layers[layer]
        last = self._last.item(row)
        watched = wake is not None or (low, high) != NEVER
        if watched and not bands.watched.item(row):
            bands.look_at(row, last)
        bands.watched[row] = watched
        bands.wakes[row] = wake
        bands.low[row] = low
        bands.high[row] = high
        if wake is not None and last not in (0, seen) and (last <= low or last >= high):
            wake(last, bands.highest.item(row), bands.lowest.item(row), self._received_ns.item(row))
            bands.look_at(row, last)

    def reset_extremes(self, layer: int, row: int) -> None:
        """Highest and lowest start again at the last price, as after an entry."""
        self._layers[layer].look_at(row, self._last.item(row))

    # --- freshness ---------------------------------------------------------------------------------

    def age_ns(self, row: int, now_ns: int) -> int:
        """How old the price is (trading-rules.md, Freshness). Without any price: older than every limit."""
        return now_ns - self._exchange_ns.item(row)


@attrs.frozen(eq=False)
class _Repeats:
    """A frame with rows that appear more than once, brought to one entry per row, ascending."""

    newest: Rows  # where in the frame the row's last entry stands
    highest: Prices
    lowest: Prices

    @classmethod
    def of(cls, rows: Rows, price: Prices) -> _Repeats:
        order = np.argsort(rows, kind="stable")
        grouped = rows[order]
        firsts = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
        ordered = price[order]
        return cls(
            newest=order[np.append(firsts[1:], len(rows)) - 1],
            highest=np.maximum.reduceat(ordered, firsts),
            lowest=np.minimum.reduceat(ordered, firsts),
        )


def _readonly(array: Prices) -> Prices:
    """A view nobody can make writable again, because the buffer it stands on is not."""
    return np.asarray(array.data.toreadonly(), dtype=np.int64)
