"""The only way to the broker: risk, journal, send, and what came of it.

Owns the order of things in one account: every wish is checked and reserved in one step, committed, and only then
sent; every answer is committed before a position hears of it (orders.md, "Journal before wire"). Never looks at
prices to decide anything: positions and the scanner do. Never awaits the wire: what takes time is done by a helper
task that posts its result back. The work itself is done by the parts in actors/routing/.

One drain of the mailbox is one turn: evidence first, then wishes sorted by (priority, symbol, rung), then the
scanner's reservations. In a replay a turn begins only when every other message of the instant is acknowledged,
so that who is granted capital does not depend on scheduling.
Asked by: positions, the scanner, the gateway, the health monitor. Sends to: the broker port, positions.
"""

from __future__ import annotations

from actors.actor import Actor
from actors.alarms import set_alarm
from actors.mailbox import Address, Asked, Gone
from actors.routing.desk import Desk
from actors.routing.entries import Entries
from actors.routing.evidence import Evidence
from actors.routing.exits import Exits
from actors.routing.guards import Guards
from actors.routing.parts import RouterMemory, RouterParts, Timings
from actors.routing.resting import RestingExits
from actors.routing.rungs import LATE
from actors.routing.settling import Reconciler
from actors.routing.snapshot import snapshot
from actors.routing.waiting import WaitingRoom, Wish
from protocol.broker import GttUpdate, OrderUpdate, RequestFailed, Resync, SessionChanged, SessionState
from protocol.clock import MINUTE_NS
from protocol.messages import (
    AbandonEntry,
    AlarmRang,
    AskSnapshot,
    BooksRead,
    EnterRung,
    ExitRung,
    MoveStop,
    Phase,
    Protect,
    Reserve,
    RungRequest,
    RungState,
    SetKillSwitch,
    Severity,
    TellRungs,
)
from protocol.orders import Purpose

__all__ = ["OrderRouter", "RouterMemory", "RouterParts", "Timings"]

# Exits and cancellations before protective orders before modifications before entries (orders.md).
_PRIORITY: dict[type, int] = {ExitRung: 0, AbandonEntry: 0, Protect: 1, MoveStop: 2, EnterRung: 3}
_EVIDENCE = frozenset({OrderUpdate, GttUpdate, RequestFailed, SessionChanged, Resync, BooksRead})
ENDED_KEPT_NS = 60 * MINUTE_NS  # how long ended orders stay in memory for late updates


class OrderRouter(Actor):
    """One account's router. Its state is the ledger, loaded from the journal by every incarnation."""

    batch = True

    def __init__(self, address: Address, parts: RouterParts) -> None:
        super().__init__(address)
        self._parts = parts
        self._desk = desk = Desk(address, parts)
        self._ledger = desk.ledger
        self._entries = Entries(desk)
        self._exits = Exits(desk, self._entries)
        self._resting = RestingExits(desk, self._exits)
        self._guards = Guards(desk, self._exits)
        self._evidence = Evidence(desk, self._entries, self._guards, self._exits)
        self._reconciler = Reconciler(desk, self._evidence, self._guards, self._exits)
        self._waiting = WaitingRoom(desk)

    # --- coming to life ---------------------------------------------------------------------------

    async def recover(self) -> None:
        """Load the journal and set the alarms that died with the process; what came of it all, the books say."""
        desk, now = self._desk, self._parts.clock.now_ns
        self._ledger.load(now - self._parts.rules.cooldown_ns)
        for order in list(self._ledger.orders.values()):
            if order.purpose is Purpose.ENTRY:
                self._entries.watch(order)
        self._exits.recover()
        desk.commit()
        self._arm_day_end()

    async def started(self) -> None:
        """A restart under a session that stands: read the books as after any reconnect, and tell the positions."""
        for symbol in self._ledger.ladders:
            self._ledger.touch(symbol)
        self._tell()
        if self._parts.broker.state is SessionState.READY:
            self._reconciler.begin(self.nursery)

    # --- one turn ---------------------------------------------------------------------------------

    async def handle_batch(self, messages: list[object]) -> None:
        """Evidence, then wishes, then reservations; commit, send and take in answers until nothing is left."""
        desk = self._desk
        wishes: list[RungRequest] = []
        others: list[object] = []
        for message in messages:
            kind = type(message)
            if kind in _PRIORITY:
                wishes.append(message)  # type: ignore[arg-type]  # its type was just looked up
            elif kind in _EVIDENCE:
                self._hear(message)
            else:
                others.append(message)
        if desk.trading and self._parts.broker.state is not SessionState.READY:
            desk.trading, desk.why_not = False, "not connected"
        if desk.trading:
            if desk.memory.waiting:
                self._call_in(wishes, others)
            if len(wishes) > 1:
                wishes.sort(key=lambda wish: (_PRIORITY[type(wish)], wish.symbol, wish.rung))
            for wish in wishes:
                self._grant(wish)
        else:
            for wish in wishes:
                self._wait_or_refuse(wish)
        answers = [self._attend(message) for message in others] if others else []
        self._carry_out()
        self._tell()
        for asked, value in filter(None, answers):
            asked.reply(value)
        if desk.books_wanted:
            self._reconciler.begin(self.nursery)

    def _carry_out(self) -> None:
        """Commit, then send, then take in what is known at once; an answer may ask for the next step."""
        desk = self._desk
        while True:
            desk.commit()
            if not desk.wire:
                return
            wire, desk.wire = desk.wire, []
            for event in self._parts.broker.submit(wire):
                self._hear(event)

    def _tell(self) -> None:
        """Positions hear only what is committed; a refusal comes before the state that might ask again."""
        desk, position_of = self._desk, self._parts.position_of
        for symbol, refusal in desk.refusals:
            position = position_of(symbol)
            if position is not None and not position.closed:
                position.post(refusal)
        desk.refusals.clear()
        for symbol, number in self._ledger.touched:
            rung = self._ledger.rung(symbol, number)
            position = position_of(symbol)
            if rung is not None and position is not None and number < LATE:
                try:
                    position.post_latest(number, RungState(rung))
                except Gone:
                    continue  # its cooldown ended: nothing of this ladder matters to it any more
        self._ledger.touched.clear()

    # --- wishes -----------------------------------------------------------------------------------

    def _grant(self, wish: RungRequest) -> None:
        if isinstance(wish, MoveStop):
            self._guards.move_stop(wish)
        elif isinstance(wish, Protect):
            self._guards.protect(wish)
        elif isinstance(wish, EnterRung):
            self._entries.enter(wish)
        elif isinstance(wish, ExitRung):
            self._exits.ask(wish)
        else:
            self._entries.abandon(wish)

    def _wait_or_refuse(self, wish: Wish) -> None:
        """Exits and protection never expire; an entry waits a little for a reconciliation under way."""
        if self._waiting.may_wait(wish):
            self._waiting.keep(wish)
        elif isinstance(wish, Reserve):
            self._entries.refuse_all(wish, self._desk.why_not)
        elif isinstance(wish, EnterRung):
            self._entries.refuse(wish, self._desk.why_not)

    def _call_in(self, wishes: list[RungRequest], others: list[object]) -> None:
        """The account trades: who waited comes before who has just asked, entries at today's price."""
        for wish in self._waiting.leave():
            if isinstance(wish, Reserve):
                others.append(wish)
            elif isinstance(wish, EnterRung):
                confirmed = self._entries.confirm(wish)
                if confirmed is not None:
                    wishes.append(confirmed)
            else:
                wishes.append(wish)

    # --- everything else that is said to it -----------------------------------------------------------

    def _attend(self, message: object) -> tuple[Asked, object] | None:
        """What is neither a wish nor evidence. A question is answered after the commit."""
        if isinstance(message, Asked):
            return message, self._answer(message.message)
        if isinstance(message, AlarmRang):
            self._rang(message)
        elif isinstance(message, TellRungs):
            self._ledger.touch(message.symbol)
        elif isinstance(message, Reserve):
            if self._desk.trading:
                self._entries.set_aside(message)
            else:
                self._wait_or_refuse(message)
        return None

    def _answer(self, question: object) -> object:
        desk = self._desk
        if isinstance(question, SetKillSwitch):
            desk.memory.kill_switch = question.on
            desk.note("kill_switch", "", question.who, {"on": question.on})
            desk.notify(Severity.ALERT, f"kill switch {'on' if question.on else 'off'} by {question.who}")
            return question.on
        return snapshot(desk) if isinstance(question, AskSnapshot) else None

    def _hear(self, event: object) -> None:
        if isinstance(event, (GttUpdate, OrderUpdate, RequestFailed)):  # half the time of a union
            self._evidence.hear(event)
        elif isinstance(event, SessionChanged):
            self._hear_session(event)
        elif isinstance(event, BooksRead):
            self._reconciler.heard(event)
        elif isinstance(event, Resync):
            self._desk.notify(Severity.WARNING, f"updates were lost, reading the books: {event.reason}")
            self._desk.books_wanted = True

    def _hear_session(self, event: SessionChanged) -> None:
        desk = self._desk
        desk.log("orders", f"session account={self._parts.account} state={event.state.value} reason={event.reason!r}")
        desk.trading = False
        if event.state is SessionState.READY:
            desk.why_not = "reconciling"
            desk.books_wanted = True
        else:
            desk.why_not = "waiting for login" if event.state is SessionState.LOGIN_NEEDED else "not connected"

    # --- alarms -------------------------------------------------------------------------------------

    def _rang(self, alarm: AlarmRang) -> None:
        kind, _, ref = alarm.name.partition(":")
        if kind == "books":
            self._desk.books_wanted = True
        elif kind == "day":
            self._end_day(alarm.at_ns)
        elif kind == "entry":
            self._entries.rang(ref)
        elif kind in ("fired", "exit"):
            self._resting.rang(kind, ref)
        elif kind == "late":
            self._exits.sell_late()
        elif kind == "waiting":
            for wish in self._waiting.leave():
                self._wait_or_refuse(wish)
        elif kind == "disk":
            self._desk.look_at_disk()

    def _arm_day_end(self) -> None:
        """Summaries are made at the square-off and at the close; the later one is the day's."""
        parts, now = self._parts, self._parts.clock.now_ns
        session = parts.calendar.session_at(now)
        instants = [session.square_off_ns(parts.rules.square_off_s), session.close_ns] if session else []
        due = next((at_ns for at_ns in instants if at_ns > now), None)
        if due is None:
            due = parts.calendar.next_session(now).square_off_ns(parts.rules.square_off_s)
        set_alarm(parts.clock, self.address, "day", due, phase=Phase.DAY_END)

    def _end_day(self, at_ns: int) -> None:
        """One line with the day's result so far; what ended long ago leaves the memory."""
        desk = self._desk
        summary = self._parts.day_summary(self._parts.journal, at_ns)
        desk.log("strategy", f"day {summary}")
        desk.notify(Severity.INFO, f"day {summary}")
        desk.note("day", "", "", {"summary": summary})
        self._ledger.forget_ended(at_ns - ENDED_KEPT_NS)
        desk.new_day()
        self._arm_day_end()
