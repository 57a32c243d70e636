"""A full disk is not a crash: nothing is half written, and the reserve's space is enough to go on."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import StoreFull
from store.journal import Journal
from store.opening import OpenReport, memory_journal, open_journal

Make = Callable[..., Any]
Opener = Callable[..., tuple[Journal, OpenReport]]


def fill(journal: Journal, make: Make, *, most: int = 20_000) -> int:
    """Write batches of an order and its event until the disk is full; how many went in."""
    for number in range(most):
        try:
            journal.write([make(number)])
        except StoreFull:
            return number
    raise AssertionError(f"{most} orders did not fill the disk")


def test_a_full_database_refuses_the_whole_batch_and_recovers(opener: Opener, an_order: Make, an_event: Make) -> None:
    journal, _ = opener()
    connection = journal.file.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    written = fill(journal, an_order)
    assert written > 0
    with pytest.raises(StoreFull, match=r"momentum_strategy_paper.db: database or disk is full"):
        journal.write([an_order(1), an_event(1), *(an_order(written + more) for more in range(50))])
    assert journal.events() == []
    assert len(journal.orders_since(0)) == written

    connection.execute(f"PRAGMA max_page_count = {pages + 2000}")
    journal.write([an_order(written), an_event(1)])
    assert len(journal.orders_since(0)) == written + 1


def test_a_full_journal_in_memory_says_so_too(an_order: Make) -> None:
    journal = memory_journal(chance=random.Random(1))
    (pages,) = journal.file.connection.execute("PRAGMA page_count").fetchone()
    journal.file.connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    written = fill(journal, an_order)
    assert len(journal.working_orders()) == written
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def occupy(disk: Path) -> None:
    """Take what is left of the disk, to the last block."""
    with (disk / "others").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.flush()


def on(disk: Path) -> tuple[Journal, OpenReport]:
    return open_journal(disk, mode="paper", chance=random.Random(1), now_ns=0, reserve_mb=1)


def test_on_a_really_full_disk_the_reserve_lets_exits_go_on(small_disk: Path, an_order: Make, an_event: Make) -> None:
    journal, _ = on(small_disk)
    journal.write([an_order(0)])
    occupy(small_disk)
    written = 1 + fill(journal, lambda number: an_order(number + 1))
    assert len(journal.orders_since(0)) == written

    journal.free_reserve()
    for number in range(60):
        journal.write([an_order(written + number), an_event(number)], before_wire=True)
    assert len(journal.orders_since(0)) == written + 60
    journal.close()


def test_a_journal_opens_on_a_full_disk_by_giving_up_the_reserve(small_disk: Path, an_order: Make) -> None:
    journal, _ = on(small_disk)
    journal.write([an_order(0)])
    journal.close()
    occupy(small_disk)
    again, report = on(small_disk)
    assert again.start_counter == 2
    assert again.orders_since(0) == [an_order(0)]
    assert not (small_disk / "reserve.bin").exists()
    assert any("opened after reserve.bin was given back" in remark for remark in report.remarks)
    again.close()


def test_a_log_that_cannot_be_brought_home_does_not_fail_what_was_committed(small_disk: Path, an_order: Make) -> None:
    journal, _ = open_journal(small_disk, mode="paper", chance=random.Random(1), now_ns=0, reserve_mb=1, wal_limit_mb=1)
    for number in range(400):
        journal.write([an_order(number)])
    occupy(small_disk)
    journal.file.shorten()
    assert journal.file.wal_problem == "database or disk is full"
    journal.free_reserve()
    journal.file.shorten()
    assert journal.file.wal_problem == ""
    assert len(journal.orders_since(0)) == 400
    journal.close()
