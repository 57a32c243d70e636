"""What Kite's answers mean for an order: placed, not placed, or nobody knows; and nothing is ever sent twice."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.abc import Clock

from protocol.broker import CancelOrder, ModifyOrder, OrderUpdate, PlaceOrder, RequestFailed, SessionState
from protocol.clock import NS
from protocol.kite_ticks import TextFrame, decode_text
from protocol.orders import OrderState, OrderType, Side
from tests.brokers.scripted_kite import (
    CUT,
    GARBAGE,
    NO_CONNECTION,
    TIMEOUT,
    Reply,
    desk_at,
    gtt_row,
    order_row,
    refusal,
    sent_at,
    success,
)

CLIENT_ID = "PA01AAAA000100000001"


def buy(client_id: str = CLIENT_ID, symbol: str = "INFY", kind: OrderType = OrderType.LIMIT) -> PlaceOrder:
    limit = 150_005 if kind is OrderType.LIMIT else None
    return PlaceOrder(
        client_id=client_id, symbol=symbol, side=Side.BUY, quantity=10, order_type=kind, limit_paise=limit
    )


def sell(client_id: str, symbol: str = "INFY") -> PlaceOrder:
    return PlaceOrder(client_id=client_id, symbol=symbol, side=Side.SELL, quantity=10, order_type=OrderType.MARKET)


async def test_an_order_goes_out_with_its_tag_as_a_day_limit_for_delivery_and_unsliced(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.submit(buy())
        (call,) = desk.kite.asked("POST")
        assert call.path == "/orders/regular"
        assert call.form == {
            "exchange": "NSE",
            "tradingsymbol": "INFY",
            "transaction_type": "BUY",
            "product": "CNC",
            "order_type": "LIMIT",
            "quantity": "10",
            "validity": "DAY",
            "price": "1500.05",
            "tag": CLIENT_ID,
        }


async def test_market_orders_always_name_their_protection_and_exits_three_percent(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.submit(buy("B1", kind=OrderType.MARKET), sell("S1"))
        assert [call.form["market_protection"] for call in desk.kite.asked("POST")] == ["-1", "3"]


async def test_an_accepted_order_is_told_at_once_and_then_as_the_book_has_it(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/orders"] = [order_row("91", CLIENT_ID, "COMPLETE", filled=10)]
        desk.kite.data["/trades"] = [trade_row("91", 4, 1500.05), trade_row("91", 6, 1500.00)]
        first, second = await desk.submit(buy())
        assert (first.broker_id, first.client_id, first.state) == ("91", CLIENT_ID, OrderState.OPEN)
        assert (second.state, second.filled) == (OrderState.COMPLETE, 10)
        assert second.value_paise == 4 * 150_005 + 6 * 150_000, "of its trades, not of the average"


def trade_row(order_id: str, quantity: int, price: float) -> dict[str, Any]:
    return {
        "trade_id": f"T{quantity}",
        "order_id": order_id,
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "BUY",
        "quantity": quantity,
        "average_price": price,
        "fill_timestamp": "2026-11-23 10:00:01",
    }


async def test_a_fill_whose_trades_are_still_missing_is_read_again_before_it_is_told(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/orders"] = [order_row("91", CLIENT_ID, "COMPLETE", filled=10)]
        desk.kite.data["/trades"] = [trade_row("91", 10, 1499.95)]
        desk.kite.then("GET", "/trades", success([]))
        events = await desk.submit(buy(), settle_s=1)
        assert [event.value_paise for event in events if event.filled] == [10 * 149_995]


@pytest.mark.parametrize(
    ("reply", "code", "reached"),
    [
        (refusal(400, "InputException", "quantity"), "InputException", False),
        (refusal(400, "MarginException", "insufficient funds"), "MarginException", False),
        (refusal(429, "NetworkException", "too many"), "NetworkException", False),
        (NO_CONNECTION, "NOT_CONNECTED", False),
        (TIMEOUT, "TIMEOUT", True),
        (CUT, "LINK_BROKEN", True),
        (refusal(500, "GeneralException", "oops"), "GeneralException", True),
        (Reply(502, b"bad gateway"), "UNREADABLE", True),
        (GARBAGE, "UNREADABLE", True),
        (success({"nothing": 1}), "UNREADABLE", True),
    ],
    ids=["400", "margin", "429", "no connection", "time-out", "cut", "500", "502", "garbage", "no order id"],
)
async def test_only_a_refusal_is_certain(
    tmp_path: Path, autojump_clock: Clock, reply: Any, code: str, reached: bool
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", reply)
        (failed,) = await desk.submit(buy(), settle_s=6)
        assert (failed.code, failed.reached, failed.request) == (code, reached, buy())
        assert len(desk.kite.asked("POST")) == 1, "never sent again by itself"


async def test_a_refused_address_says_which_one_is_registered(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path, static_ip="203.0.113.7") as desk:
        desk.kite.then("POST", "/orders/regular", refusal(403, "PermissionException", "IP not allowed"))
        (failed,) = await desk.submit(buy())
        assert "static IP" in failed.message
        assert "203.0.113.7" in failed.message
        assert desk.broker.state is SessionState.READY, "the login is fine"


async def test_an_order_that_kite_already_has_is_answered_and_not_sent_again(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.submit(buy())
        (known,) = await desk.submit(buy())
        assert (known.client_id, known.broker_id) == (CLIENT_ID, "91")
        assert len(desk.kite.asked("POST")) == 1


async def test_the_same_request_twice_in_the_queue_is_sent_once(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.submit(buy(), buy())
        assert len(desk.kite.asked("POST")) == 1


async def test_an_order_in_doubt_is_never_sent_again(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", CUT)
        await desk.submit(buy())
        (again,) = await desk.submit(buy())
        assert (again.code, again.reached) == ("IN_DOUBT", True)
        assert len(desk.kite.asked("POST")) == 1
        desk.kite.data["/orders"] = [order_row("91", CLIENT_ID)]
        desk.broker._hear_text(decoded(b'{"type":"order","data":{}}'))
        await trio.sleep(1)
        (known,) = await desk.submit(buy())
        assert known.broker_id == "91", "found by its tag"


async def test_after_twenty_five_modifications_an_order_is_only_cancelled(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.submit(buy())
        modify = ModifyOrder(broker_id="91", quantity=10, order_type=OrderType.LIMIT, limit_paise=150_000)
        await desk.submit(*[modify] * 26, settle_s=10)
        assert len(desk.kite.asked("PUT")) == 25
        (failed,) = desk.failures()
        assert (failed.code, failed.reached) == ("MODIFICATION_CAP", False)
        await desk.submit(CancelOrder("91"))
        assert [call.path for call in desk.kite.asked("DELETE")] == ["/orders/regular/91"]


async def test_a_postback_is_a_signal_and_the_book_the_truth(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/orders"] = [order_row("91", CLIENT_ID)]
        await desk.submit(buy())
        heard = len(desk.events)
        forged = b'{"type":"order","data":{"order_id":"91","status":"COMPLETE","filled_quantity":10}}'
        desk.broker._hear_text(decoded(forged))
        await trio.sleep(0.5)
        assert desk.events[heard:] == [], "the book says it is open"


async def test_a_filled_quantity_never_decreases_whatever_an_old_reading_says(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.data["/orders"] = [order_row("91", CLIENT_ID, "OPEN", filled=6)]
        await desk.submit(buy(), settle_s=2)
        desk.kite.data["/orders"] = [order_row("91", CLIENT_ID, "OPEN", filled=4)]
        desk.broker._hear_text(decoded(b'{"type":"order","data":{}}'))
        await trio.sleep(2)
        fills = [event.filled for event in desk.events if isinstance(event, OrderUpdate)]
        assert fills == sorted(fills)
        assert fills[-1] == 6


async def test_the_end_of_a_session_refuses_what_waits_and_doubts_what_was_sent(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", TIMEOUT)
        await desk.submit(buy("B1"), buy("B2"))
        desk.session.cancel()
        await trio.sleep(0.5)
        assert {(failed.request.client_id, failed.reached) for failed in desk.failures()} == {
            ("B1", True),
            ("B2", False),
        }
        (refused,) = desk.broker.submit([buy("B3")])
        assert isinstance(refused, RequestFailed)
        assert (refused.code, refused.reached) == ("NOT_CONNECTED", False)


async def test_never_more_than_eight_order_calls_in_a_second(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.submit(*(sell(f"S{number}", f"SYM{number}") for number in range(20)), settle_s=4)
        times = sent_at(desk.kite.asked("POST"))
        assert len(times) == 20
        assert all(later - earlier >= 0.999 for earlier, later in zip(times, times[8:], strict=False))


async def test_an_exit_does_not_stand_behind_the_time_out_of_another_symbol(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", TIMEOUT)
        desk.kite.then("POST", "/orders/regular", TIMEOUT)
        await desk.submit(buy("B1", "TCS"), sell("S1", "INFY"))
        assert {call.form["tag"] for call in desk.kite.asked("POST")} == {"B1", "S1"}


async def test_requests_in_one_symbol_keep_their_order(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", TIMEOUT)
        await desk.submit(buy("B1"), sell("S1"))
        assert [call.form["tag"] for call in desk.kite.asked("POST")] == ["B1"]
        await trio.sleep(6)
        assert [call.form["tag"] for call in desk.kite.asked("POST")] == ["B1", "S1"]


async def test_an_entry_that_waited_too_long_is_not_sent_at_its_old_price(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path, entry_wait_s=2.0) as desk:
        desk.kite.then("POST", "/orders/regular", TIMEOUT)
        await desk.submit(sell("S1"), buy("B1"), settle_s=7)
        assert [call.form["tag"] for call in desk.kite.asked("POST")] == ["S1"]
        assert [(failed.request.client_id, failed.code) for failed in desk.failures()] == [
            ("B1", "TOO_LATE"),
            ("S1", "TIMEOUT"),
        ]


async def test_five_failures_open_the_breaker_entries_stop_and_an_exit_goes_within_two_seconds(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", *[refusal(503, "NetworkException", "down")] * 5)
        desk.kite.then("GET", "/orders", *[refusal(503, "NetworkException", "down")] * 9)
        desk.kite.then("GET", "/user/profile", *[refusal(503, "NetworkException", "down")] * 2)
        await desk.submit(*(sell(f"S{number}", f"SYM{number}") for number in range(5)))
        (refused,) = await desk.submit(buy("B1"))
        assert (refused.code, refused.reached) == ("CIRCUIT_OPEN", False)
        before_s = desk.clock.now_ns / NS
        await desk.submit(sell("S9"), settle_s=2.5)
        (exit_call,) = [call for call in desk.kite.asked("POST") if call.form["tag"] == "S9"]
        assert exit_call.at_s <= desk.kite.asked("POST")[4].at_s + 0.2 + 0.2 + 2.01
        assert desk.clock.now_ns / NS - before_s == pytest.approx(2.5)
        await trio.sleep(30)
        await desk.submit(buy("B2"))
        assert desk.kite.asked("POST")[-1].form["tag"] == "B2", "a probe was answered: entries go on"


async def test_a_429_rests_its_class_of_calls_longer_each_time_and_is_no_storm(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with desk_at(tmp_path) as desk:
        desk.kite.then("POST", "/orders/regular", *[refusal(429, "NetworkException", "slow down")] * 3)
        await desk.submit(*(sell(f"S{number}") for number in range(4)), settle_s=10)
        times = sent_at(desk.kite.asked("POST"))
        assert [round(later - earlier) for earlier, later in pairwise(times)] == [1, 2, 4]
        assert not desk.broker.rest.breaker.open, "a 429 is an answer"


async def test_entries_stop_when_nine_tenths_of_the_gtts_are_in_use(tmp_path: Path, autojump_clock: Clock) -> None:
    async with desk_at(tmp_path, gtt_allowance=1) as desk:
        await desk.submit(buy("B1"))
        assert not desk.failures()
        desk.kite.data["/gtt/triggers"] = [gtt_row(7)]
        await desk.broker.books()
        (refused,) = await desk.submit(buy("B2"))
        assert (refused.code, refused.reached) == ("GTT_ALLOWANCE", False)
        await desk.submit(sell("S1"))
        assert desk.kite.asked("POST")[-1].form["tag"] == "S1"


def decoded(frame: bytes) -> TextFrame:
    return decode_text(frame.decode())
