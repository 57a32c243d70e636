"""Zerodha Kite, as far as a trading program sees it: REST and ticker on one port, over the matching engine.

Owns the connections, the pace of the market, and what goes wrong on purpose. Never decides a trade. Listens on the
loopback only. Run it with

    python -m simulation.kite_server --port 8765 --api-key KEY --api-secret SECRET

and log in with `GET http://127.0.0.1:8765/connect/login?v=3&api_key=KEY`; levers for tests are in kite_control.py.
Tests use `KiteServer` with any stream and play the prices themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
import click
import trio
import trio_websocket

from effects import Effects, machine_s
from market.calendar import TradingCalendar
from market.feeds.frame import DayStart, Feed
from market.feeds.recorded import RecordedFeed
from market.feeds.simulated import SimulatedFeed
from protocol.clock import NS
from protocol.errors import MarketDataError
from simulation.kite_account import AccountOptions
from simulation.kite_book import order_row
from simulation.kite_control import KiteControl, is_control
from simulation.kite_exchange import KiteExchange
from simulation.kite_limits import RateLimits
from simulation.kite_login import Logins
from simulation.kite_refusal import Refused
from simulation.kite_routes import KiteRoutes, error_answer
from simulation.kite_ticker import Ticker
from simulation.one_port import HttpAnswer, HttpRequest, NoAnswer, serve_stream

GARBAGE = HttpAnswer(200, b'<html>\x00{"status":', (("content-type", "application/json"),))
SERVER_ERROR = Refused(502, "NetworkException", "Gateway timed out: the order system did not answer.")
REJECTED = Refused(400, "OrderException", "Rejected on purpose.")
TOO_MANY = Refused(429, "NetworkException", "Too many requests")


class KiteServer:
    """`machine_s` counts seconds for the rate limits; a simulation replaces it."""

    def __init__(
        self,
        exchange: KiteExchange,
        *,
        rate_limits: bool = True,
        redirect_url: str = "http://127.0.0.1/connect/done",
        machine_s: Callable[[], float] = machine_s,
    ) -> None:
        self.exchange = exchange
        self.trouble = exchange.trouble
        self.ticker = Ticker(exchange.market, self.trouble)
        self.routes = KiteRoutes(exchange, RateLimits(rate_limits), machine_s, redirect_url)
        self._control = KiteControl(exchange, self.routes, self.ticker)
        exchange.order_changed = lambda entry: self.ticker.order(order_row(entry))
        exchange.moved = self.ticker.moved

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, to its end."""
        await serve_stream(stream, self._on_http, self._on_websocket)

    async def serve(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        task_status: trio.TaskStatus[list[trio.abc.Listener[trio.abc.Stream]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """All connections, until cancelled."""
        await trio.serve_listeners(self.handle, list(listeners), task_status=task_status)

    async def play(self, feed: Feed, speed: float, *, wall_ns: Callable[[], int] | None = None) -> None:
        """The feed's market, `speed` times as fast as it was; nights are skipped. With `wall_ns`, every item
        happens at the time it gives instead of its own.
        """
        market_ns, at_s = 0, trio.current_time()
        while (item := feed.peek()) is not None:
            if isinstance(item, DayStart) or not market_ns:
                market_ns, at_s = item.at_ns, trio.current_time()
            await trio.sleep_until(at_s + (item.at_ns - market_ns) / NS / speed)
            self.exchange.play(item if wall_ns is None else attrs.evolve(item, at_ns=wall_ns()))
            feed.ack()

    async def _on_http(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        if is_control(request):
            return self._control.answer(request)
        trouble, what = self.trouble, f"{request.method} /{request.target.strip('/').split('/')[0].partition('?')[0]}"
        await trio.sleep(trouble.span_s("slow_read_ms"))
        if trouble.happens("half_open", what) or trouble.happens("lose_request", what):
            return NoAnswer.SILENCE
        if trouble.happens("disconnect", what):
            return NoAnswer.CUT
        for name, refusal in (("too_many", TOO_MANY), ("server_error", SERVER_ERROR), ("reject", REJECTED)):
            if trouble.happens(name, what):
                return error_answer(refusal)
        lost = trouble.happens("lose_answer", what)
        self.ticker.muted = lost
        try:
            answer = self.routes.answer(request)
        finally:
            self.ticker.muted = False
        await trio.sleep(trouble.drawn_s("delay_ms"))
        if lost:
            return NoAnswer.SILENCE
        if trouble.happens("disconnect_after", what):
            return NoAnswer.CUT
        if trouble.happens("server_error_after", what):
            return error_answer(SERVER_ERROR)
        return GARBAGE if trouble.happens("garbage", what) else answer

    async def _on_websocket(self, request: trio_websocket.WebSocketRequest) -> None:
        """The token is looked at here and never again: an open socket outlives it, as at Kite."""
        query = parse_qs(urlsplit(request.path).query)
        api_key, token = (query.get(name, [""])[0] for name in ("api_key", "access_token"))
        if not self.exchange.logins.alive(api_key, token, self.exchange.clock.now_ns):
            await request.reject(403, body=b"Forbidden")
        elif self.ticker.full:
            await request.reject(429, body=b"Too many connections")
        else:
            await self.ticker.serve(await request.accept())


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), required=True, help="0 takes any free one.")
@click.option("--api-key", required=True)
@click.option("--api-secret", required=True)
@click.option("--data", type=click.Path(path_type=Path), help="A recording to play; else a simulated market.")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Market seconds a second.")
@click.option("--seed", default="0", help="Of the simulated market.")
@click.option("--cash", type=click.IntRange(0), help="Rupees in the account; else no margin limit.")
@click.option("--always-open", is_flag=True, help="Orders are taken at every hour of the market's clock.")
@click.option("--wall-clock", is_flag=True, help="Prices bear the system's time instead of the market's own.")
@click.option("--no-rate-limits", is_flag=True)
@click.option("--record", type=click.Path(path_type=Path), help="Kept across restarts: what was accepted and filled.")
@click.option("--redirect-url", help="Where a login leads to; else a page of this server.")
def main(
    port: int,
    api_key: str,
    api_secret: str,
    data: Path | None,
    speed: float,
    seed: str,
    cash: int | None,
    always_open: bool,
    wall_clock: bool,
    no_rate_limits: bool,
    record: Path | None,
    redirect_url: str | None,
) -> None:
    """A Zerodha Kite to try strategies against: REST and ticker on one port of the loopback."""
    effects, calendar = Effects(seed=seed), TradingCalendar()
    try:
        feed = (
            RecordedFeed(data, calendar)
            if data is not None
            else SimulatedFeed(effects.np_rng, calendar, first_day=effects.today())
        )
        exchange = KiteExchange(
            feed.universe,
            effects,
            Logins(api_key, api_secret, "PA0001", Effects().rng("tokens")),
            options=AccountOptions(cash_paise=None if cash is None else cash * 100),
            calendar=calendar,
            feed=feed,
            always_open=always_open,
            record=record,
        )
    except (MarketDataError, ValueError) as wrong:
        raise click.ClickException(str(wrong)) from None
    if exchange.clock.now_ns:
        feed.skip_to(exchange.clock.now_ns)

    async def run() -> None:
        listeners = await effects.listen_tcp(port)
        at = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        server = KiteServer(
            exchange,
            rate_limits=not no_rate_limits,
            redirect_url=redirect_url or f"http://{at}/connect/done",
        )
        click.echo(f"REST http://{at}   ticker ws://{at}   log in at http://{at}/connect/login?v=3&api_key={api_key}")
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listeners)
            await server.play(feed, speed, wall_ns=effects.wall_ns if wall_clock else None)

    try:
        trio.run(run)
    except* KeyboardInterrupt:
        click.echo("stopped")
    finally:
        exchange.close()


if __name__ == "__main__":
    main()
