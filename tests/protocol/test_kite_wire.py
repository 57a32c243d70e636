"""Kite's envelope, errors, login and account, and requests as Kite wants them written."""

from __future__ import annotations

import json
from datetime import date
from urllib.parse import parse_qsl

import pytest

from protocol.broker import CancelGtt, CancelOrder, Margins, ModifyGtt, ModifyOrder, PlaceGtt, PlaceOrder
from protocol.clock import at, from_ist_text
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.kite_errors import KiteFailure
from protocol.kite_gtts import cancel_gtt, modify_gtt, place_gtt
from protocol.kite_market import candles, last_prices, quotes
from protocol.kite_orders import OrderStyle, cancel_order, modify_order, place_order, read_placed
from protocol.kite_wire import (
    answer,
    end_session,
    headers,
    login_url,
    new_session,
    read_login,
    read_margins,
    request_token,
    session_checksum,
    token_expires_ns,
)
from protocol.orders import Leg, OrderType, Side

STYLE = OrderStyle()


def form_of(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def refused(http_status: int, body: bytes) -> KiteFailure:
    with pytest.raises(KiteFailure) as caught:
        answer(http_status, body)
    return caught.value


def error(error_type: str, message: str = "no") -> bytes:
    return json.dumps({"status": "error", "error_type": error_type, "message": message}).encode()


# --- orders and GTTs, written -------------------------------------------------------------------------------


def test_an_entry_is_a_delivery_limit_order_with_its_tag_and_no_market_protection() -> None:
    order = PlaceOrder(
        client_id="PA01ABCD000100000001",
        symbol="M&M",
        side=Side.BUY,
        quantity=7,
        order_type=OrderType.LIMIT,
        limit_paise=150_005,
    )
    request = place_order(order, STYLE)
    assert (request.method, request.target) == ("POST", "/orders/regular")
    assert form_of(request.body) == {
        "exchange": "NSE",
        "tradingsymbol": "M&M",
        "transaction_type": "BUY",
        "product": "CNC",
        "order_type": "LIMIT",
        "quantity": "7",
        "validity": "DAY",
        "price": "1500.05",
        "tag": "PA01ABCD000100000001",
    }


@pytest.mark.parametrize(
    ("side", "order_type", "trigger_paise", "protection"),
    [
        (Side.BUY, OrderType.MARKET, None, "-1"),
        (Side.SELL, OrderType.MARKET, None, "3"),
        (Side.SELL, OrderType.SL_M, 149_000, "3"),
    ],
)
def test_market_protection_is_explicit_and_wide_enough_for_exits(
    side: Side, order_type: OrderType, trigger_paise: int | None, protection: str
) -> None:
    order = PlaceOrder(
        client_id="A1", symbol="INFY", side=side, quantity=1, order_type=order_type, trigger_paise=trigger_paise
    )
    assert form_of(place_order(order, STYLE).body)["market_protection"] == protection


def test_a_modification_says_the_whole_order_and_protects_a_market_exit() -> None:
    change = ModifyOrder(broker_id="2107", quantity=5, order_type=OrderType.MARKET)
    request = modify_order(change, STYLE)
    assert (request.method, request.target) == ("PUT", "/orders/regular/2107")
    assert form_of(request.body) == {
        "order_type": "MARKET",
        "quantity": "5",
        "validity": "DAY",
        "market_protection": "3",
    }


def test_protection_of_zero_never_reaches_the_wire() -> None:
    change = ModifyOrder(broker_id="2107", quantity=5, order_type=OrderType.MARKET)
    with pytest.raises(LocalProtocolError, match="market protection 0"):
        modify_order(change, OrderStyle(exit_protection_percent=0))


@pytest.mark.parametrize("client_id", ["", "PA-1", "A" * 21, "ä"])
def test_what_is_no_tag_is_never_sent(client_id: str) -> None:
    order = PlaceOrder(client_id=client_id, symbol="INFY", side=Side.BUY, quantity=1, order_type=OrderType.MARKET)
    with pytest.raises(LocalProtocolError, match="tag"):
        place_order(order, STYLE)


def test_cancelling_names_the_order_in_the_path_whatever_it_is_called() -> None:
    assert cancel_order(CancelOrder("1/2?3"), STYLE).target == "/orders/regular/1%2F2%3F3"
    assert cancel_gtt(CancelGtt("123")).target == "/gtt/triggers/123"


def test_a_two_leg_gtt_is_written_lower_trigger_first_with_exact_prices() -> None:
    gtt = PlaceGtt(
        client_id="G1",
        symbol="INFY",
        quantity=10,
        stop=Leg(146_250, 144_705),
        target=Leg(157_500, 157_495),
        last_paise=150_000,
    )
    request = place_gtt(gtt, STYLE)
    form = form_of(request.body)
    assert (request.method, request.target, form["type"]) == ("POST", "/gtt/triggers", "two-leg")
    assert json.loads(form["condition"]) == {
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "trigger_values": [1462.5, 1575],
        "last_price": 1500,
    }
    legs = json.loads(form["orders"])
    assert [leg["price"] for leg in legs] == [1447.05, 1574.95]
    assert {(leg["transaction_type"], leg["order_type"], leg["product"], leg["quantity"]) for leg in legs} == {
        ("SELL", "LIMIT", "CNC", 10)
    }


def test_modifying_a_gtt_sends_everything_again() -> None:
    change = ModifyGtt(gtt_id="9", quantity=4, stop=Leg(146_250, 144_705), target=None, last_paise=150_010)
    request = modify_gtt(change, "INFY", STYLE)
    form = form_of(request.body)
    assert (request.method, request.target, form["type"]) == ("PUT", "/gtt/triggers/9", "single")
    assert json.loads(form["condition"])["last_price"] == 1500.1
    assert len(json.loads(form["orders"])) == 1


def test_quotes_are_asked_for_within_the_size_kite_takes() -> None:
    assert quotes(["M&M", "TCS"]).target == "/quote?i=NSE%3AM%26M&i=NSE%3ATCS"
    assert last_prices(["TCS"]).target == "/quote/ltp?i=NSE%3ATCS"
    with pytest.raises(LocalProtocolError, match="1 to 500"):
        quotes(["X"] * 501)


def test_history_is_cut_into_calls_that_join_without_gap_or_overlap() -> None:
    calls = candles(408065, "15minute", date(2026, 1, 1), date(2026, 12, 31))
    spans = [(dict(call.query)["from"][:10], dict(call.query)["to"][:10]) for call in calls]
    assert spans == [("2026-01-01", "2026-07-19"), ("2026-07-20", "2026-12-31")]
    assert calls[0].path == "/instruments/historical/408065/15minute"


# --- the envelope -------------------------------------------------------------------------------------------


def test_an_unknown_error_name_is_a_general_exception() -> None:
    assert refused(400, error("BrandNewException")).code == "GeneralException"


@pytest.mark.parametrize("http_status", [400, 403, 404, 405, 410, 428, 429])
def test_a_refusal_by_its_status_was_not_carried_out(http_status: int) -> None:
    failure = refused(http_status, error("OrderException", "no funds"))
    assert (failure.reached, failure.code, "no funds" in failure.message) == (False, "OrderException", True)


@pytest.mark.parametrize("http_status", [200, 408, 500, 502, 503, 504])
def test_after_any_other_error_nobody_knows_whether_it_was_carried_out(http_status: int) -> None:
    assert refused(http_status, error("NetworkException")).reached


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"status":"success"}', b'{"data":1}', b"\xff\xfe", b"NaN"])
@pytest.mark.parametrize("http_status", [200, 400, 502])
def test_an_unreadable_answer_may_have_been_carried_out(http_status: int, body: bytes) -> None:
    failure = refused(http_status, body)
    assert (failure.code, failure.reached, failure.broken) == ("UNREADABLE", True, True)


def test_a_dead_token_asks_for_a_login_and_a_missing_permission_does_not() -> None:
    assert refused(403, error("TokenException")).login_needed
    assert refused(403, b"<html>Forbidden</html>").login_needed
    assert not refused(403, error("PermissionException")).login_needed
    assert not refused(400, error("InputException")).login_needed


def test_a_refusal_for_the_address_says_what_the_exchange_wants() -> None:
    assert "static IP" in refused(403, error("PermissionException", "not allowed")).message
    assert "static IP" in refused(400, error("OrderException", "IP 10.1.2.3 is not registered")).message
    assert "static IP" not in refused(400, error("OrderException", "tip: ship it")).message


def test_an_unauthorised_demat_sale_says_what_to_sign() -> None:
    assert "DDPI" in refused(428, error("HoldingException", "authorise")).message


def test_too_many_requests_is_told_from_trouble() -> None:
    failure = refused(429, error("NetworkException", "Too many requests"))
    assert (failure.rate_limited, failure.broken, failure.reached) == (True, False, False)
    assert not refused(400, error("InputException")).broken
    assert refused(503, error("NetworkException")).broken


# --- answers to orders --------------------------------------------------------------------------------------


def test_an_order_id_of_nineteen_digits_stays_exact_as_number_and_as_text() -> None:
    assert read_placed(answer(200, b'{"status":"success","data":{"order_id":1953341975595868161}}')).order_id == (
        "1953341975595868161"
    )
    assert read_placed({"order_id": "1953341975595868161"}).children == ()


def test_both_shapes_of_a_sliced_order_are_read() -> None:
    flat = read_placed([{"order_id": "1"}, {"order_id": "2"}, {"error": {"message": "no funds"}}])
    nested = read_placed({"order_id": "1", "children": [{"order_id": "2"}, {"error": {"message": "no funds"}}]})
    assert flat == nested
    assert (flat.order_id, flat.children, flat.errors) == ("1", ("2",), ("no funds",))


# --- login and account --------------------------------------------------------------------------------------


def test_the_login_checksum_is_kites() -> None:
    # printf keytokensecret | sha256sum
    expected = "08a03d928417ea4085557933d3b187ff2a3515b039d6054dbd230c95d978a17a"
    assert session_checksum("key", "token", "secret") == expected
    assert form_of(new_session("key", "token", "secret").body)["request_token"] == "token"
    assert end_session("key", "t").target == "/session/token?api_key=key&access_token=t"


def test_the_request_token_is_found_in_the_redirect_or_taken_bare() -> None:
    assert request_token(" abc123 ") == "abc123"
    assert request_token("http://127.0.0.1/?action=login&status=success&request_token=abc123") == "abc123"
    for wrong, reason in [
        ("", "empty"),
        ("https://x/?status=success", "no request_token"),
        ("https://x/?status=cancelled&request_token=a", "did not succeed"),
    ]:
        with pytest.raises(ValueError, match=reason):
            request_token(wrong)


def test_a_token_lives_until_the_next_six_o_clock_in_india() -> None:
    day = date(2026, 11, 20)
    assert token_expires_ns(at(day, 8 * 3600)) == at(date(2026, 11, 21), 6 * 3600)
    assert token_expires_ns(at(day, 5 * 3600)) == at(day, 6 * 3600)
    assert token_expires_ns(at(day, 6 * 3600)) == at(date(2026, 11, 21), 6 * 3600)


def test_a_session_tells_its_end_and_keeps_the_token_out_of_its_text() -> None:
    login = read_login({"user_id": "AB1", "access_token": "s3cret", "login_time": "2026-11-20 08:15:14", "meta": {}})
    assert login.expires_ns == from_ist_text("2026-11-21 06:00:00")
    assert "s3cret" not in repr(login)
    assert not login.demat_consent


def test_headers_and_login_url() -> None:
    assert headers("k", "t")["Authorization"] == "token k:t"
    assert "Authorization" not in headers("k", None)
    assert login_url("k") == "https://kite.zerodha.com/connect/login?v=3&api_key=k"


def test_available_funds_never_count_what_one_of_the_two_figures_does_not() -> None:
    segment = {"net": 100, "available": {"live_balance": 90}, "utilised": {"debits": 10}}
    assert read_margins({"equity": segment}) == Margins(9_000, 1_000)
    with pytest.raises(RemoteProtocolError, match="net"):
        read_margins({"equity": {**segment, "net": "100"}})
