"""The scanner alone: who is ranked, who is asked for, what is recorded, and when it looks."""

from __future__ import annotations

from datetime import date
from typing import Any

import attrs
import pytest

from actors.mailbox import Address
from actors.scanner import ScanMemory, Scanner, ScannerParts, ScanRules
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from market.history import History
from protocol.clock import MINUTE_NS, NS
from protocol.messages import AlarmRang, AskSnapshot, Enter, Ranked, Reservation, Reserve, Reserved
from strategy.ladder import DEFAULT_RULES
from tests.fakes.actor_addresses import RecordingAddress
from tests.fakes.actor_market import fill_past, flat_bars, frame, instant, session_of, universe_of

UNIVERSE = universe_of("ALPHA", "BETA", "DELTA", "GAMMA")
PAST = (10_000, 10_000, 10_000, 10_000)
RULES = ScanRules(interval_ns=MINUTE_NS, min_rank_gm=2.5, acceleration_weight=0.0, ladder=DEFAULT_RULES)


class Desk:
    """A scanner over a board that the test fills; routers, positions and recorder write down what they are told."""

    def __init__(
        self, now: str = "10:00:00", *, rules: ScanRules = RULES, accounts: tuple[str, ...] = ("main",)
    ) -> None:
        self.clock = MarketClock(instant(now))
        self.board = Board(len(UNIVERSE), 0)
        self.history = History(len(UNIVERSE))
        self.address = Address("scanner")
        self.routers = {account: RecordingAddress(f"order_router:{account}") for account in accounts}
        self.positions: dict[tuple[str, str], RecordingAddress] = {}
        self.recorder = RecordingAddress("candle_recorder")
        self.entries_allowed = True
        self.parts = ScannerParts(
            rules=rules,
            clock=self.clock,
            calendar=TradingCalendar(),
            universe=UNIVERSE,
            board=self.board,
            history=self.history,
            routers=self.routers,
            position_for=self.position_for,
            recorder=self.recorder,
            entries_allowed=lambda: self.entries_allowed,
            memory=ScanMemory(),
        )
        self.scanner = Scanner(self.address, self.parts)

    def position_for(self, account: str, symbol: str) -> RecordingAddress:
        return self.positions.setdefault((account, symbol), RecordingAddress(f"position:{symbol}"))

    def prices(self, *prices: int, at: str | None = None) -> None:
        """Last prices by row, 0 for none, made now or at another time of day."""
        ticks = [(row, price) for row, price in enumerate(prices) if price]
        self.board.apply(frame(instant(at) if at else self.clock.now_ns, *ticks))

    async def scan(self) -> None:
        await self.scanner.handle(AlarmRang("scan", self.clock.now_ns))

    async def nothing_is_granted(self) -> None:
        """Every router answers: the scan goes on record."""
        for account in self.routers:
            await self.scanner.handle(Reserved(account, self.clock.now_ns, (), ()))

    def wanted(self, account: str = "main") -> list[str]:
        """Symbols of the one list that was reserved, best first; [] when none was."""
        said = self.routers[account].take()
        assert len(said) <= 1
        return [candidate.symbol for message in said for candidate in message.candidates]

    def notes(self) -> dict[str, str]:
        """Why each ranked symbol was not entered, by the last record."""
        ranked = self.recorder.posted[-1]
        assert isinstance(ranked, Ranked)
        return {symbol: note for symbol, _, _, note in ranked.rows}


def desk_with_past(now: str = "10:00:00", **options: Any) -> Desk:
    desk = Desk(now, **options)
    fill_past(desk.history, PAST, session_of().open_ns)
    return desk


def granted(symbol: str, at_ns: int) -> Reservation:
    return Reservation(
        ladder=f"{symbol}-{at_ns // NS}",
        symbol=symbol,
        quantity=28,
        last_paise=10_500,
        rank=5.0,
        at_ns=at_ns,
        until_ns=at_ns + 5 * NS,
    )


# --- ranking ----------------------------------------------------------------------------------------


async def test_the_list_is_asked_for_from_the_top_in_one_message() -> None:
    desk = desk_with_past()
    desk.prices(10_400, 10_600, 10_100, 10_500)
    await desk.scan()
    (reserve,) = desk.routers["main"].posted
    assert isinstance(reserve, Reserve)
    assert [(c.symbol, c.last_paise, c.quantity, round(c.rank, 6)) for c in reserve.candidates] == [
        ("BETA", 10_600, 28, 6.0),
        ("GAMMA", 10_500, 28, 5.0),
        ("ALPHA", 10_400, 28, 4.0),
    ]


async def test_equal_ranks_are_asked_for_by_name() -> None:
    desk = desk_with_past()
    desk.prices(10_500, 10_600, 10_500, 10_500)
    await desk.scan()
    assert desk.wanted() == ["BETA", "ALPHA", "DELTA", "GAMMA"]


@pytest.mark.parametrize(("price", "wanted"), [(10_250, []), (10_251, ["ALPHA"])])
async def test_a_rank_must_be_above_the_least_one_strictly(price: int, wanted: list[str]) -> None:
    desk = desk_with_past()
    desk.prices(price)
    await desk.scan()
    assert desk.wanted() == wanted


async def test_the_acceleration_is_against_the_scan_exactly_a_quarter_of_an_hour_earlier() -> None:
    desk = desk_with_past(rules=attrs.evolve(RULES, acceleration_weight=0.3))
    desk.prices(10_397)
    await desk.scan()
    for _ in range(15):
        desk.clock.advance_to(desk.clock.now_ns + MINUTE_NS)
        desk.prices(10_648)
        await desk.scan()
    last = [message.candidates[0].rank for message in desk.routers["main"].posted]
    assert last[-2] == pytest.approx(6.48)  # 14 minutes later there is none to compare with
    assert last[-1] == pytest.approx(6.48 + 0.3 * (6.48 - 3.97))


async def test_yesterdays_scans_accelerate_nothing() -> None:
    desk = desk_with_past("15:00:00", rules=attrs.evolve(RULES, acceleration_weight=0.3))
    desk.prices(10_300)
    await desk.scan()
    desk.clock.advance_to(instant("09:26:00", date(2026, 1, 6)))
    desk.board.apply(frame(desk.clock.now_ns, (0, 10_400)))
    await desk.scan()
    assert desk.routers["main"].posted[-1].candidates[0].rank == pytest.approx(4.0)
    assert list(desk.parts.memory.rank_gm) == [desk.clock.now_ns]


async def test_a_symbol_without_enough_past_has_no_rank() -> None:
    desk = Desk()
    for bars in range(199):
        desk.history.add_bars(flat_bars(instant("09:15:00", date(2025, 12, 1)) + bars * 900 * NS, PAST))
    for days in range(60):
        desk.history.add_daily(flat_bars(instant("00:00:00", date(2025, 10, 1)) + days * 86_400 * NS, PAST))
    desk.prices(10_500, 10_500, 10_500, 10_500)
    await desk.scan()
    assert not desk.wanted()
    assert not desk.recorder.posted[-1].rows


# --- who is not asked for ---------------------------------------------------------------------------


async def test_a_stale_symbol_is_noted_and_not_asked_for_while_the_others_are() -> None:
    desk = desk_with_past()
    desk.prices(10_500, at="09:59:54")
    desk.prices(0, 10_500, at="09:59:55")
    await desk.scan()
    assert desk.wanted() == ["BETA"]
    await desk.nothing_is_granted()
    assert desk.notes() == {"ALPHA": "stale price", "BETA": ""}


async def test_a_price_above_the_capital_of_a_position_is_noted_and_the_next_is_tried() -> None:
    desk = Desk()
    fill_past(desk.history, (400_000, 10_000, 10_000, 10_000), session_of().open_ns)
    desk.prices(440_000, 10_500)
    await desk.scan()
    assert desk.wanted() == ["BETA"]
    await desk.nothing_is_granted()
    assert desk.notes()["ALPHA"] == "price above capital per position"


@pytest.mark.parametrize(
    ("now", "wanted"), [("09:25:00", []), ("09:26:00", ["ALPHA"]), ("15:00:00", ["ALPHA"]), ("15:01:00", [])]
)
async def test_outside_the_entry_hours_it_ranks_and_asks_for_nothing(now: str, wanted: list[str]) -> None:
    desk = desk_with_past(now)
    desk.prices(10_500)
    await desk.scan()
    assert desk.wanted() == wanted
    if not wanted:
        assert desk.notes() == {"ALPHA": "outside entry hours"}


async def test_while_entries_are_stopped_it_ranks_and_asks_for_nothing() -> None:
    desk = desk_with_past()
    desk.entries_allowed = False
    desk.prices(10_500)
    await desk.scan()
    assert not desk.wanted()
    assert desk.notes() == {"ALPHA": "entries are stopped"}


# --- entering ---------------------------------------------------------------------------------------


async def test_what_is_granted_is_entered_at_that_accounts_position() -> None:
    desk = desk_with_past(accounts=("main", "second"))
    desk.prices(10_500, 10_400)
    await desk.scan()
    assert desk.wanted("main") == desk.wanted("second") == ["ALPHA", "BETA"]
    now = desk.clock.now_ns
    await desk.scanner.handle(Reserved("second", now, (granted("BETA", now),), (("ALPHA", "open"),)))
    assert {key: address.posted for key, address in desk.positions.items()} == {
        ("second", "BETA"): [Enter(granted("BETA", now))]
    }


async def test_the_scan_goes_on_record_when_every_router_has_answered_with_their_reasons() -> None:
    desk = desk_with_past(accounts=("main", "second"))
    desk.prices(10_500, 10_400)
    await desk.scan()
    now = desk.clock.now_ns
    await desk.scanner.handle(Reserved("main", now, (granted("ALPHA", now),), (("BETA", "cooling down"),)))
    assert not desk.recorder.posted
    await desk.scanner.handle(Reserved("second", now, (granted("ALPHA", now), granted("BETA", now)), ()))
    assert desk.notes() == {"ALPHA": "", "BETA": "cooling down"}


async def test_a_scan_delivered_again_reserves_and_records_the_same() -> None:
    desk = desk_with_past()
    desk.prices(10_500)
    await desk.scan()
    desk.scanner = Scanner(desk.address, desk.parts)
    await desk.scanner.recover()
    await desk.scan()
    first, again = desk.routers["main"].posted
    assert first == again
    now = desk.clock.now_ns
    for _ in range(2):
        await desk.scanner.handle(Reserved("main", now, (granted("ALPHA", now),), ()))
    assert len(set(desk.recorder.posted)) == 1
    assert len(set(desk.positions["main", "ALPHA"].posted)) == 1


async def test_an_answer_to_an_older_scan_is_entered_and_not_recorded() -> None:
    desk = desk_with_past()
    desk.prices(10_500)
    await desk.scan()
    before = desk.clock.now_ns
    desk.clock.advance_to(before + MINUTE_NS)
    desk.prices(10_500)
    await desk.scan()
    await desk.scanner.handle(Reserved("main", before, (granted("ALPHA", before),), ()))
    assert desk.positions["main", "ALPHA"].posted == [Enter(granted("ALPHA", before))]
    assert not desk.recorder.posted


async def test_the_snapshot_shows_the_last_ranking() -> None:
    desk = desk_with_past()
    desk.prices(10_500)
    await desk.scan()
    shown = await desk.scanner.handle(AskSnapshot())
    assert isinstance(shown, dict)
    assert [(row["symbol"], round(row["rank_gm"], 6), row["note"]) for row in shown["ranked"]] == [("ALPHA", 5.0, "")]


# --- when -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "next_scan"),
    [
        ("08:00:00", "09:15:00"),
        ("09:15:00", "09:15:00"),
        ("09:15:01", "09:16:00"),
        ("12:34:56", "12:35:00"),
        ("15:28:30", "15:29:00"),
    ],
)
async def test_it_scans_on_every_full_minute_from_the_open(now: str, next_scan: str) -> None:
    desk = Desk(now)
    await desk.scanner.recover()
    assert desk.clock.next_due() == instant(next_scan)


@pytest.mark.parametrize("now", ["15:29:00.000000001", "15:30:00", "18:00:00"])
async def test_after_the_last_full_minute_it_scans_at_the_next_open(now: str) -> None:
    text, _, fraction = now.partition(".")
    desk = Desk(text)
    desk.clock.advance_to(instant(text) + int(fraction or 0))
    await desk.scanner.recover()
    assert desk.clock.next_due() == instant("09:15:00", date(2026, 1, 6))


async def test_a_scan_sets_the_next_one() -> None:
    desk = desk_with_past()
    await desk.scan()
    assert desk.clock.next_due() == instant("10:01:00")


async def test_a_killed_scanner_scans_no_minute_twice_and_leaves_none_out() -> None:
    desk = desk_with_past()
    await desk.scanner.recover()
    assert desk.clock.next_due() == instant("10:00:00")
    assert desk.clock.ring_next(instant("10:00:00"))
    in_hand = await desk.address.next()
    desk.scanner = Scanner(desk.address, desk.parts)
    await desk.scanner.recover()
    await desk.scanner.handle(in_hand)
    assert desk.clock.next_due() == instant("10:01:00")


async def test_the_ranks_of_a_killed_scanner_are_remembered() -> None:
    desk = desk_with_past(rules=attrs.evolve(RULES, acceleration_weight=1.0))
    desk.prices(10_300)
    await desk.scan()
    desk.scanner = Scanner(desk.address, desk.parts)
    desk.clock.advance_to(desk.clock.now_ns + 15 * MINUTE_NS)
    desk.prices(10_400)
    await desk.scan()
    assert desk.routers["main"].posted[-1].candidates[0].rank == pytest.approx(5.0)
