"""`tail`: the last events, then what is written, whatever happens to the files meanwhile."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from commands import tail as tail_verb
from commands.cli import main
from commands.log_files import KINDS, LogFiles
from commands.tail import Reader, last_events, naming, newest_day

TODAY = date(2026, 11, 23)
TOMORROW = date(2026, 11, 24)


def line(second: int, text: str, day: date = TODAY) -> str:
    return f"{day} 10:15:{second:02d}.000 order_router:main {text}\n"


def texts(events: list[tail_verb.Event]) -> list[str]:
    return [event.text.partition("order_router:main ")[2] for event in events]


def tail(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["tail", *arguments, "--set", f"logs.directory={directory}"])


def test_the_last_lines_of_all_logs_come_in_the_order_of_their_time(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, 1 << 20)
    files.append(TODAY, "orders", line(1, "first") + line(3, "third") + line(5, "fifth"))
    files.append(TODAY, "strategy", line(2, "second") + line(4, "fourth"))
    result = tail(tmp_path, "--no-follow", "-n", "3")
    assert result.stdout == line(3, "third") + line(4, "fourth") + line(5, "fifth")
    assert tail(tmp_path, "strategy", "--no-follow").stdout == line(2, "second") + line(4, "fourth")
    assert tail(tmp_path, "--no-follow", "-n", "0").stdout == ""


def test_a_symbol_is_a_word_of_its_own(tmp_path: Path) -> None:
    wanted = [line(1, "entered symbol=M&M rung=P1"), line(2, "alert position:M&M crashed")]
    other = [line(3, "entered symbol=M&MFIN"), line(4, "order_sent key=M&M-1:1:entry:1"), line(5, "X-M&M")]
    LogFiles(tmp_path, 1 << 20).append(TODAY, "orders", "".join(wanted + other))
    assert tail(tmp_path, "--no-follow", "--symbol", "m&m").stdout == "".join(wanted)


def test_an_event_keeps_its_further_lines(tmp_path: Path) -> None:
    traceback = line(1, "Traceback symbol=INFY") + "    File x\n    ValueError\n"
    LogFiles(tmp_path, 1 << 20).append(TODAY, "errors", traceback + line(2, "other"))
    assert tail(tmp_path, "errors", "--no-follow", "--symbol", "INFY").stdout == traceback


def test_an_unknown_log_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    result = tail(tmp_path, "order")
    assert result.exit_code == 2
    for kind in KINDS:
        assert kind in result.stderr


def test_without_logs_there_is_nothing_to_show(tmp_path: Path) -> None:
    result = tail(tmp_path / "absent", "--no-follow")
    assert result.exit_code == 1
    assert "no logs in" in result.stderr


def test_the_day_written_last_is_the_one_that_is_shown(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, 1 << 20)
    files.append(TOMORROW, "orders", line(1, "of an earlier simulation", TOMORROW))
    files.append(TODAY, "orders", line(1, "now"))
    os.utime(tmp_path / "2026-11-24" / "orders.log", ns=(1, 1))
    newest = newest_day(tmp_path)
    assert newest is not None
    assert newest.name == "2026-11-23"


def test_the_last_lines_reach_back_into_files_that_were_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_verb, "FIRST_BLOCK_BYTES", 100)
    files = LogFiles(tmp_path, 800)
    for second in range(40):
        files.append(TODAY, "orders", line(second, f"event {second} symbol={'A' if second % 2 else 'B'}"))
    assert len(list((tmp_path / "2026-11-23").iterdir())) > 2
    found = last_events(tmp_path / "2026-11-23", ["orders"], naming("A"), 15)
    assert texts(found) == [f"event {second} symbol=A" for second in range(11, 40, 2)]


def test_what_is_written_is_read_once_through_rotation_and_a_new_day(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, 100)
    files.append(TODAY, "orders", line(0, "before"))
    reader = Reader(tmp_path, KINDS)
    assert reader.read_new() == []
    files.append(TODAY, "orders", line(1, "appended"))
    files.append(TODAY, "orders", line(2, "in the new file"))
    files.append(TODAY, "strategy", line(1, "elsewhere"))
    assert texts(reader.read_new()) == ["elsewhere", "appended", "in the new file"]
    files.append(TODAY, "orders", line(3, "late"))
    files.append(TOMORROW, "orders", line(1, "next day", TOMORROW))
    assert texts(reader.read_new()) == ["late", "next day"]
    assert reader.read_new() == []


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, 1 << 20)
    files.append(TODAY, "orders", "")
    reader = Reader(tmp_path, KINDS)
    whole = line(1, "in two parts")
    files.append(TODAY, "orders", whole[:30])
    assert reader.read_new() == []
    files.append(TODAY, "orders", whole[30:])
    assert texts(reader.read_new()) == ["in two parts"]


def test_a_file_that_was_emptied_is_read_from_its_beginning(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, 1 << 20)
    files.append(TODAY, "orders", line(1, "a long line that was there before") * 3)
    reader = Reader(tmp_path, KINDS)
    os.truncate(tmp_path / "2026-11-23" / "orders.log", 0)
    files.append(TODAY, "orders", line(2, "after"))
    assert texts(reader.read_new()) == ["after"]


def test_following_starts_before_there_are_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            LogFiles(tmp_path / "logs", 1 << 20).append(TODAY, "orders", line(1, "the first"))
        elif looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(trio, "sleep", sleep)
    result = tail(tmp_path / "logs")
    assert result.exit_code == 0
    assert result.stdout == line(1, "the first")
