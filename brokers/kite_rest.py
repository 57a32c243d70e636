"""Kite over HTTP: one request at a time through the rate limits, the deadline and the circuit breaker.

Owns when a call may go and what its failure means. Never retries, never resends, and knows no order. Called by
the other kite_* files of this folder; the history (market/kite_history.py) is given `fetch`.

What may come back (orders.md, "What may be sent again"): data; a KiteFailure, which is Kite's own answer; a
NoAnswer, after which nobody knows, unless it says that nothing was sent. Times in ns of machine time.
"""

from __future__ import annotations

import httpx
import trio

from brokers.circuit_breaker import CircuitBreaker
from brokers.http import NOT_SENT
from brokers.kite_options import KiteOptions
from brokers.kite_token import NoToken, Tokens
from brokers.rate_limit import Call as Limited
from brokers.rate_limit import CallLimits, RateLimiter
from effects import machine_s
from protocol.clock import NS
from protocol.errors import BrokerUnavailable
from protocol.kite_errors import KiteFailure
from protocol.kite_wire import Call, HttpRequest, answer, headers

HTTP_OK = 200
PAUSE_FIRST_NS = NS  # after a 429 the class of calls rests; Kite counts by the second
PAUSE_LONGEST_NS = 60 * NS

LIMITED = {
    Call.ORDER: Limited.ORDER,
    Call.GTT: Limited.GTT,
    Call.READ: Limited.READ,
    Call.QUOTE: Limited.READ,  # of a limiter of their own
    Call.HISTORICAL: Limited.READ,
}


class NoAnswer(BrokerUnavailable):
    """No answer of Kite's. `reached` False: nothing was sent, so nothing was carried out."""

    def __init__(self, code: str, message: str, *, reached: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.reached = reached


class KiteRest:
    """The HTTP side of one account. `client` has no base URL and outlives this object's sessions."""

    def __init__(self, client: httpx.AsyncClient, options: KiteOptions, tokens: Tokens) -> None:
        self.breaker = CircuitBreaker()
        self.limited = 0  # answers 429 so far
        self._client = client
        self._options = options
        self._tokens = tokens
        common = RateLimiter(options.limits)
        self._limiters = {Call.ORDER: common, Call.GTT: common, Call.READ: common}
        self._limiters[Call.QUOTE] = _only(options.quotes_per_second)
        self._limiters[Call.HISTORICAL] = _only(options.historical_per_second)
        self._pause_ns: dict[Call, int] = {}  # how long the next 429 of a class stops it
        self._paused_until_ns: dict[Call, int] = {}
        self._probing = False
        self._trouble = trio.Event()

    # --- when a call may go --------------------------------------------------------------------------

    def wait_ns(self, call: Call) -> int:
        """How long until one more call of this class fits into the limits; 0: now."""
        now_ns = _now_ns()
        fits_ns = self._limiters[call].next_ns(LIMITED[call], 1, now_ns)
        return max(fits_ns, self._paused_until_ns.get(call, 0)) - now_ns

    def take(self, call: Call) -> None:
        """Count a call that goes now: `wait_ns` has just said 0."""
        self._limiters[call].sent(LIMITED[call], 1, _now_ns())

    def breaker_wait_ns(self, asked_ns: int, *, urgent: bool) -> int | None:
        """How long the circuit breaker holds a request back; None: until a read was answered."""
        now_ns = _now_ns()
        due_ns = self.breaker.next_ns(asked_ns, now_ns, urgent=urgent)
        return None if due_ns is None else due_ns - now_ns

    async def until_trouble(self) -> None:
        """Until the circuit breaker is open."""
        if not self.breaker.open:
            self._trouble = trio.Event()
            await self._trouble.wait()

    def _failed(self) -> None:
        self.breaker.failed(_now_ns())
        if self.breaker.open:
            self._trouble.set()

    # --- calls -----------------------------------------------------------------------------------------

    async def read(self, request: HttpRequest) -> object:
        """The data of a read, paced. While the breaker is open only its probe goes, at its time.

        Raises KiteFailure and NoAnswer.
        """
        return self._opened(await self.fetch(request))

    async def fetch(self, request: HttpRequest) -> bytes:
        """As `read`, the body as it came: the instruments file is no envelope."""
        probe_ns = self.breaker.probe_ns()
        if probe_ns is None:
            await self._pace(request.call)
            return await self._send(request)
        if self._probing or _now_ns() < probe_ns:
            raise NoAnswer("CIRCUIT_OPEN", "Kite did not answer lately; a probe is sent first", reached=False)
        self._probing = True
        try:
            await self._pace(request.call)
            return await self._send(request)
        finally:
            self._probing = False

    async def change(self, request: HttpRequest) -> object:
        """The data of an answer to a request that changes something; the caller has taken its place in the limits.

        Raises KiteFailure and NoAnswer.
        """
        return self._opened(await self._send(request))

    def _opened(self, body: bytes) -> object:
        try:
            return answer(HTTP_OK, body)
        except KiteFailure as failure:
            if failure.broken:
                self._failed()
            raise

    async def _pace(self, call: Call) -> None:
        while True:
            wait_ns = self.wait_ns(call)
            if wait_ns <= 0:
                break
            await trio.sleep(wait_ns / NS)
        self.take(call)

    async def _send(self, request: HttpRequest) -> bytes:
        try:
            login = self._tokens.usable()
        except NoToken as why:
            raise NoAnswer("LOGIN_NEEDED", str(why), reached=False) from None
        try:
            response = await self._exchange(request, login.access_token)
            if response.status_code != HTTP_OK:
                answer(response.status_code, response.content)  # raises: no other status is a success
        except KiteFailure as failure:
            self._hear(request.call, failure, login.access_token)
            raise
        except NoAnswer:
            self._failed()
            raise
        self.breaker.answered()
        self._pause_ns.pop(request.call, None)
        return response.content

    async def _exchange(self, request: HttpRequest, access_token: str) -> httpx.Response:
        options = self._options
        try:
            with trio.fail_after(options.request_timeout_s):
                return await self._client.request(
                    request.method,
                    options.api_url + request.target,
                    content=request.body,
                    headers=headers(options.api_key, access_token),
                )
        except NOT_SENT as problem:
            raise NoAnswer("NOT_CONNECTED", f"no connection to Kite: {problem}", reached=False) from problem
        except (httpx.TimeoutException, trio.TooSlowError) as problem:
            text = f"no answer within {options.request_timeout_s:g} s"
            raise NoAnswer("TIMEOUT", text, reached=True) from problem
        except httpx.HTTPError as problem:
            raise NoAnswer("LINK_BROKEN", f"the connection broke: {problem}", reached=True) from problem

    def _hear(self, call: Call, failure: KiteFailure, access_token: str) -> None:
        """A refusal is an answer, so the line is alive; only 5xx and gibberish count against it."""
        now_ns = _now_ns()
        if failure.broken:
            self._failed()
        else:
            self.breaker.answered()
        if failure.login_needed:
            self._tokens.died(access_token, failure.message)
        if failure.rate_limited:
            self.limited += 1
            pause_ns = self._pause_ns.get(call, PAUSE_FIRST_NS)
            self._paused_until_ns[call] = now_ns + pause_ns
            self._pause_ns[call] = min(2 * pause_ns, PAUSE_LONGEST_NS)


def _only(per_second: int) -> RateLimiter:
    return RateLimiter(CallLimits(other_per_second=per_second, kept_for_gtts=0))


def _now_ns() -> int:
    return round(machine_s() * NS)
