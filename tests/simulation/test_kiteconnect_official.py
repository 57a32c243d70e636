"""The official Python client works against the Kite server: login, orders, GTTs, books, market data, ticks.

kiteconnect is needed for these tests only; without it they are skipped. It is synchronous, so it runs in threads;
its ticker runs on Twisted, whose reactor can be started once in a process: one test for all of the ticker.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio

from protocol.clock import from_ist_text
from tests.simulation.kite_desk import INFY_TOKEN, KEY, SECRET, TCS_TOKEN, Desk, make_desk, open_desk

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client's own dependencies are old
    kiteconnect: Any = pytest.importorskip("kiteconnect", reason="the official client is not installed")
    requests: Any = pytest.importorskip("requests")
    reactor: Any = pytest.importorskip("twisted.internet.reactor")

INDEX_TOKEN = 256265
Call = Callable[..., Any]


async def in_thread(call: Call, *args: Any, **named: Any) -> Any:
    return await trio.to_thread.run_sync(lambda: call(*args, **named))


async def logged_in(port: int, at: datetime = datetime(2026, 11, 20, 10, 0, 1)) -> Any:
    """A client that went through the whole login."""
    root = f"http://127.0.0.1:{port}"
    kite = kiteconnect.KiteConnect(KEY, root=root, timeout=5)
    kite.reqsession.trust_env = False
    redirect = await in_thread(
        requests.get,
        f"{root}/connect/login",
        params={"v": "3", "api_key": KEY},
        allow_redirects=False,
        timeout=5,
        proxies={"http": ""},
    )
    token = redirect.headers["location"].split("request_token=")[1]
    session = await in_thread(kite.generate_session, token, SECRET)
    assert kite.access_token == session["access_token"]
    assert session["login_time"] == at
    return kite


def infy_order(kite: Any, **changed: Any) -> dict[str, Any]:
    order = {
        "variety": kite.VARIETY_REGULAR,
        "exchange": kite.EXCHANGE_NSE,
        "tradingsymbol": "INFY",
        "transaction_type": kite.TRANSACTION_TYPE_BUY,
        "quantity": 10,
        "product": kite.PRODUCT_CNC,
        "order_type": kite.ORDER_TYPE_LIMIT,
    }
    return order | changed


def infy_gtt(kite: Any, quantity: int, stop: float, target: float) -> dict[str, Any]:
    leg = {
        "transaction_type": kite.TRANSACTION_TYPE_SELL,
        "quantity": quantity,
        "order_type": kite.ORDER_TYPE_LIMIT,
        "product": kite.PRODUCT_CNC,
    }
    return {
        "trigger_type": kite.GTT_TYPE_OCO,
        "tradingsymbol": "INFY",
        "exchange": "NSE",
        "trigger_values": [stop, target],
        "last_price": 1500.0,
        "orders": [leg | {"price": stop - 15}, leg | {"price": target}],
    }


@pytest.fixture
def desk() -> Desk:
    return make_desk()


async def test_login_profile_margins_and_logout(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        assert (await in_thread(kite.profile))["meta"]["demat_consent"] == "consent"
        assert (await in_thread(kite.margins))["equity"]["available"]["live_balance"] > 0
        assert (await in_thread(kite.margins, "equity"))["enabled"] is True
        await in_thread(kite.invalidate_access_token)
        with pytest.raises(kiteconnect.exceptions.TokenException):
            await in_thread(kite.profile)


async def test_a_wrong_secret_gets_no_session(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        token = desk.exchange.logins.new_request_token(KEY)
        with pytest.raises(kiteconnect.exceptions.TokenException):
            await in_thread(kite.generate_session, token, "wrong")


async def test_an_order_is_placed_modified_traded_and_read_in_every_book(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        order_id = await in_thread(kite.place_order, **infy_order(kite, price=1490, tag="PA01TESTTAG1"))
        assert order_id.isdigit()
        assert len(order_id) == 19
        await in_thread(kite.modify_order, "regular", order_id, price=1495.5, quantity=20)
        (row,) = await in_thread(kite.orders)
        assert (row["status"], row["price"], row["quantity"], row["tag"]) == ("OPEN", 1495.5, 20, "PA01TESTTAG1")
        desk.price("INFY", 149_500)
        history = await in_thread(kite.order_history, order_id)
        assert history[0]["status"] == "PUT ORDER REQ RECEIVED"
        assert (history[-1]["status"], history[-1]["average_price"]) == ("COMPLETE", 1495)
        assert "MODIFIED" in [state["status"] for state in history]
        (trade,) = await in_thread(kite.trades)
        assert (trade["quantity"], trade["average_price"]) == (20, 1495)
        assert trade["fill_timestamp"] == datetime(2026, 11, 20, 10, 0, 2)
        assert await in_thread(kite.order_trades, order_id) == [trade]
        (position,) = (await in_thread(kite.positions))["net"]
        assert (position["quantity"], position["day_buy_value"]) == (20, 29_900)
        assert await in_thread(kite.holdings) == []
        desk.exchange.open_on(datetime(2026, 11, 23).date())
        with pytest.raises(kiteconnect.exceptions.TokenException):
            await in_thread(kite.holdings)  # tokens die at six
        kite = await logged_in(port, datetime(2026, 11, 23, 9, 15))
        (holding,) = await in_thread(kite.holdings)
        assert (holding["tradingsymbol"], holding["t1_quantity"], holding["average_price"]) == ("INFY", 20, 1495)
        assert await in_thread(kite.orders) == []


async def test_an_order_is_cancelled_and_then_can_be_neither_cancelled_nor_modified(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        order_id = await in_thread(kite.place_order, **infy_order(kite, price=1400))
        assert await in_thread(kite.cancel_order, "regular", order_id) == order_id
        (row,) = await in_thread(kite.orders)
        assert (row["status"], row["cancelled_quantity"]) == ("CANCELLED", 10)
        with pytest.raises(kiteconnect.exceptions.OrderException):
            await in_thread(kite.cancel_order, "regular", order_id)
        with pytest.raises(kiteconnect.exceptions.OrderException):
            await in_thread(kite.modify_order, "regular", order_id, price=1401)


async def test_a_market_order_needs_protection(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        market = infy_order(kite, order_type=kite.ORDER_TYPE_MARKET)
        for protection in (None, 0):
            with pytest.raises(kiteconnect.exceptions.InputException, match="market protection"):
                await in_thread(kite.place_order, **market, market_protection=protection)
        await in_thread(kite.place_order, **market, market_protection=-1)
        (row,) = await in_thread(kite.orders)
        assert (row["status"], row["average_price"]) == ("COMPLETE", 1500)
        sliced = await in_thread(kite.place_autoslice_order, **market, market_protection=2)
        assert (len(sliced["order_id"]), sliced["children"]) == (19, [])


async def test_a_gtt_is_placed_moved_triggered_and_its_child_is_found(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        await in_thread(kite.place_order, **infy_order(kite, price=1505))
        placed = await in_thread(kite.place_gtt, **infy_gtt(kite, 10, 1460, 1570))
        trigger_id = placed["trigger_id"]
        await in_thread(kite.modify_gtt, trigger_id, **infy_gtt(kite, 10, 1480, 1570))
        assert (await in_thread(kite.get_gtt, trigger_id))["condition"]["trigger_values"] == [1480, 1570]
        desk.price("INFY", 147_900)
        (gtt,) = await in_thread(kite.get_gtts)
        result = gtt["orders"][0]["result"]["order_result"]
        assert (gtt["status"], result["status"], gtt["orders"][1]["result"]) == ("triggered", "success", None)
        child = (await in_thread(kite.order_history, result["order_id"]))[-1]
        assert (child["status"], child["tag"], child["average_price"]) == ("COMPLETE", None, 1479)


async def test_a_gtt_is_deleted_and_a_near_one_refused(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        trigger_id = (await in_thread(kite.place_gtt, **infy_gtt(kite, 10, 1460, 1570)))["trigger_id"]
        assert await in_thread(kite.delete_gtt, trigger_id) == {"trigger_id": trigger_id}
        assert (await in_thread(kite.get_gtt, trigger_id))["status"] == "deleted"
        with pytest.raises(kiteconnect.exceptions.InputException, match=r"0\.25"):
            await in_thread(kite.place_gtt, **infy_gtt(kite, 10, 1498, 1570))


async def test_quotes_instruments_and_candles(desk: Desk) -> None:
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        quote = (await in_thread(kite.quote, "NSE:INFY", "NSE:NOSUCH"))["NSE:INFY"]
        assert (quote["last_price"], quote["lower_circuit_limit"], quote["upper_circuit_limit"]) == (1500, 1350, 1650)
        assert quote["timestamp"] == datetime(2026, 11, 20, 10, 0, 1)
        assert list(await in_thread(kite.ltp, ["NSE:INFY", "NSE:TCS"])) == ["NSE:INFY"]
        assert (await in_thread(kite.ohlc, "NSE:INFY"))["NSE:INFY"]["ohlc"]["open"] == 1500
        listed = {row["tradingsymbol"]: row for row in await in_thread(kite.instruments, "NSE")}
        assert (listed["INFY"]["instrument_token"], listed["INFY"]["tick_size"]) == (INFY_TOKEN, 0.05)
        assert listed["NIFTY 50"]["segment"] == "INDICES"
        desk.price("INFY", 150_500)
        day = datetime(2026, 11, 20)
        (minute,) = await in_thread(kite.historical_data, INFY_TOKEN, day, day + timedelta(hours=23), "minute")
        assert (minute["open"], minute["high"], minute["close"]) == (1500, 1505, 1505)
        assert minute["date"].isoformat() == "2026-11-20T10:00:00+05:30"


# --- the ticker ---------------------------------------------------------------------------------------------


class Heard:
    """What the official ticker called back, from the reactor's thread."""

    def __init__(self) -> None:
        self.ticks: list[dict[str, Any]] = []
        self.orders: list[dict[str, Any]] = []
        self.binary: list[bytes] = []
        self.opened = 0
        self.closed: list[Any] = []

    def newest(self, token: int) -> dict[str, Any] | None:
        return next((tick for tick in reversed(self.ticks) if tick["instrument_token"] == token), None)


@contextmanager
def official_ticker(port: int, token: str, heard: Heard) -> Iterator[Any]:
    ticker = kiteconnect.KiteTicker(KEY, token, root=f"ws://127.0.0.1:{port}/")

    def opened(ws: Any, _response: Any) -> None:
        heard.opened += 1
        ws.subscribe([INFY_TOKEN, TCS_TOKEN, INDEX_TOKEN])
        ws.set_mode(ws.MODE_FULL, [INFY_TOKEN, INDEX_TOKEN])
        ws.set_mode(ws.MODE_LTP, [TCS_TOKEN])

    def message(_ws: Any, payload: bytes, is_binary: bool) -> None:
        if is_binary:
            heard.binary.append(payload)

    ticker.on_connect = opened
    ticker.on_message = message
    ticker.on_ticks = lambda _ws, ticks: heard.ticks.extend(ticks)
    ticker.on_order_update = lambda _ws, data: heard.orders.append(data)
    ticker.on_close = lambda _ws, code, reason: heard.closed.append((code, reason))
    ticker.connect(threaded=True)
    try:
        yield ticker
    finally:
        reactor.callFromThread(ticker.stop_retry)
        reactor.callFromThread(reactor.stop)
        ticker.websocket_thread.join(5)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - it becomes true in the reactor's thread
            await trio.sleep(0.01)


async def test_the_official_ticker_hears_prices_the_index_heartbeats_and_orders(desk: Desk) -> None:
    for share in desk.exchange.market.shares:
        share.begin_day(150_000)
    heard = Heard()
    async with open_desk(desk) as port:
        kite = await logged_in(port)
        with official_ticker(port, kite.access_token, heard):
            await until(lambda: heard.newest(INFY_TOKEN))  # the newest price comes with the subscription
            desk.price("TCS", 320_005)
            desk.price("INFY", 151_005)
            await until(lambda: (heard.newest(INFY_TOKEN) or {}).get("last_price") == 1510.05)
            infy = heard.newest(INFY_TOKEN)
            assert infy is not None
            assert (infy["mode"], infy["depth"]["buy"][0]["price"]) == ("full", 1510)
            assert infy["exchange_timestamp"].timestamp() == from_ist_text("2026-11-20 10:00:03") / 1e9
            tcs, index = heard.newest(TCS_TOKEN), heard.newest(INDEX_TOKEN)
            assert tcs == {"tradable": True, "mode": "ltp", "instrument_token": TCS_TOKEN, "last_price": 3200.05}
            assert index is not None
            assert (index["mode"], index["tradable"], index["ohlc"]["close"]) == ("full", False, 25_000)
            assert index["last_price"] == desk.exchange.market.index.last_paise / 100

            order_id = await in_thread(kite.place_order, **infy_order(kite, price=1515, tag="T1"))
            await until(lambda: heard.orders)
            update = heard.orders[-1]
            assert (update["order_id"], update["status"], update["tag"]) == (order_id, "COMPLETE", "T1")

            await until(lambda: b"\x00" in heard.binary)
            assert heard.closed == []

            desk.exchange.logins.kill()  # an open socket goes on, a new one is refused
            desk.price("INFY", 151_105)
            await until(lambda: (heard.newest(INFY_TOKEN) or {}).get("last_price") == 1511.05)
            desk.server.ticker.cut_all()
            await until(lambda: heard.closed)
            assert heard.opened == 1
