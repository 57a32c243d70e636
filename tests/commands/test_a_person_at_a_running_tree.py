"""What the verbs promise, asked of a real tree on a simulated market over its real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from actors import health_monitor
from actors.child import ChildEvent, Limits
from actors.tree import Tree
from commands.compose import Opened, opened
from commands.configuration import load
from commands.gateway_client import CommandRefused, ConnectionClosed, NobodyRuns, ask
from commands.journals import kill_switch_left_on
from effects import Effects
from protocol.messages import Severity
from protocol.orders import ExitReason
from settings import Settings
from store.journal import Journal

PATIENCE_S = 60.0
WARNING, ALERT = Severity.WARNING, Severity.ALERT


@attrs.frozen
class Running:
    """A tree that runs, and the way to ask it."""

    settings: Settings
    everything: Opened

    @property
    def tree(self) -> Tree:
        return self.everything.tree

    @property
    def journal(self) -> Journal:
        return self.everything.journals["main"]

    @property
    def kill_switch(self) -> bool:
        return self.tree.accounts["main"].memory.kill_switch

    async def ask(self, verb: str, **arguments: object) -> dict[str, object]:
        return await ask(self.settings, verb, **arguments)

    async def refusal(self, verb: str, **arguments: object) -> str:
        with pytest.raises(CommandRefused) as refused:
            await self.ask(verb, **arguments)
        return str(refused.value)

    def notices(self, source: str) -> list[tuple[Severity, str]]:
        return [(notice.severity, notice.text) for notice in self.tree.notices if notice.source == source]


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another process's view: nothing sets an event for it
            await trio.sleep(0.01)


@asynccontextmanager
async def running(directory: Path, *overrides: str) -> AsyncIterator[Running]:
    settings = load(None, [f"storage.directory={directory}", "storage.reserve_mb=1", *overrides])

    def gave_up(reason: str) -> None:
        raise AssertionError(reason)

    def log(kind: str, actor: str, text: str) -> None:
        """Notices and the journal are what these tests look at."""

    with opened(
        settings, Effects(seed="a person"), log=log, give_up_process=gave_up, out_of_disk=gave_up
    ) as everything:
        async with trio.open_nursery() as nursery:
            await nursery.start(everything.tree.run)
            yield Running(settings, everything)
            nursery.cancel_scope.cancel()


async def test_only_living_actors_can_be_killed_and_a_kill_is_one_warning(tmp_path: Path) -> None:
    async with running(tmp_path, "market.speed=0.01") as person:
        assert await person.refusal("kill", actor="root") == "root is a supervisor: only actors can be killed"
        assert "positions:main is a supervisor" in await person.refusal("kill", actor="positions")
        assert "no actor is called 'nobody'" in await person.refusal("kill", actor="nobody")
        assert await person.ask("kill", actor="scanner") == {"killed": "scanner"}
        await until(lambda: person.tree.root.kill("scanner"))  # its second life has begun, and ends
        await until(lambda: len(person.notices("scanner")) == 2)
        assert person.notices("scanner") == [(WARNING, "killed from outside, restarting")] * 2


async def test_an_actor_that_waits_for_its_restart_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "delay_s", lambda *_: 30.0)
    async with running(tmp_path, "market.speed=0.01") as person:
        await person.ask("kill", actor="scanner")
        await until(lambda: len(person.notices("scanner")) == 2)
        assert person.notices("scanner")[1] == (WARNING, "restarting in 30 s")
        assert await person.refusal("kill", actor="scanner") == "scanner is waiting for its restart"


async def test_the_gateway_can_be_killed_through_itself_and_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path, "market.speed=0.01") as person:
        with pytest.raises(ConnectionClosed):
            await person.ask("kill", actor="gateway")
        with trio.fail_after(PATIENCE_S):
            while not await answers(person):  # noqa: ASYNC110 - nothing sets an event for a socket that comes back
                await trio.sleep(0.01)
        assert person.notices("gateway") == [(WARNING, "killed from outside, restarting")]


async def answers(person: Running) -> bool:
    try:
        return "tree" in await person.ask("status")
    except NobodyRuns:
        return False  # between its two lives


async def test_a_crash_is_an_alert(tmp_path: Path) -> None:
    async with running(tmp_path, "market.speed=0.01") as person:
        person.tree._on_event(ChildEvent.CRASHED, "poller", "ValueError: no\n  File x")
        person.tree._on_event(ChildEvent.RESTARTING, "poller", "in 0 s")
        assert person.notices("poller") == [(ALERT, "crashed ValueError: no")]


async def test_a_person_sells_one_rung_and_the_journal_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, "market.speed=600") as person:
        assert "NCC P1 of account main is not open" in await person.refusal("close", symbol="NCC", rung=1)
        assert "account 'b' is none of main" in await person.refusal("close", symbol="NCC", rung=1, account="b")
        assert "rung 1, 2 or 3" in await person.refusal("close", symbol="NCC", rung=True)
        await until(lambda: [rung for rung in person.journal.trades(status="OPEN") if rung.held])
        rung = person.journal.trades(status="OPEN")[0]
        answer = await person.ask("close", symbol=rung.symbol.lower(), rung=rung.number, account=None, who="asha")
        assert answer == {"selling": f"{rung.symbol} P{rung.number}", "account": "main"}

        def closed() -> list[ExitReason | None]:
            return [each.reason for each in person.journal.trades(status="CLOSED") if each.trade_id == rung.trade_id]

        await until(closed)
        assert closed() == [ExitReason.PERSON]
        assert any("asked for by asha" in notice.text for notice in person.tree.notices)


async def test_the_kill_switch_is_journalled_with_who_and_outlives_the_process(tmp_path: Path) -> None:
    async with running(tmp_path, "market.speed=0.01") as person:
        await person.ask("kill_switch", on=True, who="asha")
        said = [event for _, event in person.journal.events() if event.kind == "kill_switch"]
        assert [(event.ref, event.body) for event in said] == [("asha", '{"on": true}')]
        assert kill_switch_left_on(person.journal)
    async with running(tmp_path, "market.speed=0.01") as again:
        left_on = again.kill_switch
        assert any("kill switch was left on" in remark for remark in again.everything.remarks)
        await again.ask("kill_switch", on=False, who="asha")
        switched_off = again.kill_switch
    async with running(tmp_path, "market.speed=0.01") as at_last:
        assert [left_on, switched_off, at_last.kill_switch] == [True, False, False]


async def test_the_file_beside_the_databases_stops_entries_at_any_speed_and_over_a_death_of_its_watcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_monitor, "LAG_PERIOD_S", 0.01)
    file = tmp_path / "kill-switch"
    async with running(tmp_path, "market.speed=max") as person:
        file.touch()
        await until(lambda: person.tree.entries_stopped == f"kill switch: {file} exists")
        assert person.tree.kill("health_monitor")
        file.unlink()
        await until(lambda: not person.tree.entries_stopped)
        assert (ALERT, "entries go on") in person.notices("health_monitor")
