"""A full disk is not a crash: entries are refused, the reserve is freed, exits and stops go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random

import pytest

from protocol.broker import PlaceGtt, PlaceOrder
from protocol.errors import StoreFull
from protocol.journal import Change
from protocol.orders import OrderState, Side
from protocol.rungs import Protection, RungStatus
from store.journal import Journal
from store.opening import memory_journal
from tests.fakes.router_stage import PRICE, RouterStage, requests_of

StageMaker = Callable[..., Awaitable[RouterStage]]


class CrampedJournal(Journal):
    """A real journal in memory on a disk that others fill; `reserve_works` says whether its reserve is enough.

    That a write on a full disk writes nothing is the promise of the journal itself (tests/store/test_full_disk.py).
    """

    def __init__(self) -> None:
        super().__init__(memory_journal(chance=Random(3)).file, "paper")
        self.full = False
        self.reserve_works = True
        self.freed = 0

    def write(self, changes: Sequence[Change], *, before_wire: bool = False) -> None:
        if self.full:
            raise StoreFull("momentum_strategy_paper.db: database or disk is full")
        super().write(changes, before_wire=before_wire)

    def free_reserve(self) -> None:
        self.freed += 1
        self.full = self.full and not self.reserve_works


@pytest.fixture
def cramped() -> CrampedJournal:
    return CrampedJournal()


async def test_entries_of_a_turn_that_cannot_be_written_are_taken_back_and_its_exits_go_out(
    stage_of: StageMaker, cramped: CrampedJournal
) -> None:
    stage = await stage_of(journal=cramped)
    await stage.open_rung()
    cramped.full = True
    await stage.say(stage.enter(symbol="TCS"), stage.leave())
    assert stage.refusals("TCS") == ["disk full"]
    assert stage.trade().status is RungStatus.CLOSED
    assert [order.symbol for order in stage.orders() if order.side is Side.BUY] == ["INFY"]
    snapshot = await stage.snapshot()
    assert (snapshot["slots"], snapshot["deployed_paise"], snapshot["disk_full"]) == (0, 0, True)
    assert cramped.freed == 1
    assert stage.out_of_disk == []
    (alert,) = stage.alerts()
    assert alert.startswith("disk full, entries stop: ")


async def test_a_second_attempt_that_is_taken_back_leaves_the_first_one_counted(
    stage_of: StageMaker, cramped: CrampedJournal
) -> None:
    stage = await stage_of(journal=cramped, told=True)
    await stage.say(stage.enter())
    (request,) = stage.told.take()
    assert isinstance(request, PlaceOrder)
    await stage.hear(stage.told.order(request, OrderState.CANCELLED))
    await stage.after(60)
    await stage.tick(INFY=PRICE)
    cramped.full = True
    await stage.say(stage.enter(attempt=2))
    assert stage.told.take() == []
    await stage.die()
    await stage.say(stage.enter())
    assert (stage.rung().status, stage.rung().attempts) == (RungStatus.FAILED, 1)


async def test_an_entry_alone_finds_the_disk_full_and_later_ones_are_refused_at_once(
    stage_of: StageMaker, cramped: CrampedJournal
) -> None:
    stage = await stage_of(journal=cramped)
    cramped.full = True
    await stage.say(stage.enter())
    await stage.say(stage.enter(symbol="TCS"))
    assert stage.orders() == []
    assert (stage.refusals("INFY"), stage.refusals("TCS")) == (["disk full"], ["disk full"])
    assert cramped.freed == 1


async def test_protection_is_still_placed_and_moved_from_the_reserve(
    stage_of: StageMaker, cramped: CrampedJournal
) -> None:
    stage = await stage_of(journal=cramped)
    await stage.open_rung(protected=False)
    cramped.full = True
    await stage.say(stage.protect())
    await stage.say(stage.move(147_000))
    assert (stage.rung().protection, stage.rung().stop_paise) == (Protection.STANDING, 147_000)


async def test_a_fill_heard_on_a_full_disk_is_kept(stage_of: StageMaker, cramped: CrampedJournal) -> None:
    stage = await stage_of(journal=cramped, told=True)
    await stage.say(stage.enter())
    (request,) = stage.told.take()
    assert isinstance(request, PlaceOrder)
    cramped.full = True
    await stage.hear(stage.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    await stage.die()
    assert stage.rung().held == 10


async def test_without_any_room_nothing_is_sent_and_the_process_is_told_to_end(
    stage_of: StageMaker, cramped: CrampedJournal
) -> None:
    cramped.reserve_works = False
    stage = await stage_of(journal=cramped, told=True)
    await stage.say(stage.enter())
    (request,) = stage.told.take()
    assert isinstance(request, PlaceOrder)
    await stage.hear(stage.told.order(request, OrderState.COMPLETE, filled=10, price=PRICE))
    cramped.full = True
    with pytest.raises(StoreFull):
        await stage.router.handle_batch([stage.protect()])
    assert len(stage.out_of_disk) == 1
    assert requests_of(PlaceGtt, stage.told.take()) == []


async def test_entries_go_on_when_the_disk_has_room_again(stage_of: StageMaker, cramped: CrampedJournal) -> None:
    stage = await stage_of(journal=cramped)
    cramped.full = True
    await stage.say(stage.enter())
    stage.entries_stopped = "90 MB free on the disk, 500 MB wanted"
    await stage.after(60)
    assert (await stage.snapshot())["disk_full"] is True
    stage.entries_stopped = ""
    await stage.after(60)
    assert (await stage.snapshot())["disk_full"] is False
    await stage.tick(INFY=PRICE)
    await stage.say(stage.enter())
    assert stage.rung().open
    assert stage.alerts()[-1] == "the disk has room again: entries go on"
