"""The shape of the tree: which actors there are, under whom, in which order.

Owns every address and what outlives an incarnation: board, clock, playback, memories. Decides nothing about
trading. What is plugged in - feed, brokers, journals, effects - comes as `Parts`, so that the same tree runs live,
on a recorded day, as a backtest and inside a simulation (architecture.md).

    root
    ├── market     ticker, poller, candle_recorder
    ├── accounts   account:<id>: broker, order_router, positions: position:<account>/<SYMBOL>
    └── services   scanner, health_monitor, gateway
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import attrs
import trio

from actors.actor import Actor
from actors.broker_session import BrokerSession
from actors.candle_recorder import CandleRecorder
from actors.child import ChildEvent, ChildSpec, ChildState, Limits, NodeInfo, Restart, Surroundings, actor_child
from actors.gateway import BadCommand, Gateway
from actors.health_monitor import Fallback, HealthMonitor, HealthParts
from actors.mailbox import Address, InFlight
from actors.order_router import OrderRouter, RouterMemory, RouterParts, Timings
from actors.poller import Poller
from actors.ports import Broker, Exchange, Journal, LogLine, MarketRecords
from actors.position import Memory, Position, PositionParts
from actors.scanner import ScanMemory, Scanner, ScannerParts, ScanRules
from actors.supervision import Supervisor
from actors.ticker import Playback, Ticker, TickerParts
from effects import Effects
from market.board import Board
from market.calendar import TradingCalendar
from market.candles import Candles
from market.feeds.frame import Feed, LiveFeed
from market.history import History
from protocol.clock import ist_text
from protocol.errors import PureAlphaError
from protocol.messages import AskSnapshot, Notice, PersonExit, SetKillSwitch, Severity
from strategy.risk import OrderPace, RiskLimits

NOTICES_KEPT = 500
ASK_TIMEOUT_S = 2.0
RETRY_ACCOUNT_S = 60.0
STOP_ALL_S = 10.0
TOLD_PAUSE_S = 1.0  # a shorter pause before a restart is not worth a line of its own
ROUTER_MAILBOX = 4096  # 8 x live positions is the bound of its links; this is above the largest allowed


@attrs.frozen(kw_only=True)
class AccountParts:
    """One account as it is plugged in. `tag` are the two characters in its client order ids."""

    id: str
    tag: str
    journal: Journal
    broker: Broker
    limits: RiskLimits
    kill_switch: bool = False


@attrs.frozen(kw_only=True)
class Health:
    """Thresholds of the health monitor, and what it asks the machine (see HealthParts)."""

    stale_feed_ns: int
    poll_interval_ns: int
    loop_lag_ms: int
    reason_to_stop: Callable[[], str]
    upkeep: Callable[[], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Deadlines:
    """Machine-time deadlines of every actor, in seconds."""

    start_timeout_s: float = 30.0
    stop_timeout_s: float = 2.0
    handler_timeout_s: float = 10.0


@attrs.frozen(kw_only=True)
class Parts:
    """Everything that differs between a live system, a replay and a simulation."""

    effects: Effects
    feed: Feed
    board: Board
    calendar: TradingCalendar
    exchanges: Sequence[Exchange]
    accounts: Sequence[AccountParts]
    records: MarketRecords
    scan: ScanRules
    timings: Timings
    health: Health
    deadlines: Deadlines
    limits: Limits
    speed: float
    lockstep: bool  # the feed owns the time and waits for the actors; false with a live feed
    log: LogLine
    day_summary: Callable[[Journal, int], str]
    give_up_process: Callable[[str], None]
    out_of_disk: Callable[[str], None]
    gateway_path: Path | None = None
    live: LiveFeed | None = None  # the feed again, where its prices arrive by themselves
    watch_machine: bool = True  # disk, kill-switch file, loop lag: all but a replay, which has no market to lose


@attrs.define(eq=False)
class Account:
    """One account's living parts."""

    parts: AccountParts
    layer: int
    broker: Address
    router: Address
    memory: RouterMemory
    supervisor: Supervisor
    positions: Supervisor
    addresses: dict[str, Address] = attrs.Factory(dict)
    memories: dict[str, Memory] = attrs.Factory(dict)


class Tree:
    """The whole of it. `run` until cancelled; `kill` and `status` from outside."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        effects = parts.effects
        self.in_flight = InFlight()
        self.playback = Playback()
        self.history = History(len(parts.feed.universe))
        self.candles = Candles(len(parts.feed.universe))
        self.notices: deque[Notice] = deque(maxlen=NOTICES_KEPT)
        self.entries_stopped = ""  # a reason in words while a person or the disk has stopped new entries
        self.ready = trio.Event()
        self._fallback = Fallback()
        self._surroundings = Surroundings(
            shield=effects.shield,
            rng=effects.rng("supervision"),
            in_flight=self.in_flight,
            on_event=self._on_event,
            give_up_process=parts.give_up_process,
        )
        self.ticker = self._address("ticker")
        self.recorder = self._address("candle_recorder", capacity=1024)
        self.poller = self._address("poller")
        self.scanner = self._address("scanner")
        self.health = self._address("health_monitor")
        self.gateway = self._address("gateway")
        self.accounts = {account.id: self._account(account, n) for n, account in enumerate(parts.accounts)}
        self.root = self._supervisor(
            "root",
            [
                self._supervisor("market", self._market()).as_child(),
                self._supervisor(
                    "accounts",
                    [account.supervisor.as_child() for account in self.accounts.values()],
                    retry_given_up_s=RETRY_ACCOUNT_S,
                ).as_child(),
                self._supervisor("services", self._services(), escalate=False).as_child(),
            ],
            stop_all_s=STOP_ALL_S,
        )

    # --- running --------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The tree, until it is cancelled or gives up (RestartLimit). Ready when every actor is."""

        async with trio.open_nursery() as nursery:
            await nursery.start(self.root.run)
            # What start-up made lives as long as the process. A full collection that walks it takes 28 to 45 ms
            # (measured with 10,000 trades), in the middle of whatever an actor is doing.
            gc.collect()
            gc.freeze()
            self.ready.set()
            task_status.started()

    def kill(self, name: str) -> bool:
        """End one actor, so that its supervisor starts its next incarnation. False when there is none alive."""
        return self.root.kill(name)

    # --- the parts of the tree ------------------------------------------------------------------------

    def _market(self) -> list[ChildSpec]:
        parts = self._parts
        symbols = parts.feed.universe.symbols
        ticker = TickerParts(
            feed=parts.feed,
            board=parts.board,
            candles=self.candles,
            history=self.history,
            clock=parts.effects.market,
            exchanges=parts.exchanges,
            layers=len(parts.accounts),
            in_flight=self.in_flight,
            recorder=self.recorder,
            playback=self.playback,
            speed=parts.speed,
            begin=self.ready,
            live=parts.live,
            lockstep=parts.lockstep,
        )
        quotes = parts.accounts[0].broker.quotes
        interval_ns = max(parts.health.poll_interval_ns, int(2.5e9 * parts.feed.interval_s))
        return [
            self._child(lambda address: Ticker(address, ticker), self.ticker),
            self._child(
                lambda address: Poller(
                    address,
                    quotes=quotes,
                    symbols=symbols,
                    interval_ns=interval_ns,
                    clock=parts.effects.market,
                    ticker=self.ticker,
                    notify=self.notify,
                ),
                self.poller,
            ),
            self._child(
                lambda address: CandleRecorder(address, parts.records, symbols, parts.effects.market, self.notify),
                self.recorder,
            ),
        ]

    def _account(self, account: AccountParts, layer: int) -> Account:
        positions = self._supervisor(f"positions:{account.id}", (), parallel_stop=True)
        broker = self._address(f"broker:{account.id}")
        router = self._address(f"order_router:{account.id}", deferred=self._parts.lockstep, capacity=ROUTER_MAILBOX)
        memory = RouterMemory(
            OrderPace(account.limits.max_orders_per_minute_per_symbol), kill_switch=account.kill_switch
        )
        router_parts = self._router_parts(account, memory)
        supervisor = self._supervisor(
            f"account:{account.id}",
            [
                self._child(lambda address: BrokerSession(address, account.broker, router), broker),
                self._child(lambda address: OrderRouter(address, router_parts), router),
                positions.as_child(),
            ],
        )
        living = Account(account, layer, broker, router, memory, supervisor, positions)
        cooled_after = self._parts.effects.market.now_ns - self._parts.scan.ladder.cooldown_ns
        alive = {rung.symbol for rung in account.journal.live_rungs(cooled_after)}
        alive |= {order.symbol for order in account.journal.working_orders()}
        for symbol in sorted(alive):
            self._start_position(living, symbol)
        return living

    def _services(self) -> list[ChildSpec]:
        parts = self._parts
        scanner = ScannerParts(
            rules=parts.scan,
            clock=parts.effects.market,
            calendar=parts.calendar,
            universe=parts.feed.universe,
            board=parts.board,
            history=self.history,
            routers={account.parts.id: account.router for account in self.accounts.values()},
            position_for=self._position_for,
            recorder=self.recorder,
            entries_allowed=lambda: not self.entries_stopped,
            memory=ScanMemory(),
        )
        health = HealthParts(
            clock=parts.effects.market,
            calendar=parts.calendar,
            stream_ns=lambda: self.playback.stream_ns,
            poller=self.poller,
            notify=self.notify,
            fallback=self._fallback,
            stale_feed_ns=max(parts.health.stale_feed_ns, int(2.5e9 * parts.feed.interval_s)),
            lag_ms_max=parts.health.loop_lag_ms,
            reason_to_stop=parts.health.reason_to_stop,
            stop_entries=self.stop_entries,
            upkeep=parts.health.upkeep,
            watch_machine=parts.watch_machine,
        )
        children = [
            self._child(lambda address: Scanner(address, scanner), self.scanner),
            self._child(lambda address: HealthMonitor(address, health), self.health),
        ]
        path = parts.gateway_path
        if path is not None:
            commands = {
                "status": self._command_status,
                "kill": self._command_kill,
                "kill_switch": self._command_kill_switch,
                "close": self._command_close,
            }
            children.append(self._child(lambda address: Gateway(address, parts.effects, path, commands), self.gateway))
        return children

    # --- positions ------------------------------------------------------------------------------------

    def _position_for(self, account_id: str, symbol: str) -> Address:
        """The address of the symbol's position; its actor is started when there is none, or it has finished."""
        account = self.accounts[account_id]
        address = account.addresses.get(symbol)
        if address is None or address.closed:
            address = self._start_position(account, symbol)
        return address

    def _start_position(self, account: Account, symbol: str) -> Address:
        parts, universe = self._parts, self._parts.feed.universe
        address = account.addresses[symbol] = self._address(position_name(account.parts.id, symbol))
        instrument = universe[universe.row(symbol)]
        position = PositionParts(
            symbol=symbol,
            row=universe.row(symbol),
            tick_paise=instrument.tick_size_paise,
            derivatives=instrument.derivatives,
            layer=account.layer,
            rules=parts.scan.ladder,
            clock=parts.effects.market,
            calendar=parts.calendar,
            board=parts.board,
            journal=account.parts.journal,
            router=account.router,
            memory=account.memories.setdefault(symbol, Memory()),
            entries_allowed=lambda: not self.entries_stopped,
        )
        account.positions.start_child(
            self._child(lambda address: Position(address, position), address, restart=Restart.TRANSIENT)
        )
        return address

    def _router_parts(self, account: AccountParts, memory: RouterMemory) -> RouterParts:
        parts, universe = self._parts, self._parts.feed.universe
        ticks = {instrument.symbol: instrument.tick_size_paise for instrument in universe.instruments}

        def position_of(symbol: str) -> Address | None:
            return self.accounts[account.id].addresses.get(symbol)

        return RouterParts(
            account=account.id,
            tag=account.tag,
            clock=parts.effects.market,
            calendar=parts.calendar,
            board=parts.board,
            row_of=universe.row,
            tick_of=ticks.__getitem__,
            journal=account.journal,
            broker=account.broker,
            rules=parts.scan.ladder,
            limits=account.limits,
            memory=memory,
            timings=parts.timings,
            entries_stopped=lambda: self.entries_stopped,
            scanner=self.scanner,
            position_of=position_of,
            notify=self.notify,
            log=parts.log,
            in_flight=self.in_flight,
            out_of_disk=parts.out_of_disk,
            day_summary=parts.day_summary,
        )

    # --- what people see ------------------------------------------------------------------------------

    def notify(self, notice: Notice) -> None:
        """Something a person should know: kept for the screens, and written to the log."""
        self.notices.append(notice)
        kind = "errors" if notice.severity is Severity.ALERT else "strategy"
        self._parts.log(kind, notice.source, f"{notice.severity.value} {notice.text}")

    async def _command_status(self, _: Mapping[str, object]) -> object:
        """The living tree, positions, freshness: what `python -m supervisor status` shows."""
        parts = self._parts
        asked: dict[str, object] = {}
        for address in (self.ticker, self.poller, self.health, *(a.router for a in self.accounts.values())):
            try:
                asked[address.name] = await address.ask(AskSnapshot(), ASK_TIMEOUT_S)
            except PureAlphaError as problem:
                asked[address.name] = {"problem": str(problem)}
        return {
            "market_time": ist_text(parts.effects.market.now_ns),
            "tree": _node(self.root.snapshot()),
            "actors": asked,
            "notices": [
                {"at": ist_text(n.at_ns), "severity": n.severity.value, "source": n.source, "text": n.text}
                for n in list(self.notices)[-20:]
            ],
        }

    async def _command_kill(self, asked: Mapping[str, object]) -> object:
        name = str(asked.get("actor", ""))
        found = self._node_called(name)
        if found is None:
            raise BadCommand(f"no actor is called {name!r}: `python -m supervisor status` lists them")
        if found.kind == "supervisor":
            raise BadCommand(f"{found.name} is a supervisor: only actors can be killed")
        if found.state is ChildState.WAITING:
            raise BadCommand(f"{found.name} is waiting for its restart")
        if not self.kill(found.name):
            raise BadCommand(f"{found.name} is not alive: it is {found.state.value}")
        return {"killed": found.name}

    async def _command_kill_switch(self, asked: Mapping[str, object]) -> object:
        wanted = asked.get("on")
        if not isinstance(wanted, bool):
            raise BadCommand("kill_switch takes on: true or false")
        switch = SetKillSwitch(wanted, str(asked.get("who", "local socket")))
        silent: list[str] = []
        for account in self.accounts.values():
            try:
                await account.router.ask(switch, ASK_TIMEOUT_S)
            except PureAlphaError as problem:  # one account's trouble keeps no other from being stopped
                silent.append(f"{account.parts.id} ({problem})")
        if silent:
            raise BadCommand(f"the kill switch was not confirmed by account {', '.join(silent)}: ask again")
        return {"kill_switch": wanted, "accounts": list(self.accounts)}

    async def _command_close(self, asked: Mapping[str, object]) -> object:
        symbol, number = str(asked.get("symbol", "")).upper(), asked.get("rung")
        wanted = str(asked.get("account") or self._parts.accounts[0].id)
        account = self.accounts.get(wanted)
        if account is None:
            raise BadCommand(f"account {wanted!r} is none of {', '.join(self.accounts)}")
        if type(number) is not int or number not in (1, 2, 3):
            raise BadCommand("close takes rung 1, 2 or 3")
        address = account.addresses.get(symbol)
        who = str(asked.get("who", "local socket"))
        if address is None or address.closed or not await address.ask(PersonExit(number, who), ASK_TIMEOUT_S):
            raise BadCommand(f"{symbol} P{number} of account {wanted} is not open, or is being sold already")
        self.notify(
            Notice(
                severity=Severity.INFO,
                source=address.name,
                text=f"{symbol} P{number} is sold at market: asked for by {who}",
                at_ns=self._parts.effects.market.now_ns,
                symbol=symbol,
            )
        )
        return {"selling": f"{symbol} P{number}", "account": wanted}

    def _node_called(self, name: str) -> NodeInfo | None:
        """By the names people type: `order_router` for the first account's, `position:INFY` likewise."""
        known = _by_name(self.root.snapshot())
        first = self._parts.accounts[0].id
        kind, _, symbol = name.partition(":")
        meant = (name, f"{name}:{first}", position_name(first, symbol.upper()) if kind == "position" else "")
        return next((known[candidate] for candidate in meant if candidate in known), None)

    def _on_event(self, what: ChildEvent, child: str, detail: str) -> None:
        """A crash is an alert; the traceback goes to the error log, its first line to the screens.

        A kill is planned: one warning. A restart is told of when one has to wait for it.
        """
        soon = what is ChildEvent.RESTARTING and float(detail.split()[1]) < TOLD_PAUSE_S
        if soon or what in (ChildEvent.STARTED, ChildEvent.STOPPED, ChildEvent.ENDED):
            self._parts.log("access", child, f"{what.value} {detail}".strip())
            return
        summary, _, traceback = detail.partition("\n")
        text, severity = f"{what.value} {summary}".strip(), Severity.ALERT
        if what is ChildEvent.KILLED:
            text, severity, traceback = "killed from outside, restarting", Severity.WARNING, ""
        elif what is ChildEvent.RESTARTING:
            severity = Severity.WARNING
        self.notify(
            Notice(
                severity=severity,
                source=child,
                text=text,
                at_ns=self._parts.effects.market.now_ns,
            )
        )
        if traceback:
            self._parts.log("errors", child, traceback.replace("\n", "\n    "))

    def _dead_letter(self, name: str, message: object, traceback: str) -> None:
        self.notify(
            Notice(
                severity=Severity.ALERT,
                source=name,
                text=f"gave up on a message after three crashes: {message!r}",
                at_ns=self._parts.effects.market.now_ns,
            )
        )
        self._parts.log("errors", name, traceback.replace("\n", "\n    "))

    def stop_entries(self, reason: str) -> None:
        """No new entries while there is a reason; what is open stays protected and is squared off as ever."""
        self.entries_stopped = reason

    # --- small helpers --------------------------------------------------------------------------------

    def _address(self, name: str, *, deferred: bool = False, capacity: int = 256) -> Address:
        return Address(
            name,
            in_flight=self.in_flight,
            capacity=capacity,
            deferred=deferred,
            dead_letters=self._dead_letter,
        )

    def _child(
        self, make: Callable[[Address], Actor], address: Address, *, restart: Restart = Restart.PERMANENT
    ) -> ChildSpec:
        deadlines = self._parts.deadlines
        return actor_child(
            make,
            address,
            restart=restart,
            start_timeout_s=deadlines.start_timeout_s,
            stop_timeout_s=deadlines.stop_timeout_s,
            handler_timeout_s=deadlines.handler_timeout_s,
        )

    def _supervisor(
        self,
        name: str,
        specs: Sequence[ChildSpec],
        *,
        escalate: bool = True,
        retry_given_up_s: float | None = None,
        parallel_stop: bool = False,
        stop_all_s: float = math.inf,
    ) -> Supervisor:
        return Supervisor(
            name,
            specs,
            surroundings=self._surroundings,
            limits=self._parts.limits,
            escalate=escalate,
            retry_given_up_s=retry_given_up_s,
            parallel_stop=parallel_stop,
            stop_all_s=stop_all_s,
        )


def position_name(account: str, symbol: str) -> str:
    """`position:INFY` for the default account; others name theirs, because names are unique in the tree."""
    return f"position:{symbol}" if account == "main" else f"position:{account}/{symbol}"


def _by_name(node: NodeInfo) -> dict[str, NodeInfo]:
    below = {name: child for each in node.children for name, child in _by_name(each).items()}
    return {node.name: node, **below}


def _node(node: NodeInfo) -> dict[str, object]:
    return {
        "name": node.name,
        "kind": node.kind,
        "state": node.state.value,
        "restarts": node.restarts,
        "last_crash": node.last_crash,
        "depth": node.depth,
        "children": [_node(child) for child in node.children],
    }
