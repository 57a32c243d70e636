"""Hypothesis strategies for everything that can be said on the JSON broker's wire."""

from __future__ import annotations

from hypothesis import strategies as st

from protocol.broker import (
    CancelGtt,
    CancelOrder,
    GttUpdate,
    HoldingRow,
    Margins,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    PositionRow,
    Quote,
    TradeRow,
)
from protocol.broker_wire import GttTriggered, Message, Pong, Refusal, Response, Tick, Ticks
from protocol.broker_wire_requests import (
    Auth,
    Body,
    GetGtts,
    GetHoldings,
    GetMargins,
    GetOrder,
    GetOrders,
    GetPositions,
    GetQuotes,
    GetTrades,
    Mode,
    Ping,
    Subscribe,
    Unsubscribe,
)
from protocol.broker_wire_rows import GTT_STATUS, STATUS, Fill, GttReport, OrderReport
from protocol.orders import ExitReason, Leg, OrderState, OrderType, Side

ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
symbols = st.from_regex(r"[A-Z0-9&-]{1,12}", fullmatch=True)
instants = st.integers(0, 4_000_000_000_000_000_000)
paise = st.integers(1, 10**11)
prices = st.none() | paise
quantities = st.integers(0, 10**7)
legs = st.builds(Leg, paise, paise)
texts = st.text(st.characters(codec="utf-8"), max_size=60)
symbol_lists = st.lists(symbols, max_size=4).map(tuple)
sides = st.sampled_from(Side)
order_types = st.sampled_from(OrderType)

reads: st.SearchStrategy[Body] = st.one_of(
    st.builds(GetOrders, st.none() | instants),
    st.builds(GetOrder, order_id=ids),
    st.builds(GetOrder, client_order_id=ids),
    st.just(GetGtts()),
    st.builds(GetTrades, st.none() | instants),
    st.just(GetPositions()),
    st.just(GetHoldings()),
    st.just(GetMargins()),
    st.builds(GetQuotes, st.lists(symbols, min_size=1, max_size=4).map(tuple)),
)
order_changes = st.builds(
    ModifyOrder,
    broker_id=ids,
    quantity=quantities,
    order_type=order_types,
    limit_paise=prices,
    trigger_paise=prices,
)
gtt_changes = st.builds(
    ModifyGtt, gtt_id=ids, quantity=quantities, stop=legs, target=st.none() | legs, last_paise=st.just(0)
)
changes: st.SearchStrategy[Body] = st.one_of(
    st.builds(
        PlaceOrder,
        client_id=ids,
        symbol=symbols,
        side=sides,
        quantity=quantities,
        order_type=order_types,
        limit_paise=prices,
        trigger_paise=prices,
    ),
    order_changes,
    st.builds(CancelOrder, ids),
    st.builds(
        PlaceGtt,
        client_id=ids,
        symbol=symbols,
        quantity=quantities,
        stop=legs,
        target=st.none() | legs,
        last_paise=st.just(0),
    ),
    gtt_changes,
    st.builds(CancelGtt, ids),
)
bodies: st.SearchStrategy[Body] = st.one_of(
    reads,
    changes,
    st.builds(Auth, ids),
    st.builds(Subscribe, symbol_lists, st.sampled_from(Mode)),
    st.builds(Unsubscribe, symbol_lists, st.sampled_from(Mode)),
    st.just(Ping()),
)


@st.composite
def order_reports(draw: st.DrawFn) -> OrderReport:
    fills = draw(st.lists(st.builds(Fill, ids, st.integers(1, 10**5), st.integers(1, 10**8)), max_size=3))
    filled = sum(fill.quantity for fill in fills)
    rest = draw(st.integers(1, 10**5))
    status = draw(st.sampled_from(sorted(STATUS)))
    state = STATUS[status]
    if state is OrderState.COMPLETE:
        filled, rest = filled or 1, 0
        fills = fills or [Fill("T1", 1, 100)]
    elif state in (OrderState.OPEN, OrderState.PARTIAL):
        state = OrderState.PARTIAL if fills else OrderState.OPEN
        status = state.value if STATUS[status] is not state else status
    return OrderReport(
        update=OrderUpdate(
            broker_id=draw(ids),
            client_id=draw(st.none() | ids),
            gtt_id=draw(st.none() | ids),
            symbol=draw(symbols),
            side=draw(sides),
            state=state,
            quantity=filled + rest,
            filled=filled,
            value_paise=sum(fill.quantity * fill.price_paise for fill in fills),
            at_ns=draw(instants),
            limit_paise=draw(prices),
            message=draw(texts),
            raw_status=status,
        ),
        order_type=draw(st.none() | order_types),
        trigger_paise=draw(prices),
        fills=tuple(fills),
        seq=draw(st.integers(0, 10**6)),
        placed_ns=draw(instants),
    )


gtt_reports = st.builds(
    GttReport,
    update=st.builds(
        GttUpdate,
        gtt_id=ids,
        client_id=st.none() | ids,
        symbol=symbols,
        state=st.sampled_from(sorted(GTT_STATUS, key=lambda state: state.value)),
        quantity=quantities,
        stop=legs,
        target=st.none() | legs,
        at_ns=instants,
        fired=st.sampled_from([None, ExitReason.STOP, ExitReason.TARGET]),
        child_id=st.none() | ids,
        message=texts,
    ),
    placed_ns=instants,
)
trades = st.builds(
    TradeRow,
    trade_id=ids,
    broker_id=ids,
    client_id=st.none() | ids,
    symbol=symbols,
    side=sides,
    quantity=st.integers(1, 10**6),
    price_paise=paise,
    at_ns=instants,
)
positions = st.builds(
    PositionRow,
    symbol=symbols,
    quantity=st.integers(-1000, 1000),
    bought=quantities,
    bought_value_paise=paise,
    sold=quantities,
    sold_value_paise=paise,
)
holdings = st.builds(HoldingRow, symbol=symbols, quantity=quantities, t1_quantity=quantities, average_paise=paise)
quotes = st.builds(
    Quote,
    symbol=symbols,
    last_paise=paise,
    at_ns=instants,
    volume=st.integers(-1, 10**9),
    lower_circuit_paise=prices,
    upper_circuit_paise=prices,
)
ticks = st.builds(Tick, symbols, paise, st.integers(-1, 10**9), instants)
responses = st.builds(
    Response,
    request_id=st.none() | ids,
    order_id=st.none() | ids,
    gtt_id=st.none() | ids,
    order=st.none() | order_reports(),
    gtt=st.none() | gtt_reports,
    orders=st.none() | st.lists(order_reports(), max_size=2).map(tuple),
    gtts=st.none() | st.lists(gtt_reports, max_size=2).map(tuple),
    trades=st.none() | st.lists(trades, max_size=2).map(tuple),
    positions=st.none() | st.lists(positions, max_size=2).map(tuple),
    holdings=st.none() | st.lists(holdings, max_size=2).map(tuple),
    margins=st.none() | st.builds(Margins, st.integers(-(10**12), 10**16).map(lambda n: n // 100 * 100), paise),
    quotes=st.none() | st.lists(quotes, max_size=2).map(tuple),
)
messages: st.SearchStrategy[Message] = st.one_of(
    responses,
    st.builds(Refusal, request_id=st.none() | ids, code=ids, message=texts),
    order_reports(),
    st.builds(
        GttTriggered,
        gtt_id=ids,
        symbol=symbols,
        trigger_paise=prices,
        leg=st.sampled_from([ExitReason.STOP, ExitReason.TARGET]),
        order_id=st.none() | ids,
        gtt=st.none() | gtt_reports,
    ),
    st.builds(
        Ticks, st.lists(st.builds(Tick, symbols, paise, st.integers(-1, 10**9), instants), max_size=3).map(tuple)
    ),
    st.builds(Pong, st.none() | ids),
)
