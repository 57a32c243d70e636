"""`trades` and `report` on a journal that the real store has written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random

import attrs
import pytest
from click.testing import CliRunner, Result

from commands.amounts import grouped
from commands.cli import main
from commands.day_report import Day, charges_by_order, day_line, day_of, schedules_of
from commands.trades import COLUMNS
from market.calendar import TradingCalendar
from protocol.clock import from_ist_text
from protocol.money import rupee_text
from settings import Settings
from store.journal_reads import JournalReads
from store.opening import open_for_reading, open_journal
from store.schema import TRADES
from strategy.charges import SCHEDULES, charges_of_day
from strategy.day import executions_of
from tests.commands.journal_of_two_days import FIRST, SECOND, write


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


@pytest.fixture
def journal(directory: Path) -> Iterator[JournalReads]:
    opened = open_for_reading(directory, mode="paper")
    yield opened
    opened.close()


def invoke(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--set", f"storage.directory={directory}"])


def words(text: str) -> str:
    return " ".join(text.split())


def rows(directory: Path, *arguments: str) -> list[dict[str, str]]:
    result = invoke(directory, "trades", "--csv", *arguments)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


# --- trades -------------------------------------------------------------------------------------------


def test_csv_has_the_owner_s_columns_and_the_values_as_stored(directory: Path) -> None:
    assert tuple(TRADES)[: len(COLUMNS)] == COLUMNS
    first = rows(directory)[0]
    assert tuple(first) == COLUMNS
    assert first["symbol"] == "INFY"
    assert first["entry_time"] == "2026-11-23 10:00:00"
    assert first["exit_price"] == "1050.5"
    assert first["pnl"] == "151.5"
    assert first["execution_mode"] == "PAPER"
    assert first["central_trade_id"] == "INFY-1:1"
    assert first["created_at"] == "2026-11-23 10:00:00"


def test_trades_are_found_by_symbol_state_and_day(directory: Path) -> None:
    def ids(*arguments: str) -> list[str]:
        return [row["trade_id"] for row in rows(directory, *arguments)]

    assert ids() == ["1", "2", "3"]
    assert ids("--symbol", "tcs") == ["3"]
    assert ids("--open") == ["3"]
    assert ids("--closed") == ["1", "2"]
    assert ids("--day", SECOND) == ["2", "3"]
    assert ids("--day", "2026-11-20") == []


def test_the_table_shows_rungs_and_their_sum(directory: Path) -> None:
    shown = words(invoke(directory, "trades").stdout)
    assert "23 Nov 2026 INFY P1 3 10:00 1,000.00 14:00 1,050.50 +151.50" in shown
    assert "INFY P2 3 10:30 1,010.00 09:30 +1 1,000.00 -30.00" in shown
    assert "TCS P1 1 11:00 3,000.00 open" in shown
    assert "3 trades: 1 open, 2 closed gross +₹121.50, charges" in shown


def test_net_is_gross_less_the_charges_of_all_orders_of_the_rung(directory: Path, journal: JournalReads) -> None:
    charges = {order: charge.total for order, charge in charges_by_order(journal.orders_since(0), SCHEDULES).items()}
    shown = words(invoke(directory, "trades").stdout)
    nets = (15_150 - charges["B1"] - charges["S1"], -3_000 - charges["B2"] - charges["S2"])
    assert f"+151.50 {grouped(nets[0], sign=True)} target" in shown
    assert f"-30.00 {grouped(nets[1], sign=True)} stop" in shown
    total = sum(charges.values())
    assert f"charges {rupee_text(total)}, net {rupee_text(12_150 - total, sign=True)}" in shown
    assert sum(charges.values()) == charges_on(journal, FIRST) + charges_on(journal, SECOND)
    only_second = words(invoke(directory, "trades", "--day", SECOND).stdout)
    assert f"-30.00 {grouped(nets[1], sign=True)} stop" in only_second


def test_the_tables_fit_80_columns_in_a_pipe(directory: Path) -> None:
    for arguments in (["trades"], ["report", FIRST]):
        assert max(len(line) for line in invoke(directory, *arguments).stdout.split("\n")) <= 80


def test_reading_works_while_another_process_trades(directory: Path) -> None:
    writing, _ = open_journal(directory, mode="paper", chance=Random(2), now_ns=1, reserve_mb=0)
    try:
        assert len(rows(directory)) == 3
        assert "net" in invoke(directory, "report").stdout
    finally:
        writing.close()


def test_a_journal_that_is_not_there_and_an_unknown_account_are_named(tmp_path: Path) -> None:
    for verb in ("trades", "report"):
        absent = invoke(tmp_path, verb)
        assert absent.exit_code == 1
        assert "momentum_strategy_paper.db does not exist" in absent.stderr
        unknown = invoke(tmp_path, verb, "--account", "second")
        assert unknown.exit_code == 1
        assert "account 'second' is none of main" in unknown.stderr


# --- report -------------------------------------------------------------------------------------------


def charges_on(journal: JournalReads, day: str) -> int:
    first_ns = from_ist_text(f"{day} 00:00:00")
    orders = [order for order in journal.orders_since(0) if 0 <= order.updated_ns - first_ns < 86_400_000_000_000]
    return sum(charge.total for charge in charges_of_day(executions_of(orders), SCHEDULES[0]).values())


def test_a_day_is_summed_up_as_it_stood_when_it_ended(journal: JournalReads) -> None:
    told = day_of(journal, date.fromisoformat(FIRST), SCHEDULES)
    assert told.statistics.entries == 3
    assert told.statistics.trades == told.statistics.wins == 1
    assert told.statistics.gross_paise == 15_150
    assert told.statistics.charges_paise == charges_on(journal, FIRST)
    assert [(rung.symbol, rung.number) for rung in told.held] == [("INFY", 2), ("TCS", 1)]
    assert [sale.gross_paise for sale in told.sold] == [15_150]

    after = day_of(journal, date.fromisoformat(SECOND), SCHEDULES)
    assert after.statistics.entries == 0
    assert after.statistics.trades == 1
    assert after.statistics.wins == 0
    assert after.statistics.gross_paise == -3_000
    assert [(rung.symbol, rung.number) for rung in after.held] == [("TCS", 1)]


def test_the_parts_per_symbol_add_up_to_the_day(journal: JournalReads) -> None:
    told: Day = day_of(journal, date.fromisoformat(FIRST), SCHEDULES)
    assert [part.symbol for part in told.symbols] == ["INFY", "TCS"]
    for name in ("gross_paise", "charges_paise", "entries", "trades", "wins"):
        assert sum(getattr(part.statistics, name) for part in told.symbols) == getattr(told.statistics, name)


def test_several_sales_of_one_rung_share_its_cost_exactly(tmp_path: Path) -> None:
    from protocol.orders import Side
    from tests.commands.journal_of_two_days import order, rung

    bought = order("B", f"{FIRST} 10:00:00", Side.BUY, "INFY", 1, 3, 33_334)
    bought = attrs.evolve(bought, value_paise=100_001)
    sales = [order(f"S{n}", f"{FIRST} 11:0{n}:00", Side.SELL, "INFY", 1, 1, 40_000) for n in range(3)]
    whole = attrs.evolve(sales[-1], filled=3, value_paise=120_000)
    writing, _ = open_journal(tmp_path, mode="paper", chance=Random(1), now_ns=1, reserve_mb=0)
    try:
        writing.write([bought, *sales, rung(1, bought, whole)])
        told = day_of(writing, date.fromisoformat(FIRST), SCHEDULES)
    finally:
        writing.close()
    assert sum(sale.gross_paise for sale in told.sold) == told.statistics.gross_paise == 19_999


def test_the_day_s_line_is_key_value_in_rupees(journal: JournalReads) -> None:
    charges = charges_on(journal, FIRST)
    net = 15_150 - charges
    sign = "-" if net < 0 else ""
    expected = (
        f"stage=square_off open=2 cost=6030.00 gross=151.50 charges={charges // 100}.{charges % 100:02d}"
        f" net={sign}{abs(net) // 100}.{abs(net) % 100:02d} trades=1 wins=1 win_rate=100%"
    )
    calendar = TradingCalendar()
    assert day_line(journal, from_ist_text(f"{FIRST} 15:10:00"), SCHEDULES, calendar) == expected
    final = day_line(journal, from_ist_text(f"{FIRST} 15:30:00"), SCHEDULES, calendar)
    assert final == expected.replace("square_off", "final")
    quiet = day_line(journal, from_ist_text("2026-11-27 15:30:00"), SCHEDULES, calendar)
    assert quiet == ("stage=final open=1 cost=3000.00 gross=0.00 charges=0.00 net=0.00 trades=0 wins=0 win_rate=-")


def test_the_schedules_are_those_of_the_settings() -> None:
    assert schedules_of(Settings()) == SCHEDULES


def test_a_day_before_every_schedule_is_charged_by_the_earliest(journal: JournalReads) -> None:
    later = attrs.evolve(SCHEDULES[0], effective_from=date(2030, 1, 1))
    told = day_of(journal, date.fromisoformat(FIRST), (later,))
    assert told.statistics.charges_paise == charges_on(journal, FIRST) > 0


def test_report_tells_a_day_and_today_is_the_journal_s_newest(directory: Path) -> None:
    first = invoke(directory, "report", FIRST)
    assert first.exit_code == 0, first.output
    shown = words(first.stdout)
    assert "Monday, 23 November 2026, account main" in shown
    assert "entries 3 exits 1 win rate 100% gross ₹151.50" in shown
    assert "open at the end 2 rungs, cost ₹6,030.00" in shown
    assert "10:30:00 INFY P2 3 1,010.00 6.50" in shown
    assert "14:00:00 INFY P1 3 1,050.50 +151.50 target" in shown
    assert "Per symbol" in shown
    today = invoke(directory, "report", "today")
    assert "Tuesday, 24 November 2026" in today.stdout
    assert today.stdout == invoke(directory, "report").stdout


def test_a_day_without_trades_says_so(directory: Path) -> None:
    result = invoke(directory, "report", "2026-11-20")
    assert result.exit_code == 0
    assert "nothing was traded" in result.stdout


def test_a_day_that_has_not_happened_is_no_day_of_zeros(directory: Path) -> None:
    result = invoke(directory, "report", "2026-11-27")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: nothing has happened on 2026-11-27 yet: the journal ends on 2026-11-24\n"


def test_what_is_no_day_is_wrong_usage_and_an_empty_journal_has_none(directory: Path, tmp_path: Path) -> None:
    wrong = invoke(directory, "report", "yesterday")
    assert wrong.exit_code == 2
    assert "neither a day" in wrong.stderr
    open_journal(tmp_path / "new", mode="paper", chance=Random(1), now_ns=1, reserve_mb=0)[0].close()
    empty = invoke(tmp_path / "new", "report")
    assert empty.exit_code == 1
    assert "nothing has happened yet" in empty.stderr
