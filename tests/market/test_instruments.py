"""Instruments: the Kite file format, rows, tick sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from market.instruments import Instrument, InstrumentError, Universe, nse_tick_size_paise, read_instruments

HEADER = "instrument_token,exchange_token,tradingsymbol,name,tick_size,lot_size,instrument_type,segment,note\n"
ACC = "5633,22,ACC,ACC LTD,0.05,1,EQ,NSE,renamed later\n"
ZEEL = "975873,3812,ZEEL,ZEE,0.01,1,EQ,NSE,\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "instruments.csv"
    path.write_text(text)
    return path


def test_instruments_get_their_rows_in_the_order_of_their_symbols(tmp_path: Path) -> None:
    universe = read_instruments(write(tmp_path, HEADER + ZEEL + ACC), derivatives={"ZEEL"})
    assert universe.symbols == ("ACC", "ZEEL")
    assert universe.row("ZEEL") == 1
    assert universe.tick_size_paise.tolist() == [5, 1]
    assert universe.derivatives.tolist() == [False, True]
    assert universe.rows_by_token == {5633: 0, 975873: 1}
    assert universe[0] == Instrument("ACC", 5633, 5, 1, "EQ", "NSE", "ACC LTD")
    assert "ACC" in universe
    assert "ABB" not in universe


def test_an_unknown_symbol_is_named() -> None:
    universe = Universe([Instrument("ACC", 1, 5)])
    with pytest.raises(KeyError, match="ABB is not among the 1 instruments"):
        universe.row("ABB")
    with pytest.raises(InstrumentError, match="no instrument for ABB, XYZ"):
        universe.select(["XYZ", "ACC", "ABB"])


def test_a_selection_is_a_smaller_universe() -> None:
    universe = Universe([Instrument("ACC", 1, 5), Instrument("LT", 2, 5), Instrument("INFY", 3, 5)])
    assert universe.select(["LT", "INFY"]).symbols == ("INFY", "LT")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "5633,22,ACC,ACC,0.0025,1,EQ,NSE,\n",
            r"csv:3: tick_size of ACC: '0.0025' is not a whole number of paise",
        ),
        ("5633,22,ACC,ACC,0,1,EQ,NSE,\n", r"csv:3: tick_size of ACC is 0, it must be above 0"),
        ("5633,22,ACC,ACC,none,1,EQ,NSE,\n", r"csv:3: tick_size of ACC: 'none' is not an amount"),
        ("5e3,22,ACC,ACC,0.05,1,EQ,NSE,\n", r"csv:3: instrument_token is '5e3', not a whole number"),
        ("5633,22,ACC,ACC,0.05,0,EQ,NSE,\n", r"csv:3: 'lot_size' must be > 0"),
        ("5633,22,,ACC,0.05,1,EQ,NSE,\n", r"csv:3: tradingsymbol is empty"),
        ("5633,22,ACC\n", r"csv:3: the line ends before column"),
        (ZEEL, r"csv: ZEEL appears twice"),
        ("975873,22,ACC,ACC,0.05,1,EQ,NSE,\n", r"csv: ACC and ZEEL share the token 975873"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(InstrumentError, match=complaint):
        read_instruments(write(tmp_path, HEADER + ZEEL + line))


def test_a_missing_file_and_a_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="cannot be read: No such file"):
        read_instruments(tmp_path / "nothing.csv")
    with pytest.raises(InstrumentError, match="column tick_size is missing; found instrument_token"):
        read_instruments(write(tmp_path, HEADER.replace("tick_size", "tick")))


@pytest.mark.parametrize(
    ("rupees", "tick_paise"),
    [
        (249.99, 1),
        (250, 5),
        (1000, 5),
        (1000.05, 10),
        (5000, 10),
        (5001, 50),
        (10_000, 50),
        (20_000, 100),
        (20_001, 500),
    ],
)
def test_the_tick_size_of_nse_grows_with_the_price(rupees: float, tick_paise: int) -> None:
    assert nse_tick_size_paise(round(rupees * 100)) == tick_paise
