"""The tree trades recorded days exactly as the plain loop does: every trade, every field, every day's sums.

The plain loop (plain_replay.py) shares no code with strategy/, actors/, brokers/ or market/. The default run plays a
few days of each recording; `make test-slow` plays all of them.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from commands.configuration import load
from commands.replay import implied, play, summary_of
from settings import Settings
from tests.reference.plain_replay import replay as plain_replay

DATA = Path(__file__).parents[3] / "shared" / "data"


def recorded(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"no recorded days: {folder} is not there")
    return folder


def settings_of(folder: Path, first: date, last: date, directory: Path, *overrides: str, ticks: bool) -> Settings:
    wanted = implied(folder, None, None, "max", ticks)
    wanted |= {"market.first_day": first, "market.last_day": last, "logs.directory": str(directory)}
    return load(None, overrides, implied=wanted)


def tree_replay(settings: Settings) -> dict[str, Any]:
    played = trio.run(play, settings, Console(quiet=True))
    return summary_of(settings, played, played.journals["main"])


@pytest.mark.parametrize(
    ("capital", "max_positions", "last"),
    [
        pytest.param(240_000, 90, date(2016, 8, 30), id="ample capital"),
        pytest.param(60_000, 15, date(2016, 8, 30), id="scarce capital"),
        pytest.param(240_000, 90, date(2016, 9, 9), id="ample capital, all days", marks=pytest.mark.slow),
        pytest.param(60_000, 15, date(2016, 9, 9), id="scarce capital, all days", marks=pytest.mark.slow),
    ],
)
def test_minute_bars_give_the_same_trades(tmp_path: Path, capital: int, max_positions: int, last: date) -> None:
    folder, first = recorded("nse2016"), date(2016, 8, 26)
    limits = (f"strategy.capital={capital}", f"strategy.max_positions={max_positions}")
    ours = tree_replay(settings_of(folder, first, last, tmp_path, *limits, ticks=False))
    plain = plain_replay(folder, first, last, capital=capital, max_positions=max_positions)
    assert len(ours["trades"]) > 30
    assert ours == plain


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(date(2021, 5, 27), id="one day"),
        pytest.param(date(2021, 6, 4), id="all days", marks=pytest.mark.slow),
    ],
)
def test_recorded_ticks_give_the_same_trades(tmp_path: Path, last: date) -> None:
    pytest.importorskip("pyarrow", reason="recorded ticks are Parquet files: install the extra `recorded`")
    folder, first = recorded("nse2021"), date(2021, 5, 27)
    ours = tree_replay(settings_of(folder, first, last, tmp_path, ticks=True))
    assert len(ours["trades"]) > 10
    assert ours == plain_replay(folder, first, last, ticks=True)


def test_two_replays_write_the_same_bytes(tmp_path: Path) -> None:
    folder, day = recorded("nse2016"), date(2016, 8, 29)
    settings = settings_of(folder, day, day, tmp_path, ticks=False)
    assert json.dumps(tree_replay(settings)) == json.dumps(tree_replay(settings))
