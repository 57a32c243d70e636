"""The broker server's command line says what is wrong with it, and stamps times as it was told to."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from market.calendar import TradingCalendar
from simulation.broker_command import command
from simulation.broker_exchange import ServerAccount
from simulation.broker_market import ServerMarket
from simulation.broker_server import BrokerServer
from tests.simulation.broker_house import AT_NS, LAST, SYMBOLS, buy


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--account", "anna"], "NAME:KEY"),
        (["--account", "anna:key:a lot"], "rupees"),
        (["--account", "anna:one", "--account", "anna:two"], "same name"),
        (["--speed", "0"], "above zero"),
        (["--speed", "fast"], "max"),
        (["--first-day", "tomorrow"], "tomorrow"),
        (["--data", "no such folder"], "no such folder"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], word: str) -> None:
    result = CliRunner().invoke(command, ["--port", "0", *arguments])
    assert result.exit_code != 0
    assert word in result.output


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text("no record\n", encoding="utf-8")
    result = CliRunner().invoke(command, ["--port", "0", "--symbols", "INFY", "--record", str(record)])
    assert result.exit_code == 1
    assert "record.jsonl:1" in result.output


def test_with_a_clock_of_its_own_the_market_lives_in_that_time_and_trades_at_any_hour() -> None:
    midnight_ns = AT_NS + 14 * 3600 * 10**9
    market = ServerMarket(SYMBOLS, TradingCalendar(), start_ns=0, always_open=True, clock=lambda: midnight_ns)
    server = BrokerServer([ServerAccount(name="anna", api_key="key")], market)
    server.price("INFY", LAST)
    server.exchange.carry_out("anna", "R1", buy("A1"))
    (order,) = server.books("anna").orders or ()
    assert (order.update.filled, order.update.at_ns) == (10, midnight_ns)
