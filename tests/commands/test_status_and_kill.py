"""`status`, `kill`, `close` and `kill-switch` against a process that answers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from rich.console import Console

from commands import status as status_verb
from commands.cli import main
from commands.gateway_client import NobodyRuns
from commands.status_screen import screen
from settings import Settings
from strategy.day import DayStatistics
from tests.commands.fake_gateway import gateway


def node(name: str, *children: dict[str, Any], **other: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"name": name, "kind": "supervisor" if children else "actor", "state": "up", "restarts": 0}
    values |= {"last_crash": None, "depth": None if children else 0, "children": list(children)}
    return values | other


def rung(symbol: str, number: int, **other: Any) -> dict[str, Any]:
    values = {"symbol": symbol, "rung": number, "quantity": 2, "cost_paise": 302_010, "last_paise": 152_000}
    values |= {"pnl_paise": 1_990, "stop_paise": 147_200, "target_paise": 158_560, "highest_paise": 152_000}
    return values | {"protection": "STANDING", "entry_ns": 1, "trade_id": 1} | other


RESULT: dict[str, Any] = {
    "market_time": "2026-11-23 10:15:03",
    "tree": node(
        "root",
        node("market", node("ticker"), node("poller", depth=3)),
        node(
            "accounts",
            node(
                "account:main",
                node("order_router:main", restarts=2, last_crash="ValueError: a fill before its order"),
                node("positions:main", node("position:INFY"), node("position:TCS", restarts=1), node("position:ITC")),
            ),
        ),
    ),
    "actors": {
        "ticker": {"market_time": "2026-11-23 10:15:03", "items": 9, "finished": False, "dropped": 4},
        "poller": {"polling": True, "polls": 7},
        "health_monitor": {
            "feed": "polling",
            "feed_age_s": 31.25,
            "fallbacks_started": 1,
            "fallbacks_ended": 0,
            "loop_lag_ms": 3.4,
            "entries_stopped": "",
        },
        "order_router:main": {
            "account": "main",
            "state": "TRADING",
            "kill_switch": True,
            "disk_full": False,
            "slots": 3,
            "max_positions": 90,
            "deployed_paise": 9_000_000,
            "capital_paise": 24_000_000,
            "rungs": [
                rung("TCS", 1, pnl_paise=-5_050, protection="NONE", target_paise=0),
                rung("INFY", 2),
                rung("INFY", 1),
            ],
        },
    },
    "notices": [
        {"at": "2026-11-23 10:14:00", "severity": "alert", "source": "order_router:main", "text": "crashed"}
    ],
}  # fmt: skip


def shown(result: dict[str, Any], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen(result))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_screen_shows_feed_accounts_rungs_tree_and_alerts() -> None:
    text = words(shown(RESULT))
    assert "market 2026-11-23 10:15:03 IST feed polling, last price 31.2 s old" in text
    assert "fallbacks 1 polls 7 prices dropped 4 loop lag 3.4 ms" in text
    assert "today" not in text
    assert "account main TRADING rungs 3 of 90 kill switch ON: no entries" in text
    assert "deployed ₹90,000.00 of ₹2,40,000.00, available ₹1,50,000.00" in text
    assert "INFY P1 2 1,510.05 1,520.00 +19.90 +0.66 1,472.00 1,585.60 yes" in text
    assert "TCS P1 2 1,510.05 1,520.00 -50.50 -1.67 1,472.00 - NONE" in text
    assert "3 open -10.70 -0.12" in text
    assert "order_router:main up 2 0 ValueError: a fill" in text
    assert "poller up 0 3" in text
    assert "position:TCS up 1 0" in text
    assert "positions at rest: INFY, ITC" in text
    assert "10:14:00 alert order_router:main: crashed" in text


@pytest.mark.parametrize("reason", ["kill switch: var/kill-switch exists", "100 MB free on the disk, 256 MB wanted"])
def test_a_reason_to_enter_nothing_stands_before_everything_else(reason: str) -> None:
    health = RESULT["actors"]["health_monitor"] | {"entries_stopped": reason}
    router = RESULT["actors"]["order_router:main"] | {"kill_switch": False, "disk_full": True}
    actors = RESULT["actors"] | {"health_monitor": health, "order_router:main": router}
    text = words(shown(RESULT | {"actors": actors}))
    assert text.startswith(f"NO NEW ENTRIES {reason}; account main: disk full market 2026")
    assert "TRADING rungs 3 of 90 disk full: no entries" in text
    router |= {"disk_full": False}
    health["entries_stopped"] = ""
    assert shown(RESULT | {"actors": actors | {"order_router:main": router}}).startswith("market 2026")


def test_the_day_so_far_is_shown_with_its_account() -> None:
    day = DayStatistics(gross_paise=75_800, charges_paise=157_555, trades=24, wins=13)
    console = Console(file=io.StringIO(), width=80)
    console.print(screen(RESULT, {"main": day}))
    assert isinstance(console.file, io.StringIO)
    assert "today net -₹817.55 gross +₹758.00 charges ₹1,575.55 13 of 24 won" in words(console.file.getvalue())


def test_the_day_s_line_among_the_notices_is_told_in_words() -> None:
    text = "day stage=square_off open=2 cost=6030.00 gross=758.00 charges=1575.55 net=-817.55 trades=24 wins=13"
    notices = [{"at": "2026-11-23 15:10:00", "severity": "info", "source": "order_router:main", "text": text}]
    told = words(shown(RESULT | {"notices": notices}))
    assert "square-off done net -₹817.55 13 of 24 won 2 still open, cost ₹6,030.00" in told


def test_a_kill_is_shown_as_one_and_not_as_a_crash() -> None:
    tree = node("root", node("gateway", restarts=1, last_crash="Killed: gateway was killed from outside"))
    assert "gateway up 1 0 killed" in words(shown(RESULT | {"tree": tree})).replace("└─ ", "")


def test_everything_fits_80_columns() -> None:
    for line in shown(RESULT).split("\n"):
        assert len(line) <= 80
    assert "…" not in shown(RESULT).partition("actor ")[0]


def test_the_long_table_can_come_last() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(screen(RESULT, rungs_last=True))
    assert isinstance(console.file, io.StringIO)
    text = words(console.file.getvalue())
    assert text.index("positions at rest") < text.index("10:14:00") < text.index("INFY P1")
    assert len(text) == len(words(shown(RESULT)))


def test_an_actor_that_does_not_answer_is_named_and_the_rest_is_shown() -> None:
    actors = RESULT["actors"] | {"order_router:main": {"problem": "no answer within 2 s"}}
    text = shown(RESULT | {"actors": actors})
    assert "order_router:main does not answer: no answer within 2 s" in text
    assert "feed polling" in text


def test_an_empty_answer_is_shown_without_failing() -> None:
    assert "market - IST" in shown({})


async def test_status_asks_once_and_prints(tmp_path: Path) -> None:
    async with gateway(tmp_path, json.dumps({"result": RESULT}).encode()) as fake:
        result = await fake.verb("status")
        as_json = await fake.verb("status", "--json")
    assert result.exit_code == 0, result.output
    assert "positions at rest: INFY, ITC" in result.stdout
    assert json.loads(as_json.stdout) == RESULT
    assert fake.asked == [{"verb": "status"}] * 2


def test_the_verbs_that_ask_fail_when_nothing_runs(tmp_path: Path) -> None:
    verbs = (["status"], ["status", "--watch"], ["kill", "ticker"], ["close", "NCC", "1"], ["kill-switch", "on"])
    for arguments in verbs:
        result = CliRunner().invoke(main, [*arguments, "--set", f"storage.directory={tmp_path}"])
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: nothing runs in {tmp_path}")


async def test_watching_goes_on_while_the_process_is_away(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    answers: Iterator[dict[str, Any] | NobodyRuns] = iter(
        [RESULT, NobodyRuns("nothing runs in var"), RESULT | {"market_time": "2026-11-23 10:15:05"}]
    )
    console = Console(file=io.StringIO(), width=80, force_terminal=False)

    async def ask(*_: object) -> dict[str, Any]:
        answer = next(answers, None)
        if answer is None:
            raise KeyboardInterrupt
        if isinstance(answer, NobodyRuns):
            raise answer
        return answer

    monkeypatch.setattr(status_verb, "ask", ask)
    with pytest.raises(KeyboardInterrupt):
        await status_verb._watch(Settings(), console)
    assert trio.current_time() >= 3
    assert isinstance(console.file, io.StringIO)
    assert "2026-11-23 10:15:05" in console.file.getvalue()


async def test_kill_says_who_was_killed(tmp_path: Path) -> None:
    async with gateway(tmp_path, b'{"result": {"killed": "order_router:main"}}') as fake:
        result = await fake.verb("kill", "order_router")
    assert result.exit_code == 0
    assert result.stdout == "killed order_router:main: its supervisor starts it again\n"
    assert fake.asked == [{"verb": "kill", "actor": "order_router"}]


async def test_a_killed_gateway_cannot_answer_and_that_is_no_failure(tmp_path: Path) -> None:
    async with gateway(tmp_path, None) as fake:
        killed = await fake.verb("kill", "gateway")
        other = await fake.verb("kill", "ticker")
    assert killed.exit_code == 0
    assert killed.stdout == "killed gateway: its supervisor starts it again\n"
    assert other.exit_code == 1
    assert "closed the connection" in other.stderr


async def test_close_asks_for_one_rung_and_says_who(tmp_path: Path) -> None:
    answer = b'{"result": {"selling": "NCC P1", "account": "second"}}'
    async with gateway(tmp_path, answer) as fake:
        result = await fake.verb("close", "ncc", "p1", "--account", "second", "--who", "asha")
        by_number = await fake.verb("close", "NCC", "3", "--who", "asha")
    assert result.exit_code == by_number.exit_code == 0
    assert result.stdout == "selling NCC P1 of account second at market\n"
    asked = {"verb": "close", "symbol": "NCC", "rung": 1, "account": "second", "who": "asha"}
    assert fake.asked == [asked, asked | {"rung": 3, "account": None}]


async def test_a_rung_that_is_not_open_cannot_be_closed(tmp_path: Path) -> None:
    refusal = {"error": {"code": "BadCommand", "message": "NCC P1 of account main is not open"}}
    async with gateway(tmp_path, json.dumps(refusal).encode()) as fake:
        result = await fake.verb("close", "NCC", "1")
        wrong = await fake.verb("close", "NCC", "4")
    assert result.exit_code == 1
    assert result.stderr == "Error: NCC P1 of account main is not open\n"
    assert wrong.exit_code == 2


async def test_the_kill_switch_says_who_and_that_its_file_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ravi")
    async with gateway(tmp_path, b'{"result": {"kill_switch": true}}') as fake:
        on = await fake.verb("kill-switch", "on")
        off = await fake.verb("kill-switch", "off", "--who", "asha")
        (tmp_path / "kill-switch").touch()
        overruled = await fake.verb("kill-switch", "off")
    assert [result.exit_code for result in (on, off, overruled)] == [0, 0, 0]
    assert on.stdout == "kill switch on: no new entries; what is open stays protected\n"
    assert off.stdout == "kill switch off: entries go on\n"
    assert "stay stopped while" in overruled.stdout
    assert fake.asked[:2] == [
        {"verb": "kill_switch", "on": True, "who": "ravi"},
        {"verb": "kill_switch", "on": False, "who": "asha"},
    ]


async def test_killing_nobody_fails_with_the_process_s_own_words(tmp_path: Path) -> None:
    refusal = {"error": {"code": "BadCommand", "message": "no living actor is called 'x'"}}
    async with gateway(tmp_path, json.dumps(refusal).encode()) as fake:
        result = await fake.verb("kill", "x")
    assert result.exit_code == 1
    assert result.stderr == "Error: no living actor is called 'x'\n"
