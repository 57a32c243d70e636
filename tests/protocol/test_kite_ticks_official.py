"""Our readable decoder says the same as the official client, on random frames of every kind and on the mocks.

kiteconnect is needed for these tests only; without it they are skipped.
"""

from __future__ import annotations

import base64
import struct
import warnings
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from protocol.kite_ticks import (
    FULL,
    INDEX_FULL,
    INDEX_QUOTE,
    INDICES,
    LTP,
    MODE_BY_LENGTH,
    QUOTE,
    SEGMENTS,
    Depth,
    Ohlc,
    Tick,
    decode,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client's own dependencies are old
    kiteconnect: Any = pytest.importorskip("kiteconnect", reason="the official client is not installed")

MOCKS = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "kite-mocks"
FRAMES = 1200
UNKNOWN_LENGTHS = (4, 12, 45, 183, 200)
EDGES = (0, 1, 99, 100, 2**31 - 1, 2**31, 2**32 - 1)
OFFICIAL = kiteconnect.KiteTicker("key", "token")


def packet(random: Random, length: int, segment: int) -> bytes:
    """A body of that length whose numbers are random, often at the edges of what four bytes hold."""
    numbers = [random.choice(EDGES) if random.random() < 0.2 else random.getrandbits(32) for _ in range(length // 4)]
    body = struct.pack(f">{len(numbers)}I", *numbers).ljust(length, b"\x07")
    return struct.pack(">I", random.getrandbits(24) << 8 | segment) + body[4:]


def frame_of(bodies: list[bytes]) -> bytes:
    return struct.pack(">H", len(bodies)) + b"".join(struct.pack(">H", len(body)) + body for body in bodies)


def official_ohlc(ohlc: Ohlc, divisor: int) -> dict[str, float]:
    return {
        "open": ohlc.open / divisor,
        "high": ohlc.high / divisor,
        "low": ohlc.low / divisor,
        "close": ohlc.close / divisor,
    }


def official_depth(depth: Depth, divisor: int) -> dict[str, list[dict[str, float]]]:
    return {
        side: [
            {"quantity": entry.quantity, "price": entry.price / divisor, "orders": entry.orders} for entry in entries
        ]
        for side, entries in (("buy", depth.buy), ("sell", depth.sell))
    }


def as_the_official_client_says_it(tick: Tick) -> dict[str, Any]:
    """Prices divided to floats, times in the host's own zone, absent fields left out; without `change`."""
    said: dict[str, Any] = {
        "tradable": tick.tradable,
        "mode": tick.mode,
        "instrument_token": tick.instrument_token,
        "last_price": tick.last_price / tick.divisor,
    }
    if tick.ohlc is not None:
        said["ohlc"] = official_ohlc(tick.ohlc, tick.divisor)
    if tick.average_traded_price is not None:
        said["average_traded_price"] = tick.average_traded_price / tick.divisor
    for name in ("last_traded_quantity", "volume_traded", "total_buy_quantity", "total_sell_quantity"):
        if getattr(tick, name) is not None:
            said[name] = getattr(tick, name)
    for name in ("last_trade_time", "exchange_timestamp"):
        if getattr(tick, name) is not None:
            said[name] = datetime.fromtimestamp(getattr(tick, name))
    for name in ("oi", "oi_day_high", "oi_day_low"):
        if getattr(tick, name) is not None:
            said[name] = getattr(tick, name)
    if tick.depth is not None:
        said["depth"] = official_depth(tick.depth, tick.divisor)
    return said


def official(frame: bytes) -> list[dict[str, Any]]:
    ticks: list[dict[str, Any]] = OFFICIAL._parse_binary(frame)
    for tick in ticks:
        tick.pop("change", None)  # derived: a percentage here, absolute in the mocks
    return ticks


def ours(frame: bytes) -> list[dict[str, Any]]:
    return [as_the_official_client_says_it(tick) for tick in decode(frame)]


def test_both_read_every_random_frame_alike() -> None:
    random = Random("frames for two decoders")
    kinds: set[tuple[int, int]] = set()
    for _ in range(FRAMES):
        bodies = []
        for _ in range(random.randrange(6)):
            segment = random.choice([*SEGMENTS, 0, 13, 255])
            length = random.choice([*MODE_BY_LENGTH, *MODE_BY_LENGTH, random.choice(UNKNOWN_LENGTHS)])
            bodies.append(packet(random, length, segment))
            kinds.add((length, segment))
        frame = frame_of(bodies)
        assert ours(frame) == official(frame)
    assert kinds >= {(length, segment) for length in MODE_BY_LENGTH for segment in SEGMENTS}


@pytest.mark.parametrize("length", [LTP, QUOTE, FULL, INDEX_QUOTE, INDEX_FULL])
def test_both_read_each_kind_alone(length: int) -> None:
    random = Random(f"kind {length}")
    for segment in SEGMENTS:
        frame = frame_of([packet(random, length, segment)])
        (tick,) = official(frame)
        assert ours(frame) == [tick]
        assert tick["tradable"] is (segment != INDICES)


@pytest.mark.parametrize("frame", [b"\x00", b"\x00\x00", b""])
def test_a_heartbeat_is_no_tick_to_either(frame: bytes) -> None:
    assert official(frame) == ours(frame) == []


@pytest.mark.skipif(not MOCKS.is_dir(), reason=f"Kite's recorded packets are not at {MOCKS}")
@pytest.mark.parametrize("name", ["ticker_quote", "ticker_full"])
def test_both_read_the_recorded_packets_alike(name: str) -> None:
    frame = frame_of([base64.b64decode((MOCKS / f"{name}.packet").read_text())])
    (tick,) = official(frame)
    assert ours(frame) == [tick]
    assert tick["instrument_token"] == 408065
