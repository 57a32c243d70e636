"""What status and dashboard show of an account: JSON values, money in paise, times in ns."""

from __future__ import annotations

from actors.routing.desk import Desk
from protocol.rungs import Rung


def snapshot(desk: Desk) -> dict[str, object]:
    """The account's state and its open rungs, by symbol in the order of their ladders."""
    exposure, memory, limits = desk.ledger.exposure, desk.memory, desk.parts.limits
    return {
        "account": desk.parts.account,
        "state": "TRADING" if desk.trading else desk.why_not.upper(),
        "kill_switch": memory.kill_switch,
        "disk_full": memory.disk_full,
        "frozen": dict(memory.frozen),
        "waiting": len(memory.waiting),
        "slots": exposure.slots,
        "max_positions": limits.max_positions,
        "deployed_paise": exposure.deployed_paise,
        "capital_paise": limits.capital_paise,
        "rungs": [
            _rung_row(rung, desk.last(rung.symbol))
            for ladder in desk.ledger.ladders.values()
            for rung in ladder.rungs.values()
            if rung.open
        ],
    }


def _rung_row(rung: Rung, last_paise: int) -> dict[str, object]:
    return {
        "symbol": rung.symbol,
        "rung": rung.number,
        "quantity": rung.held,
        "cost_paise": rung.deployed_paise,
        "last_paise": last_paise,
        "pnl_paise": rung.held * last_paise - rung.deployed_paise if last_paise else 0,
        "stop_paise": rung.stop_paise,
        "target_paise": rung.target_paise,
        "highest_paise": rung.highest_paise,
        "protection": rung.protection.value,
        "entry_ns": rung.entry_ns,
        "trade_id": rung.trade_id,
    }
