"""A small journal, written through the real store: INFY in two rungs and TCS, over two days."""

from __future__ import annotations

from pathlib import Path
from random import Random

from protocol.clock import from_ist_text
from protocol.orders import ExitReason, Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Protection, Rung, RungStatus
from store.opening import open_journal

FIRST, SECOND = "2026-11-23", "2026-11-24"


def order(
    id: str, time: str, side: Side, symbol: str, rung: int, quantity: int, price: int, reason: ExitReason | None = None
) -> Order:
    at_ns = from_ist_text(time)
    return Order(
        client_id=id,
        key=id,
        symbol=symbol,
        side=side,
        quantity=quantity,
        order_type=OrderType.MARKET,
        purpose=Purpose.ENTRY if side is Side.BUY else Purpose.EXIT,
        ladder=f"{symbol}-1",
        rung=rung,
        decision_paise=price,
        created_ns=at_ns,
        updated_ns=at_ns,
        state=OrderState.COMPLETE,
        filled=quantity,
        value_paise=quantity * price,
        rank=6.5 if side is Side.BUY else None,
        reason=reason,
    )  # fmt: skip


def rung(trade_id: int, bought: Order, sold: Order | None) -> Rung:
    return Rung(
        ladder=bought.ladder,
        symbol=bought.symbol,
        number=bought.rung,
        status=RungStatus.CLOSED if sold else RungStatus.OPEN,
        rank=6.5,
        trade_id=trade_id,
        quantity=bought.filled,
        cost_paise=bought.value_paise,
        sold=sold.filled if sold else 0,
        proceeds_paise=sold.value_paise if sold else 0,
        entry_ns=bought.updated_ns,
        exit_ns=sold.updated_ns if sold else 0,
        protection=Protection.NONE if sold else Protection.STANDING,
        stop_paise=90_000,
        target_paise=0 if bought.rung > 1 else 120_000,
        highest_paise=110_000,
        gtt_id="GTT1",
        entry_order=bought.client_id,
        reason=sold.reason if sold else None,
    )


def write(directory: Path) -> None:
    """INFY P1 is sold the same day with a gain, INFY P2 the next day with a loss, TCS is still held."""
    p1 = order("B1", f"{FIRST} 10:00:00", Side.BUY, "INFY", 1, 3, 100_000)
    p2 = order("B2", f"{FIRST} 10:30:00", Side.BUY, "INFY", 2, 3, 101_000)
    tcs = order("B3", f"{FIRST} 11:00:00", Side.BUY, "TCS", 1, 1, 300_000)
    s1 = order("S1", f"{FIRST} 14:00:00", Side.SELL, "INFY", 1, 3, 105_050, ExitReason.TARGET)
    s2 = order("S2", f"{SECOND} 09:30:00", Side.SELL, "INFY", 2, 3, 100_000, ExitReason.STOP)
    journal, _ = open_journal(
        directory, mode="paper", chance=Random(1), now_ns=from_ist_text(f"{FIRST} 09:00:00"), reserve_mb=0
    )
    try:
        for trade_id, bought in enumerate((p1, p2, tcs), start=1):
            journal.write([bought, rung(trade_id, bought, None)])
        journal.write([s1, rung(1, p1, s1)])
        journal.write([s2, rung(2, p2, s2)])
    finally:
        journal.close()
