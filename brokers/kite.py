"""Trading through Zerodha Kite: the Broker port of one account.

Owns the session - login needed, connecting, ready - and ties together what the kite_* files beside it do: tokens,
HTTP, the queue, requests, books, news. Logs nobody in and never tries a dead token again: at 06:00 IST, or when Kite
says 403, it stops, says so and waits for a new token file. The order router calls `submit` and the reads, the broker
actor `session`; a HTTP postback comes in by `postback`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httpx
import trio

from brokers.http import http_client
from brokers.kite_books import KiteBooks
from brokers.kite_gate import KiteGate, malformed
from brokers.kite_memory import KiteMemory
from brokers.kite_news import KiteNews
from brokers.kite_options import KiteOptions
from brokers.kite_queue import RequestQueue
from brokers.kite_requests import KiteRequests
from brokers.kite_rest import KiteRest
from brokers.kite_session import accepted_login, ready_text
from brokers.kite_token import TokenFile, Tokens
from effects import Effects, machine_s
from market.feeds.frame import Frame
from market.feeds.kite import KiteTicker, TickerOptions
from protocol.broker import (
    Books,
    BrokerTraits,
    CancelGtt,
    Event,
    Margins,
    OrderUpdate,
    PlaceGtt,
    PlaceOrder,
    Quote,
    Request,
    RequestFailed,
    Resync,
    SessionChanged,
    SessionState,
)
from protocol.clock import NS, ist_date
from protocol.errors import BrokerUnavailable, RemoteProtocolError
from protocol.kite_errors import KiteFailure
from protocol.kite_market import QUOTES_MAX, quotes, read_quotes
from protocol.kite_orders import read_postback
from protocol.kite_ticks import OrderPosted, TextFrame, TickerError, TickerMessage
from protocol.kite_wire import MARGINS, PROFILE, Login, read_margins
from protocol.orders import OrderType

__all__ = ["KiteBroker", "KiteOptions", "TokenFile", "Tokens", "kite_client"]

NOT_CONNECTED = "NOT_CONNECTED"
GTT_MIN_DISTANCE_BP = 25  # Kite disables a trigger nearer than 0.25 % to the last price
ABSENT_AFTER_S = 120  # Kite's own book may show an order minutes late (kite-facts 6)
PROBE_LOOK_S = 0.1  # another read may be the probe under way
CONNECTIONS_MAX = 8  # of the HTTP client: four requests at once, and reads that must not wait for them

Post = Callable[[Event], None]


def kite_client(options: KiteOptions, effects: Effects) -> httpx.AsyncClient:
    """The HTTP client a KiteBroker needs; close it with `async with`."""
    return http_client(effects, timeout_s=options.request_timeout_s, connections_max=CONNECTIONS_MAX)


class KiteBroker:
    """`client` is `kite_client`'s and closed by whoever made it; `tell` gets lines for people."""

    def __init__(
        self,
        options: KiteOptions,
        effects: Effects,
        client: httpx.AsyncClient,
        tokens: Tokens | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._options = options
        self._clock = effects.market
        self.tokens = tokens or Tokens(
            TokenFile(options.token_file, options.api_key), lambda: self._clock.now_ns, options.token_look_s
        )
        self.traits = BrokerTraits(
            name="kite",
            entry_type=OrderType.LIMIT,
            gtt_min_distance_bp=GTT_MIN_DISTANCE_BP,
            order_calls_per_second=options.limits.order_per_second,
            order_calls_per_minute=options.limits.order_per_minute,
            absent_after_s=ABSENT_AFTER_S,
        )
        self.state = SessionState.CONNECTING
        self.demat_consent = False  # of the account last logged in: without it holdings cannot be sold unattended
        self.rest = KiteRest(client, options, self.tokens)
        self._memory = KiteMemory()
        self._queue = RequestQueue()
        self._gate = KiteGate(self.rest, self._memory, options)
        self._books = KiteBooks(self.rest, options, self._memory, self._now_ns, self._remove_gtt)
        self._news = KiteNews(self._books, self._tell_router)
        self._requests: KiteRequests | None = None
        self._post: Post | None = None
        self._why = "no session runs"
        self._tell = tell
        self.ticker = KiteTicker(
            TickerOptions(api_key=options.api_key, url=options.ticker_url, silence_s=options.ticker_silence_s),
            self.tokens,
            effects.connect_tcp,
            self._clock,
            {},
            hear=self._hear_text,
            connected=self._order_updates_flow,
            tell=tell,
        )

    # --- the session ---------------------------------------------------------------------------------

    async def session(self, post: Post, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled: wait for a token, be READY while it lives, and again."""
        assert self._post is None, "a second session while one runs"
        self._post = post
        try:
            task_status.started()
            while True:
                login, profile = await accepted_login(self.tokens, self.rest, self._enter)
                self.demat_consent = profile.demat_consent
                self.state, self._why = SessionState.READY, ready_text(login, profile)
                try:
                    await self._ready(login)
                finally:
                    self._close("the session with Kite ended")
        finally:
            self._enter(SessionState.CONNECTING, "no session runs")
            self._post = None

    async def _ready(self, login: Login) -> None:
        """Send, listen and read until the token is over."""
        assert self._post is not None
        self._memory.begin_day(ist_date(self._now_ns()))
        async with trio.open_nursery() as nursery:
            self._requests = KiteRequests(
                self.rest,
                self._books,
                self._memory,
                self._news,
                self._options,
                self._tell_router,
                self._now_ns,
                nursery,
            )
            nursery.start_soon(self._queue.run, self._requests.send, self._gate, self._refuse_late)
            nursery.start_soon(self._news.run)
            nursery.start_soon(self.ticker.run, _ignore)
            nursery.start_soon(self._probe)
            self._tell_router(SessionChanged(self.state, self._why, self._now_ns()))
            await self.tokens.until_over(login)
            nursery.cancel_scope.cancel()

    def _close(self, reason: str) -> None:
        """What was not sent is refused; of what was sent and not answered nobody knows."""
        self.state = SessionState.CONNECTING
        unsent, unanswered = self._queue.close()
        for request in unsent:
            self._tell_router(self._failure(request, NOT_CONNECTED, reason))
        for request in unanswered:
            self._memory.doubt(request)
            self._tell_router(self._failure(request, "LINK_BROKEN", reason, reached=True))

    def _enter(self, state: SessionState, reason: str) -> None:
        changed = (state, reason) != (self.state, self._why)
        self.state, self._why = state, reason
        if changed:
            self._tell_router(SessionChanged(state, reason, self._now_ns()))

    async def _probe(self) -> None:
        """While the circuit breaker is open, a read at its times; an answer lets the queue go on."""
        while True:
            await self.rest.until_trouble()
            while (due_ns := self.rest.breaker.probe_ns()) is not None:
                await trio.sleep(max(PROBE_LOOK_S, due_ns / NS - machine_s()))
                try:
                    await self.rest.read(PROFILE)
                except (KiteFailure, BrokerUnavailable) as problem:
                    self._tell(f"kite: still no answer: {problem}")
            self._queue.look_again()

    # --- requests ------------------------------------------------------------------------------------

    def submit(self, requests: Sequence[Request]) -> list[Event]:
        """Queue in order; answers come through the session. Returns refusals that are known at once, and what is
        known of a client id that Kite already has: Kite itself would place it twice.
        """
        events: list[Event] = []
        for request in requests:
            known = self._known(request)
            refusal = self._refusal(request)
            if known is not None:
                events.append(known)
            elif refusal is not None:
                events.append(refusal)
            elif not isinstance(request, PlaceOrder | PlaceGtt) or request not in self._queue.requests():
                self._queue.add(request, self._memory.line_of(request))
        return events

    def _known(self, request: Request) -> Event | None:
        memory = self._memory
        if isinstance(request, PlaceOrder):
            return memory.orders.get(memory.order_ids.get(request.client_id, ""))
        if isinstance(request, PlaceGtt):
            return memory.gtts.get(memory.gtt_ids.get(request.client_id, ""))
        return None

    def _refusal(self, request: Request) -> RequestFailed | None:
        if self._post is None or self.state is not SessionState.READY:
            code = self.state.value if self.state is SessionState.LOGIN_NEEDED else NOT_CONNECTED
            return self._failure(request, code, f"kite: {self._why}")
        if isinstance(request, PlaceOrder | PlaceGtt) and request.client_id in self._memory.in_doubt:
            text = f"{request.client_id} was sent and not answered: it is not sent again"
            return self._failure(request, "IN_DOUBT", text, reached=True)
        if self._queue.full:
            return self._failure(request, "QUEUE_FULL", "too many requests wait for Kite")
        why = malformed(request) or self._gate.entry_refused(request)
        return self._failure(request, *why) if why is not None else None

    def _refuse_late(self, request: Request) -> None:
        self._tell_router(self._failure(request, "TOO_LATE", "it waited too long to be sent: its price is old"))

    def _remove_gtt(self, gtt_id: str) -> None:
        """One that turned up after it was told as not placed: another stands in its place by now."""
        self._tell(f"kite: GTT {gtt_id} turned up after it was given up: cancelled")
        self._queue.add(CancelGtt(gtt_id), gtt_id)

    def _failure(self, request: Request, code: str, message: str, *, reached: bool = False) -> RequestFailed:
        return RequestFailed(request=request, reached=reached, code=code, message=message, at_ns=self._now_ns())

    # --- reads ---------------------------------------------------------------------------------------

    async def books(self) -> Books:
        """Raises BrokerUnavailable."""
        self._must_be_ready()
        try:
            return await self._books.all()
        except (KiteFailure, RemoteProtocolError) as problem:
            raise BrokerUnavailable(f"kite: {problem}") from problem

    async def margins(self) -> Margins:
        """Raises BrokerUnavailable."""
        self._must_be_ready()
        try:
            return read_margins(await self.rest.read(MARGINS))
        except (KiteFailure, RemoteProtocolError) as problem:
            raise BrokerUnavailable(f"kite: {problem}") from problem

    async def quotes(self, symbols: Sequence[str]) -> list[Quote]:
        """500 symbols a call and one call a second. Raises BrokerUnavailable."""
        self._must_be_ready()
        found: list[Quote] = []
        try:
            for first in range(0, len(symbols), QUOTES_MAX):
                data = await self.rest.read(quotes(symbols[first : first + QUOTES_MAX], self._options.style.exchange))
                found += read_quotes(data, self._now_ns())
        except (KiteFailure, RemoteProtocolError) as problem:
            raise BrokerUnavailable(f"kite: {problem}") from problem
        return found

    def _must_be_ready(self) -> None:
        if self.state is not SessionState.READY:
            raise BrokerUnavailable(f"kite: {self._why}")

    # --- what Kite says by itself ----------------------------------------------------------------------

    def postback(self, body: bytes) -> OrderUpdate:
        """A HTTP postback: the book is read for what it signals. Raises RemoteProtocolError for a forged one."""
        update = read_postback(body, self._options.api_secret)
        self._news.look()
        return update

    def _hear_text(self, frame: TextFrame) -> None:
        if isinstance(frame, OrderPosted):
            self._news.look()
        elif isinstance(frame, TickerError | TickerMessage):
            self._tell(f"kite says: {frame.text}")
        else:
            self._tell(f"kite: a text frame that cannot be read: {frame.reason}")

    def _order_updates_flow(self) -> None:
        """Updates of the time without a connection are not replayed."""
        if self.ticker.connections > 1:
            self._tell_router(Resync("order updates from Kite were interrupted"))

    def _tell_router(self, event: Event) -> None:
        if self._post is not None:
            self._post(event)

    def _now_ns(self) -> int:
        return self._clock.now_ns

    @property
    def connected(self) -> bool:
        """Whether a session runs, READY or not."""
        return self._post is not None

    @property
    def idle(self) -> bool:
        """Every request is answered and every signal followed: nothing is on its way but what Kite does next."""
        beside = self._requests.beside if self._requests is not None else 0
        return not len(self._queue) and not beside and self._news.quiet


def _ignore(frame: Frame) -> None:
    """A connection without instruments brings no prices."""
