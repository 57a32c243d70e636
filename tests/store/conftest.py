"""Values of the journal for its tests, and journals opened in a temporary directory and closed again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.clock import NS, from_ist_text
from protocol.journal import EventRow
from protocol.orders import Gtt, Leg, Order, OrderType, Purpose, Side
from protocol.rungs import Protection, Rung, RungStatus
from store.journal import Journal
from store.opening import OpenReport, memory_journal, open_journal

NINE = from_ist_text("2026-01-05 09:30:00")


@pytest.fixture
def nine() -> int:
    """09:30 on a Monday, in ns."""
    return NINE


@pytest.fixture
def an_order() -> Callable[..., Order]:
    def make(number: int, **given: Any) -> Order:
        values: dict[str, Any] = {
            "client_id": f"PA01ABCD0001{number:08d}",
            "key": f"PA01ABCD-INFY-{number}:1:entry:1",
            "symbol": "INFY",
            "side": Side.BUY,
            "quantity": 2,
            "order_type": OrderType.MARKET,
            "purpose": Purpose.ENTRY,
            "ladder": f"PA01ABCD-INFY-{number}",
            "rung": 1,
            "decision_paise": 150_005,
            "created_ns": NINE + number * NS,
            "updated_ns": NINE + number * NS,
        }
        return Order(**{**values, **given})

    return make


@pytest.fixture
def a_gtt() -> Callable[..., Gtt]:
    def make(number: int, **given: Any) -> Gtt:
        values: dict[str, Any] = {
            "client_id": f"PA01ABCD0002{number:08d}",
            "key": f"PA01ABCD-INFY-{number}:1:protect:1",
            "symbol": "INFY",
            "quantity": 2,
            "stop": Leg(146_250, 144_785),
            "target": Leg(157_505, 157_505),
            "ladder": f"PA01ABCD-INFY-{number}",
            "rung": 1,
            "created_ns": NINE + number * NS,
            "updated_ns": NINE + number * NS,
        }
        return Gtt(**{**values, **given})

    return make


@pytest.fixture
def a_rung() -> Callable[..., Rung]:
    def make(trade_id: int, **given: Any) -> Rung:
        values: dict[str, Any] = {
            "ladder": f"PA01ABCD-INFY-{trade_id}",
            "symbol": "INFY",
            "number": 1,
            "status": RungStatus.OPEN,
            "rank": 6.4894,
            "trade_id": trade_id,
            "quantity": 2,
            "cost_paise": 300_010,
            "entry_ns": NINE + trade_id * NS,
            "protection": Protection.STANDING,
            "stop_paise": 146_250,
            "target_paise": 157_505,
            "highest_paise": 150_005,
            "gtt_id": "7001",
            "entry_order": f"PA01ABCD0001{trade_id:08d}",
        }
        return Rung(**{**values, **given})

    return make


@pytest.fixture
def an_event() -> Callable[..., EventRow]:
    def make(number: int) -> EventRow:
        return EventRow(NINE + number * NS, "router:main", "order_sent", "INFY", f"key{number}", "{}")

    return make


@pytest.fixture
def journal() -> Iterator[Journal]:
    """A journal in memory."""
    made = memory_journal(chance=random.Random(1))
    yield made
    made.close()


Opener = Callable[..., tuple[Journal, OpenReport]]


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    """Opens paper journals in one temporary directory, without a reserve; what is still open is closed."""
    opened: list[Journal] = []

    def make(now_ns: int = NINE, **given: Any) -> tuple[Journal, OpenReport]:
        values: dict[str, Any] = {"mode": "paper", "chance": random.Random(7), "reserve_mb": 0}
        made, report = open_journal(tmp_path / "var", now_ns=now_ns, **{**values, **given})
        opened.append(made)
        return made, report

    yield make
    for one in opened:
        one.close()
