"""Killed processes and power losses: a prefix of what was committed comes back, and all that was synced."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.clock import NS
from protocol.journal import EventRow
from store.journal import Journal
from store.opening import OpenReport, open_journal

Make = Callable[..., Any]
Opener = Callable[..., tuple[Journal, OpenReport]]


def copy_of(journal: Journal, directory: Path) -> Path:
    """The journal's files as another process would find them now; returns the log's copy."""
    assert journal.path is not None
    directory.mkdir()
    shutil.copy(journal.path, directory)
    return Path(shutil.copy(f"{journal.path}-wal", directory))


def next_life(directory: Path, nine: int) -> Journal:
    journal, report = open_journal(directory, mode="paper", chance=random.Random(1), now_ns=nine, reserve_mb=0)
    assert report.set_aside is None
    assert journal.file.rows("PRAGMA integrity_check") == [("ok",)]
    return journal


def test_a_killed_process_loses_nothing_that_was_committed(
    opener: Opener, tmp_path: Path, an_order: Make, nine: int
) -> None:
    journal, _ = opener()
    for number in range(5):
        journal.write([an_order(number)])
    with journal.file.transaction:
        journal.file.put_meta("half", "done")
        copy_of(journal, tmp_path / "next")
    after = next_life(tmp_path / "next", nine)
    assert after.working_orders() == [an_order(number) for number in range(5)]
    assert after.meta("half") is None
    assert after.start_counter == journal.start_counter + 1
    after.close()


@pytest.mark.parametrize("seed", range(25))
def test_a_power_loss_keeps_a_prefix_and_all_that_was_synced(
    opener: Opener, tmp_path: Path, an_event: Make, nine: int, seed: int
) -> None:
    chance = random.Random(f"{seed}/power")
    journal, _ = opener(durability="power")
    committed: list[EventRow] = []
    must = 0
    for number in range(chance.randrange(1, 40)):
        batch = [
            an_event(number),
            EventRow(nine + number * NS, "a", "b", "c", "d", "e" * chance.randrange(3000)),
        ]
        before_wire = chance.random() < 0.2
        journal.write(batch, before_wire=before_wire)
        committed += batch
        must = len(committed) if before_wire else must
        if chance.random() < 0.05:
            assert journal.checkpoint()
            must = len(committed)

    log_path = copy_of(journal, tmp_path / "next")
    log = bytearray(log_path.read_bytes())
    synced = journal.file.synced_bytes
    del log[chance.randrange(synced, len(log) + 1) :]
    if len(log) > synced and chance.random() < 0.5:
        torn = max(synced, len(log) - 512)
        log[torn:] = chance.randbytes(len(log) - torn)
    log_path.write_bytes(log)

    after = next_life(tmp_path / "next", nine)
    found = [event for _, event in after.events()]
    assert must <= len(found)
    assert found == committed[: len(found)]
    assert len(found) % 2 == 0
    after.close()


@pytest.mark.parametrize(
    ("durability", "before_wire", "synced"),
    [("power", True, True), ("power", False, False), ("process", True, False)],
)
def test_only_power_syncs_and_only_before_the_wire(
    opener: Opener, an_order: Make, durability: str, before_wire: bool, synced: bool
) -> None:
    journal, _ = opener(durability=durability)
    said: list[str] = []
    journal.file.connection.set_trace_callback(said.append)
    for number in range(2):  # twice: a prepared PRAGMA must work again
        journal.write([an_order(number)], before_wire=before_wire)
        assert (journal.file.synced_bytes == journal.file.wal_bytes()) is synced
    around = ["PRAGMA synchronous=FULL", "BEGIN IMMEDIATE"], ["COMMIT", "PRAGMA synchronous=NORMAL"]
    assert (said[:2] == around[0] and said[-2:] == around[1]) is synced
    journal.file.connection.set_trace_callback(None)
    assert journal.file.rows("PRAGMA synchronous") == [(1,)]
