"""The Kite server keeps Kite's rules: tokens, limits, refusals, GTTs, and what it remembers after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from protocol.broker import OrderUpdate
from protocol.clock import NS, at
from protocol.kite_gtts import read_gtts
from protocol.kite_orders import read_orders, read_trades
from protocol.kite_portfolio import read_holdings, read_positions
from protocol.kite_wire import Call
from protocol.orders import ExitReason, GttState, OrderState
from simulation.kite_account import AccountOptions
from simulation.kite_limits import RateLimits
from tests.simulation.kite_desk import (
    DAY,
    INFY_TOKEN,
    KEY,
    LAST,
    Caller,
    Desk,
    gtt,
    make_desk,
    open_caller,
    open_desk,
    order,
)

At = tuple[Desk, Caller]


@pytest.fixture
async def at_desk() -> AsyncIterator[At]:
    desk = make_desk()
    async with open_desk(desk) as port, open_caller(port) as caller:
        yield desk, caller


def infy(rows: Any) -> OrderUpdate:
    return read_orders(rows)[-1]


# --- tokens -------------------------------------------------------------------------------------------------


async def test_without_a_live_token_everything_answers_403(at_desk: At) -> None:
    desk, caller = at_desk
    desk.exchange.logins.kill()
    assert (await caller.refused("GET", "/orders"))[:2] == (403, "TokenException")
    caller.token = "wrong"
    assert (await caller.refused("POST", "/orders/regular", **order()))[:2] == (403, "TokenException")


async def test_a_token_dies_at_six_in_the_morning_of_the_market(at_desk: At) -> None:
    desk, caller = at_desk
    desk.clock.advance_to(at(date(2026, 11, 21), 6 * 3600) - NS)
    assert await caller.data("GET", "/orders") == []
    desk.clock.advance_to(at(date(2026, 11, 21), 6 * 3600))
    assert (await caller.refused("GET", "/orders"))[0] == 403


async def test_a_new_login_kills_the_token_before_it_and_a_request_token_is_good_once(at_desk: At) -> None:
    _, caller = at_desk
    before = caller.token
    await caller.log_in()
    assert await caller.data("GET", "/orders") == []
    caller.token = before
    assert (await caller.refused("GET", "/orders"))[0] == 403
    form = {"api_key": KEY, "request_token": "used", "checksum": "x"}
    assert (await caller.refused("POST", "/session/token", **form))[:2] == (403, "TokenException")


# --- limits -------------------------------------------------------------------------------------------------


async def test_more_than_the_allowed_calls_in_a_calendar_second_are_refused() -> None:
    desk = make_desk(rate_limits=True)
    async with open_desk(desk) as port, open_caller(port) as caller:
        desk.seconds = 100.0
        for path, allowed in (("/quote?i=NSE:INFY", 1), ("/orders", 10)):
            statuses = [(await caller.ask("GET", path)).status_code for _ in range(allowed + 1)]
            assert statuses == [200] * allowed + [429]
        desk.seconds = 101.0
        statuses = [(await caller.ask("POST", "/orders/regular", **order(quantity=0))).status_code for _ in range(11)]
        assert statuses == [400] * 10 + [429]
        assert (await caller.ask("GET", "/quote?i=NSE:INFY")).status_code == 200


def test_placements_are_limited_by_the_minute_and_by_the_day_and_changes_are_not() -> None:
    limits = RateLimits()
    minute = [limits.admit(Call.ORDER, call / 10, DAY, places=True) for call in range(401)]
    assert minute == [True] * 400 + [False]
    assert limits.admit(Call.ORDER, 41.0, DAY, places=False)
    assert limits.admit(Call.ORDER, 60.1, DAY, places=True)
    of_the_day = sum(limits.admit(Call.ORDER, 1_000.0 + call, DAY, places=True) for call in range(5_000))
    assert of_the_day == 5_000 - 401
    assert limits.admit(Call.ORDER, 9_000.0, date(2026, 11, 23), places=True)


async def test_an_order_is_modified_twenty_five_times_and_no_more(at_desk: At) -> None:
    _, caller = at_desk
    order_id = await caller.place(order_type="LIMIT", price="1400.00")
    for step in range(25):
        await caller.data("PUT", f"/orders/regular/{order_id}", price=1400 + step)
    status, kind, message = await caller.refused("PUT", f"/orders/regular/{order_id}", price=1450)
    assert (status, kind, "modifications" in message) == (400, "OrderException", True)
    assert (await caller.order(order_id))["price"] == 1424
    await caller.data("DELETE", f"/orders/regular/{order_id}")


async def test_orders_from_an_unregistered_address_are_refused_and_books_are_not(at_desk: At) -> None:
    _, caller = at_desk
    await caller.client.post("/control/static_ip", content='{"refused": true}')
    status, kind, message = await caller.refused("POST", "/orders/regular", **order())
    assert (status, kind, "IP" in message) == (403, "PermissionException", True)
    assert await caller.data("GET", "/orders") == []


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"market_protection": 0}, "market protection"),
        ({"market_protection": ""}, "market protection"),
        ({"market_protection": 101}, "market protection"),
        (
            {"order_type": "SL-M", "trigger_price": 1400, "transaction_type": "SELL", "market_protection": 0},
            "protection",
        ),
        ({"quantity": 0}, "quantity"),
        ({"quantity": "ten"}, "quantity"),
        ({"tradingsymbol": "NOSUCH"}, "NOSUCH"),
        ({"exchange": "BSE"}, "exchange"),
        ({"product": "MIS"}, "product"),
        ({"tag": "not a tag"}, "tag"),
        ({"validity": "TTL"}, "validity"),
        ({"order_type": "LIMIT"}, "zero"),
        ({"order_type": "LIMIT", "price": "1500.01"}, "tick"),
        ({"order_type": "LIMIT", "price": "1500.005"}, "price"),
        ({"transaction_type": "HOLD"}, "transaction_type"),
    ],
)
async def test_a_malformed_order_is_refused_and_not_in_the_book(
    at_desk: At, changed: dict[str, object], word: str
) -> None:
    _, caller = at_desk
    status, kind, message = await caller.refused("POST", "/orders/regular", **order(**changed))
    assert (status, kind) == (400, "InputException")
    assert word in message
    assert await caller.data("GET", "/orders") == []


async def test_what_the_exchange_will_not_have_is_a_rejected_order(at_desk: At) -> None:
    _, caller = at_desk
    order_id = await caller.place(order_type="LIMIT", price="1700.00")
    row = await caller.order(order_id)
    assert (row["status"], "circuit" in row["status_message"]) == ("REJECTED", True)
    assert [state["status"] for state in await caller.data("GET", f"/orders/{order_id}")][-1] == "REJECTED"


async def test_only_what_was_bought_can_be_sold_and_without_consent_no_holding(at_desk: At) -> None:
    _, caller = at_desk
    order_id = await caller.place(transaction_type="SELL")
    assert "shares" in (await caller.order(order_id))["status_message"]
    desk = make_desk(AccountOptions(demat_consent=False))
    async with open_desk(desk) as port, open_caller(port) as other:
        await other.place()
        desk.exchange.open_on(date(2026, 11, 23))
        await other.log_in()
        assert (await other.data("GET", "/user/profile"))["meta"]["demat_consent"] == "empty"
        assert (await other.refused("POST", "/orders/regular", **order(transaction_type="SELL")))[0] == 428


async def test_unknown_orders_routes_and_varieties(at_desk: At) -> None:
    _, caller = at_desk
    assert (await caller.refused("DELETE", "/orders/regular/1"))[:2] == (404, "OrderException")
    assert (await caller.refused("GET", "/orders/1"))[0] == 404
    assert (await caller.refused("POST", "/orders/amo", **order()))[0] == 400
    assert (await caller.refused("GET", "/mf/orders"))[0] == 404
    assert (await caller.refused("GET", "/instruments/historical/1/minute?from=a&to=b"))[0] == 400


# --- orders that our own readers read -----------------------------------------------------------------------


async def test_what_a_market_order_cannot_trade_at_once_rests_within_its_protection() -> None:
    desk = make_desk(AccountOptions(partial_fills=True))
    async with open_desk(desk) as port, open_caller(port) as caller:
        rested = 0
        for _ in range(10):
            row = await caller.order(await caller.place(quantity=1_000, market_protection=2))
            if row["status"] == "OPEN":
                rested += 1
                assert (row["order_type"], row["price"]) == ("LIMIT", 1530)
        assert rested
        desk.price("INFY", 154_000)
        resting = [row for row in read_orders(await caller.data("GET", "/orders")) if row.state is OrderState.PARTIAL]
        assert len(resting) == rested
        for _ in range(60):
            desk.price("INFY", 153_000)
        updates = read_orders(await caller.data("GET", "/orders"))
        assert {update.state for update in updates} == {OrderState.COMPLETE}
        trades = read_trades(await caller.data("GET", "/trades"))
        assert sum(trade.quantity for trade in trades) == 10_000
        assert sum(trade.quantity * trade.price_paise for trade in trades) == sum(u.value_paise for u in updates)


async def test_an_immediate_order_leaves_nothing_resting(at_desk: At) -> None:
    _, caller = at_desk
    order_id = await caller.place(order_type="LIMIT", price="1490.00", validity="IOC")
    assert infy(await caller.data("GET", "/orders")).state is OrderState.CANCELLED
    assert (await caller.order(order_id))["validity"] == "IOC"


async def test_the_books_say_what_was_traded_in_paise(at_desk: At) -> None:
    desk, caller = at_desk
    await caller.place(tag="PA01ABCD000100000001")
    desk.price("INFY", 151_005)
    await caller.place(transaction_type="SELL", quantity=4, market_protection=3)
    first, second = read_orders(await caller.data("GET", "/orders"))
    assert (first.client_id, first.state, first.value_paise) == ("PA01ABCD000100000001", OrderState.COMPLETE, 10 * LAST)
    assert (second.value_paise, second.at_ns) == (4 * 151_005, desk.clock.now_ns)
    (position,) = read_positions(await caller.data("GET", "/portfolio/positions"))
    assert (position.quantity, position.bought_value_paise, position.sold_value_paise) == (6, 10 * LAST, 4 * 151_005)
    desk.exchange.close_trading()
    desk.exchange.open_on(date(2026, 11, 23))
    await caller.log_in()
    (holding,) = read_holdings(await caller.data("GET", "/portfolio/holdings"))
    assert (holding.quantity, holding.t1_quantity, holding.average_paise) == (0, 6, LAST)
    assert await caller.data("GET", "/orders") == await caller.data("GET", "/trades") == []


# --- GTTs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "word"),
    [
        (gtt(order_type="MARKET"), "LIMIT"),
        (gtt(product="MIS"), "product"),
        (gtt(transaction_type="BUY"), "sell"),
        (gtt(quantity=0), "quantity"),
        (gtt(triggers=(1497, 1575)), "0.25 %"),
        (gtt(triggers=(1462.51, 1575)), "tick"),
        (gtt(triggers=(1575, 1462.5)), "not above"),
        (gtt() | {"type": "single"}, "trigger values"),
        (gtt() | {"orders": "[]"}, "trigger values"),
        (gtt() | {"condition": "{"}, "JSON"),
        (gtt() | {"condition": "[]"}, "form"),
    ],
)
async def test_a_wrong_gtt_is_refused(at_desk: At, form: dict[str, str], word: str) -> None:
    _, caller = at_desk
    status, _, message = await caller.refused("POST", "/gtt/triggers", **form)
    assert (status, word in message) == (400, True), message
    assert await caller.data("GET", "/gtt/triggers") == []


async def test_a_cheap_share_keeps_nine_paise_between_price_and_trigger(at_desk: At) -> None:
    desk, caller = at_desk
    desk.exchange.set_limits("INFY", 1, 10_000)
    desk.price("INFY", 2_000)
    assert "9 paise" in (await caller.refused("POST", "/gtt/triggers", **gtt((19.95,), (19,))))[2]
    assert (await caller.data("POST", "/gtt/triggers", **gtt((19.9,), (19,))))["trigger_id"] == 1


async def test_a_single_above_the_price_is_a_target(at_desk: At) -> None:
    desk, caller = at_desk
    await caller.place()
    await caller.data("POST", "/gtt/triggers", **gtt((1575,), (1574,)))
    desk.price("INFY", 140_000)
    (row,) = read_gtts(await caller.data("GET", "/gtt/triggers"))
    assert (row.update.state, row.update.stop.trigger_paise) == (GttState.ACTIVE, 157_500)
    desk.price("INFY", 157_600)
    (row,) = read_gtts(await caller.data("GET", "/gtt/triggers"))
    assert row.update.state is GttState.TRIGGERED
    assert infy(await caller.data("GET", "/orders")).value_paise == 10 * 157_600


async def test_a_triggered_gtt_names_its_child_and_the_child_names_nothing(at_desk: At) -> None:
    desk, caller = at_desk
    await caller.place()
    await caller.data("POST", "/gtt/triggers", **gtt())
    desk.price("INFY", 144_000)
    (row,) = read_gtts(await caller.data("GET", "/gtt/triggers"))
    child = infy(await caller.data("GET", "/orders"))
    assert (row.update.fired, row.update.child_id) == (ExitReason.STOP, child.broker_id)
    assert (child.state, child.client_id, child.gtt_id) == (OrderState.OPEN, None, None)


async def test_a_child_without_shares_fails_with_a_reason(at_desk: At) -> None:
    desk, caller = at_desk
    await caller.data("POST", "/gtt/triggers", **gtt())
    desk.price("INFY", 146_000)
    (row,) = read_gtts(await caller.data("GET", "/gtt/triggers"))
    assert (row.update.state, "shares" in row.update.message) == (GttState.TRIGGERED, True)


async def test_a_gtt_that_kite_disabled_never_triggers(at_desk: At) -> None:
    desk, caller = at_desk
    await caller.place()
    trigger_id = (await caller.data("POST", "/gtt/triggers", **gtt()))["trigger_id"]
    answer = await caller.client.post("/control/gtt", json={"trigger_id": trigger_id, "status": "disabled"})
    assert answer.json()["active_gtts"] == 0
    desk.price("INFY", 146_000)
    (row,) = read_gtts(await caller.data("GET", "/gtt/triggers"))
    assert (row.update.state, row.status) == (GttState.CANCELLED, "disabled")
    assert (await caller.refused("DELETE", f"/gtt/triggers/{trigger_id}"))[0] == 400
    assert (await caller.refused("GET", "/gtt/triggers/999"))[0] == 404


async def test_the_number_of_active_gtts_is_limited() -> None:
    desk = make_desk(AccountOptions(gtts_max=2))
    async with open_desk(desk) as port, open_caller(port) as caller:
        for _ in range(2):
            await caller.data("POST", "/gtt/triggers", **gtt())
        assert "2 active" in (await caller.refused("POST", "/gtt/triggers", **gtt()))[2]
        await caller.data("DELETE", "/gtt/triggers/1")
        await caller.data("POST", "/gtt/triggers", **gtt())


# --- after a restart ----------------------------------------------------------------------------------------


async def test_a_restarted_server_has_what_the_killed_one_accepted(tmp_path: Path) -> None:
    record = tmp_path / "kite.jsonl"
    options = AccountOptions(cash_paise=10_000_000)
    desk = make_desk(options, record=record)
    async with open_desk(desk) as port, open_caller(port) as caller:
        await caller.place(tag="PA01ABCD000100000001")
        resting = await caller.place(order_type="LIMIT", price="1490.00", quantity=2)
        await caller.data("POST", "/gtt/triggers", **gtt())
        before = await books(caller)
        token, margins = caller.token, await caller.data("GET", "/user/margins/equity")
    with record.open("a") as lines:
        lines.write('{"order": {"cut')  # the process died while it wrote

    desk = make_desk(options, record=record, now_ns=0)
    async with open_desk(desk) as port, open_caller(port, logged_in=False) as caller:
        caller.token = token
        assert await books(caller) == before
        assert [state["status"] for state in await caller.data("GET", f"/orders/{resting}")] == ["OPEN"]
        assert await caller.data("GET", "/user/margins/equity") == margins
        desk.price("INFY", 146_000)
        states = {row.broker_id: row.state for row in read_orders(await caller.data("GET", "/orders"))}
        assert states[resting] is OrderState.COMPLETE
        assert len(states) == 3  # the stop's child among them
        assert len({*states, await caller.place()}) == 4

    desk = make_desk(options, record=record, now_ns=0)  # and once more: the half line is gone
    assert len(desk.exchange.account.orders) == 4
    desk.exchange.close()


async def books(caller: Caller) -> list[Any]:
    paths = ("/orders", "/trades", "/gtt/triggers", "/portfolio/positions", "/portfolio/holdings")
    return [without_prices(await caller.data("GET", path)) for path in paths]


def without_prices(rows: Any) -> Any:
    """The last price is not on record: it comes with the next tick."""
    moving = ("last_price", "close_price", "pnl", "m2m", "unrealised")
    rows = rows["net"] if isinstance(rows, dict) else rows
    return [{name: value for name, value in row.items() if name not in moving} for row in rows]


def test_a_record_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    record = tmp_path / "kite.jsonl"
    record.write_text('{"run": {"run": 1, "at_ns": 0}}\nnothing\n{"run": {"run": 2, "at_ns": 0}}\n')
    with pytest.raises(ValueError, match=r"kite\.jsonl:2"):
        make_desk(record=record)


async def test_the_next_day_after_a_restart_begins_with_the_shares_of_the_day_before(tmp_path: Path) -> None:
    record = tmp_path / "kite.jsonl"
    desk = make_desk(record=record)
    async with open_desk(desk) as port, open_caller(port) as caller:
        await caller.place()
        desk.exchange.close_trading()
        desk.exchange.open_on(date(2026, 11, 23))
    desk = make_desk(record=record, now_ns=0)
    async with open_desk(desk) as port, open_caller(port) as caller:
        (holding,) = read_holdings(await caller.data("GET", "/portfolio/holdings"))
        assert (holding.t1_quantity, holding.average_paise) == (10, LAST)
        assert await caller.data("GET", "/orders") == []
    assert desk.exchange.day > DAY


async def test_quotes_leave_out_what_has_no_price(at_desk: At) -> None:
    _, caller = at_desk
    quotes = await caller.data("GET", "/quote?i=NSE:INFY&i=NSE:TCS&i=BSE:INFY")
    assert list(quotes) == ["NSE:INFY"]
    assert quotes["NSE:INFY"]["instrument_token"] == INFY_TOKEN
