"""kill -9 of the whole process in the middle of a recorded day, and the same command again.

The real command line in a real process with real files. After the last life: every rung that is open is protected,
no order was sent twice, nothing was sold that was not bought, and the day is nearly the undisturbed one.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from random import Random

import pytest

from protocol.clock import at
from protocol.rungs import Rung
from store.opening import open_for_reading
from tests.chaos.recorded_day import NSE2016, day_settings, play

ROOT = Path(__file__).parents[2]
DAY = date(2016, 8, 26)
LIVES = 4
PATIENCE_S = 60.0


@contextmanager
def life(directory: Path, *overrides: str, output: str = "output.txt") -> Iterator[subprocess.Popen[bytes]]:
    """One run of the supervisor on the recorded day, about 4 real seconds long if nobody ends it before."""
    values = (
        "market.feed=recorded",
        f"market.directory={NSE2016}",
        f"market.first_day={DAY}",
        f"market.last_day={DAY}",
        "market.speed=6000",
        f"storage.directory={directory / 'var'}",
        f"logs.directory={directory / 'logs'}",
        *overrides,
    )
    command = [sys.executable, "-m", "supervisor"]
    for value in values:
        command += ["--set", value]
    with (directory / output).open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(directory: Path, process: subprocess.Popen[bytes], condition: str) -> bool:
    """Until the journal answers the SQL condition with a true value; False when the process ended before."""
    database = directory / "var" / "momentum_strategy_paper.db"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if database.exists():
            try:
                with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as journal:
                    if journal.execute(condition).fetchone()[0]:
                        return True
            except sqlite3.OperationalError:
                continue  # the tables are being made just now
            finally:
                time.sleep(0.01)
    raise AssertionError(f"nothing within {PATIENCE_S} s: {condition}")


def test_killed_and_started_again_nothing_is_doubled_unprotected_or_lost(tmp_path: Path) -> None:
    calm = play(day_settings(DAY))
    chance = Random("kill -9")
    entries = sorted(chance.sample(range(5, len(calm.trades)), LIVES))
    for count in entries:
        with life(tmp_path) as process:
            assert wait_until(tmp_path, process, f"SELECT COUNT(*) >= {count} FROM trades")
            process.send_signal(signal.SIGKILL)
            process.wait()
    with life(tmp_path) as last:
        ended = f"SELECT COUNT(*) FROM events WHERE kind = 'day' AND at_ns >= {at(DAY, 55_800)}"
        assert wait_until(tmp_path, last, ended), (tmp_path / "output.txt").read_text()
        last.send_signal(signal.SIGINT)
        assert last.wait(timeout=PATIENCE_S) == 0

    journal = open_for_reading(tmp_path / "var", mode="paper")
    rungs = sorted(journal.trades(), key=lambda rung: (rung.entry_ns, rung.symbol, rung.number))
    orders = journal.orders_since(0)
    guards = Counter((gtt.ladder, gtt.rung) for gtt in journal.live_gtts() if gtt.standing)
    journal.close()

    per_key = Counter(order.key for order in orders)
    assert max(per_key.values()) == 1, "a wish was sent twice"
    for rung in rungs:
        assert 0 <= rung.sold <= rung.quantity
        if rung.open:
            assert guards[rung.ladder, rung.number] == 1, f"{rung.symbol} P{rung.number} is not protected"
    assert_nearly_the_same(rungs, calm.trades)


def assert_nearly_the_same(rungs: Sequence[Rung], calm: Sequence[Rung]) -> None:
    """Each death costs at most what the specification lets it cost: an entry that was sent and not answered counts
    as an attempt and comes a minute later, and what a trailing rung's highest gained since its last move is gone.
    """
    same = {entered(rung) for rung in rungs} & {entered(rung) for rung in calm}
    assert len(same) >= len(calm) - 3 * LIVES
    assert abs(len(rungs) - len(calm)) <= 3 * LIVES


def entered(rung: Rung) -> tuple[str, int, int, int, int]:
    return rung.ladder, rung.number, rung.entry_ns, rung.quantity, rung.cost_paise


def test_a_second_process_on_the_same_journal_refuses_to_start(tmp_path: Path) -> None:
    if not NSE2016.is_dir():
        pytest.skip(f"no recorded days: {NSE2016} is not there")
    with life(tmp_path, "market.speed=60") as first:
        assert wait_until(tmp_path, first, "SELECT COUNT(*) FROM meta WHERE name = 'start_counter'")
        with life(tmp_path, output="second.txt") as second:
            assert second.wait(timeout=PATIENCE_S) == 1
        output = (tmp_path / "second.txt").read_text()
        assert f"in use by process {first.pid}" in output
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=PATIENCE_S) == 0
