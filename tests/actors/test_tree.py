"""The whole tree, small: the order in which it starts and stops, what people may command, accounts side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.child import ChildState
from brokers.paper import PaperBroker
from effects import Effects
from protocol.broker import Event
from protocol.messages import SetKillSwitch
from settings import MAIN_ACCOUNT
from tests.fakes.actor_tree import SECOND_ACCOUNT, Planted, actors, planted, settings, story

TRADES = [
    ("ALPHA", 1, 29, 29 * 10_300, "stop"),
    ("ALPHA", 2, 29, 29 * 10_340, "stop"),
    ("ALPHA", 3, 28, 28 * 10_480, "stop"),
    ("BETA", 1, 29, 29 * 10_280, ""),
]
TWO = (MAIN_ACCOUNT, SECOND_ACCOUNT)


# --- start and stop ---------------------------------------------------------------------------------


async def test_the_story_trades() -> None:
    tree = planted(story())
    await tree.play()
    assert tree.trades() == TRADES
    assert len(tree.records.rankings) == 375
    assert tree.records.bars == 25 * 3


async def test_it_starts_left_to_right_and_stops_right_to_left() -> None:
    tree = planted(story("09:26"))
    async with tree.living():
        await tree.tree.playback.ended.wait()
    order = [
        "ticker",
        "poller",
        "candle_recorder",
        "market",
        "broker:main",
        "order_router:main",
        "positions:main",
        "account:main",
        "accounts",
        "scanner",
        "health_monitor",
        "services",
    ]
    started = [actor for actor, text in tree.said("access") if text == "started"]
    stopped = [actor for actor, text in tree.said("access") if text == "stopped"]
    assert started == [*order, "position:ALPHA"]
    assert stopped == [
        "health_monitor",
        "scanner",
        "services",
        "position:ALPHA",
        "positions:main",
        "order_router:main",
        "broker:main",
        "account:main",
        "accounts",
        "candle_recorder",
        "poller",
        "ticker",
        "market",
    ]


async def test_nothing_is_played_before_every_actor_is_ready() -> None:
    tree = planted(story("09:26"))
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.tree.run)
        seen.append(tree.feed.place)
        assert all(actor.state is ChildState.UP for actor in actors(tree.tree.root.snapshot()).values())
        await tree.tree.playback.ended.wait()
        nursery.cancel_scope.cancel()
    assert seen == [0]


def stubborn_sessions(monkeypatch: pytest.MonkeyPatch, ends: Callable[[], Any]) -> None:
    """Every broker's session takes its time to end, whatever the cancel."""
    session = PaperBroker.session

    async def reluctant(self: PaperBroker, post: Callable[[Event], None], task_status: Any) -> None:
        try:
            await session(self, post, task_status)
        finally:
            with trio.CancelScope(shield=True):
                await ends()

    monkeypatch.setattr(PaperBroker, "session", reluctant)


async def test_it_stops_within_ten_seconds_though_actors_take_their_time(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    stubborn_sessions(monkeypatch, partial(trio.sleep, 1.9))
    tree = planted(story("09:26"), settings(accounts=TWO))
    async with tree.living() as nursery:
        await tree.tree.playback.ended.wait()
        told = trio.current_time()
        nursery.cancel_scope.cancel()
    assert 3.8 <= trio.current_time() - told <= 10
    assert not tree.gave_up
    assert [actor for actor, text in tree.said("access") if text == "stopped"][-1] == "market"


async def test_an_actor_that_will_not_end_costs_the_process_within_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    tree = planted(story("09:26"))
    stubborn_sessions(monkeypatch, tree.release.wait)
    async with tree.living() as nursery:
        await tree.tree.playback.ended.wait()
        told = trio.current_time()
        nursery.cancel_scope.cancel()
    ((reason, when),) = tree.gave_up
    assert "broker:main" in reason
    assert when - told <= 10


# --- commands ---------------------------------------------------------------------------------------


class Person:
    """Somebody at the local socket of a tree."""

    def __init__(self, tree: Planted, stream: trio.SocketStream) -> None:
        self.tree = tree
        self._stream = stream

    async def asks(self, **command: Any) -> dict[str, Any]:
        await self._stream.send_all(dumps(command).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += await self._stream.receive_some(1 << 20)
        said = loads(answer)
        assert isinstance(said, dict)
        return said


@asynccontextmanager
async def at_the_socket(directory: Path, last: str = "09:31") -> AsyncIterator[Person]:
    """A tree whose market has been played up to a minute, and a connection to it."""
    path = directory / "gateway.sock"
    tree = planted(story(last), settings(accounts=TWO), gateway_path=path)
    async with tree.living():
        await tree.tree.playback.ended.wait()
        async with await Effects().connect_unix(path) as stream:
            yield Person(tree, stream)


async def test_status_shows_the_tree_the_accounts_and_the_market(tmp_path: Path) -> None:
    async with at_the_socket(tmp_path) as person:
        status = (await person.asks(verb="status"))["result"]
    assert status["market_time"] == "2026-01-05 09:31:00"
    root = status["tree"]
    assert set(root) == {"name", "kind", "state", "restarts", "last_crash", "depth", "children"}
    assert [child["name"] for child in root["children"]] == ["market", "accounts", "services"]
    accounts = root["children"][1]["children"]
    assert [account["name"] for account in accounts] == ["account:main", "account:second"]
    assert [child["name"] for child in accounts[1]["children"]] == [
        "broker:second",
        "order_router:second",
        "positions:second",
    ]
    assert [position["name"] for position in accounts[1]["children"][2]["children"]] == ["position:second/ALPHA"]
    assert status["actors"]["health_monitor"]["feed"] == "live"
    assert status["actors"]["ticker"]["finished"] is True
    for account in ("main", "second"):
        shown = status["actors"][f"order_router:{account}"]
        assert (shown["account"], shown["state"], shown["slots"]) == (account, "TRADING", 2)
        assert [(rung["symbol"], rung["rung"], rung["quantity"]) for rung in shown["rungs"]] == [
            ("ALPHA", 1, 29),
            ("ALPHA", 2, 29),
        ]


@pytest.mark.parametrize(
    ("typed", "killed"),
    [
        ("ticker", "ticker"),
        ("order_router", "order_router:main"),
        ("order_router:second", "order_router:second"),
        ("position:ALPHA", "position:ALPHA"),
        ("position:second/ALPHA", "position:second/ALPHA"),
    ],
)
async def test_a_person_kills_one_actor_and_it_comes_back(tmp_path: Path, typed: str, killed: str) -> None:
    async with at_the_socket(tmp_path) as person:
        before = actors(person.tree.tree.root.snapshot())
        assert await person.asks(verb="kill", actor=typed) == {"result": {"killed": killed}}
        await person.tree.tree.in_flight.settled()
        after = actors(person.tree.tree.root.snapshot())
    assert {name: after[name].restarts - before[name].restarts for name in before} == {
        name: int(name == killed) for name in before
    }
    assert after[killed].state is ChildState.UP


@pytest.mark.parametrize("typed", ["", "nobody", "market", "account:main", "position:OMEGA"])
async def test_who_is_no_living_actor_cannot_be_killed(tmp_path: Path, typed: str) -> None:
    async with at_the_socket(tmp_path) as person:
        answer = await person.asks(verb="kill", actor=typed)
        assert answer["error"]["code"] == "BadCommand"
        assert not sum(actor.restarts for actor in actors(person.tree.tree.root.snapshot()).values())


async def test_a_person_closes_a_rung_of_one_account(tmp_path: Path) -> None:
    async with at_the_socket(tmp_path) as person:
        assert "result" in await person.asks(verb="close", symbol="ALPHA", rung=2, account="second")
        await person.tree.tree.in_flight.settled()
        assert [trade[4] for trade in person.tree.trades("second")] == ["", "person"]
        assert [trade[4] for trade in person.tree.trades("main")] == ["", ""]
        again = await person.asks(verb="close", symbol="ALPHA", rung=2, account="second")
        assert again["error"]["code"] == "BadCommand"


@pytest.mark.parametrize(
    "command",
    [
        {"symbol": "OMEGA", "rung": 1},
        {"symbol": "ALPHA", "rung": 4},
        {"symbol": "ALPHA", "rung": True},
        {"symbol": "ALPHA"},
        {"symbol": "ALPHA", "rung": 1, "account": "third"},
    ],
)
async def test_what_cannot_be_closed_is_said(tmp_path: Path, command: dict[str, Any]) -> None:
    async with at_the_socket(tmp_path) as person:
        answer = await person.asks(verb="close", **command)
        assert answer["error"]["code"] == "BadCommand"
        assert [trade[4] for trade in person.tree.trades("main")] == ["", ""]


# --- accounts ---------------------------------------------------------------------------------------


async def test_two_accounts_trade_the_same_symbols_each_in_its_own_journal() -> None:
    tree = planted(story(), settings(accounts=TWO))
    await tree.play()
    assert tree.trades("main") == tree.trades("second") == TRADES
    ids = {account: {rung.entry_order for rung in tree.rungs(account)} for account in ("main", "second")}
    assert {str(order)[:4] for order in ids["main"]} == {"PA01"}
    assert {str(order)[:4] for order in ids["second"]} == {"PA02"}


async def test_each_account_has_its_own_capital() -> None:
    tree = planted(story("09:45"), settings("strategy.capital=6000", accounts=TWO))
    await tree.play()
    assert tree.trades("main") == tree.trades("second") == [(*trade[:4], "") for trade in TRADES[:2]]
    alone = planted(story("09:45"), settings("strategy.capital=6000"))
    await alone.play()
    assert alone.trades() == tree.trades("main")


async def test_a_kill_switch_of_one_account_stops_no_other() -> None:
    tree = planted(story(), settings(accounts=TWO))
    async with tree.living():
        await tree.tree.accounts["second"].router.ask(SetKillSwitch(True, "owner"), 1.0)
        await tree.tree.playback.ended.wait()
    assert tree.trades("main") == TRADES
    assert tree.trades("second") == []


async def test_an_account_whose_broker_never_comes_up_gives_up_and_the_others_trade_on(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    session = PaperBroker.session

    async def broken(self: PaperBroker, post: Callable[[Event], None], task_status: Any) -> None:
        if self._account == "second":
            task_status.started()
            raise OSError("no route to host")
        await session(self, post, task_status)

    monkeypatch.setattr(PaperBroker, "session", broken)
    tree = planted(story(), settings(accounts=TWO))
    await tree.play()
    assert tree.trades("main") == TRADES
    assert tree.trades("second") == []
    assert not tree.gave_up
    assert any(notice.source == "account:second" and "gave up" in notice.text for notice in tree.tree.notices)


async def test_killing_everything_of_one_account_changes_nothing_in_the_other() -> None:
    tree = planted(story(), settings("supervision.intensity=1000", accounts=TWO))
    async with tree.living():
        while not tree.tree.playback.ended.is_set():
            for name in actors(tree.tree.root.snapshot()):
                if "second" in name:
                    tree.tree.kill(name)
            await trio.sleep(0.005)
    assert tree.trades("main") == tree.trades("second") == TRADES
    lives = actors(tree.tree.root.snapshot())
    assert lives["order_router:second"].restarts > 0
    assert lives["order_router:main"].restarts == 0
