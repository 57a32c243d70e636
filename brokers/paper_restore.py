"""What the paper exchange had, read back from the journal's values when a process starts again.

Owns the translation of orders, GTTs and rungs into a matching engine's rows. Never reads the journal itself.
Called by PaperExchange.restore.

The exchange died with the process, so the journal is the only witness: an order that it has as INTENT or
SENT was never answered, hence never executed, and is absent from the book; reconciliation finds it
NOT_PLACED.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from brokers.matching import MatchingEngine
from brokers.matching_gtts import BookGtt
from brokers.matching_orders import NEEDS_TRIGGER, BookOrder
from protocol.broker import HoldingRow
from protocol.clock import ist_date
from protocol.orders import Gtt, GttState, Order, OrderState
from protocol.rungs import Rung

# What the journal may have of an order that the exchange's book of today has, and how the book shows it.
IN_THE_BOOK = {
    OrderState.OPEN: OrderState.OPEN,
    OrderState.PARTIAL: OrderState.PARTIAL,
    OrderState.UNKNOWN: OrderState.OPEN,  # asked about when the process died; with an id it was accepted
    OrderState.COMPLETE: OrderState.COMPLETE,
    OrderState.CANCELLED: OrderState.CANCELLED,
    OrderState.REJECTED: OrderState.REJECTED,
}
WAITING = frozenset({GttState.ACTIVE, GttState.UNKNOWN})


def restore_engine(
    engine: MatchingEngine,
    at_ns: int,
    traded: Container[str],
    orders: Sequence[Order],
    gtts: Sequence[Gtt],
    rungs: Sequence[Rung],
    holdings: Sequence[HoldingRow],
) -> None:
    """Shares first, because an order's checks count them; everything in the order of its creation.

    Rungs entered on the day of `at_ns` are today's position, their sales included; older ones are holdings
    with what they still hold. The trade book begins empty: its fills are counted by the rungs.

    Orders and GTTs in a symbol that is not `traded` any more are gone; its shares are not.
    """
    today = ist_date(at_ns)
    for rung in rungs:
        if not rung.quantity:
            continue
        if ist_date(rung.entry_ns) == today:
            engine.restore_position(rung.symbol, rung.quantity, rung.cost_paise, rung.sold, rung.proceeds_paise)
        elif rung.held:
            engine.restore_holding(rung.symbol, rung.held, 0, rung.deployed_paise, paid=True)
    for row in holdings:
        cost = (row.quantity + row.t1_quantity) * row.average_paise
        engine.restore_holding(row.symbol, row.quantity, row.t1_quantity, cost, paid=False)

    gtt_ids = {gtt.client_id: gtt.gtt_id for gtt in gtts}
    children: dict[str, str] = {}
    for order in sorted(orders, key=lambda order: (order.created_ns, order.client_id)):
        if order.broker_id is None or order.state not in IN_THE_BOOK:
            continue
        if ist_date(order.created_ns) != today or order.symbol not in traded:
            continue  # the book lives one day
        gtt_id = gtt_ids.get(order.gtt_client_id) if order.gtt_client_id is not None else None
        engine.restore_order(_book_order(order, gtt_id))
        if order.gtt_client_id is not None:
            children[order.gtt_client_id] = order.broker_id
    for gtt in sorted(gtts, key=lambda gtt: (gtt.created_ns, gtt.client_id)):
        if gtt.gtt_id is not None and gtt.symbol in traded:
            engine.restore_gtt(_book_gtt(gtt, gtt.gtt_id, children.get(gtt.client_id)))


def _book_order(order: Order, gtt_id: str | None) -> BookOrder:
    assert order.broker_id is not None
    state = IN_THE_BOOK[order.state]
    if state is OrderState.OPEN and order.filled:
        state = OrderState.PARTIAL
    return BookOrder(
        broker_id=order.broker_id,
        client_id=None if order.gtt_client_id is not None else order.client_id,
        gtt_id=gtt_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        order_type=order.order_type,
        limit_paise=order.limit_paise,
        trigger_paise=order.trigger_paise,
        at_ns=order.updated_ns,
        state=state,
        filled=order.filled,
        value_paise=order.value_paise,
        message=order.message,
        released=order.order_type in NEEDS_TRIGGER and order.filled > 0,
    )


def _book_gtt(gtt: Gtt, gtt_id: str, child_id: str | None) -> BookGtt:
    return BookGtt(
        gtt_id=gtt_id,
        client_id=gtt.client_id,
        symbol=gtt.symbol,
        quantity=gtt.quantity,
        stop=gtt.stop,
        target=gtt.target,
        at_ns=gtt.updated_ns,
        state=GttState.ACTIVE if gtt.state in WAITING else gtt.state,
        fired=gtt.fired,
        child_id=child_id,
        message=gtt.message,
    )
