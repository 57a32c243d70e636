"""Runs benchmarks by name, each in a process of its own, and prints one line per figure.

Owns the table of benchmarks, the form of a figure and the command line. A benchmark is a module of this
folder with `NAME` and `run(rounds) -> list[Figure]`. An unmet budget is no error: machines are noisy.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import attrs
import numpy as np

# One module of this folder each, in the order in which they run.
BENCHMARKS = ("ingest", "ingest_sparse", "scan")
ROUNDS = 5


class BenchmarkFailed(Exception):
    """A benchmark ended without figures; its own error was printed by its process."""


@attrs.frozen(kw_only=True)
class Figure:
    """One measured number. `value` is the median of the rounds; `met` is None where there is no budget.

    `p99` is the value that 99 % of the samples reach or beat: near the lowest rate, near the longest time.
    """

    name: str
    value: float
    unit: str
    budget: str = ""
    met: bool | None = None
    median: float
    p99: float
    rounds: int
    note: str = ""


def rate(name: str, samples: Sequence[float], unit: str, *, at_least: float | None = None, note: str = "") -> Figure:
    """A figure of which more is better; `at_least` is its budget."""
    median, p99 = (float(value) for value in np.percentile(samples, (50, 1)))
    return Figure(
        name=name,
        value=median,
        unit=unit,
        budget="" if at_least is None else f"≥ {number(at_least)}",
        met=None if at_least is None else median >= at_least,
        median=median,
        p99=p99,
        rounds=len(samples),
        note=note,
    )


def cost(name: str, samples: Sequence[float], unit: str, *, at_most: float | None = None, note: str = "") -> Figure:
    """A figure of which less is better; `at_most` is its budget."""
    median, p99 = (float(value) for value in np.percentile(samples, (50, 99)))
    return Figure(
        name=name,
        value=median,
        unit=unit,
        budget="" if at_most is None else f"≤ {number(at_most)}",
        met=None if at_most is None else median <= at_most,
        median=median,
        p99=p99,
        rounds=len(samples),
        note=note,
    )


def number(value: float) -> str:
    """Whole with thousands separators from 100 on, else three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line(figure: Figure) -> str:
    """One aligned line: name, value, unit, budget, met or not, then what a reader may want to know."""
    verdict = {True: "met", False: "NOT MET", None: ""}[figure.met]
    details = f"p99 {number(figure.p99)}, {figure.rounds} rounds"
    if figure.note:
        details += f"; {figure.note}"
    measured = f"{figure.name:<28} {number(figure.value):>12} {figure.unit:<9}"
    return f"{measured} {figure.budget:>14} {verdict:<8} {details}"


def run_alone(name: str, rounds: int) -> list[Figure]:
    """Run one benchmark in a fresh process. Raises BenchmarkFailed when it ended without figures."""
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe(duplex=False)
    process = fresh.Process(target=_measure, args=(name, rounds, theirs), name=f"benchmark {name}")
    process.start()
    theirs.close()
    try:
        figures: list[Figure] = ours.recv()
    except EOFError:
        process.join()
        raise BenchmarkFailed(f"benchmark {name} ended with exit code {process.exitcode}") from None
    process.join()
    return figures


def _measure(name: str, rounds: int, results: Connection) -> None:
    run: Callable[[int], list[Figure]] = importlib.import_module(f"benchmarks.{name}").run
    results.send(run(rounds))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: 1 when a benchmark failed to run, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Pure Alpha against its performance budget, one line per figure.",
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"which ones (default: all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there, as a JSON list")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")

    figures: list[Figure] = []
    failed = False
    for name in options.names or BENCHMARKS:
        try:
            measured = run_alone(name, options.rounds)
        except BenchmarkFailed as problem:
            failed = True
            print(problem, file=sys.stderr)
            continue
        for figure in measured:
            print(line(figure), flush=True)
        figures += measured
    if options.json is not None:
        listed = [attrs.asdict(figure) for figure in figures]
        options.json.write_text(json.dumps(listed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(failed)
