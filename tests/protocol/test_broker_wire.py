"""The JSON broker's wire says everything, exactly, by its schema, and never trips over what it hears."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.broker import (
    CancelGtt,
    CancelOrder,
    GttUpdate,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    PositionRow,
)
from protocol.broker_wire import (
    GttTriggered,
    Message,
    Refusal,
    Response,
    Tick,
    Ticks,
    decode_message,
    encode_message,
)
from protocol.broker_wire_client import decode_request, encode_batch, encode_request
from protocol.broker_wire_fields import Fields, MalformedFrame, ns_of_utc, paise_of_number, rupee_number, utc_text
from protocol.broker_wire_requests import (
    Batch,
    Body,
    ChangeGtt,
    ChangeOrder,
    ClientRequest,
    GetQuotes,
    Ping,
    ReadBody,
    UnknownType,
)
from protocol.broker_wire_rest import NoSuchPath, read_rest, rest_call, status_of
from protocol.broker_wire_rows import GttReport, OrderReport
from protocol.clock import NS
from protocol.errors import LocalProtocolError
from protocol.orders import ExitReason, GttState, Leg, OrderState, OrderType, Side
from tests.protocol.broker_wire_schema import checked
from tests.protocol.broker_wire_values import (
    bodies,
    changes,
    gtt_changes,
    gtt_reports,
    ids,
    instants,
    messages,
    order_changes,
    order_reports,
    reads,
)

AT_NS = 1_767_585_600 * NS + 250_000_000  # 2026-01-05T04:00:00.25Z

UPDATE = {
    "type": "ORDER_UPDATE",
    "order_id": "P-1",
    "client_order_id": "PA01",
    "status": "PARTIAL",
    "symbol": "INFY",
    "side": "BUY",
    "filled_qty": 4,
    "filled_price": 1500.05,
    "filled_value": 6000.2,
    "fills": [["T-1", 4, 1500.05]],
    "pending_qty": 6,
    "message": "",
    "seq": 2,
}


def as_read(body: Body) -> ReadBody:
    """What a server reads of a request: a whole modification is a change of every field."""
    if isinstance(body, ModifyOrder):
        return ChangeOrder(
            order_id=body.broker_id,
            order_type=body.order_type,
            quantity=body.quantity,
            limit_paise=body.limit_paise,
            trigger_paise=body.trigger_paise,
        )
    if isinstance(body, ModifyGtt):
        target = body.target
        return ChangeGtt(
            gtt_id=body.gtt_id,
            quantity=body.quantity,
            trigger_paise=body.stop.trigger_paise,
            limit_paise=body.stop.limit_paise,
            target_trigger_paise=None if target is None else target.trigger_paise,
            target_limit_paise=None if target is None else target.limit_paise,
        )
    return body


# --- every message there and back ---------------------------------------------------------------------


@given(ids, bodies, instants)
def test_every_request_comes_back_as_it_was_sent(request_id: str, body: Body, at_ns: int) -> None:
    text = checked("request", encode_request(request_id, body, at_ns))
    assert decode_request(text) == ClientRequest(request_id, as_read(body), at_ns)


@given(st.lists(st.tuples(ids, bodies), min_size=1, max_size=4), ids)
def test_a_batch_holds_its_requests_in_order(requests: list[tuple[str, Body]], batch_id: str) -> None:
    batch = decode_request(checked("request", encode_batch(batch_id, requests, AT_NS)))
    assert isinstance(batch, Batch)
    read = [(member.request_id, member.body) for member in batch.requests if isinstance(member, ClientRequest)]
    assert read == [(request_id, as_read(body)) for request_id, body in requests]


@given(messages)
def test_every_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode_message(checked("message", encode_message(message))) == message


@given(st.one_of(reads, changes))
def test_every_request_takes_the_same_meaning_over_http(body: Any) -> None:
    call = rest_call(body, "R1", AT_NS)
    read = read_rest(call.method, call.target, call.content.encode())
    assert read.body == as_read(body)


@given(order_reports(), order_changes)
def test_a_whole_modification_replaces_the_whole_order(report: OrderReport, wanted: ModifyOrder) -> None:
    request = decode_request(encode_request("R1", wanted, AT_NS))
    assert isinstance(request, ClientRequest)
    assert isinstance(request.body, ChangeOrder)
    assert request.body.applied(report) == wanted


@given(gtt_reports, gtt_changes)
def test_a_whole_modification_replaces_the_whole_gtt(report: GttReport, wanted: ModifyGtt) -> None:
    request = decode_request(encode_request("R1", wanted, AT_NS))
    assert isinstance(request, ClientRequest)
    assert isinstance(request.body, ChangeGtt)
    assert request.body.applied(report.update, 0) == wanted


# --- modifications of a part ---------------------------------------------------------------------------


def read_change(type_: str, **fields: object) -> object:
    text = json.dumps({"type": type_, "request_id": "R1", "timestamp": "2026-01-05T04:00:00Z", **fields})
    request = decode_request(checked("request", text))
    assert isinstance(request, ClientRequest)
    return request.body


def stop_limit_order() -> OrderReport:
    update = OrderUpdate(
        broker_id="P-1",
        client_id="PA01",
        gtt_id=None,
        symbol="INFY",
        side=Side.SELL,
        state=OrderState.OPEN,
        quantity=10,
        filled=0,
        value_paise=0,
        at_ns=AT_NS,
        limit_paise=148_500,
    )
    return OrderReport(update=update, order_type=OrderType.SL, trigger_paise=149_000, fills=(), seq=1, placed_ns=AT_NS)


def test_a_field_missing_from_a_modification_is_unchanged() -> None:
    change = read_change("MODIFY_ORDER", order_id="P-1", trigger_price=1491.5)
    assert isinstance(change, ChangeOrder)
    assert change.applied(stop_limit_order()) == ModifyOrder(
        broker_id="P-1", quantity=10, order_type=OrderType.SL, limit_paise=148_500, trigger_paise=149_150
    )


def test_a_new_type_leaves_behind_the_prices_it_has_no_use_for() -> None:
    change = read_change("MODIFY_ORDER", order_id="P-1", order_type="MARKET")
    assert isinstance(change, ChangeOrder)
    assert change.applied(stop_limit_order()) == ModifyOrder(broker_id="P-1", quantity=10, order_type=OrderType.MARKET)


def two_legs() -> GttUpdate:
    return GttUpdate(
        gtt_id="G-1",
        client_id="PA02",
        symbol="INFY",
        state=GttState.ACTIVE,
        quantity=10,
        stop=Leg(146_250, 144_750),
        target=Leg(157_500, 157_400),
        at_ns=AT_NS,
    )


@pytest.mark.parametrize(
    ("fields", "stop", "target"),
    [
        ({"new_trigger_price": 1470}, Leg(147_000, 144_750), Leg(157_500, 157_400)),
        ({"new_trigger_price": 1470, "new_limit_price": 1455}, Leg(147_000, 145_500), Leg(157_500, 157_400)),
        ({"new_target_trigger_price": 1580}, Leg(146_250, 144_750), Leg(158_000, 157_400)),
        ({"new_target_trigger_price": None}, Leg(146_250, 144_750), None),
    ],
    ids=["trigger", "trigger and limit", "target", "no target"],
)
def test_a_gtt_keeps_what_a_modification_does_not_name(
    fields: dict[str, object], stop: Leg, target: Leg | None
) -> None:
    change = read_change("MODIFY_GTT", gtt_id="G-1", **fields)
    assert isinstance(change, ChangeGtt)
    whole = change.applied(two_legs(), 150_000)
    assert (whole.quantity, whole.stop, whole.target, whole.last_paise) == (10, stop, target, 150_000)


def test_a_target_given_without_a_limit_sells_at_its_trigger() -> None:
    change = read_change("MODIFY_GTT", gtt_id="G-1", new_target_trigger_price=1580)
    assert isinstance(change, ChangeGtt)
    assert change.applied(attrs.evolve(two_legs(), target=None), 0).target == Leg(158_000, 158_000)


# --- money and time -----------------------------------------------------------------------------------


@given(st.integers(-(10**15), 10**15))
def test_every_paisa_survives_the_wire(paise: int) -> None:
    text = json.dumps(rupee_number(paise))
    assert Decimal(text) * 100 == paise
    assert paise_of_number(json.loads(text), "price") == paise


def test_an_amount_beyond_exact_numbers_is_not_written() -> None:
    with pytest.raises(LocalProtocolError):
        rupee_number(10**17 + 1)


@pytest.mark.parametrize("price", [1500.005, 0.001, "1500", True, [], {}, 1e300, 10**20])
def test_a_price_that_is_no_rupees_with_two_decimals_is_malformed(price: object) -> None:
    with pytest.raises(MalformedFrame, match="price"):
        paise_of_number(price, "price")


@given(st.integers(-(10**18), 10**19))
def test_every_instant_survives_the_wire(at_ns: int) -> None:
    assert ns_of_utc(utc_text(at_ns)) == at_ns


def test_times_are_written_in_utc_with_as_many_decimals_as_they_need() -> None:
    assert utc_text(AT_NS) == "2026-01-05T04:00:00.250Z"
    assert utc_text(AT_NS // NS * NS) == "2026-01-05T04:00:00Z"
    assert utc_text(AT_NS + 1) == "2026-01-05T04:00:00.250000001Z"


@pytest.mark.parametrize(
    "text", ["2026-01-05T04:00:00", "2026-01-05T04:00:00+05:30", "2026-13-05T04:00:00Z", "2026-01-05T24:00:00Z", "now"]
)
def test_a_time_without_utc_is_malformed(text: str) -> None:
    with pytest.raises(MalformedFrame, match="since"):
        Fields({"since": text}).time("since")


# --- what a server may leave out or add ---------------------------------------------------------------


def test_an_update_with_only_the_listed_fields_is_enough() -> None:
    report = decode_message(checked("message", json.dumps(UPDATE)))
    assert isinstance(report, OrderReport)
    update = report.update
    assert (update.state, update.quantity, update.filled, update.value_paise) == (OrderState.PARTIAL, 10, 4, 600_020)
    assert (update.broker_id, update.client_id, update.gtt_id, report.seq) == ("P-1", "PA01", None, 2)


def test_unknown_fields_are_ignored() -> None:
    assert decode_message(json.dumps({**UPDATE, "colour": "blue"})) == decode_message(json.dumps(UPDATE))


def test_an_unknown_type_is_a_value_to_be_counted() -> None:
    assert decode_message('{"type": "WEATHER"}') == UnknownType("WEATHER", None)
    assert decode_request('{"type": "DANCE", "request_id": "R1"}') == UnknownType("DANCE", "R1")


def test_failed_is_rejected_and_an_unknown_status_keeps_working_under_its_own_word() -> None:
    failed = decode_message(json.dumps({**UPDATE, "status": "FAILED"}))
    strange = decode_message(json.dumps({**UPDATE, "status": "UNDER REVIEW"}))
    assert isinstance(failed, OrderReport)
    assert isinstance(strange, OrderReport)
    assert failed.update.state is OrderState.REJECTED
    assert (strange.update.state, strange.update.raw_status) == (OrderState.PARTIAL, "UNDER REVIEW")


def test_the_old_name_of_a_trigger_is_understood() -> None:
    fields = {"type": "GTT_TRIGGER", "gtt_id": "G-1", "symbol": "INFY", "trigger_price": 1462.5, "leg": "stop"}
    triggered = decode_message(checked("message", json.dumps({**fields, "order_id": "P-9"})))
    assert triggered == GttTriggered(
        gtt_id="G-1", symbol="INFY", trigger_paise=146_250, leg=ExitReason.STOP, order_id="P-9", gtt=None
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"filled_qty": 5},
        {"filled_value": 6000.25},
        {"filled_qty": -4},
        {"status": "COMPLETE"},
        {"side": "HOLD"},
        {"fills": [["T-1", 4]]},
        {"filled_value": "6000.2"},
    ],
    ids=["quantity", "value", "negative", "status", "side", "fill", "text"],
)
def test_an_update_that_contradicts_itself_is_malformed(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedFrame):
        decode_message(json.dumps({**UPDATE, **wrong}))


def test_only_a_server_error_leaves_open_whether_a_request_was_carried_out() -> None:
    assert Refusal(request_id="R1", code="UNKNOWN_SYMBOL", message="").certain
    assert not Refusal(request_id="R1", code="SERVER_ERROR", message="").certain


# --- malformed frames ---------------------------------------------------------------------------------


def test_a_malformed_request_is_answered_under_its_own_id() -> None:
    text = '{"type": "CANCEL_ORDER", "request_id": "R7", "timestamp": "2026-01-05T04:00:00Z"}'
    with pytest.raises(MalformedFrame, match="order_id") as caught:
        decode_request(text)
    assert caught.value.request_id == "R7"


def test_a_malformed_answer_names_the_request_that_it_answers() -> None:
    with pytest.raises(MalformedFrame) as caught:
        decode_message('{"type": "RESPONSE", "request_id": "R7", "status": "SUCCESS", "orders": 3}')
    assert caught.value.request_id == "R7"


def test_one_malformed_request_does_not_spoil_its_batch() -> None:
    good = {"type": "PING", "request_id": "R2", "timestamp": "2026-01-05T04:00:00Z"}
    bad = {"type": "CANCEL_GTT", "request_id": "R1"}
    batch = decode_request(json.dumps({"type": "BATCH", "request_id": "B1", "requests": [bad, good, 7]}))
    assert isinstance(batch, Batch)
    first, second, third = batch.requests
    assert isinstance(first, MalformedFrame)
    assert first.request_id == "R1"
    assert second == ClientRequest("R2", Ping(), 1_767_585_600 * NS)
    assert isinstance(third, MalformedFrame)


def test_a_batch_in_a_batch_is_malformed() -> None:
    inner = {"type": "BATCH", "request_id": "B2", "requests": []}
    batch = decode_request(json.dumps({"type": "BATCH", "request_id": "B1", "requests": [inner]}))
    assert isinstance(batch, Batch)
    assert isinstance(batch.requests[0], MalformedFrame)


def test_a_gtt_that_would_buy_is_malformed() -> None:
    gtt = PlaceGtt(client_id="A", symbol="INFY", quantity=1, stop=Leg(1, 1), target=None, last_paise=0)
    text = encode_request("R1", gtt, AT_NS).replace("SELL", "BUY")
    with pytest.raises(MalformedFrame, match="SELL"):
        decode_request(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def reads_or_refuses(text: str | bytes) -> None:
    """Both decoders give a value or their own error; anything else fails the test."""
    for decode in (decode_request, decode_message):
        with suppress(MalformedFrame):
            assert attrs.has(type(decode(text)))


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_noise_is_refused_and_nothing_else(noise: str | bytes) -> None:
    reads_or_refuses(noise)


@given(json_values)
def test_any_json_is_read_or_refused(value: object) -> None:
    reads_or_refuses(json.dumps(value))


@given(st.data())
def test_a_real_frame_with_any_field_spoilt_is_read_or_refused(data: st.DataObject) -> None:
    text = data.draw(
        st.one_of(messages.map(encode_message), bodies.map(lambda body: encode_request("R1", body, AT_NS)))
    )
    frame = json.loads(text)
    holder: Any = frame
    while True:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        inner = holder[key]
        if not inner or not isinstance(inner, (dict, list)) or data.draw(st.booleans()):
            break
        holder = inner
    holder[key] = data.draw(json_values)
    reads_or_refuses(json.dumps(frame))


@given(messages.map(encode_message), st.integers(0, 400), st.binary(max_size=3))
def test_a_real_frame_cut_and_patched_is_read_or_refused(text: str, place: int, patch: bytes) -> None:
    raw = text.encode()
    reads_or_refuses(raw[:place] + patch + raw[place + 1 :])


def test_absurdly_nested_json_is_refused() -> None:
    reads_or_refuses("[" * 100_000)
    reads_or_refuses('{"a":' * 50_000)


# --- HTTP ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/"), ("GET", "/nowhere"), ("PATCH", "/orders"), ("DELETE", "/orders"), ("GET", "/orders/1/2")],
)
def test_a_path_that_is_none_is_told(method: str, target: str) -> None:
    with pytest.raises(NoSuchPath):
        read_rest(method, target, b"")


def test_the_calls_a_person_would_make_by_hand_are_understood() -> None:
    assert read_rest("GET", "/quotes?symbols=INFY,TCS", b"").body == GetQuotes(("INFY", "TCS"))
    assert read_rest("DELETE", "/orders/P-1", b"").body == CancelOrder("P-1")
    assert read_rest("DELETE", "/gtts/G%2F1", b"").body == CancelGtt("G/1")
    order = b'{"client_order_id": "A1", "symbol": "INFY", "side": "BUY", "quantity": 1, "order_type": "MARKET"}'
    assert read_rest("POST", "/orders", order).body == PlaceOrder(
        client_id="A1", symbol="INFY", side=Side.BUY, quantity=1, order_type=OrderType.MARKET
    )


@given(st.text(max_size=20), st.text(max_size=40), st.binary(max_size=40))
def test_any_http_call_is_read_or_refused(method: str, target: str, content: bytes) -> None:
    with suppress(MalformedFrame):
        assert isinstance(read_rest(method, target, content), ClientRequest)


@pytest.mark.parametrize(
    ("code", "status"),
    [("NOT_FOUND", 400), ("NOT_AUTHENTICATED", 401), ("RATE_LIMITED", 429), ("SERVER_ERROR", 500)],
)
def test_a_refusal_has_its_status(code: str, status: int) -> None:
    assert status_of(code) == status


# --- positions ----------------------------------------------------------------------------------------


def test_a_position_row_shows_todays_profit_at_the_last_price() -> None:
    held = position(quantity=6, bought=10, bought_value=1_500_000, sold=4, sold_value=604_000)
    text = encode_message(Response(request_id="R1", positions=(held,)), lambda _: 151_000)
    (row,) = json.loads(checked("message", text))["positions"]
    assert (row["buy_price"], row["current_price"], row["pnl"]) == (1500, 1510, 6040 - 15000 + 6 * 1510)


def test_a_position_without_a_price_has_no_profit_yet() -> None:
    row = position(quantity=1, bought=1, bought_value=150_000, sold=0, sold_value=0)
    (shown,) = json.loads(checked("message", encode_message(Response(request_id="R1", positions=(row,)))))["positions"]
    assert (shown["current_price"], shown["pnl"]) == (None, None)


def position(*, quantity: int, bought: int, bought_value: int, sold: int, sold_value: int) -> PositionRow:
    return PositionRow(
        symbol="INFY",
        quantity=quantity,
        bought=bought,
        bought_value_paise=bought_value,
        sold=sold,
        sold_value_paise=sold_value,
    )


def test_a_tick_without_its_volume_is_a_tick() -> None:
    message = Ticks((Tick("INFY", 150_005, -1, AT_NS), Tick("TCS", 300_000, 12, AT_NS)))
    text = encode_message(message)
    assert json.loads(text)["ticks"][0] == ["INFY", 1500.05, None, "2026-01-05T04:00:00.250Z"]
    assert decode_message(text) == message
