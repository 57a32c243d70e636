"""The front door of the command line, and `check`: what would run, or everything that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import commands.check
from commands.cli import EXIT_CODES, VERBS, main, verb
from protocol.errors import LocalProtocolError, MarketDataError
from settings import Settings

ROOT = Path(__file__).resolve().parents[1]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def words(text: str) -> str:
    return " ".join(text.split())


def test_check_says_what_will_run() -> None:
    result = invoke("check")
    assert result.exit_code == 0
    shown = words(result.stdout)
    assert "simulated from 2026-11-23, seed 7, at 60 × speed" in shown
    assert "account main user owner, broker paper" in shown
    assert "₹2,40,000.00, ₹3,000.00 a rung, at most 90 rungs" in shown
    assert "P1 stop 2.5 % fixed, target 5 %" in shown
    assert "P3 stop 5 % below the highest price, trailing, no target, entered at a gain of 1 %" in shown
    assert "storage var, durability process" in shown


def test_options_count_before_and_after_the_verb_and_the_later_ones_win(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[strategy]\nmax_positions = 5\n", encoding="utf-8")
    after = invoke("check", "--config", str(mine), "--set", "market.speed=max")
    assert "at most 5 rungs" in words(after.stdout)
    assert "as fast as possible" in words(after.stdout)
    both = invoke("--config", str(mine), "--set", "market.seed=8", "check", "--set", "market.seed=9")
    assert "at most 5 rungs" in words(both.stdout)
    assert "seed 9" in words(both.stdout)


def test_a_wrong_configuration_names_everything_on_stderr_and_exits_2() -> None:
    result = invoke("check", "--set", "strategy.capital=none", "--set", "market.feed=kite")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "2 problems" in result.stderr
    assert "strategy.capital" in result.stderr
    assert "no Kite feed" in result.stderr


def test_a_recording_that_is_not_there_is_found_by_check(tmp_path: Path) -> None:
    overrides = ["--set", "market.feed=recorded", "--set"]
    absent = invoke("check", *overrides, f"market.directory={tmp_path / 'absent'}")
    assert absent.exit_code == 2
    assert "should be the folder of a recording" in absent.stderr
    present = invoke("check", *overrides, f"market.directory={tmp_path}")
    assert present.exit_code == 0
    assert "recorded minute bars" in words(present.stdout)


def test_a_file_where_a_folder_should_be_is_found_by_check(tmp_path: Path) -> None:
    occupied = tmp_path / "var"
    occupied.write_text("not a folder", encoding="utf-8")
    result = invoke("check", "--set", f"storage.directory={occupied}")
    assert result.exit_code == 2
    assert "storage.directory" in result.stderr


def test_help_lists_every_verb_and_the_exit_codes_without_importing_them() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for name in VERBS:
        assert f"\n  {name} " in result.stdout
    assert EXIT_CODES in words(result.stdout)
    assert EXIT_CODES in words(invoke("check", "--help").stdout)
    script = "import sys, commands.cli; print([n for n in sys.modules if n in ('trio', 'numpy', 'rich', 'httpx')])"
    imported = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert imported.stdout.strip() == "[]"


def test_an_unknown_verb_is_wrong_usage() -> None:
    result = invoke("fly")
    assert result.exit_code == 2
    assert "fly" in result.stderr


def test_the_front_door_is_a_module() -> None:
    command = [sys.executable, "-m", "supervisor", "check", "--set", "market.seed=11"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "seed 11" in done.stdout


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, command: click.Command) -> None:
    """Let a verb be `command` for this test."""
    monkeypatch.setattr(commands.check, "stand_in", command, raising=False)
    monkeypatch.setitem(VERBS, name, ("commands.check:stand_in", "A verb of this test."))


def test_no_verb_runs_the_tree_with_the_options_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    @verb()
    @click.option("--screen/--no-screen", default=True)
    def run(settings: Settings, screen: bool) -> None:
        """Run."""
        assert screen
        seen.append(settings.market.seed)

    stand_in(monkeypatch, "run", run)
    assert invoke("--set", "market.seed=21").exit_code == 0
    assert invoke("run", "--set", "market.seed=22").exit_code == 0
    assert seen == [21, 22]


def test_a_verb_s_own_options_become_settings_and_its_number_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @verb(implied=lambda seed, **_: {"market.seed": seed})
    @click.option("--seed", type=int, required=True)
    def replay(settings: Settings, seed: int) -> int:
        """Replay."""
        return settings.market.seed

    stand_in(monkeypatch, "replay", replay)
    assert invoke("replay", "--seed", "33").exit_code == 33
    assert invoke("replay", "--seed", "33", "--set", "market.seed=34").exit_code == 34
    refused = invoke("replay", "--seed", "-1")
    assert refused.exit_code == 2
    assert "the command line: market.seed = -1" in refused.stderr


def test_an_error_raised_on_purpose_is_one_line_but_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @verb()
    @click.argument("whose")
    def report(settings: Settings, whose: str) -> None:
        """Report."""
        raise (MarketDataError("no such day") if whose == "theirs" else LocalProtocolError("a fill before its order"))

    stand_in(monkeypatch, "report", report)
    theirs = invoke("report", "theirs")
    assert theirs.exit_code == 1
    assert theirs.stderr == "Error: no such day\n"
    assert isinstance(invoke("report", "ours").exception, LocalProtocolError)
