"""A journal with a past: closed trades of earlier days, and rungs that are open today.

Owns how such trades look: each has its entry order, its GTT and, when it is closed, the order the GTT
released, all under ids of a broker that never ran. Writes through the real journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from protocol.clock import NS, at
from protocol.journal import Change
from protocol.orders import ExitReason, Gtt, GttState, Leg, Order, OrderState, OrderType, Purpose, Side
from protocol.rungs import Protection, Rung, RungStatus, rung_key
from store.journal import Journal

ENTRY_PAISE, STOP_PAISE, TARGET_PAISE = 100_000, 97_500, 105_000
QUANTITY = 3
TRADES_A_DAY = 200
TRADES_A_COMMIT = 100
OPENED_S = 10 * 3600  # 10:00 IST
HELD_NS = 1800 * NS


def write_past(journal: Journal, symbols: Sequence[str], today: date, *, closed: int, opened: int) -> None:
    """`closed` trades over the days before today, and `opened` rungs of today: P1 of every symbol, then P2."""
    changes: list[Change] = []
    for number in range(closed):
        day = today - timedelta(days=1 + number // TRADES_A_DAY)
        symbol = symbols[number % len(symbols)]
        ladder = f"{symbol}-past{number // len(symbols)}"
        changes += _trade(journal, ladder, symbol, 1, at(day, OPENED_S) + number % TRADES_A_DAY * NS, closed=True)
        if number % TRADES_A_COMMIT == 0:
            journal.write(changes)
            changes.clear()
    for number in range(opened):
        symbol = symbols[number % len(symbols)]
        rung = 1 + number // len(symbols)
        changes += _trade(journal, f"{symbol}-today", symbol, rung, at(today, OPENED_S) + number * NS, closed=False)
    journal.write(changes)
    journal.checkpoint()  # as at the opening of a journal


def _trade(journal: Journal, ladder: str, symbol: str, rung: int, at_ns: int, *, closed: bool) -> Iterator[Change]:
    """One rung as the router would have left it."""
    client_id = f"{ladder}-{rung}"
    exit_ns = at_ns + HELD_NS if closed else 0
    entry = Order(
        client_id=f"{client_id}-E",
        key=rung_key(ladder, rung, "entry", 1),
        symbol=symbol,
        side=Side.BUY,
        quantity=QUANTITY,
        order_type=OrderType.MARKET,
        purpose=Purpose.ENTRY,
        ladder=ladder,
        rung=rung,
        decision_paise=ENTRY_PAISE,
        created_ns=at_ns,
        updated_ns=at_ns,
        state=OrderState.COMPLETE,
        broker_id=f"P-{client_id}-E",
        filled=QUANTITY,
        value_paise=QUANTITY * ENTRY_PAISE,
        rank=3.0,
    )
    gtt = Gtt(
        client_id=f"{client_id}-G",
        key=rung_key(ladder, rung, "protect", 1),
        symbol=symbol,
        quantity=QUANTITY,
        stop=Leg(STOP_PAISE, STOP_PAISE * 99 // 100),
        target=Leg(TARGET_PAISE, TARGET_PAISE),
        ladder=ladder,
        rung=rung,
        created_ns=at_ns,
        updated_ns=exit_ns or at_ns,
        state=GttState.TRIGGERED if closed else GttState.ACTIVE,
        gtt_id=f"G-{client_id}",
        fired=ExitReason.TARGET if closed else None,
    )
    yield entry
    yield gtt
    if closed:
        yield Order(
            client_id=f"{gtt.client_id}C",
            key=f"{gtt.key}:child",
            symbol=symbol,
            side=Side.SELL,
            quantity=QUANTITY,
            order_type=OrderType.LIMIT,
            limit_paise=TARGET_PAISE,
            purpose=Purpose.EXIT,
            ladder=ladder,
            rung=rung,
            decision_paise=TARGET_PAISE,
            created_ns=exit_ns,
            updated_ns=exit_ns,
            state=OrderState.COMPLETE,
            broker_id=f"P-{client_id}-X",
            filled=QUANTITY,
            value_paise=QUANTITY * TARGET_PAISE,
            reason=ExitReason.TARGET,
            gtt_client_id=gtt.client_id,
        )
    yield Rung(
        ladder=ladder,
        symbol=symbol,
        number=rung,
        status=RungStatus.CLOSED if closed else RungStatus.OPEN,
        rank=3.0,
        trade_id=journal.next_trade_id(),
        quantity=QUANTITY,
        cost_paise=QUANTITY * ENTRY_PAISE,
        sold=QUANTITY if closed else 0,
        proceeds_paise=QUANTITY * TARGET_PAISE if closed else 0,
        entry_ns=at_ns,
        exit_ns=exit_ns,
        protection=Protection.NONE if closed else Protection.STANDING,
        stop_paise=STOP_PAISE,
        target_paise=TARGET_PAISE,
        highest_paise=TARGET_PAISE if closed else ENTRY_PAISE,
        gtt_id=gtt.gtt_id,
        entry_order=entry.client_id,
        reason=ExitReason.TARGET if closed else None,
    )
