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
from typing import TypeVar

import attrs
import numpy as np

T = TypeVar("T")

# One module of this folder each, in the order in which they run.
BENCHMARKS = (
    "ingest",
    "ingest_sparse",
    "trail100",
    "mailbox",
    "restart",
    "recover",
    "backtest",
    "scan",
    "memory",
)
ROUNDS = 5


class BenchmarkFailed(Exception):
    """A benchmark ended without figures; its own error was printed by its process."""


class BenchmarkSkipped(Exception):
    """What a benchmark needs is not on this machine; the reason says what."""


@attrs.frozen(kw_only=True)
class Figure:
    """One measured number: `value` is the median or the p99, whichever the budget is for.

    `p99` is what 99 % of the samples reach or beat: near the lowest rate, near the longest time. `met` is None
    where there is no budget.
    """

    name: str
    value: float
    unit: str
    budget: str = ""
    met: bool | None = None
    median: float
    p99: float
    samples: int
    note: str = ""


def rate(name: str, samples: Sequence[float], unit: str, *, at_least: float | None = None, note: str = "") -> Figure:
    """A figure of which more is better; `at_least` is the budget of its median."""
    median, p99 = (float(value) for value in np.percentile(samples, (50, 1)))
    return Figure(
        name=name,
        value=median,
        unit=unit,
        budget="" if at_least is None else f"≥ {number(at_least)}",
        met=None if at_least is None else median >= at_least,
        median=median,
        p99=p99,
        samples=len(samples),
        note=note,
    )


def cost(
    name: str,
    samples: Sequence[float],
    unit: str,
    *,
    at_most: float | None = None,
    p99_at_most: float | None = None,
    note: str = "",
) -> Figure:
    """A figure of which less is better, with a budget for its median or for its p99, which then is its value."""
    assert at_most is None or p99_at_most is None, "one budget per figure"
    median, p99 = (float(value) for value in np.percentile(samples, (50, 99)))
    value, limit = (median, at_most) if p99_at_most is None else (p99, p99_at_most)
    return Figure(
        name=name,
        value=value,
        unit=unit,
        budget="" if limit is None else f"≤ {number(limit)}",
        met=None if limit is None else value <= limit,
        median=median,
        p99=p99,
        samples=len(samples),
        note=note,
    )


def number(value: float) -> str:
    """Whole with thousands separators from 100 on, else three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line(figure: Figure) -> str:
    """One aligned line: name, value, unit, budget, met or not, then what a reader may want to know."""
    verdict = {True: "met", False: "NOT MET", None: ""}[figure.met]
    details = f"median {number(figure.median)}, p99 {number(figure.p99)} of {figure.samples}"
    if figure.note:
        details += f"; {figure.note}"
    measured = f"{figure.name:<28} {number(figure.value):>12} {figure.unit:<9}"
    return f"{measured} {figure.budget:>14} {verdict:<8} {details}"


def alone(work: Callable[..., T], *arguments: object) -> T:
    """What `work` returns when it is called in a fresh process: nothing of ours is warm, loaded or in memory.

    Raises BenchmarkSkipped as it does; BenchmarkFailed when it ends without a result.
    """
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe(duplex=False)
    process = fresh.Process(target=_work, args=(theirs, work, *arguments), name=f"benchmark {work.__module__}")
    process.start()
    theirs.close()
    try:
        result: T | BenchmarkSkipped = ours.recv()
    except EOFError:
        process.join()
        raise BenchmarkFailed(f"{work.__module__} ended with exit code {process.exitcode}") from None
    process.join()
    if isinstance(result, BenchmarkSkipped):
        raise result
    return result


def _work(results: Connection, work: Callable[..., object], *arguments: object) -> None:
    try:
        result = work(*arguments)
    except BenchmarkSkipped as skipped:
        result = skipped
    results.send(result)


def measure(name: str, rounds: int) -> list[Figure]:
    """The figures of one benchmark, measured in this process."""
    figures: list[Figure] = importlib.import_module(f"benchmarks.{name}").run(rounds)
    return figures


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
            measured = alone(measure, name, options.rounds)
        except BenchmarkSkipped as skipped:
            print(f"{name:<28} skipped: {skipped}", flush=True)
            continue
        except BenchmarkFailed as problem:
            failed = True
            print(f"{name:<28} failed: {problem}", file=sys.stderr)
            continue
        for figure in measured:
            print(line(figure), flush=True)
        figures += measured
    if options.json is not None:
        listed = [attrs.asdict(figure) for figure in figures]
        options.json.write_text(json.dumps(listed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(failed)
