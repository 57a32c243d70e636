"""The log files by date, their rotation and retention, and what happens when they cannot be written."""

from __future__ import annotations

import errno
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from loguru import logger
from rich.console import Console

from commands.log_files import LogFiles, days_of, files_of
from commands.logs import BUFFER_CHARACTERS_MAX, Logs
from protocol.clock import NS, from_ist_text

MORNING = from_ist_text("2026-11-23 10:15:03") + 250_000_000
ROUTER = "order_router:main"


class Desk:
    """Logs on a directory, with a clock to be set and a console to be read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now_ns = MORNING
        self.screen = io.StringIO()
        self._logs: list[Logs] = []

    def logs(self, *, level: str = "INFO", keep_days: int | None = None, rotation_mb: int = 100) -> Logs:
        self._logs.append(
            Logs(
                self.directory,
                market_time=True,
                clock_ns=lambda: self.now_ns,
                rotation_mb=rotation_mb,
                keep_days=keep_days,
                console_level=level,
                console=Console(file=self.screen, width=80),
            )
        )
        return self._logs[-1]

    def file(self, kind: str, day: str = "2026-11-23") -> str:
        return (self.directory / day / f"{kind}.log").read_text(encoding="utf-8")

    def close(self) -> None:
        for logs in self._logs:
            logs.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "logs")
    yield desk
    desk.close()


def test_a_line_has_its_time_its_actor_and_its_text(desk: Desk) -> None:
    logs = desk.logs()
    logs.line("orders", ROUTER, "order_sent symbol=INFY qty=2")
    logs.close()
    assert desk.file("orders") == "2026-11-23 10:15:03.250 order_router:main order_sent symbol=INFY qty=2\n"


def test_lines_wait_until_they_are_flushed(desk: Desk) -> None:
    logs = desk.logs()
    logs.line("trailing", ROUTER, "stop_moved symbol=INFY")
    assert not desk.directory.exists()
    logs.flush()
    assert desk.file("trailing").count("\n") == 1


def test_a_full_buffer_and_an_error_are_written_at_once(desk: Desk) -> None:
    logs = desk.logs()
    logs.line("trailing", ROUTER, "x" * (BUFFER_CHARACTERS_MAX + 1))
    assert desk.file("trailing")
    logs.line("orders", ROUTER, "order_sent symbol=INFY")
    logs.line("errors", ROUTER, "alert crashed")
    assert "order_sent" in desk.file("orders")
    assert "alert crashed" in desk.file("errors")


def test_every_event_lies_in_the_folder_of_its_own_day(desk: Desk) -> None:
    logs = desk.logs()
    logs.line("orders", ROUTER, "first")
    desk.now_ns += 24 * 3600 * NS
    logs.line("orders", ROUTER, "second")
    logs.close()
    assert "first" in desk.file("orders")
    assert desk.file("orders", "2026-11-24") == "2026-11-24 10:15:03.250 order_router:main second\n"


def test_no_secret_reaches_a_file_or_the_console(desk: Desk) -> None:
    logs = desk.logs()
    logs.line("errors", ROUTER, "alert login failed: api_key=KEY9 access_token=TOK9")
    logger.warning("GET https://broker?api_key=KEY9")
    try:
        raise ConnectionError("authorization: token KEY9:TOK9")
    except ConnectionError:
        logger.exception("no login")
    logs.close()
    written = [path.read_text(encoding="utf-8") for path in desk.directory.rglob("*.log")]
    for text in (*written, desk.screen.getvalue()):
        assert "***" in text
        assert "KEY9" not in text
        assert "TOK9" not in text


def test_the_console_shows_what_happened_and_not_every_step(desk: Desk) -> None:
    logs = desk.logs()
    logs.line("orders", ROUTER, "order_sent symbol=INFY rung=P1 side=BUY qty=2 last=151005")
    logs.line("strategy", ROUTER, "entered symbol=INFY rung=P1 qty=2 price=151005 rank=6.48")
    logs.line("strategy", ROUTER, "exited symbol=INFY rung=P1 qty=2 price=15100500 reason=square_off gross=-15100")
    logs.line("errors", "position:INFY", "alert crashed ValueError: no")
    logs.line("errors", "position:INFY", "Traceback\n    File x")
    logs.line("errors", ROUTER, "request_failed kind=ModifyGtt problem='429: too many'")
    logs.close()
    shown = desk.screen.getvalue()
    assert shown.startswith("Monday, 23 November 2026 (market time)\n")
    assert "10:15:03  INFY        P1  bought 2 at ₹1,510.05  rank 6.48\n" in shown
    assert "sold 2 at ₹1,51,005.00  square-off  -₹151.00\n" in shown
    assert "ALERT  position:INFY: crashed ValueError: no\n" in shown
    assert f"{ROUTER}  request_failed kind=ModifyGtt problem='429: too many'\n" in shown
    for step in ("order_sent", "Traceback"):
        assert step not in shown


def test_a_trailing_stop_is_shown_at_its_first_move_and_then_at_every_half_percent(desk: Desk) -> None:
    logs = desk.logs()
    for stop in (150_000, 150_100, 150_700, 150_800, 151_454):
        logs.line("trailing", ROUTER, f"stop_moved symbol=INFY rung=P2 stop={stop} from=149000")
    logs.line("trailing", ROUTER, "stop_moved symbol=TCS rung=P2 stop=300000 from=299000")
    logs.close()
    shown = desk.screen.getvalue()
    assert [price in shown for price in ("1,500.00", "1,501.00", "1,507.00", "1,508.00", "1,514.54", "3,000.00")] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert desk.file("trailing").count("stop_moved") == 6


def test_every_move_of_a_stop_is_shown_at_level_debug(desk: Desk) -> None:
    logs = desk.logs(level="DEBUG")
    logs.line("trailing", ROUTER, "stop_moved symbol=INFY rung=P2 stop=151005 from=150900")
    logs.close()
    assert "INFY        P2  stop ₹1,510.05, was ₹1,509.00" in desk.screen.getvalue()


def test_the_day_is_told_once_though_it_is_logged_twice(desk: Desk) -> None:
    logs = desk.logs()
    sums = "gross=758.00 charges=1575.55 net=-817.55 trades=24 wins=13 win_rate=54%"
    day = f"day stage=final open=0 cost=0.00 {sums}"
    logs.line("strategy", ROUTER, day)
    logs.line("strategy", ROUTER, f"info {day}")
    logs.close()
    told = "the day  net -₹817.55  gross +₹758.00  charges ₹1,575.55  13 of 24 won\n"
    assert desk.screen.getvalue().count(told) == 1
    assert desk.screen.getvalue().count("758") == 1


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ("open=0 cost=0.00", "square-off done  net -₹817.55  13 of 24 won  nothing open"),
        ("open=3 cost=9012.50", "square-off done  net -₹817.55  13 of 24 won  3 still open, cost ₹9,012.50"),
    ],
)
def test_the_square_off_is_told_with_what_is_still_open(desk: Desk, held: str, words: str) -> None:
    logs = desk.logs()
    logs.line(
        "strategy", ROUTER, f"day stage=square_off {held} gross=758.00 charges=1575.55 net=-817.55 trades=24 wins=13"
    )
    logs.close()
    assert f"{words}\n" in desk.screen.getvalue()
    assert "the day" not in desk.screen.getvalue()


def test_a_session_is_told_in_words(desk: Desk) -> None:
    logs = desk.logs()
    logs.line("orders", ROUTER, "session account=main state=READY reason='paper exchange'")
    logs.line("orders", ROUTER, "session account=second state=LOGIN_NEEDED reason='the token has expired'")
    logs.close()
    shown = desk.screen.getvalue()
    assert "10:15:03  paper exchange ready\n" in shown
    assert "10:15:03  account second: login needed: the token has expired\n" in shown


def test_a_full_disk_is_counted_and_said_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = desk.logs()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        for _ in range(3):
            logs.line("orders", ROUTER, "order_sent symbol=INFY")
            logs.flush()
    logs.line("orders", ROUTER, "order_sent symbol=TCS")
    logs.flush()
    assert logs.lost == 3
    shown = desk.screen.getvalue()
    assert shown.count("log lines are lost: [Errno 28] No space left on device") == 1
    assert shown.count("the logs are written again; 3 lines were lost") == 1
    assert desk.file("orders").endswith("order_sent symbol=TCS\n")
    assert desk.file("orders").count("\n") == 1


def test_a_line_torn_by_a_full_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, day, write = LogFiles(tmp_path, 1000), date(2026, 11, 23), os.write
    files.append(day, "orders", "whole\n")

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, data[:3])

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", half)
        with pytest.raises(OSError, match="full"):
            files.append(day, "orders", "torn line\n")
    files.append(day, "orders", "after\n")
    assert (tmp_path / "2026-11-23" / "orders.log").read_text() == "whole\nafter\n"


def test_a_console_that_is_gone_does_not_stop_trading(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    logs = Logs(
        tmp_path, market_time=False, clock_ns=lambda: MORNING, rotation_mb=1, keep_days=None,
        console_level="INFO", console=Console(file=Gone()),
    )  # fmt: skip
    try:
        logs.line("errors", ROUTER, "alert one")
        logs.line("errors", ROUTER, "alert two")
    finally:
        logs.close()
    assert (tmp_path / "2026-11-23" / "errors.log").read_text().count("alert") == 2


def test_a_file_that_grew_too_large_is_continued_in_a_new_one(tmp_path: Path) -> None:
    files, day = LogFiles(tmp_path, 20), date(2026, 11, 23)
    for number in range(5):
        files.append(day, "orders", f"line {number:>6}\n")
    found = files_of(tmp_path / "2026-11-23", "orders")
    assert [path.name for path in found] == [*(f"orders.log.{n}" for n in range(1, 5)), "orders.log"]
    assert "".join(path.read_text() for path in found).split() == [word for n in range(5) for word in ("line", str(n))]


def test_only_the_newest_days_and_all_that_is_not_a_log_are_kept(desk: Desk) -> None:
    for day in ("2026-11-18", "2026-11-19", "2026-11-20"):
        LogFiles(desk.directory, 100).append(date.fromisoformat(day), "orders", "line\n")
    photograph = desk.directory / "2026-11-18" / "photograph.jpg"
    photograph.write_text("kept", encoding="utf-8")
    other = desk.directory / "notes" / "orders.log"
    other.parent.mkdir()
    other.write_text("kept", encoding="utf-8")
    desk.logs(keep_days=1)
    assert [day.name for day in days_of(desk.directory)] == ["2026-11-18", "2026-11-20"]
    assert [path.name for path in (desk.directory / "2026-11-18").iterdir()] == ["photograph.jpg"]
    assert other.exists()


@pytest.mark.parametrize(
    "say",
    [
        lambda: logger.warning("the feed is slow"),
        lambda: logging.getLogger("httpx").warning("the feed is slow"),
        lambda: warnings.warn("the feed is slow", UserWarning, stacklevel=1),
    ],
    ids=["loguru", "logging", "warnings"],
)
def test_what_libraries_say_goes_to_the_system_log_and_the_console(desk: Desk, say: Callable[[], None]) -> None:
    logs = desk.logs()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)  # the block above has put Python's own back
        logging.captureWarnings(True)
        say()
    logs.close()
    system = (desk.directory / "system.log").read_text(encoding="utf-8")
    assert system.startswith("2026-11-23 10:15:03.250 ")
    assert " warning " in system
    assert "the feed is slow" in system
    assert "the feed is slow" in desk.screen.getvalue()


def test_nothing_is_left_in_loguru_when_the_logs_are_closed(desk: Desk) -> None:
    desk.logs().close()
    logger.error("nobody hears this")
    logging.getLogger("httpx").error("nor this, from here")
    assert not (desk.directory / "system.log").exists()
    assert desk.screen.getvalue() == ""
