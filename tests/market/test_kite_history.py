"""Kite's instruments and candles: asked for once, kept, and handed on as the past of a live feed."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
import trio
from trio.abc import Clock

from effects import MarketClock
from market.calendar import TradingCalendar
from market.candles import BAR_NS, Candles
from market.history import History
from market.instruments import Instrument, Universe
from market.kite_history import KiteHistory, KiteInstruments
from protocol.clock import NS, at, ist_date
from protocol.errors import BrokerUnavailable, MarketDataError, RemoteProtocolError
from protocol.kite_errors import KiteFailure
from protocol.kite_wire import Call, HttpRequest

CALENDAR = TradingCalendar()
MONDAY = date(2026, 11, 23)
TEN_NS = at(MONDAY, 36_000)
INFY, TCS = 408065, 2953217
UNIVERSE = Universe([Instrument("INFY", INFY, 5), Instrument("TCS", TCS, 5)])
COLUMNS = "instrument_token exchange_token tradingsymbol name last_price expiry strike tick_size lot_size"
COLUMNS += " instrument_type segment exchange"
CSV = f"""{COLUMNS.replace(" ", ",")}
408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE
2953217,11536,TCS,TATA CONSULTANCY SERV,0,,0,0.05,1,EQ,NSE,NSE
256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE
"""


@attrs.define(eq=False)
class Archive:
    """Kite's history: a price per day that says which day it was, and four bars of 15 minutes a day."""

    calls: list[HttpRequest] = attrs.Factory(list)
    problem: Exception | None = None
    only_for: int = 0

    async def get(self, request: HttpRequest) -> bytes:
        await trio.lowlevel.checkpoint()
        self.calls.append(request)
        if self.problem is not None and (not self.only_for or f"/{self.only_for}/" in request.path):
            raise self.problem
        if request.path == "/instruments/NSE":
            return CSV.encode()
        assert request.call is Call.HISTORICAL
        query = parse_qs(urlsplit(request.target).query)
        first, last = (date.fromisoformat(query[name][0][:10]) for name in ("from", "to"))
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        rows = [
            [
                f"{day}T{time}:00+0530",
                price(day) / 100,
                price(day) / 100 + 1,
                price(day) / 100 - 1,
                price(day) / 100,
                10,
            ]
            for day in days
            if CALENDAR.is_trading_day(day)
            for time in (["00:00"] if request.path.endswith("/day") else ["09:15", "09:30", "09:45", "10:00"])
        ]
        return json.dumps({"status": "success", "data": {"candles": rows}}).encode()

    def asked(self) -> Counter[str]:
        return Counter(call.path for call in self.calls)


def price(day: date) -> int:
    return 100_000 + day.toordinal() % 1_000 * 100


def history_at(tmp_path: Path, archive: Archive, lines: list[str] | None = None) -> KiteHistory:
    return KiteHistory(archive.get, tmp_path, UNIVERSE, CALENDAR, (lines if lines is not None else []).append)


async def test_the_instruments_of_a_day_are_downloaded_once(tmp_path: Path) -> None:
    archive = Archive()
    for _ in range(2):
        universe = await KiteInstruments(archive.get, tmp_path).universe(MONDAY, ["TCS", "INFY"], ["TCS"])
        assert [(each.symbol, each.token, each.tick_size_paise) for each in universe] == [
            ("INFY", INFY, 5),
            ("TCS", TCS, 5),
        ]
        assert [each.derivatives for each in universe] == [False, True]
    assert archive.asked() == {"/instruments/NSE": 1}
    await KiteInstruments(archive.get, tmp_path).universe(MONDAY + timedelta(days=1), ["INFY"])
    assert archive.asked() == {"/instruments/NSE": 2}


async def test_a_symbol_that_nse_does_not_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="NIFTY 50, NOSUCH"):
        await KiteInstruments(Archive().get, tmp_path).universe(MONDAY, ["INFY", "NOSUCH", "NIFTY 50"])


async def test_a_page_that_is_no_instruments_file_is_not_kept(tmp_path: Path) -> None:
    async def get(request: HttpRequest) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"<html>maintenance</html>"

    with pytest.raises(RemoteProtocolError):
        await KiteInstruments(get, tmp_path).universe(MONDAY, ["INFY"])
    assert list(tmp_path.iterdir()) == []


async def test_what_was_prepared_warms_the_history_up(tmp_path: Path) -> None:
    past = history_at(tmp_path, Archive())
    await past.prepare(TEN_NS)
    session = CALENDAR.session(MONDAY)
    assert session is not None
    history = History(len(UNIVERSE))
    todays = past.warm_up(session, history, Candles(len(UNIVERSE)))
    friday = CALENDAR.previous_trading_day(MONDAY)
    assert history.previous_close().tolist() == [price(friday)] * 2
    assert past.previous_close(session).tolist() == [price(friday)] * 2
    assert (history.have_daily() >= 200).all()
    assert [bars.start_ns for bars in todays] == [session.open_ns + number * BAR_NS for number in range(3)]
    assert history.newest_15m_ns == TEN_NS - BAR_NS, "the bar in progress is not complete"
    before = history.have_15m().tolist()
    past.warm_up(session, history, Candles(len(UNIVERSE)))
    assert history.have_15m().tolist() == before, "twice changes nothing"


async def test_a_day_of_the_past_is_asked_for_once(tmp_path: Path) -> None:
    archive = Archive()
    await history_at(tmp_path, archive).prepare(at(MONDAY, 8 * 3600))
    assert archive.asked() == {
        f"/instruments/historical/{token}/{interval}": 1 for token in (INFY, TCS) for interval in ("day", "15minute")
    }
    archive.calls.clear()
    await history_at(tmp_path, archive).prepare(at(MONDAY, 8 * 3600 + 60))
    assert archive.calls == [], "another start the same morning"
    await history_at(tmp_path, archive).prepare(at(CALENDAR.next_trading_day(MONDAY), 8 * 3600))
    wanted = {dict(call.query)["from"][:10] for call in archive.calls}
    assert wanted == {str(date(2026, 11, 21))}, "only what came after Friday"


async def test_todays_bars_are_asked_for_anew_and_not_kept(tmp_path: Path) -> None:
    archive = Archive()
    past = history_at(tmp_path, archive)
    await past.prepare(TEN_NS)
    archive.calls.clear()
    await past.prepare(TEN_NS + BAR_NS)
    assert [dict(call.query)["from"][:10] for call in archive.calls] == [str(MONDAY)] * 2


async def test_a_forgotten_symbol_is_asked_for_again(tmp_path: Path) -> None:
    archive = Archive()
    past = history_at(tmp_path, archive)
    await past.prepare(at(MONDAY, 8 * 3600))
    archive.calls.clear()
    past.forget("INFY")
    await past.prepare(at(MONDAY, 8 * 3600))
    assert sorted(archive.asked()) == [f"/instruments/historical/{INFY}/{each}" for each in ("15minute", "day")]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"until": "2026-11-20", "candles": [[1]]}', b"\xff"])
async def test_a_spoilt_cache_is_asked_for_again(tmp_path: Path, content: bytes) -> None:
    archive = Archive()
    past = history_at(tmp_path, archive)
    await past.prepare(at(MONDAY, 8 * 3600))
    (tmp_path / "day" / f"{INFY}.json").write_bytes(content)
    archive.calls.clear()
    await past.prepare(at(MONDAY, 8 * 3600))
    assert archive.asked() == {f"/instruments/historical/{INFY}/day": 1}


async def test_a_symbol_without_history_is_told_and_the_others_are_loaded(tmp_path: Path) -> None:
    lines: list[str] = []
    archive = Archive(problem=KiteFailure(400, "InputException", "invalid token"), only_for=INFY)
    past = history_at(tmp_path, archive, lines)
    await past.prepare(at(MONDAY, 8 * 3600))
    session = CALENDAR.session(MONDAY)
    assert session is not None
    assert past.previous_close(session).tolist() == [0, price(CALENDAR.previous_trading_day(MONDAY))]
    assert lines == ["no history of INFY: InputException (400): invalid token"]


async def test_every_morning_the_day_is_prepared_and_trouble_is_tried_again(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    archive = Archive(problem=BrokerUnavailable("TIMEOUT"))
    lines: list[str] = []
    past = history_at(tmp_path, archive, lines)
    clock = MarketClock(source=lambda: TEN_NS + round(trio.current_time() * NS))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(past.keep_prepared, clock)
        await trio.sleep(47 * 3600)  # Tuesday is a holiday
        assert ist_date(clock.now_ns) == CALENDAR.next_trading_day(MONDAY)
        assert lines
        archive.problem = None
        archive.calls.clear()
        await trio.sleep(61)
        assert len(archive.calls) == 4
        nursery.cancel_scope.cancel()
