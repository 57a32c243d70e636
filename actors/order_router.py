"""The only way to the broker: risk, journal, send, and what came of it.

Owns one account's orders, GTTs and rungs (through its `Ledger`) and the order of things: every wish is checked and
reserved in one step, committed, and only then sent; every answer is committed before a position hears of it
(orders.md, "Journal before wire"). Never looks at prices to decide anything: positions and the scanner do.
Never awaits the wire: what takes time is done by a helper task that posts its result back.

One drain of the mailbox is one turn: evidence first, then wishes sorted by (priority, symbol, rung), then the
scanner's reservations. In a replay a turn begins only when every other message of the instant is acknowledged,
so that who is granted capital does not depend on scheduling.
Asked by: positions, the scanner, the gateway, the health monitor. Sends to: the broker port, positions.
"""

from __future__ import annotations

from collections.abc import Callable
from json import dumps

import attrs

from actors.actor import Actor
from actors.alarms import alarm_name, cancel_alarm, set_alarm
from actors.client_ids import ClientIds
from actors.ledger import Ledger
from actors.mailbox import Address, Asked, Gone, InFlight
from actors.ports import Broker, Journal, LogLine
from actors.reconciliation import Finding, compare
from effects import MarketClock
from market.board import Board
from market.calendar import TradingCalendar
from protocol.broker import (
    CancelGtt,
    CancelOrder,
    GttUpdate,
    ModifyGtt,
    ModifyOrder,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Request,
    RequestFailed,
    Resync,
    SessionChanged,
    SessionState,
)
from protocol.clock import MINUTE_NS, NS
from protocol.errors import BrokerUnavailable, StoreFull
from protocol.journal import EventRow, StopMoved
from protocol.messages import (
    AbandonEntry,
    AlarmRang,
    AskSnapshot,
    BooksRead,
    EnterRung,
    ExitRung,
    MoveStop,
    Notice,
    Phase,
    Protect,
    RequestRefused,
    Reservation,
    Reserve,
    Reserved,
    RungRequest,
    RungState,
    SetKillSwitch,
    Severity,
    TellRungs,
)
from protocol.money import BP_PER_UNIT, half_up, round_down, round_up
from protocol.orders import (
    Gtt,
    GttEvent,
    GttState,
    Leg,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Purpose,
    Side,
)
from protocol.rungs import Protection, Rung, RungStatus
from strategy import ladder as rules_of_ladder
from strategy.ladder import LadderRules
from strategy.risk import Circumstances, Entry, OrderPace, RiskLimits, reserve

# Exits and cancellations before protective orders before modifications before entries (orders.md).
_PRIORITY: dict[type, int] = {ExitRung: 0, AbandonEntry: 0, Protect: 1, MoveStop: 2, EnterRung: 3}
_EVIDENCE = (OrderUpdate, GttUpdate, RequestFailed, SessionChanged, Resync, BooksRead)
WAITING_MAX = 1024  # wishes kept while the account is not trading; more is a bug upstream
ENDED_KEPT_NS = 60 * MINUTE_NS  # how long ended orders stay in memory for late updates
EXIT_STEPS_BP = (300, 500, 2000)  # how far below the last price an exit that rests is moved, step by step
EXIT_RETRY_NS = 5 * NS


@attrs.frozen(kw_only=True)
class Timings:
    """Market-time durations in ns and the distance of a live entry's limit in bp (trading-rules.md, orders.md)."""

    entry_ttl_ns: int = 5 * NS
    entry_timeout_ns: int = 30 * NS
    retry_after_ns: int = 60 * NS
    trigger_grace_ns: int = 10 * NS
    entry_offset_bp: int = 30


@attrs.define(eq=False)
class RouterMemory:
    """What must outlive an incarnation of the router and is no order; the tree keeps it.

    `ids` counts client order ids of this run, `exit_steps` how often each resting exit was moved, `blocked` says
    per symbol why it is not entered any more today.
    """

    pace: OrderPace
    kill_switch: bool = False
    disk_full: bool = False
    ids: int = 0
    exit_steps: dict[str, int] = attrs.Factory(dict)
    blocked: dict[str, str] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class RouterParts:
    """What a router is given. `position_of` finds the address of a symbol's position, None when there is none."""

    account: str
    tag: str
    clock: MarketClock
    board: Board
    row_of: Callable[[str], int]
    tick_of: Callable[[str], int]
    journal: Journal
    broker: Broker
    rules: LadderRules
    limits: RiskLimits
    memory: RouterMemory
    entries_stopped: Callable[[], str]
    scanner: Address
    position_of: Callable[[str], Address | None]
    notify: Callable[[Notice], None]
    log: LogLine
    in_flight: InFlight
    out_of_disk: Callable[[str], None]
    timings: Timings
    day_summary: Callable[[Journal, int], str]
    calendar: TradingCalendar


class OrderRouter(Actor):
    """One account's router. Its state is the ledger, loaded from the journal by every incarnation."""

    batch = True

    def __init__(self, address: Address, parts: RouterParts) -> None:
        super().__init__(address)
        self._parts = parts
        self._ledger = Ledger(parts.journal, parts.timings.retry_after_ns)
        self._ids = ClientIds(parts.tag, parts.journal.database_id, parts.journal.start_counter)
        self._wire: list[Request] = []
        self._refusals: list[tuple[str, RequestRefused]] = []
        self._waiting: list[object] = []
        self._trading = False
        self._why_not = "reconciling"
        self._reads = 0
        self._journalled_refusals: set[tuple[str, int, str]] = set()

    # --- coming to life ---------------------------------------------------------------------------

    async def recover(self) -> None:
        """Load the journal; what was still in our own queue is continued (exits) or was never sent (entries)."""
        parts = self._parts
        self._ids = ClientIds(parts.tag, parts.journal.database_id, parts.journal.start_counter, parts.memory.ids)
        self._ledger.load(parts.clock.now_ns - self._parts.rules.cooldown_ns)
        for order in list(self._ledger.orders.values()):
            if order.state is OrderState.INTENT and order.purpose is Purpose.ENTRY:
                self._ledger.end_order(order, OrderEvent.ABSENT, parts.clock.now_ns, "never sent")
        for gtt in self._ledger.gtts.values():
            if gtt.state is GttState.TRIGGERED:
                self._watch_fired(gtt)
        self._ledger.commit(before_wire=False)
        self._arm_day_end()

    async def started(self) -> None:
        """A restart under a session that stands: read the books as after any reconnect, and tell the positions."""
        for symbol, ladder in self._ledger.ladders.items():
            for number in ladder.rungs:
                self._ledger.touched[symbol, number] = None
        self._tell()
        if self._parts.broker.state is SessionState.READY:
            self._read_books()

    # --- one turn ---------------------------------------------------------------------------------

    async def handle_batch(self, messages: list[object]) -> None:
        """Evidence, then wishes, then reservations; commit, send and take in answers until nothing is left."""
        for message in messages:
            if isinstance(message, _EVIDENCE):
                self._hear(message)
        if self._trading and self._waiting:
            messages, self._waiting = self._waiting + messages, []
        wishes: list[RungRequest] = [message for message in messages if isinstance(message, RungRequest)]
        if len(wishes) > 1:
            wishes.sort(key=lambda wish: (_PRIORITY[type(wish)], wish.symbol, wish.rung))
        for wish in wishes:
            if self._trading:
                self._grant(wish)
            else:
                self._wait_or_refuse(wish)
        for message in messages:
            if isinstance(message, Asked):
                self._answer(message)
            elif isinstance(message, AlarmRang):
                self._rang(message)
            elif isinstance(message, TellRungs):
                self._touch_all(message.symbol)
            elif isinstance(message, Reserve):
                self._reserve_or_wait(message)
        self._carry_out()
        self._tell()

    def _carry_out(self) -> None:
        """Commit, then send, then take in what is known at once; an answer may ask for the next step."""
        while True:
            self._commit()
            if not self._wire:
                return
            wire, self._wire = self._wire, []
            for event in self._parts.broker.submit(wire):
                self._hear(event)

    def _commit(self) -> None:
        """Committed before the first byte leaves. On a full disk the reserve is freed once and exits go on."""
        try:
            self._ledger.commit(before_wire=bool(self._wire))
        except StoreFull as full:
            self._survive_full_disk(full)

    def _survive_full_disk(self, full: StoreFull) -> None:
        """A full disk is not a crash: entries stop, the reserve is freed, and the turn is done again from the
        journal (the ledger is newer than it, so this incarnation ends and its messages come again).
        """
        parts = self._parts
        self._notify(Severity.ALERT, f"disk full, entries stop: {full}")
        if parts.memory.disk_full:
            parts.out_of_disk(str(full))
        parts.memory.disk_full = True
        parts.journal.free_reserve()
        raise full

    def _tell(self) -> None:
        """Positions hear only what is committed; a refusal comes before the state that might ask again."""
        for symbol, refusal in self._refusals:
            self._post(symbol, refusal)
        self._refusals.clear()
        for symbol, number in self._ledger.touched:
            rung = self._ledger.rung(symbol, number)
            position = self._parts.position_of(symbol)
            if rung is not None and position is not None:
                try:
                    position.post_latest(number, RungState(rung))
                except Gone:
                    continue  # its cooldown ended: nothing of this ladder matters to it any more
        self._ledger.touched.clear()

    def _post(self, symbol: str, message: object) -> None:
        position = self._parts.position_of(symbol)
        if position is not None:
            try:
                position.post(message)
            except Gone:
                self._log("orders", f"not_told symbol={symbol} position=gone")

    # --- wishes -----------------------------------------------------------------------------------

    def _grant(self, wish: RungRequest) -> None:
        if isinstance(wish, MoveStop):
            self._move_stop(wish)
        elif isinstance(wish, Protect):
            self._protect(wish)
        elif isinstance(wish, EnterRung):
            self._enter(wish)
        elif isinstance(wish, ExitRung):
            self._exit(wish)
        else:
            self._abandon(wish)

    def _wait_or_refuse(self, wish: RungRequest) -> None:
        """Exits and protection never expire; an entry waits only for a reconciliation under way."""
        if isinstance(wish, EnterRung) and self._why_not != "reconciling":
            self._refuse(wish, self._why_not)
        else:
            assert len(self._waiting) < WAITING_MAX, "more wishes wait than rungs can ask"
            self._waiting.append(wish)

    def _reserve_or_wait(self, wanted: Reserve) -> None:
        """A reconciliation under way is waited for; without a session the refusals say why."""
        if self._trading or self._why_not != "reconciling":
            self._reserve(wanted)
        else:
            self._waiting.append(wanted)

    def _enter(self, wish: EnterRung) -> None:
        if self._ledger.has_order_with_key(wish.key):
            self._ledger.touched[wish.symbol, wish.rung] = None  # asked before: the answer is the rung's state
            return
        reason = self._reserve_rung(
            Entry(
                ladder=wish.ladder,
                rung=wish.rung,
                symbol=wish.symbol,
                quantity=wish.quantity,
                last_paise=wish.last_paise,
                at_ns=wish.at_ns,
            )
        )
        if reason is not None:
            self._refuse(wish, reason)
            return
        parts, now = self._parts, self._parts.clock.now_ns
        live_limit = parts.broker.traits.entry_type is OrderType.LIMIT
        limit = (
            round_up(
                -(-wish.last_paise * (BP_PER_UNIT + parts.timings.entry_offset_bp) // BP_PER_UNIT),
                parts.tick_of(wish.symbol),
            )
            if live_limit
            else None
        )
        order = Order(
            client_id=self._new_id(),
            key=wish.key,
            symbol=wish.symbol,
            side=Side.BUY,
            quantity=wish.quantity,
            order_type=parts.broker.traits.entry_type,
            limit_paise=limit,
            purpose=Purpose.ENTRY,
            ladder=wish.ladder,
            rung=wish.rung,
            decision_paise=wish.last_paise,
            created_ns=now,
            updated_ns=now,
            rank=wish.rank,
        )
        parts.memory.pace.note(wish.symbol, now)
        self._ledger.begin_entry(order)
        self._place(order)
        self._alarm(f"entry:{order.client_id}", now + parts.timings.entry_timeout_ns, order.symbol, order.rung)

    def _protect(self, wish: Protect) -> None:
        rung = self._rung(wish)
        guard = self._ledger.guard(wish.symbol, wish.rung)
        if rung is None or not rung.open or rung.exit_working or (guard is not None and guard.standing):
            self._ledger.touched[wish.symbol, wish.rung] = None
            return
        now = self._parts.clock.now_ns
        gtt = Gtt(
            client_id=self._new_id(),
            key=wish.key,
            symbol=wish.symbol,
            quantity=rung.held,
            stop=self._stop_leg(wish),
            target=_target_leg(wish.target_paise),
            ladder=wish.ladder,
            rung=wish.rung,
            created_ns=now,
            updated_ns=now,
        )
        self._ledger.record_gtt(gtt)
        self._ledger.record_rung(attrs.evolve(rung, protection=Protection.REQUESTED, highest_paise=wish.highest_paise))
        self._wire.append(
            PlaceGtt(
                client_id=gtt.client_id,
                symbol=gtt.symbol,
                quantity=gtt.quantity,
                stop=gtt.stop,
                target=gtt.target,
                last_paise=wish.last_paise,
            )
        )

    def _move_stop(self, wish: MoveStop) -> None:
        rung = self._rung(wish)
        guard = self._ledger.guard(wish.symbol, wish.rung)
        stop, target = self._stop_leg(wish), _target_leg(wish.target_paise)
        if (
            rung is None
            or guard is None
            or guard.state is not GttState.ACTIVE
            or (guard.stop, guard.target) == (stop, target)
        ):
            self._ledger.touched[wish.symbol, wish.rung] = None
            return
        now = self._parts.clock.now_ns
        wanted = attrs.evolve(guard, stop=stop, target=target, quantity=rung.held, updated_ns=now)
        self._ledger.record_gtt(wanted, write=wanted.quantity != guard.quantity)
        self._ledger.record_rung(attrs.evolve(rung, highest_paise=wish.highest_paise), write=False)
        self._ledger.note_stop_move(StopMoved(guard.client_id, rung.trade_id, stop, target, wish.highest_paise, now))
        assert guard.gtt_id is not None
        self._wire.append(
            ModifyGtt(gtt_id=guard.gtt_id, quantity=rung.held, stop=stop, target=target, last_paise=wish.last_paise)
        )
        self._log(
            "trailing",
            f"stop_moved symbol={wish.symbol} rung=P{wish.rung} stop={stop.trigger_paise}"
            f" from={guard.stop.trigger_paise} highest={wish.highest_paise} gtt={guard.gtt_id}",
        )

    def _exit(self, wish: ExitRung) -> None:
        """Protection first cancelled and the cancellation confirmed, then the sell; never two sells at once."""
        rung = self._rung(wish)
        guard = self._ledger.guard(wish.symbol, wish.rung)
        fired = guard is not None and guard.state is GttState.TRIGGERED and rung is not None and rung.exit_working
        if rung is None or not rung.open or rung.exit_working or fired:
            self._ledger.touched[wish.symbol, wish.rung] = None
            return
        now = self._parts.clock.now_ns
        standing = guard is not None and guard.standing
        order = Order(
            client_id=self._new_id(),
            key=wish.key,
            symbol=wish.symbol,
            side=Side.SELL,
            quantity=rung.held,
            order_type=OrderType.MARKET,
            purpose=Purpose.EXIT,
            ladder=wish.ladder,
            rung=wish.rung,
            decision_paise=wish.last_paise,
            created_ns=now,
            updated_ns=now,
            state=OrderState.INTENT if standing else OrderState.SENT,
            reason=wish.reason,
        )
        self._ledger.record_order(order)
        self._ledger.record_rung(attrs.evolve(rung, exit_working=True))
        if not standing:
            self._place(order)
        elif guard is not None and guard.gtt_id is not None:
            self._wire.append(CancelGtt(guard.gtt_id))

    def _abandon(self, wish: AbandonEntry) -> None:
        rung = self._rung(wish)
        order = self._ledger.orders.get(rung.entry_order) if rung and rung.entry_order else None
        if order is not None and order.working and order.broker_id is not None:
            self._wire.append(CancelOrder(order.broker_id))
        self._ledger.touched[wish.symbol, wish.rung] = None

    def _place(self, order: Order) -> None:
        self._wire.append(
            PlaceOrder(
                client_id=order.client_id,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                order_type=order.order_type,
                limit_paise=order.limit_paise,
                trigger_paise=order.trigger_paise,
            )
        )
        self._log(
            "orders",
            f"order_sent symbol={order.symbol} rung=P{order.rung} side={order.side.value} qty={order.quantity}"
            f" last={order.decision_paise} order={order.client_id} key={order.key}",
        )

    # --- reservations and refusals ------------------------------------------------------------------

    def _answer(self, asked: Asked) -> None:
        message = asked.message
        if isinstance(message, SetKillSwitch):
            self._parts.memory.kill_switch = message.on
            self._note("kill_switch", "", message.who, {"on": message.on})
            self._notify(Severity.ALERT, f"kill switch {'on' if message.on else 'off'} by {message.who}")
            asked.reply(message.on)
        elif isinstance(message, AskSnapshot):
            asked.reply(self._snapshot())
        else:
            asked.reply(None)

    def _reserve(self, wanted: Reserve) -> None:
        """Grant in the scanner's order; a candidate that does not fit is skipped and the next is tried."""
        self._lapse_reservations(wanted.at_ns)
        granted: list[Reservation] = []
        refused: list[tuple[str, str]] = []
        for candidate in wanted.candidates:
            kept = self._ledger.reservations.get(candidate.symbol)
            if kept is not None and kept.at_ns == wanted.at_ns:
                granted.append(kept)  # asked again by the scanner's next incarnation
                continue
            reservation = Reservation(
                ladder=f"{candidate.symbol}-{wanted.at_ns // NS}",
                symbol=candidate.symbol,
                quantity=candidate.quantity,
                last_paise=candidate.last_paise,
                rank=candidate.rank,
                at_ns=wanted.at_ns,
                until_ns=wanted.at_ns + self._parts.timings.entry_ttl_ns,
            )
            reason = self._ladder_reason(reservation) or self._reserve_rung(_first_rung(reservation))
            if reason is not None:
                refused.append((candidate.symbol, reason))
            else:
                self._ledger.reservations[candidate.symbol] = reservation
                granted.append(reservation)
        self._parts.scanner.post(Reserved(self._parts.account, wanted.at_ns, tuple(granted), tuple(refused)))

    def _lapse_reservations(self, now_ns: int) -> None:
        """What was set aside and not used within entry_ttl is free again."""
        for symbol, reservation in list(self._ledger.reservations.items()):
            if reservation.until_ns < now_ns:
                del self._ledger.reservations[symbol]
                self._ledger.exposure.release(reservation.ladder, 1)

    def _ladder_reason(self, wanted: Reservation) -> str | None:
        """Why the symbol cannot begin this ladder now, whatever it costs."""
        ladder = self._ledger.ladders.get(wanted.symbol)
        if wanted.symbol in self._ledger.reservations:
            return "reserved"
        if ladder is None:
            return None
        if ladder.ladder == wanted.ladder:
            return "begun at this instant already"
        if ladder.busy:
            return "open"
        cooled = ladder.last_exit_ns + self._parts.rules.cooldown_ns if ladder.last_exit_ns else 0
        retry = max((rung.retry_ns for rung in ladder.rungs.values()), default=0)
        return "cooling down" if wanted.at_ns < max(cooled, retry) else None

    def _reserve_rung(self, entry: Entry) -> str | None:
        """The one check of hours, limits, slots and capital; what passes is reserved in the same step."""
        memory, parts = self._parts.memory, self._parts
        around = Circumstances(
            kill_switch=memory.kill_switch,
            not_trading=self._why_not or parts.entries_stopped() or ("disk full" if memory.disk_full else ""),
            blocked=memory.blocked.get(entry.symbol, ""),
            price_ns=int(parts.board.exchange_ns[parts.row_of(entry.symbol)]),
        )
        return reserve(entry, parts.limits, self._ledger.exposure, memory.pace, around)

    def _refuse(self, wish: RungRequest, reason: str) -> None:
        """A refusal for capacity is journalled once per rung; it may be asked again at the next new price."""
        self._refusals.append((wish.symbol, RequestRefused(wish.key, wish.rung, reason)))
        once = (wish.ladder, wish.rung, reason.split(":", maxsplit=1)[0])
        if once not in self._journalled_refusals:
            self._journalled_refusals.add(once)
            self._note("refused", wish.symbol, wish.key, {"reason": reason})
            self._log("orders", f"refused symbol={wish.symbol} rung=P{wish.rung} reason={reason!r}")

    # --- evidence ---------------------------------------------------------------------------------

    def _hear(self, event: object) -> None:
        if isinstance(event, GttUpdate):
            self._hear_gtt(event)
        elif isinstance(event, OrderUpdate):
            self._hear_order(event)
        elif isinstance(event, RequestFailed):
            self._hear_failure(event)
        elif isinstance(event, SessionChanged):
            self._hear_session(event)
        elif isinstance(event, BooksRead):
            self._hear_books(event)
        elif isinstance(event, Resync):
            self._notify(Severity.WARNING, f"updates were lost, reading the books: {event.reason}")
            self._read_books()

    def _hear_order(self, update: OrderUpdate) -> None:
        order = self._ledger.order_of(update)
        if order is None and update.gtt_id is not None:
            gtt = self._ledger.gtt_of(update.gtt_id, None)
            if gtt is not None:
                order = self._ledger.adopt_child(update, gtt)
        if order is None:
            return  # a person's own order: left alone
        if update.filled > order.quantity:
            self._quarantine(update, f"{update.filled} filled of {order.quantity}")
            return
        after = self._ledger.heard_of_order(update, order)
        if after.filled > order.filled or after.state is not order.state:
            self._log_outcome(order, after, update)
        if not after.working:
            cancel_alarm(self._parts.clock, self.address, f"entry:{after.client_id}")
            cancel_alarm(self._parts.clock, self.address, f"exit:{after.client_id}")
            if after.state is OrderState.REJECTED and not after.filled:
                self._refused_by_broker(after, update.message)
        rung = self._ledger.rung(after.symbol, after.rung)
        if rung is not None and rung.open and after.purpose is Purpose.ENTRY:
            self._resize_guard(rung)
        if after.purpose is Purpose.EXIT and after.working and after.state is not OrderState.INTENT:
            self._alarm_exit(after)

    def _quarantine(self, update: OrderUpdate, problem: str) -> None:
        """An impossible event from the broker changes nothing: it is told, and the books are read."""
        self._notify(Severity.ALERT, f"impossible update of order {update.broker_id}: {problem}", update.symbol)
        self._note("quarantined", update.symbol, update.broker_id, {"problem": problem})

    def _resize_guard(self, rung: Rung) -> None:
        """A GTT follows the quantity it protects as the entry goes on filling."""
        guard = self._ledger.guard(rung.symbol, rung.number)
        if guard is not None and guard.state is GttState.ACTIVE and guard.quantity != rung.held and guard.gtt_id:
            self._ledger.record_gtt(attrs.evolve(guard, quantity=rung.held))
            self._wire.append(
                ModifyGtt(
                    gtt_id=guard.gtt_id,
                    quantity=rung.held,
                    stop=guard.stop,
                    target=guard.target,
                    last_paise=self._last(rung.symbol),
                )
            )

    def _hear_gtt(self, update: GttUpdate) -> None:
        gtt = self._ledger.gtt_of(update.gtt_id, update.client_id)
        if gtt is None:
            return
        after = self._ledger.heard_of_gtt(update, gtt)
        if after.state is gtt.state:
            return
        self._log(
            "orders",
            f"gtt_{after.state.value.lower()} symbol={gtt.symbol} rung=P{gtt.rung} stop={after.stop.trigger_paise}"
            f" gtt={after.gtt_id} fired={after.fired.value if after.fired else ''}",
        )
        if after.state is GttState.TRIGGERED:
            self._note(
                "gtt_triggered",
                gtt.symbol,
                after.client_id,
                {"fired": after.fired.value if after.fired else ""},
            )
            self._watch_fired(after)
            self._give_up_exit(after, "the GTT had fired: its child is the exit")
        elif not after.standing:
            self._continue_exit(after)

    def _continue_exit(self, gtt: Gtt) -> None:
        """The protection is confirmed gone: the sell that waited for it goes out."""
        order = self._ledger.working_exit(gtt.symbol, gtt.rung)
        if order is None or order.state is not OrderState.INTENT:
            return
        sent = order.after(OrderEvent.SENT, self._parts.clock.now_ns)
        self._ledger.record_order(sent)
        self._place(sent)

    def _give_up_exit(self, gtt: Gtt, reason: str) -> None:
        order = self._ledger.working_exit(gtt.symbol, gtt.rung)
        if order is not None and order.state is OrderState.INTENT:
            self._ledger.end_order(order, OrderEvent.EXPIRED, self._parts.clock.now_ns, reason)

    def _refused_by_broker(self, order: Order, message: str) -> None:
        self._notify(Severity.WARNING, f"{order.symbol} P{order.rung}: broker refused: {message}", order.symbol)
        refusal = RequestRefused(order.key, order.rung, message)
        self._refusals.append((order.symbol, refusal))

    def _hear_failure(self, failed: RequestFailed) -> None:
        """A request that was certainly not carried out ends there; one of unknown fate is asked about, never resent."""
        request, now = failed.request, failed.at_ns
        text = f"{failed.code}: {failed.message}"
        if isinstance(request, PlaceOrder):
            order = self._ledger.orders.get(request.client_id)
            if order is not None and order.working:
                event = OrderEvent.NO_ANSWER if failed.reached else OrderEvent.REJECTED
                self._ledger.end_order(order, event, now, text)
                self._note("order_" + event.value, order.symbol, order.client_id, {"message": text})
                if not failed.reached:
                    self._refused_by_broker(order, text)
        elif isinstance(request, PlaceGtt):
            gtt = self._ledger.gtts.get(request.client_id)
            if gtt is not None and gtt.standing:
                event_of_gtt = GttEvent.NO_ANSWER if failed.reached else GttEvent.REJECTED
                self._ledger.end_gtt(gtt, event_of_gtt, now, text)
                self._refusals.append((gtt.symbol, RequestRefused(gtt.key, gtt.rung, text)))
                self._notify(Severity.ALERT, f"{gtt.symbol} P{gtt.rung}: no stop at the broker: {text}", gtt.symbol)
        else:
            self._log("errors", f"request_failed kind={type(request).__name__} problem={text!r}")
            self._read_books()  # what the request wanted to change may look different from what we think
        if failed.reached:
            self._read_books()

    # --- the session and the books ------------------------------------------------------------------

    def _hear_session(self, event: SessionChanged) -> None:
        self._log(
            "orders",
            f"session account={self._parts.account} state={event.state.value} reason={event.reason!r}",
        )
        self._trading = False
        if event.state is SessionState.READY:
            self._why_not = "reconciling"
            self._read_books()
        else:
            self._why_not = "waiting for login" if event.state is SessionState.LOGIN_NEEDED else "not connected"

    def _read_books(self) -> None:
        """Reconciliation begins with one reading of all books, by a helper; the market of a replay waits for it."""
        self._reads += 1
        number, parts = self._reads, self._parts
        holder = f"{self.address.name}:books"

        async def read() -> None:
            try:
                result = BooksRead(number, await parts.broker.books())
            except BrokerUnavailable as problem:
                result = BooksRead(number, None, str(problem))
            try:
                self.address.post(result)
            finally:
                parts.in_flight.release(holder)

        parts.in_flight.hold(holder)
        self.nursery.start_soon(read, name=holder)

    def _hear_books(self, read: BooksRead) -> None:
        if read.number != self._reads:
            return  # a newer reading is under way
        if read.books is None:
            self._notify(Severity.WARNING, f"the broker's books cannot be read: {read.problem}")
            self._alarm("books", self._parts.clock.now_ns + EXIT_RETRY_NS)
            return
        for finding in compare(
            self._ledger,
            read.books,
            self._parts.clock.now_ns,
            self._parts.broker.traits.absent_after_s,
            self._parts.tag,
        ):
            self._settle(finding)
        self._trading = True
        self._why_not = ""
        for symbol in self._ledger.ladders:
            self._touch_all(symbol)
        for order in self._ledger.orders.values():
            if order.state is OrderState.INTENT and order.purpose is Purpose.EXIT:
                guard = self._ledger.guard(order.symbol, order.rung)
                if guard is None or not guard.standing:
                    self._continue_exit_of(order)
                elif guard.gtt_id is not None:
                    self._wire.append(CancelGtt(guard.gtt_id))

    def _continue_exit_of(self, order: Order) -> None:
        sent = order.after(OrderEvent.SENT, self._parts.clock.now_ns)
        self._ledger.record_order(sent)
        self._place(sent)

    def _settle(self, finding: Finding) -> None:
        """One difference between the journal and the broker (orders.md, "Restart and reconciliation")."""
        if finding.event is not None:
            self._hear(finding.event)
        elif finding.order is not None:
            absent = OrderEvent.ABSENT if finding.gone else OrderEvent.NO_ANSWER
            order = finding.order
            if order.state is OrderState.SENT:
                order = order.after(OrderEvent.NO_ANSWER, self._parts.clock.now_ns)
                self._ledger.record_order(order)
            if absent is OrderEvent.ABSENT:
                self._ledger.end_order(order, absent, self._parts.clock.now_ns, finding.text)
            else:
                self._alarm("books", self._parts.clock.now_ns + EXIT_RETRY_NS)
        elif finding.gtt is not None:
            self._ledger.end_gtt(finding.gtt, GttEvent.ABSENT, self._parts.clock.now_ns, finding.text)
        if finding.cancel is not None:
            self._wire.append(CancelGtt(finding.cancel))
        if finding.alert:
            self._notify(Severity.ALERT, finding.text, finding.symbol)
        self._note("reconciled", finding.symbol, "", {"text": finding.text})

    # --- alarms -------------------------------------------------------------------------------------

    def _rang(self, alarm: AlarmRang) -> None:
        kind, _, ref = alarm.name.partition(":")
        if kind == "books":
            self._read_books()
        elif kind == "day":
            self._end_day(alarm.at_ns)
        elif kind == "entry":
            order = self._ledger.orders.get(ref)
            if order is not None and order.working and order.broker_id is not None:
                self._wire.append(CancelOrder(order.broker_id))
        elif kind in ("fired", "exit"):
            self._escalate(kind, ref, alarm.at_ns)

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
        summary = self._parts.day_summary(self._parts.journal, at_ns)
        self._log("strategy", f"day {summary}")
        self._notify(Severity.INFO, f"day {summary}")
        self._note("day", "", "", {"summary": summary})
        self._ledger.forget_ended(at_ns - ENDED_KEPT_NS)
        self._journalled_refusals.clear()
        self._arm_day_end()

    def _watch_fired(self, gtt: Gtt) -> None:
        """TRIGGERED is not filled: after trigger_grace the child is looked at."""
        self._alarm(
            f"fired:{gtt.client_id}",
            self._parts.clock.now_ns + self._parts.timings.trigger_grace_ns,
            gtt.symbol,
            gtt.rung,
        )

    def _alarm_exit(self, order: Order) -> None:
        name = f"exit:{order.client_id}"
        if order.gtt_client_id is None and not self._parts.clock.armed(alarm_name(self.address, name)):
            self._alarm(name, self._parts.clock.now_ns + EXIT_RETRY_NS, order.symbol, order.rung)

    def _escalate(self, kind: str, ref: str, at_ns: int) -> None:
        """An exit that rests is modified further below the last price, one step at a time; never a second sell."""
        order = self._ledger.orders.get(f"{ref}C" if kind == "fired" else ref)
        if order is None or not order.working or order.broker_id is None:
            return
        tick = self._parts.tick_of(order.symbol)
        steps = self._parts.memory.exit_steps
        step = steps.get(order.client_id, 0)
        steps[order.client_id] = step + 1
        distance = EXIT_STEPS_BP[min(step, len(EXIT_STEPS_BP) - 1)]
        limit = max(tick, round_down(self._last(order.symbol) * (BP_PER_UNIT - distance) // BP_PER_UNIT, tick))
        self._wire.append(
            ModifyOrder(
                broker_id=order.broker_id,
                quantity=order.quantity,
                order_type=OrderType.LIMIT,
                limit_paise=limit,
            )
        )
        self._note("escalated", order.symbol, order.client_id, {"limit_paise": limit, "step": step + 1})
        self._alarm(f"{kind}:{ref}", at_ns + EXIT_RETRY_NS, order.symbol, order.rung)

    def _alarm(self, name: str, at_ns: int, symbol: str = "", rung: int = 0) -> None:
        set_alarm(self._parts.clock, self.address, name, at_ns, symbol=symbol, rung=rung)

    # --- small helpers ------------------------------------------------------------------------------

    def _rung(self, wish: RungRequest) -> Rung | None:
        rung = self._ledger.rung(wish.symbol, wish.rung)
        return rung if rung is not None and rung.ladder == wish.ladder else None

    def _touch_all(self, symbol: str) -> None:
        ladder = self._ledger.ladders.get(symbol)
        for number in ladder.rungs if ladder else ():
            self._ledger.touched[symbol, number] = None

    def _stop_leg(self, wish: Protect | MoveStop) -> Leg:
        tick = self._parts.tick_of(wish.symbol)
        return Leg(wish.stop_paise, rules_of_ladder.stop_limit(wish.stop_paise, self._parts.rules, tick))

    def _new_id(self) -> str:
        client_id = self._ids.next()
        self._parts.memory.ids = self._ids.count
        return client_id

    def _last(self, symbol: str) -> int:
        return int(self._parts.board.last[self._parts.row_of(symbol)])

    def _note(self, kind: str, symbol: str, ref: str, body: dict[str, object]) -> None:
        self._ledger.note(
            EventRow(
                self._parts.clock.now_ns,
                self.address.name,
                kind,
                symbol,
                ref,
                dumps(body, ensure_ascii=False),
            )
        )

    def _notify(self, severity: Severity, text: str, symbol: str = "") -> None:
        self._parts.notify(
            Notice(
                severity=severity,
                source=self.address.name,
                text=text,
                at_ns=self._parts.clock.now_ns,
                symbol=symbol,
            )
        )

    def _log(self, kind: str, text: str) -> None:
        self._parts.log(kind, self.address.name, text)

    def _log_outcome(self, before: Order, after: Order, update: OrderUpdate) -> None:
        """One line per fill or end of an order: the log people grep for."""
        reason = f" reason={after.reason.value}" if after.reason else ""
        price = half_up(after.value_paise, after.filled) if after.filled else 0
        self._log(
            "orders",
            f"order_{after.state.value.lower()} symbol={after.symbol} rung=P{after.rung} side={after.side.value}"
            f" filled={after.filled}/{after.quantity} average={price} order={after.client_id}"
            f" broker={after.broker_id}{reason}" + (f" message={update.message!r}" if update.message else ""),
        )
        rung = self._ledger.rung(after.symbol, after.rung)
        if rung is None:
            return
        if after.purpose is Purpose.ENTRY and after.filled and not before.filled:
            self._log(
                "strategy",
                f"entered symbol={rung.symbol} rung=P{rung.number} qty={rung.quantity} price={price}"
                f" rank={rung.rank:.2f}",
            )
        elif rung.status is RungStatus.CLOSED and after.purpose is Purpose.EXIT:
            self._log(
                "strategy",
                f"exited symbol={rung.symbol} rung=P{rung.number} qty={rung.sold} price={price}"
                f" reason={rung.reason.value if rung.reason else ''} gross={rung.pnl_paise}",
            )

    def _snapshot(self) -> dict[str, object]:
        """What status and dashboard show of the account, JSON values in paise and ns."""
        ledger, memory = self._ledger, self._parts.memory
        return {
            "account": self._parts.account,
            "state": "TRADING" if self._trading else self._why_not.upper(),
            "kill_switch": memory.kill_switch,
            "disk_full": memory.disk_full,
            "slots": ledger.exposure.slots,
            "max_positions": self._parts.limits.max_positions,
            "deployed_paise": ledger.exposure.deployed_paise,
            "capital_paise": self._parts.limits.capital_paise,
            "rungs": [
                _rung_row(rung, self._last(rung.symbol))
                for ladder in ledger.ladders.values()
                for rung in ladder.rungs.values()
                if rung.open
            ],
        }


def _first_rung(reservation: Reservation) -> Entry:
    return Entry(
        ladder=reservation.ladder,
        rung=1,
        symbol=reservation.symbol,
        quantity=reservation.quantity,
        last_paise=reservation.last_paise,
        at_ns=reservation.at_ns,
    )


def _target_leg(target_paise: int | None) -> Leg | None:
    """A target's limit is the target itself (trading-rules.md, "The ladder")."""
    return Leg(target_paise, target_paise) if target_paise is not None else None


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
