"""The runner of the benchmarks: figures, budgets, the table, the JSON file. No time is judged here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import runner
from benchmarks.runner import BenchmarkFailed, BenchmarkSkipped, Figure, alone, cost, line, number, rate


def test_a_rate_is_its_median_and_what_nearly_all_rounds_reach() -> None:
    figure = rate("speed", [100.0, 300.0, 200.0], "ticks/s", at_least=150)
    assert (figure.value, figure.median, figure.samples) == (200.0, 200.0, 3)
    assert 100 <= figure.p99 < 105
    assert figure.met is True


def test_a_cost_is_its_median_and_what_nearly_none_exceeds() -> None:
    figure = cost("delay", [1.0, 3.0, 2.0], "ms", at_most=1.5)
    assert figure.value == 2.0
    assert 2.9 < figure.p99 <= 3
    assert figure.met is False


def test_a_budget_for_the_p99_is_judged_by_the_p99() -> None:
    samples = [1.0] * 90 + [9.0] * 10
    assert cost("delay", samples, "ms", at_most=2).met is True
    judged = cost("delay", samples, "ms", p99_at_most=2)
    assert (judged.value, judged.median, judged.met) == (9.0, 1.0, False)


def test_a_figure_without_a_budget_is_neither_met_nor_missed() -> None:
    figure = rate("speed", [1.0], "ticks/s")
    assert (figure.budget, figure.met) == ("", None)
    assert "met" not in line(figure).lower()


def test_a_line_names_value_unit_budget_and_verdict() -> None:
    text = line(rate("ingest", [2_500_000.0], "ticks/s", at_least=2_000_000, note="of a test"))
    assert text.split()[:5] == ["ingest", "2,500,000", "ticks/s", "≥", "2,000,000"]
    assert "met" in text
    assert text.endswith("of a test")
    assert "NOT MET" in line(cost("scan", [60.0], "ms", at_most=50))


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.0, "1,234,567"), (99.96, "100"), (0.0731, "0.0731"), (2.5, "2.5")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def process_id() -> int:
    return os.getpid()


def die() -> int:
    sys.exit(3)


def miss_something() -> int:
    raise BenchmarkSkipped("no recording")


def test_each_measurement_has_a_process_of_its_own() -> None:
    assert alone(process_id) != os.getpid()


def test_a_process_that_ends_without_a_result_is_a_failure_that_names_its_exit_code() -> None:
    with pytest.raises(BenchmarkFailed, match="exit code 3"):
        alone(die)


def test_what_is_missing_on_this_machine_is_told_across_the_process() -> None:
    with pytest.raises(BenchmarkSkipped, match="no recording"):
        alone(miss_something)


FIGURE = rate("ingest", [3.0], "ticks/s", at_least=2)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names in the order in which they were measured; nothing is run."""
    names: list[str] = []

    def instead(work: Callable[..., list[Figure]], name: str, rounds: int) -> list[Figure]:
        names.append(name)
        if name == "backtest":
            raise BenchmarkSkipped("the recording is not there")
        if name == "scan":
            raise BenchmarkFailed("ended with exit code 1")
        return [FIGURE]

    monkeypatch.setattr(runner, "alone", instead)
    return names


def test_all_are_run_in_their_order_unless_some_are_named(measured: list[str]) -> None:
    runner.main([])
    assert tuple(measured) == runner.BENCHMARKS
    measured.clear()
    runner.main(["memory", "ingest"])
    assert measured == ["memory", "ingest"]


def test_the_figures_are_written_as_json_too(measured: list[str], tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert runner.main(["ingest", "--json", str(file)]) == 0
    (written,) = json.loads(file.read_text())
    assert (written["name"], written["value"], written["budget"], written["met"]) == ("ingest", 3.0, "≥ 2", True)


def test_a_failed_benchmark_fails_the_run_but_not_the_others(
    measured: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["scan", "ingest"]) == 1
    assert measured == ["scan", "ingest"]
    shown = capsys.readouterr()
    assert "exit code 1" in shown.err
    assert "ingest" in shown.out


def test_a_skipped_benchmark_says_why_and_fails_nothing(
    measured: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["backtest"]) == 0
    assert "skipped: the recording is not there" in capsys.readouterr().out


def test_an_unknown_name_is_refused_with_those_there_are(
    measured: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        runner.main(["ingets"])
    assert "no benchmark ingets; there are ingest" in capsys.readouterr().err
    assert measured == []


def test_every_listed_benchmark_is_a_module_with_its_name() -> None:
    folder = Path(runner.__file__).parent
    assert all((folder / f"{name}.py").is_file() for name in runner.BENCHMARKS)
