"""Ranks the universe every minute of market time and asks for entries from the top.

Owns the ranking of this morning's scans (for the acceleration) and nothing that must survive. Reserves its ranked
list at each account's router in one message, then sends Enter to the positions of the granted symbols. Never sends
an order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from actors.actor import Actor
from actors.alarms import alarm_name, set_alarm
from actors.mailbox import Address
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from market.history import History
from market.instruments import Universe
from protocol.clock import MINUTE_NS, NS, ist_date, ns_of_day
from protocol.messages import AlarmRang, AskSnapshot, Candidate, Enter, Phase, Ranked, Reserve, Reserved
from strategy import ranking
from strategy.ladder import LadderRules, quantity_for

ACCELERATION_NS = 15 * MINUTE_NS

Row = tuple[str, float, float, str]  # symbol, Rank_GM, Rank_final, why it was not entered


@attrs.frozen(kw_only=True)
class ScanRules:
    """`interval_ns` between scans; a rank must be above `min_rank_gm`, strictly."""

    interval_ns: int
    min_rank_gm: float
    acceleration_weight: float
    ladder: LadderRules


@attrs.define(eq=False)
class ScanMemory:
    """What outlives an incarnation of the scanner; the tree keeps it.

    `rank_gm` are the ranks of the scans of the last quarter of an hour, for the acceleration. `rows` is the last
    scan as far as it is known, `answers` what each account's router refused of it, with the reasons.
    """

    rank_gm: dict[int, NDArray[np.float64]] = attrs.Factory(dict)
    at_ns: int = 0
    rows: tuple[Row, ...] = ()
    answers: dict[str, dict[str, str]] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class ScannerParts:
    """What the scanner is given. `routers` and `position_for` (which starts a position if need be) by account."""

    rules: ScanRules
    clock: MarketClock
    calendar: TradingCalendar
    universe: Universe
    board: Board
    history: History
    routers: Mapping[str, Address]
    position_for: Callable[[str, str], Address]
    recorder: Address
    entries_allowed: Callable[[], bool]
    memory: ScanMemory


class Scanner(Actor):
    """The actor. A scan that was asked for twice (its actor died in the middle) reserves and enters the same."""

    def __init__(self, address: Address, parts: ScannerParts) -> None:
        super().__init__(address)
        self._parts = parts

    async def recover(self) -> None:
        if not self._parts.clock.armed(alarm_name(self.address, "scan")):
            self._arm(self._parts.clock.now_ns)

    async def handle(self, message: object) -> object:
        if isinstance(message, AlarmRang):
            self._arm(message.at_ns + 1)
            self._scan(message.at_ns)
        elif isinstance(message, Reserved):
            self._enter(message)
        elif isinstance(message, AskSnapshot):
            rows = self._parts.memory.rows
            return {"ranked": [{"symbol": s, "rank_gm": g, "rank": f, "note": note} for s, g, f, note in rows]}
        return None

    # --- scanning -----------------------------------------------------------------------------------

    def _scan(self, at_ns: int) -> None:
        """Rank every symbol at the instant's last prices and ask for entries, best first."""
        parts, rules = self._parts, self._parts.rules
        board, history = parts.board, parts.history
        last = board.last
        ranks = ranking.rank(last, history.sma_15m(), history.have_15m(), history.sma_daily(), history.have_daily())
        final = ranking.rank_final(ranks.rank_gm, self._quarter_ago(at_ns), rules.acceleration_weight)
        self._remember(at_ns, ranks.rank_gm)
        fresh = at_ns - board.exchange_ns <= rules.ladder.stale_ns
        chosen = ranking.select(final, rules.min_rank_gm)
        closed = self._closed_reason(at_ns)
        rows: list[Row] = []
        candidates: list[Candidate] = []
        for row in chosen.tolist():
            symbol, price = parts.universe.symbols[row], int(last[row])
            quantity = quantity_for(price, rules.ladder.capital_per_position_paise)
            note = closed
            if not note and not fresh[row]:
                note = "stale price"
            elif not note and quantity == 0:
                note = "price above capital per position"
            rows.append((symbol, float(ranks.rank_gm[row]), float(final[row]), note))
            if not note:
                candidates.append(Candidate(symbol=symbol, last_paise=price, quantity=quantity, rank=float(final[row])))
        memory = parts.memory
        memory.at_ns, memory.rows = at_ns, tuple(rows)
        memory.answers.clear()
        if candidates:
            for router in parts.routers.values():
                router.post(Reserve(at_ns, tuple(candidates)))
        else:
            self._publish()

    def _closed_reason(self, at_ns: int) -> str:
        ladder = self._parts.rules.ladder
        if not ladder.first_entry_s * NS <= ns_of_day(at_ns) <= ladder.last_entry_s * NS:
            return "outside entry hours"
        return "" if self._parts.entries_allowed() else "entries are stopped"

    def _quarter_ago(self, at_ns: int) -> NDArray[np.float64] | None:
        return self._parts.memory.rank_gm.get(at_ns - ACCELERATION_NS)

    def _remember(self, at_ns: int, rank_gm: NDArray[np.float64]) -> None:
        """Ranks of the last quarter of an hour of the same day; kept by the tree, so a restart loses none."""
        kept = self._parts.memory.rank_gm
        kept[at_ns] = rank_gm
        today = ist_date(at_ns)
        for before in [t for t in kept if t < at_ns - ACCELERATION_NS or ist_date(t) != today]:
            del kept[before]

    # --- entering -----------------------------------------------------------------------------------

    def _enter(self, answer: Reserved) -> None:
        """Begin what was granted; when every router has answered, the scan is complete and goes on record."""
        for reservation in answer.granted:
            self._parts.position_for(answer.account, reservation.symbol).post(Enter(reservation))
        memory = self._parts.memory
        if answer.at_ns == memory.at_ns:
            memory.answers[answer.account] = dict(answer.refused)
            if len(memory.answers) == len(self._parts.routers):
                self._publish()

    def _publish(self) -> None:
        memory = self._parts.memory
        reasons: dict[str, str] = {}
        for refused in memory.answers.values():
            reasons |= refused
        rows = tuple((symbol, gm, final, note or reasons.get(symbol, "")) for symbol, gm, final, note in memory.rows)
        self._parts.recorder.post(Ranked(memory.at_ns, rows))

    # --- the alarm ----------------------------------------------------------------------------------

    def _arm(self, not_before_ns: int) -> None:
        """The next full interval of a session from its open on, at or after `not_before_ns`."""
        parts, interval = self._parts, self._parts.rules.interval_ns
        session = parts.calendar.session_at(not_before_ns)
        if session is None or not_before_ns >= session.close_ns:
            session = parts.calendar.next_session(not_before_ns)
        due = session.open_ns
        if not_before_ns > due:
            due += -(-(not_before_ns - due) // interval) * interval
        if due >= session.close_ns:
            due = parts.calendar.next_session(due).open_ns
        set_alarm(parts.clock, self.address, "scan", due, phase=Phase.SCAN)
