"""One symbol's ladder, as an actor: it looks at prices, and asks the order router.

Owns no order and no money: rungs are the router's cumulative states, the rules are strategy/ladder.py's. It never
talks to a broker, never writes the journal, and never receives a tick: it says in which band of prices nothing can
happen and sleeps until the ticker finds the price outside (architecture.md, "Prices without a message per tick").
Every request bears a key made from the decision alone, so that the same decision made again by the next
incarnation is the same request.

Exists from its first Enter to the end of its cooldown. Sends to: its account's order router.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.actor import Actor
from actors.alarms import cancel_alarm, set_alarm
from actors.mailbox import Address
from actors.ports import Journal
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from protocol.clock import NS, ns_of_day
from protocol.messages import (
    AbandonEntry,
    AlarmRang,
    AskSnapshot,
    Enter,
    EnterRung,
    ExitRung,
    MoveStop,
    PersonExit,
    Phase,
    Protect,
    RequestRefused,
    RungRequest,
    RungState,
    TellRungs,
    Wake,
)
from protocol.orders import ExitReason
from protocol.rungs import Protection, Rung, RungStatus, rung_key
from strategy import ladder
from strategy.ladder import LadderRules

NEVER = (-1, 1 << 62)  # a band that no price leaves
ALWAYS = (1 << 62, -1)  # a band that every price leaves


@attrs.define(eq=False)
class Memory:
    """What must outlive an incarnation but is too frequent for the journal; the tree keeps it.

    Per rung number: the highest price since the entry (paise), the first look at or below the exact stop, the
    last move of the stop (ns). `squared_ns` is the last square-off carried out.
    """

    highest: dict[int, int] = attrs.Factory(dict)
    below_since: dict[int, int] = attrs.Factory(dict)
    moved_ns: dict[int, int] = attrs.Factory(dict)
    squared_ns: int = 0

    def forget(self) -> None:
        """A new ladder begins."""
        self.highest.clear()
        self.below_since.clear()
        self.moved_ns.clear()


@attrs.frozen(kw_only=True)
class PositionParts:
    """What a position is given. `layer` is the account's layer of bands, `row` the symbol's row on the board."""

    symbol: str
    row: int
    tick_paise: int
    derivatives: bool
    layer: int
    rules: LadderRules
    clock: MarketClock
    calendar: TradingCalendar
    board: Board
    journal: Journal
    router: Address
    memory: Memory
    entries_allowed: Callable[[], bool]


class Position(Actor):
    """The actor. One request per rung is unanswered at a time; exits are looked at first, then trail, then rungs."""

    def __init__(self, address: Address, parts: PositionParts) -> None:
        super().__init__(address)
        self._parts = parts
        self._rules = parts.rules
        self._memory = parts.memory
        self._rungs: dict[int, Rung] = {}
        self._asked: dict[int, str] = {}  # rung → key of the unanswered request
        self._refused: set[int] = set()  # requests refused at this price: not asked again before the next

    # --- coming to life ---------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up the newest ladder of the symbol from the journal, if one is open or cooling down."""
        parts = self._parts
        known = parts.journal.rungs_of(parts.symbol, parts.clock.now_ns - self._rules.cooldown_ns)
        rungs = [rung for rung in known if rung.number <= len(self._rules.rungs)]  # a late fill's is the router's
        if rungs:
            newest = max(rungs, key=lambda rung: (rung.entry_ns, rung.trade_id)).ladder
            for rung in rungs:
                if rung.ladder == newest:
                    self._rungs[rung.number] = rung
            if ladder.ladder_over(self._rungs):
                self._cool_down()
        self._arm_square_off()
        if not self.address.depth:  # else: a wake that waits knows the highest price since the last look
            self._look(self._last(), 0)
        parts.router.post(TellRungs(parts.symbol))

    async def handle(self, message: object) -> object:
        kind = type(message)
        if kind is Wake:
            assert isinstance(message, Wake)
            self._refused.clear()
            self._look(message.last_paise, message.high_paise)
        elif kind is RungState:
            assert isinstance(message, RungState)
            self._learn(message.rung)
        elif isinstance(message, RequestRefused):
            self._asked.pop(message.rung, None)
            self._refused.add(message.rung)
            self._begin_again_or_end(message)
        elif isinstance(message, AlarmRang):
            self._rang(message)
        elif isinstance(message, Enter):
            self._begin(message)
        elif isinstance(message, PersonExit):
            return self._leave(message.rung, ExitReason.PERSON, message.who)
        elif isinstance(message, AskSnapshot):
            return self._snapshot()
        return None

    # --- what it learns ---------------------------------------------------------------------------

    def _begin(self, message: Enter) -> None:
        reservation = message.reservation
        current = self._rungs.get(1)
        if current is not None and current.ladder == reservation.ladder and current.status is not RungStatus.ENTERING:
            return  # delivered again: the router has answered it already
        self._memory.forget()
        self._asked.clear()
        entering = RungStatus.ENTERING
        self._rungs = {
            1: Rung(
                ladder=reservation.ladder,
                symbol=reservation.symbol,
                number=1,
                status=entering,
                rank=reservation.rank,
            )
        }
        self._parts.board.reset_extremes(self._parts.layer, self._parts.row)
        self._disarm("cooled")
        self._ask(
            EnterRung(
                key=rung_key(reservation.ladder, 1, "entry", 1),
                ladder=reservation.ladder,
                symbol=reservation.symbol,
                rung=1,
                quantity=reservation.quantity,
                last_paise=reservation.last_paise,
                rank=reservation.rank,
                at_ns=reservation.at_ns,
            )
        )

    def _learn(self, rung: Rung) -> None:
        """A rung's newest state. The first fill of an entry starts its highest price."""
        before = self._rungs.get(rung.number)
        if before is not None and before.ladder != rung.ladder:
            return  # of a ladder that is over
        if rung.open and (before is None or not before.open):
            self._begin_extremes()
        self._rungs[rung.number] = rung
        self._asked.pop(rung.number, None)
        if ladder.ladder_over(self._rungs):
            self._cool_down()
        else:
            self._look(self._last(), 0)

    def _begin_again_or_end(self, refusal: RequestRefused) -> None:
        """A first entry that the router refuses ends the ladder before it began."""
        first = self._rungs.get(1)
        if refusal.rung == 1 and first is not None and first.status is RungStatus.ENTERING:
            self._rungs.clear()
            self.finished = True
        elif refusal.final:
            self._look(self._last(), 0)
        else:
            self._watch(self._last())

    def _rang(self, alarm: AlarmRang) -> None:
        kind = alarm.name.partition(":")[0]
        if kind == "square_off":
            self._square_off(alarm.at_ns)
        elif kind == "cooled":
            self.finished = not self._rungs or ladder.ladder_over(self._rungs)
        else:
            self._look(self._last(), 0)

    # --- looking at the price ---------------------------------------------------------------------

    def _look(self, last: int, high: int) -> None:
        """Exits first, then the trail, then at most one new rung; then say where nothing can happen."""
        if last > 0 and self._rungs:
            now = self._parts.clock.now_ns
            at_exit = False
            for number, known in self._rungs.items():
                if known.status is RungStatus.OPEN:
                    rule = self._rules.rungs[number - 1]
                    rung = self._raise_highest(known, max(last, high))
                    at_exit |= self._guard(rung, rule, last, high, now)
                    if number not in self._asked and number not in self._refused:
                        self._protect_or_trail(rung, rule, last, now)
            if not at_exit:
                self._climb(last, now)
        self._watch(last)

    def _raise_highest(self, rung: Rung, price: int) -> Rung:
        """The rung with the highest price that was ever looked at since its entry."""
        highest = max(self._memory.highest.get(rung.number, 0), rung.highest_paise, price)
        if highest != rung.highest_paise:
            rung = attrs.evolve(rung, highest_paise=highest)
            self._rungs[rung.number] = rung
        self._memory.highest[rung.number] = highest
        return rung

    def _begin_extremes(self) -> None:
        """A new rung's highest price begins at the last one; its sisters keep what nobody has looked at yet."""
        parts, unseen = self._parts, [0]
        parts.board.watch(parts.layer, parts.row, *ALWAYS, lambda last, high, low, at_ns: unseen.append(high))
        for rung in list(self._rungs.values()):
            if rung.open:
                self._raise_highest(rung, max(unseen))
        parts.board.reset_extremes(parts.layer, parts.row)

    def _guard(self, rung: Rung, rule: ladder.RungRule, last: int, high: int, now: int) -> bool:
        """True when the price is at or through an exit of the rung. Sells itself when the broker has not acted
        for stop_grace on a fresh price; any tick above the stop and every new day begin the count anew.
        """
        if not ladder.at_stop(rung, rule, last):
            self._memory.below_since.pop(rung.number, None)
            return ladder.at_target(rung, rule, self._parts.tick_paise, last)
        session = self._parts.calendar.session_at(now)
        if session is None or not session.open_ns <= now < session.continuous_end_ns(self._parts.derivatives):
            return True  # nobody buys now: cancelling what stands at the broker would leave the night unguarded
        waiting_since = self._memory.below_since.get(rung.number, 0)
        if waiting_since < session.open_ns or (high > last and not ladder.at_stop(rung, rule, high)):
            waiting_since = self._memory.below_since[rung.number] = now
        if rung.protection is Protection.FIRED or rung.exit_working or rung.number in self._asked:
            return True  # the broker acts, or is about to
        due = waiting_since + self._rules.stop_grace_ns
        if now < due:
            self._alarm("look", due, rung.number)
        elif self._fresh(now):
            self._leave(rung.number, ExitReason.SAFETY)
        return True

    def _protect_or_trail(self, rung: Rung, rule: ladder.RungRule, last: int, now: int) -> None:
        """Ask for the rung's protection where it has none, or for a better stop."""
        rules, tick = self._rules, self._parts.tick_paise
        if rung.exit_working or rung.held == 0:
            return
        if rung.protection is Protection.NONE:
            stop = max(ladder.stop_trigger(rung, rule, tick), rung.stop_paise if rule.trailing else 0)
            if last > stop:
                self._ask(self._protection(Protect, "protect", rung, rule, stop, last, now))
            return
        if rung.protection is not Protection.STANDING:
            return
        stop_or_none = ladder.trailed_stop(rung, rule, rules, tick, last)
        if stop_or_none is None:
            return
        due = self._memory.moved_ns.get(rung.number, 0) + rules.trail_interval_ns
        if now < due:
            self._alarm("look", due, rung.number)
            return
        self._memory.moved_ns[rung.number] = now
        self._ask(self._protection(MoveStop, "move", rung, rule, stop_or_none, last, now))

    def _protection(
        self,
        kind: type[Protect] | type[MoveStop],
        purpose: str,
        rung: Rung,
        rule: ladder.RungRule,
        stop: int,
        last: int,
        now: int,
    ) -> Protect | MoveStop:
        """The stop is part of the key: another stop is another request, the same one asked twice is not."""
        return kind(
            key=rung_key(rung.ladder, rung.number, purpose, f"{stop}@{now}"),
            ladder=rung.ladder,
            symbol=rung.symbol,
            rung=rung.number,
            stop_paise=stop,
            target_paise=ladder.target_trigger(rung, rule, self._parts.tick_paise),
            highest_paise=rung.highest_paise,
            last_paise=last,
            at_ns=now,
        )

    def _climb(self, last: int, now: int) -> None:
        """Ask for the next rung when its condition holds, the hours allow it, and nothing else is under way."""
        if not self._may_climb(now):
            return
        number = ladder.next_rung(self._rungs, self._rules, last)
        if number is None or number in self._refused or number in self._asked or not self._fresh(now):
            return
        before = self._rungs.get(number)
        if before is not None and before.retry_ns > now:
            return
        quantity = ladder.quantity_for(last, self._rules.capital_per_position_paise)
        if quantity == 0:
            return
        first = self._rungs[1]
        self._ask(
            EnterRung(
                key=rung_key(first.ladder, number, "entry", 1 + (before.attempts if before else 0)),
                ladder=first.ladder,
                symbol=first.symbol,
                rung=number,
                quantity=quantity,
                last_paise=last,
                rank=first.rank,
                at_ns=now,
            )
        )

    def _may_climb(self, now: int) -> bool:
        """Hours are inclusive at both ends, to the nanosecond."""
        within_hours = self._rules.first_entry_s * NS <= ns_of_day(now) <= self._rules.last_entry_s * NS
        return within_hours and self._parts.entries_allowed()

    def _watch(self, last: int) -> None:
        """Sleep until the price leaves the band in which nothing can happen."""
        parts = self._parts
        low, high = NEVER
        if any(rung.open for rung in self._rungs.values()):
            low, high = ladder.quiet_band(self._rungs, self._rules, parts.tick_paise, last, want_entry=True)
        parts.board.watch(parts.layer, parts.row, low, high, self.address.wake, seen=last)

    # --- leaving ----------------------------------------------------------------------------------

    def _leave(self, number: int, reason: ExitReason, who: str = "") -> bool:
        """Ask for the exit of one open rung; False when there is nothing to sell. `who` is the person that asks."""
        rung = self._rungs.get(number)
        if rung is None or not rung.open or rung.held == 0 or rung.exit_working:
            return False
        self._ask(
            ExitRung(
                key=rung_key(rung.ladder, number, "exit", f"{reason.value}@{self._parts.clock.now_ns}"),
                ladder=rung.ladder,
                symbol=rung.symbol,
                rung=number,
                reason=reason,
                last_paise=self._last(),
                at_ns=self._parts.clock.now_ns,
                who=who,
            )
        )
        return True

    def _square_off(self, at_ns: int) -> None:
        """End of day: entries that still work are given up, profitable P1s and all runners are sold."""
        last = self._last()
        self._memory.squared_ns = at_ns
        for number, rung in self._rungs.items():
            if rung.entry_working:
                self._ask(
                    AbandonEntry(
                        key=rung_key(rung.ladder, number, "abandon", at_ns),
                        ladder=rung.ladder,
                        symbol=rung.symbol,
                        rung=number,
                        at_ns=at_ns,
                    )
                )
            if rung.open and ladder.square_off_due(rung, last):
                self._leave(number, ExitReason.SQUARE_OFF)
        self._arm_square_off()

    def _cool_down(self) -> None:
        """The ladder is over: nothing is watched, and the actor ends when the symbol may be picked again."""
        parts = self._parts
        parts.board.watch(parts.layer, parts.row, *NEVER, None, seen=0)
        for number in self._rungs:
            self._disarm("look", number)
        last_exit = max((rung.exit_ns for rung in self._rungs.values()), default=0)
        self._alarm("cooled", last_exit + self._rules.cooldown_ns)

    # --- small helpers ----------------------------------------------------------------------------

    def _ask(self, request: RungRequest) -> None:
        self._asked[request.rung] = request.key
        self._parts.router.post(request)

    def _last(self) -> int:
        return int(self._parts.board.last[self._parts.row])

    def _fresh(self, now: int) -> bool:
        return now - int(self._parts.board.exchange_ns[self._parts.row]) <= self._rules.stale_ns

    def _alarm(self, name: str, at_ns: int, number: int = 0, phase: Phase = Phase.TIMER) -> None:
        symbol = self._parts.symbol
        set_alarm(
            self._parts.clock,
            self.address,
            f"{name}:{number}",
            at_ns,
            phase=phase,
            symbol=symbol,
            rung=number,
        )

    def _disarm(self, name: str, number: int = 0) -> None:
        cancel_alarm(self._parts.clock, self.address, f"{name}:{number}")

    def _arm_square_off(self) -> None:
        """At the session's square-off; at once when the session is past it and still in continuous trading."""
        parts, now = self._parts, self._parts.clock.now_ns
        session = parts.calendar.session_at(now)
        due = None
        if session is not None:
            due = session.square_off_ns(self._rules.square_off_s)
            ends = session.continuous_end_ns(parts.derivatives)
            if now >= ends or parts.memory.squared_ns >= due:
                due = None
        if due is None:
            due = parts.calendar.next_session(now).square_off_ns(self._rules.square_off_s)
        self._alarm("square_off", due, phase=Phase.SQUARE_OFF)

    def _snapshot(self) -> dict[str, object]:
        """What the status screen and the dashboard show of this symbol, JSON values in paise and ns."""
        return {
            "symbol": self._parts.symbol,
            "last_paise": self._last(),
            "rungs": [
                {
                    "number": rung.number,
                    "status": rung.status.value,
                    "held": rung.held,
                    "cost_paise": rung.cost_paise,
                    "stop_paise": rung.stop_paise,
                    "target_paise": rung.target_paise,
                    "highest_paise": rung.highest_paise,
                    "protection": rung.protection.value,
                }
                for rung in self._rungs.values()
            ],
        }
