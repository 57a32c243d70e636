"""The JSON WebSocket broker: the Broker port of one account at a server of broker-protocol.md.

Owns the state of the account's connection and which way a request takes: the WebSocket; for reads, and with
`failover` for orders too, HTTP while the WebSocket is down. Never sends a request twice: what has no answer is
told so, and reconciliation reads the books. The order router calls `submit` and the reads, the broker actor runs
`session`. What answers mean is in websocket_answers.py, the connection in market/feeds/link.py.

Requests wait in websocket_gate.py for the call limits and the circuit breaker, which hears of every outcome.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import attrs
import trio

from brokers.circuit_breaker import CircuitBreaker
from brokers.http import http_client
from brokers.rate_limit import CallLimits, RateLimiter
from brokers.websocket_answers import Answers, Send
from brokers.websocket_gate import Gate, machine_ns
from brokers.websocket_rest import Failover, RestTwin
from effects import Effects
from market.feeds.kept_link import Down, KeptLink
from market.feeds.link import NOT_CONNECTED, Answer, Heard, Link, Lost
from market.feeds.link_options import LinkOptions
from protocol.broker import (
    Books,
    BrokerTraits,
    Event,
    Margins,
    Quote,
    Request,
    RequestFailed,
    SessionChanged,
    SessionState,
)
from protocol.broker_wire import Refusal, Response
from protocol.broker_wire_requests import (
    GetGtts,
    GetHoldings,
    GetMargins,
    GetOrders,
    GetPositions,
    GetQuotes,
    GetTrades,
    Read,
)
from protocol.clock import NS, at, ist_date
from protocol.errors import BrokerUnavailable, LocalProtocolError
from protocol.orders import OrderType

QUOTES_PER_CALL = 200
PROBE_LOOK_S = 0.05  # a probe that failed at once may not have been at its time

Post = Callable[[Event], None]
Value = TypeVar("Value")


@attrs.frozen(kw_only=True)
class WebSocketOptions(LinkOptions):
    """The connection's options, whether orders may go over HTTP while it is down, and the broker's limits."""

    failover: bool = False
    limits: CallLimits | None = attrs.field(factory=CallLimits)  # of orders and GTTs, never of reads; None: none
    gtt_min_distance_bp: int = 0


class WebSocketBroker:
    """One account. Outlives its sessions, of which one runs at a time."""

    def __init__(self, effects: Effects, options: WebSocketOptions, account: str = "") -> None:
        self.traits = BrokerTraits(
            name="websocket",
            entry_type=OrderType.LIMIT,
            gtt_min_distance_bp=options.gtt_min_distance_bp,
            order_calls_per_second=options.limits.order_per_second if options.limits else None,
            order_calls_per_minute=options.limits.order_per_minute if options.limits else None,
            absent_after_s=120,
        )
        self.state = SessionState.CONNECTING
        self.breaker = CircuitBreaker()
        self.answers = Answers(self._tell, lambda: effects.market.now_ns)
        self.kept = KeptLink(effects, options, f"websocket broker {account}")
        self._effects = effects
        self._options = options
        self._rng = effects.rng(f"websocket broker {account} over HTTP")
        self._post: Post | None = None  # of the running session
        self._reason = "no session runs"  # of the state
        self._down_reason = ""  # of the WebSocket, when it was down last
        self._twin: RestTwin | None = None
        self._failover: Failover | None = None
        self._breaker_opened = trio.lowlevel.ParkingLot()
        limiter = RateLimiter(options.limits) if options.limits else None
        self._gate = Gate(limiter, self.breaker, self._send, self._not_sent)

    # --- the Broker port ------------------------------------------------------------------------------

    def submit(self, requests: Sequence[Request]) -> list[Event]:
        """Sends in order; answers come through the session. Only what cannot be sent is known at once."""
        if self._line() is None:
            return [self._refusal(request, NOT_CONNECTED, self._reason) for request in requests]
        self._gate.add(requests)
        return []

    async def session(self, post: Post, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be connected, and connect again, until cancelled. Started at once: the state says what it has come to."""
        if self._post is not None:
            raise LocalProtocolError(f"{self.traits.name}: a session runs already")
        self._post, self._reason = post, "connecting"
        headers = {"Authorization": self._options.api_key, "Content-Type": "application/json"}
        try:
            async with http_client(
                self._effects,
                base_url=self._options.address.rest_url,
                headers=headers,
                timeout_s=self._options.request_timeout_s,
                connect_timeout_s=self._options.connect_s,
            ) as client:
                self._twin = RestTwin(self._effects, self._options, client, self._rng)
                task_status.started()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._gate.run)
                    nursery.start_soon(self._probe)
                    if self._options.failover:
                        self._failover = Failover(self._twin, up=self._http_up, down=self._http_down, heard=self._count)
                        nursery.start_soon(self._failover.run)
                    await self.kept.run(said=self.answers.said, up=self._up, down=self._down)
        finally:
            self._gate.clear(NOT_CONNECTED, "the session ended")
            if self._failover is not None:
                self._failover.want(False)
            self.state, self._reason = SessionState.CONNECTING, "no session runs"
            self._post = self._twin = self._failover = None

    async def books(self) -> Books:
        """Today's orders, trades and positions, all GTTs and holdings. Raises BrokerUnavailable."""
        now_ns = self._effects.market.now_ns
        since_ns = at(ist_date(now_ns), 0) if now_ns else None
        # GTTs first: one that triggers between two readings then shows as its child, never as a child too few.
        gtts, orders, trades, positions, holdings = await self._read(
            GetGtts(), GetOrders(since_ns), GetTrades(since_ns), GetPositions(), GetHoldings()
        )
        books = Books(
            orders=tuple(report.update for report in _given(orders.orders)),
            gtts=tuple(report.update for report in _given(gtts.gtts)),
            trades=_given(trades.trades),
            positions=_given(positions.positions),
            holdings=_given(holdings.holdings),
            at_ns=self._effects.market.now_ns,
        )
        self.answers.learn(books)
        return books

    async def margins(self) -> Margins:
        """Raises BrokerUnavailable."""
        (answer,) = await self._read(GetMargins())
        return _given(answer.margins)

    async def quotes(self, symbols: Sequence[str]) -> list[Quote]:
        """Last prices; a symbol that is unknown or has none yet is absent. Raises BrokerUnavailable."""
        calls = [
            GetQuotes(tuple(symbols[first : first + QUOTES_PER_CALL]))
            for first in range(0, len(symbols), QUOTES_PER_CALL)
        ]
        return [quote for answer in await self._read(*calls) for quote in _given(answer.quotes)]

    # --- which way ------------------------------------------------------------------------------------------

    def _line(self) -> Send | None:
        if self._post is None:
            return None
        if self.kept.link is not None:
            return self.kept.link.send
        return self._failover.line.send if self._failover is not None and self._failover.line is not None else None

    def _send(self, requests: Sequence[Request]) -> None:
        line = self._line()
        if line is not None:
            self.answers.send(requests, self._counted(line))
        else:
            for request in requests:
                self._not_sent(request, NOT_CONNECTED, self._reason)

    async def _read(self, *bodies: Read) -> list[Response]:
        """Over the WebSocket while it is up; over HTTP when it is not, or gives no answer."""
        failures = []
        if self.kept.link is not None:
            answers = await self.kept.link.ask(bodies)
            responses, failure = self._judge(answers)
            if not failure:
                return responses
            failures.append(failure)
        if self._twin is not None:
            responses, failure = self._judge(await self._twin.ask_all(bodies))
            if not failure:
                return responses
            failures.append(failure)
        raise BrokerUnavailable(f"{self.traits.name}: {'; '.join(failures) or self._reason}")

    def _judge(self, answers: Sequence[Answer]) -> tuple[list[Response], str]:
        """The responses, and what is wrong with the first answer that is none. Reads count once for the breaker."""
        responses = [answer for answer in answers if isinstance(answer, Response)]
        wrong = [answer for answer in answers if not isinstance(answer, Response)]
        if not wrong:
            self.breaker.answered()
            return responses, ""
        worst = next((answer for answer in wrong if isinstance(answer, Lost)), wrong[0])
        self._count(worst)
        return responses, f"{worst.code}: {worst.message}"

    async def _probe(self) -> None:
        """While the circuit breaker is open, a read at its times; any answer closes it."""
        while True:
            while (due_ns := self.breaker.probe_ns()) is not None:
                await trio.sleep(max(0.0, (due_ns - machine_ns()) / NS))
                with contextlib.suppress(BrokerUnavailable):  # counted; the breaker waits longer then
                    await self.margins()
                await trio.sleep(PROBE_LOOK_S)
            self._gate.look_again()
            await self._breaker_opened.park()

    # --- the connection's news ----------------------------------------------------------------------------

    def _up(self, _: Link) -> None:
        self._change(SessionState.READY, "connected")
        if self._failover is not None:
            self._failover.want(False)

    def _down(self, down: Down) -> None:
        self._down_reason = down.reason
        if self._failover is None or self._failover.line is None:
            self._change(SessionState.LOGIN_NEEDED if down.login_needed else SessionState.CONNECTING, down.reason)
        if self._failover is not None:
            self._failover.want(not down.login_needed)

    def _http_up(self) -> None:
        self._change(SessionState.READY, f"over HTTP, without updates: {self._down_reason}")

    def _http_down(self, reason: str) -> None:
        self._change(SessionState.CONNECTING, reason)

    def _change(self, state: SessionState, reason: str) -> None:
        changed = (state, reason) != (self.state, self._reason)
        self.state, self._reason = state, reason
        self._gate.clear(NOT_CONNECTED, reason)  # after a change the books come first
        if changed or state is SessionState.READY:
            self._tell(SessionChanged(state, reason, self._effects.market.now_ns))

    def _tell(self, event: Event) -> None:
        if self._post is not None:
            self._post(event)

    # --- outcomes -------------------------------------------------------------------------------------------

    def _counted(self, send: Send) -> Send:
        """The same line, with every outcome told to the circuit breaker."""

        def counting(heard: Heard, answer: Answer) -> None:
            self._count(answer)
            heard(answer)

        return lambda requests: send([(body, partial(counting, heard)) for body, heard in requests])

    def _count(self, answer: Answer) -> None:
        """A broken link, a time-out or a server error of what may have been carried out; any other answer is one.
        What was never sent says nothing.
        """
        failed = answer.reached if isinstance(answer, Lost) else isinstance(answer, Refusal) and not answer.certain
        if failed:
            self.breaker.failed(machine_ns())
            if self.breaker.open:
                self._breaker_opened.unpark_all()
        elif not isinstance(answer, Lost):
            self.breaker.answered()

    def _not_sent(self, request: Request, code: str, reason: str) -> None:
        self._tell(self._refusal(request, code, reason))

    def _refusal(self, request: Request, code: str, reason: str) -> RequestFailed:
        text = f"{self.traits.name}: {reason}"
        return RequestFailed(request=request, reached=False, code=code, message=text, at_ns=self._effects.market.now_ns)


def _given(value: Value | None) -> Value:
    """What a read must answer with."""
    if value is None:
        raise BrokerUnavailable("websocket: the answer lacks what was asked for")
    return value
