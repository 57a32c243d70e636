"""Orders, GTTs and rungs as rows, and rows as the same values again: what is read equals what was written.

Owns the statements that write them, with their columns in one place. Pure: no connection, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from protocol.clock import NS, ist_text
from protocol.journal import EventRow, StopMoved
from protocol.money import half_up, rupees
from protocol.orders import ExitReason, Gtt, GttState, Leg, Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Protection, Rung, RungStatus
from store.schema import GTTS, ORDERS
from store.sqlite_file import Row

_RUNG_COLUMNS = (
    "trade_id", "symbol", "ladder", "position_number", "status", "rank_gm_at_entry", "qty", "cost_paise",
    "sold", "proceeds_paise", "entry_ns", "exit_ns", "entry_working", "exit_working", "protection",
    "stop_paise", "target_paise", "highest_paise", "gtt_id", "order_id", "reason", "attempts", "retry_ns",
)  # fmt: skip
_COLUMNS_FOR_PEOPLE = (
    "entry_time", "entry_price", "stop_loss", "target", "exit_time", "exit_price", "pnl",
    "highest_price_since_entry", "central_trade_id",
)  # fmt: skip
_ONCE = ("execution_mode", "created_at", "created_ns")


def _upsert(table: str, columns: Sequence[str], key: str, identity: Sequence[str], once: Sequence[str] = ()) -> str:
    """INSERT, or UPDATE of the row with the same key, if its identity is the same; else no row is changed.

    The identity is what indices are about: leaving it out of the update saves a third of its time. What is
    written `once` keeps its first value.
    """
    kept = (key, *identity, *once)
    changing = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in kept)
    same = " AND ".join(f"{table}.{column} = excluded.{column}" for column in identity)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({key}) DO UPDATE SET {changing} WHERE {same}"
    )


ORDER_COLUMNS = ", ".join(ORDERS)
GTT_COLUMNS = ", ".join(GTTS)
RUNG_COLUMNS = ", ".join(_RUNG_COLUMNS)
EVENT_COLUMNS = "at_ns, actor, kind, symbol, ref, body"

UPSERT_ORDER = _upsert("orders", tuple(ORDERS), "client_id", ("key", "ladder", "symbol"))
UPSERT_GTT = _upsert("gtts", tuple(GTTS), "client_id", ("key", "ladder", "rung", "symbol"))
UPSERT_RUNG = _upsert("trades", (*_RUNG_COLUMNS, *_COLUMNS_FOR_PEOPLE, *_ONCE), "trade_id", ("ladder", "symbol"), _ONCE)
INSERT_EVENT = f"INSERT INTO events ({EVENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
MOVE_GTT = (
    "UPDATE gtts SET stop_trigger_paise = ?, stop_limit_paise = ?, target_trigger_paise = ?,"
    " target_limit_paise = ?, updated_ns = ? WHERE client_id = ?"
)
MOVE_RUNG = (
    "UPDATE trades SET stop_paise = ?, stop_loss = ?, target_paise = ?, target = ?, highest_paise = ?,"
    " highest_price_since_entry = ? WHERE trade_id = ?"
)


@lru_cache(maxsize=1024)
def _second_text(second: int) -> str:
    return ist_text(second * NS)


def time_text(at_ns: int) -> str | None:
    """IST text of a moment, None for 0 (never). Remembered, because a rung's entry is written many times."""
    return _second_text(at_ns // NS) if at_ns else None


def order_row(order: Order) -> Row:
    return (
        order.client_id,
        order.key,
        order.symbol,
        order.side.value,
        order.quantity,
        order.order_type.value,
        order.purpose.value,
        order.ladder,
        order.rung,
        order.decision_paise,
        order.created_ns,
        order.updated_ns,
        order.limit_paise,
        order.trigger_paise,
        order.state.value,
        order.broker_id,
        order.filled,
        order.value_paise,
        order.rank,
        order.reason and order.reason.value,
        order.gtt_client_id,
        order.message,
    )


def order_of(row: Row) -> Order:
    """The order of a row of ORDER_COLUMNS."""
    values = dict(zip(ORDERS, row, strict=True))
    values.update(
        side=Side(values["side"]),
        order_type=OrderType(values["order_type"]),
        purpose=Purpose(values["purpose"]),
        state=OrderState(values["state"]),
        reason=values["reason"] and ExitReason(values["reason"]),
    )
    return Order(**values)


def gtt_row(gtt: Gtt) -> Row:
    target = gtt.target
    return (
        gtt.client_id,
        gtt.key,
        gtt.symbol,
        gtt.quantity,
        gtt.stop.trigger_paise,
        gtt.stop.limit_paise,
        target.trigger_paise if target else None,
        target.limit_paise if target else None,
        gtt.ladder,
        gtt.rung,
        gtt.created_ns,
        gtt.updated_ns,
        gtt.state.value,
        gtt.gtt_id,
        gtt.fired and gtt.fired.value,
        gtt.message,
    )


def gtt_of(row: Row) -> Gtt:
    """The GTT of a row of GTT_COLUMNS."""
    client_id, key, symbol, quantity, stop, stop_limit, target, target_limit = row[:8]
    ladder, rung, created_ns, updated_ns, state, gtt_id, fired, message = row[8:]
    return Gtt(
        client_id=client_id,
        key=key,
        symbol=symbol,
        quantity=quantity,
        stop=Leg(stop, stop_limit),
        target=None if target is None else Leg(target, target_limit),
        ladder=ladder,
        rung=rung,
        created_ns=created_ns,
        updated_ns=updated_ns,
        state=GttState(state),
        gtt_id=gtt_id,
        fired=fired and ExitReason(fired),
        message=message,
    )


def rung_row(rung: Rung, mode: str, created_ns: int) -> Row:
    """A row of trades: exact values, then rupees and IST for people (averages rounded half-up to a paisa)."""
    bought, sold = rung.quantity, rung.sold
    return (
        rung.trade_id,
        rung.symbol,
        rung.ladder,
        rung.number,
        rung.status.value,
        rung.rank,
        bought,
        rung.cost_paise,
        sold,
        rung.proceeds_paise,
        rung.entry_ns,
        rung.exit_ns,
        rung.entry_working,
        rung.exit_working,
        rung.protection.value,
        rung.stop_paise,
        rung.target_paise,
        rung.highest_paise,
        rung.gtt_id,
        rung.entry_order,
        rung.reason and rung.reason.value,
        rung.attempts,
        rung.retry_ns,
        time_text(rung.entry_ns),
        rupees(half_up(rung.cost_paise, bought)) if bought else None,
        rupees(rung.stop_paise) if rung.stop_paise else None,
        rupees(rung.target_paise) if rung.target_paise else None,
        time_text(rung.exit_ns),
        rupees(half_up(rung.proceeds_paise, sold)) if sold else None,
        rupees(rung.pnl_paise) if sold else None,
        rupees(rung.highest_paise) if rung.highest_paise else None,
        f"{rung.ladder}:{rung.number}",
        mode.upper(),
        _second_text(created_ns // NS),
        created_ns,
    )


def rung_of(row: Row) -> Rung:
    """The rung of a row of RUNG_COLUMNS."""
    trade_id, symbol, ladder, number, status, rank, quantity, cost_paise, sold, proceeds_paise = row[:10]
    entry_ns, exit_ns, entry_working, exit_working, protection, stop_paise, target_paise = row[10:17]
    highest_paise, gtt_id, entry_order, reason, attempts, retry_ns = row[17:]
    return Rung(
        trade_id=trade_id,
        symbol=symbol,
        ladder=ladder,
        number=number,
        status=RungStatus(status),
        rank=math.nan if rank is None else rank,  # SQLite keeps no NaN
        quantity=quantity,
        cost_paise=cost_paise,
        sold=sold,
        proceeds_paise=proceeds_paise,
        entry_ns=entry_ns,
        exit_ns=exit_ns,
        entry_working=bool(entry_working),
        exit_working=bool(exit_working),
        protection=Protection(protection),
        stop_paise=stop_paise,
        target_paise=target_paise,
        highest_paise=highest_paise,
        gtt_id=gtt_id,
        entry_order=entry_order,
        reason=reason and ExitReason(reason),
        attempts=attempts,
        retry_ns=retry_ns,
    )


def event_row(event: EventRow) -> Row:
    return (event.at_ns, event.actor, event.kind, event.symbol, event.ref, event.body)


def stop_rows(move: StopMoved) -> tuple[Row, Row]:
    """The parameters of MOVE_GTT and MOVE_RUNG."""
    stop, target = move.stop, move.target
    trigger, highest = stop.trigger_paise, move.highest_paise
    if target is None:
        wanted, limit, rung_target, target_rupees = None, None, 0, None
    else:
        wanted, limit = target.trigger_paise, target.limit_paise
        rung_target, target_rupees = wanted, wanted / 100
    return (
        (trigger, stop.limit_paise, wanted, limit, move.at_ns, move.gtt_client_id),
        (trigger, trigger / 100, rung_target, target_rupees, highest, highest / 100, move.trade_id),
    )
