"""`replay` for a person: its table, and what it says when there is nothing to play."""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import market
from commands.cli import main
from commands.replay import show
from market.feeds.recorded_data import RecordingError
from market.instruments import InstrumentError
from protocol.errors import MarketDataError, PureAlphaError

NSE2016 = Path(__file__).parents[3] / "shared" / "data" / "nse2016"


def invoke(folder: Path, data: Path, *arguments: str) -> Result:
    options = ["--set", f"logs.directory={folder / 'logs'}"]
    return CliRunner().invoke(main, ["replay", "--data", str(data), *arguments, *options])


def day(**other: Any) -> dict[str, Any]:
    return {"rankings": 375, "entries": 102, "exits": 72, "gross": -817.55, "charges": 312.77, "net": -1130.32} | other


def lines(width: int, **other: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    show(console, "main", {"days": [day(date="2016-08-26") | other], "total": day()})
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().split("\n")


def test_the_table_fits_80_columns_and_has_no_sign_of_currency_in_its_cells() -> None:
    table = lines(80, gross=-98_765_432.1, net=-98_765_744.87)
    assert max(len(line) for line in table) <= 80
    assert "2016-08-26 375 102 72 -9,87,65,432.10 312.77 -9,87,65,744.87" in [" ".join(line.split()) for line in table]
    assert "₹" not in "".join(table)


def test_no_figure_is_cut_however_narrow_the_terminal_is() -> None:
    assert any("-9,87,65,744.87" in line for line in lines(20, net=-98_765_744.87))


def test_a_folder_that_is_no_recording_is_one_line_that_does_not_list_it_all(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"photograph-{number:02d}.jpg").touch()
    result = invoke(tmp_path, tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path} has no minute bars")
    assert result.stderr.count("\n") == 1
    assert "and 32 more" in result.stderr


def test_a_weekend_is_one_line_that_names_the_recorded_days(tmp_path: Path) -> None:
    if not NSE2016.is_dir():
        pytest.skip(f"no recorded days: {NSE2016} is not there")
    result = invoke(tmp_path, NSE2016, "--from", "2016-08-27", "--to", "2016-08-28")
    assert result.exit_code == 1
    assert "no recorded day from 2016-08-27 to 2016-08-28; it has" in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_is_wrong_with_a_market_ends_a_verb_with_one_line() -> None:
    found = pkgutil.walk_packages(market.__path__, "market.")
    modules = [importlib.import_module(module.name) for module in found]
    errors = {
        each
        for module in modules
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Exception) and each.__module__.startswith("market.")
    }
    assert errors >= {InstrumentError, RecordingError}
    assert {each for each in errors if not issubclass(each, PureAlphaError)} == set()
    assert issubclass(RecordingError, MarketDataError)
    assert issubclass(InstrumentError, MarketDataError)


def test_a_simulated_market_without_a_past_is_one_line(tmp_path: Path) -> None:
    options = ["--set", "market.start_day=2024-01-02", "--set", f"storage.directory={tmp_path}"]
    result = CliRunner().invoke(main, ["run", *options, "--set", f"logs.directory={tmp_path / 'logs'}"])
    assert result.exit_code == 1
    assert "250 trading days before it" in result.stderr
    assert result.stderr.count("\n") == 1
