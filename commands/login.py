"""`login`: the daily login at Kite, as far as a person is needed for it.

Owns the dialogue: the address to open, what was pasted, the token file. Shows neither the access token nor the
secret. Kite wants a person and a second factor every day, so nothing here can be automated (SEBI's rules, docs:
brokers/kite.md). A running process finds the new token by itself.
"""

from __future__ import annotations

from functools import partial

import click
import httpx
import trio

from brokers.http import http_client
from brokers.kite_options import KiteOptions
from brokers.kite_token import TokenFile
from commands.cli import verb
from effects import Effects
from protocol.clock import ist_text
from protocol.errors import BrokerUnavailable
from protocol.kite_orders import OrderStyle
from protocol.kite_wire import Login, answer, headers, login_url, new_session, read_login, request_token
from settings import Settings


def kite_options(settings: Settings) -> KiteOptions:
    """What [broker.kite] says. Raises ValueError for missing keys and for an address without TLS."""
    kite = settings.broker.kite
    return KiteOptions(
        api_key=kite.api_key,
        api_secret=kite.api_secret,
        token_file=kite.token_file,
        api_url=kite.api_url,
        ticker_url=kite.ticker_url,
        login_url=kite.login_url,
        style=OrderStyle(product=kite.product),
        gtt_allowance=kite.gtt_allowance,
        static_ip=kite.static_ip,
        request_timeout_s=kite.request_timeout_s,
    )


@verb()
@click.option("--token", metavar="TOKEN-OR-ADDRESS", help="What you would paste; asked for when left out.")
def login(settings: Settings, token: str | None) -> None:
    """Log in to Kite for today: open an address, paste the one the browser is sent to.

    The access token is kept in broker.kite.token_file, which only you may read, until 06:00 IST of the next day. It is
    never shown. A running process goes on with it by itself. Exit code 1 when Kite refuses, 2 without keys.
    """
    try:
        options = kite_options(settings)
    except ValueError as wrong:
        raise click.UsageError(str(wrong)) from wrong
    click.echo("Open this address, and log in with your second factor:\n")
    click.echo(f"    {login_url(options.api_key, options.login_url)}\n")
    pasted = token or click.prompt("Paste the address the browser was sent to, or the request_token in it")
    try:
        one_use = request_token(pasted)
    except ValueError as wrong:
        raise click.UsageError(str(wrong)) from wrong
    session = trio.run(partial(exchange, options, Effects(), one_use))
    try:
        TokenFile(options.token_file, options.api_key).write(session)
    except OSError as problem:
        raise click.ClickException(f"{options.token_file} cannot be written: {problem.strerror}") from problem
    click.echo(f"Logged in as {session.user_id} until {ist_text(session.expires_ns)} IST.")
    click.echo(f"The access token is in {options.token_file}, readable by you alone.")
    if not session.demat_consent:
        click.echo("No demat consent (DDPI) is on file: holdings can be sold only with the day's TPIN.")


async def exchange(options: KiteOptions, effects: Effects, one_use: str) -> Login:
    """The day's access for a request token, which Kite takes once and for some minutes.

    Raises KiteFailure with Kite's reason, BrokerUnavailable, RemoteProtocolError.
    """
    request = new_session(options.api_key, one_use, options.api_secret)
    async with http_client(effects, timeout_s=options.request_timeout_s) as client:
        try:
            with trio.fail_after(options.request_timeout_s):
                response = await client.request(
                    request.method,
                    options.api_url + request.target,
                    content=request.body,
                    headers=headers(options.api_key, None),
                )
        except (httpx.HTTPError, trio.TooSlowError) as problem:
            raise BrokerUnavailable(f"Kite does not answer at {options.api_url}: {problem or 'time-out'}") from problem
    return read_login(answer(response.status_code, response.content))
