"""Opening: one process per account, corrupt files restored, every start counted, backups kept."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.clock import DAY_S, NS
from protocol.errors import StoreBusy, StoreError
from store.backups import back_up, backups_of
from store.files import Reserve, set_aside
from store.journal import Journal
from store.opening import OpenReport, memory_journal, open_for_reading

Make = Callable[..., Any]
Opener = Callable[..., tuple[Journal, OpenReport]]
HOUR = 3600 * NS
DAY = DAY_S * NS


def path_of(journal: Journal) -> Path:
    assert journal.path is not None
    return journal.path


def spoil(path: Path) -> None:
    """Overwrite the second half of the file, as a dying disk might."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xa5" * (len(content) - len(content) // 2))


def test_a_journal_is_named_after_its_account_and_mode(opener: Opener) -> None:
    names = [
        path_of(opener()[0]).name,
        path_of(opener(mode="live")[0]).name,
        path_of(opener(account="second")[0]).name,
    ]
    assert names == ["momentum_strategy_paper.db", "momentum_strategy_live.db", "second_paper.db"]


def test_files_are_for_their_owner_alone(opener: Opener, an_order: Make) -> None:
    journal, _ = opener(reserve_mb=1)
    journal.write([an_order(1)])
    back_up(path_of(journal), now_ns=0, keep_days=1)
    directory = path_of(journal).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"reserve.bin", "momentum_strategy_paper.db-wal"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_what_was_written_is_there_after_the_next_start(opener: Opener, an_order: Make, a_rung: Make) -> None:
    journal, report = opener()
    assert report == OpenReport(created=True)
    journal.write([an_order(1), a_rung(7)])
    journal.close()
    again, report = opener()
    assert not report.created
    assert again.orders_since(0) == [an_order(1)]
    assert again.next_trade_id() == 8


def test_no_two_starts_share_database_id_and_counter(opener: Opener) -> None:
    first, _ = opener()
    identity = first.database_id, first.start_counter
    first.close()
    second, _ = opener(chance=random.Random(99))
    assert identity == (first.database_id, 1)
    assert (second.database_id, second.start_counter) == (first.database_id, 2)
    assert len(second.database_id) == 4
    assert set(second.database_id) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_the_counter_is_on_the_disk_before_anything_is_written(opener: Opener, tmp_path: Path) -> None:
    journal, _ = opener()
    assert journal.file.wal_bytes() == 0
    copy = tmp_path / "copy.db"
    copy.write_bytes(path_of(journal).read_bytes())
    with sqlite3.connect(copy) as connection:
        found = dict(connection.execute("SELECT name, value FROM meta"))
    connection.close()
    assert found == {"owner": "main/paper", "database_id": journal.database_id, "start_counter": "1"}


def test_a_second_process_is_told_who_holds_the_journal(opener: Opener) -> None:
    opener()
    with pytest.raises(StoreBusy, match=rf"momentum_strategy_paper.db is in use by process {os.getpid()}, which"):
        opener()
    opener(mode="live")


def test_a_closed_journal_can_be_opened_again_at_once(opener: Opener) -> None:
    journal, _ = opener()
    journal.close()
    journal.close()
    assert opener()[0].start_counter == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "pretend"}, "neither of paper, live"),
        ({"account": "../etc"}, "cannot name a file"),
        ({"durability": "maybe"}, "neither of process, power"),
    ],
)
def test_what_cannot_be_opened_is_named(opener: Opener, given: dict[str, str], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        opener(**given)


def test_the_journal_of_another_account_is_refused(opener: Opener) -> None:
    journal, _ = opener(account="second")
    journal.close()
    path_of(journal).rename(path_of(journal).with_name("third_paper.db"))
    with pytest.raises(StoreError, match=r"is the journal of second/paper, not of third/paper"):
        opener(account="third")


def test_the_file_of_a_newer_version_is_refused_and_left_alone(opener: Opener) -> None:
    journal, _ = opener()
    path = path_of(journal)
    journal.file.connection.execute("PRAGMA user_version = 9")
    journal.close()
    with pytest.raises(StoreError, match=r"schema 9, this knows 1"):
        opener()
    with pytest.raises(StoreError, match=r"has schema 9, this version reads 1"):
        open_for_reading(path.parent, mode="paper")
    assert not list(path.parent.glob("*corrupt*"))


def test_a_failed_opening_lets_go_of_the_lock(opener: Opener) -> None:
    journal, _ = opener()
    journal.file.connection.execute("PRAGMA user_version = 9")
    journal.close()
    for _ in range(2):
        with pytest.raises(StoreError, match="schema 9"):
            opener()


# --- corrupt files -----------------------------------------------------------------------------------


def test_a_corrupt_journal_is_restored_from_its_newest_backup(opener: Opener, an_order: Make, nine: int) -> None:
    journal, _ = opener()
    path = path_of(journal)
    journal.write([an_order(1)])
    back_up(path, now_ns=nine + HOUR, keep_days=14)
    journal.write([an_order(2)])
    journal.close()
    spoil(path)

    again, report = opener(now_ns=nine + 2 * HOUR, chance=random.Random(2))
    assert again.orders_since(0) == [an_order(1)]
    assert report.restored_from == backups_of(path)[0]
    assert report.set_aside == Path(f"{path}.corrupt-20260105-113000")
    assert report.set_aside.exists()
    (remark,) = report.remarks
    assert "restored from the backup of 2026-01-05 10:30:00: what came later is not in it" in remark


def test_a_restored_journal_has_another_database_id(opener: Opener, nine: int) -> None:
    journal, _ = opener()
    back_up(path_of(journal), now_ns=nine, keep_days=14)
    journal.close()
    spoil(path_of(journal))
    again, _ = opener(chance=random.Random(2))
    assert again.database_id != journal.database_id


def test_a_backup_put_in_place_by_hand_has_another_database_id(opener: Opener, nine: int) -> None:
    journal, _ = opener()
    path = path_of(journal)
    backup = back_up(path, now_ns=nine, keep_days=14)
    journal.close()
    path.write_bytes(backup.read_bytes())
    again, _ = opener(chance=random.Random(2))
    assert again.database_id != journal.database_id


def test_a_damaged_backup_is_passed_over(opener: Opener, an_order: Make, nine: int) -> None:
    journal, _ = opener()
    path = path_of(journal)
    journal.write([an_order(1)])
    good = back_up(path, now_ns=nine, keep_days=14)
    bad = back_up(path, now_ns=nine + HOUR, keep_days=14)
    journal.close()
    spoil(path)
    spoil(bad)
    again, report = opener()
    assert report.restored_from == good
    assert again.orders_since(0) == [an_order(1)]


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_without_a_backup_a_corrupt_journal_is_begun_anew_and_said_aloud(
    opener: Opener, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "var" / "momentum_strategy_paper.db"
    path.parent.mkdir()
    path.write_bytes(content)
    Path(f"{path}-wal").write_bytes(b"log")
    journal, report = opener()
    assert journal.trades() == []
    assert report.created
    assert report.set_aside is not None
    assert report.set_aside.read_bytes() == content
    assert Path(f"{report.set_aside}-wal").exists()
    (remark,) = report.remarks
    assert "begun anew, empty: there is no good backup" in remark


def test_a_file_that_is_set_aside_twice_in_a_second_keeps_both(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    names = []
    for content in ("first", "second"):
        database.write_text(content)
        names.append(set_aside(database, "text").name)
    assert names == ["a.db.corrupt-text", "a.db.corrupt-text-2"]
    assert (tmp_path / names[0]).read_text() == "first"


def test_a_replacement_takes_the_place_in_one_step(tmp_path: Path) -> None:
    database, replacement = tmp_path / "a.db", tmp_path / "a.db.restored"
    database.write_text("corrupt")
    replacement.write_text("restored")
    aside = set_aside(database, "text", replacement)
    assert (database.read_text(), aside.read_text(), replacement.exists()) == ("restored", "corrupt", False)


# --- backups -----------------------------------------------------------------------------------------


def test_a_backup_is_made_at_start_with_all_that_was_committed(opener: Opener, an_order: Make, nine: int) -> None:
    journal, report = opener()
    assert report.backup is None
    journal.write([an_order(1)])
    journal.close()
    again, report = opener(now_ns=nine + HOUR)
    assert report.backup == path_of(again).parent / "backups" / "momentum_strategy_paper.20260105-103000.db"
    with sqlite3.connect(report.backup) as connection:
        assert connection.execute("SELECT client_id FROM orders").fetchall() == [(an_order(1).client_id,)]
    connection.close()


def test_a_process_restarted_again_and_again_does_not_fill_the_disk(opener: Opener, nine: int) -> None:
    made = []
    for start in range(4):
        journal, report = opener(now_ns=nine + start * HOUR // 2)
        made.append(report.backup is not None)
        journal.close()
    assert made == [False, True, False, True]


def test_old_backups_go_and_the_newest_always_stays(opener: Opener, nine: int) -> None:
    path = path_of(opener()[0])
    for day in (0, 1, 2):
        back_up(path, now_ns=nine + day * DAY, keep_days=14)
    assert len(backups_of(path)) == 3
    back_up(path, now_ns=nine + 16 * DAY - 1, keep_days=14)
    assert [backup.name.split(".")[1] for backup in backups_of(path)] == [
        "20260121-092959",
        "20260107-093000",
    ]
    back_up(path, now_ns=nine + 400 * DAY, keep_days=14)
    assert len(backups_of(path)) == 1


def test_a_backup_that_fails_leaves_nothing_behind_and_does_not_stop_the_start(opener: Opener, nine: int) -> None:
    journal, _ = opener()
    journal.close()
    folder = path_of(journal).parent / "backups"
    folder.write_text("a file stands where the folder should be")
    again, report = opener(now_ns=nine + HOUR)
    assert again.start_counter == 2
    (remark,) = report.remarks
    assert remark.startswith("no backup was made at this start")


# --- the reserve, reading, memory --------------------------------------------------------------------


def test_the_reserve_is_really_allocated_freed_and_made_again(opener: Opener) -> None:
    journal, _ = opener(reserve_mb=2)
    reserve = path_of(journal).parent / "reserve.bin"
    assert reserve.stat().st_size == 2 << 20
    assert reserve.stat().st_blocks * 512 >= 2 << 20
    journal.free_reserve()
    journal.free_reserve()
    assert not reserve.exists()
    journal.close()
    opener(reserve_mb=2)
    assert reserve.stat().st_size == 2 << 20


def test_a_reserve_for_which_there_is_no_room_is_told(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Reserve) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Reserve, "make", refuse)
    _, report = opener(reserve_mb=2)
    (remark,) = report.remarks
    assert "no space could be reserved" in remark
    assert "No space left on device" in remark


def test_a_command_reads_while_the_account_trades(opener: Opener, an_order: Make) -> None:
    journal, _ = opener()
    reader = open_for_reading(path_of(journal).parent, mode="paper")
    journal.write([an_order(1)])
    assert reader.orders_since(0) == [an_order(1)]
    assert (reader.database_id, reader.start_counter) == (journal.database_id, 1)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.file.connection.execute("DELETE FROM orders")
    reader.close()


def test_a_command_reads_after_the_account_has_stopped(opener: Opener, an_order: Make) -> None:
    journal, _ = opener()
    journal.write([an_order(1)])
    journal.close()
    reader = open_for_reading(path_of(journal).parent, mode="paper")
    assert reader.working_orders() == [an_order(1)]
    reader.close()


def test_a_journal_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"momentum_strategy_live.db does not exist"):
        open_for_reading(tmp_path, mode="live")


def test_a_journal_in_memory_has_an_identity_of_its_own(an_order: Make) -> None:
    journal = memory_journal(chance=random.Random(3), mode="live")
    journal.write([an_order(1)], before_wire=True)
    assert (journal.mode, journal.start_counter, journal.path) == ("live", 1, None)
    assert len(journal.database_id) == 4
    assert not journal.checkpoint()
    journal.free_reserve()
    journal.close()
