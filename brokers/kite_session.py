"""How a session with Kite begins: a token that may be used, and Kite's word that it is good.

Owns the waiting before an account is READY: for a person who logs in, and for a Kite that answers again. Never logs
in and never tries a refused token twice. Called by the broker's session (kite.py).
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from brokers.kite_rest import KiteRest
from brokers.kite_token import NoToken, Tokens
from protocol.broker import SessionState
from protocol.clock import ist_text
from protocol.errors import BrokerUnavailable, RemoteProtocolError
from protocol.kite_errors import KiteFailure
from protocol.kite_wire import PROFILE, Login, Profile, read_profile

RETRY_FIRST_S, RETRY_LONGEST_S, RETRY_LIMITED_S = 1.0, 30.0, 60.0


async def accepted_login(
    tokens: Tokens, rest: KiteRest, enter: Callable[[SessionState, str], None]
) -> tuple[Login, Profile]:
    """Wait for a token that Kite accepts; `enter` hears of every state on the way, with its reason."""
    wait_s = RETRY_FIRST_S
    while True:
        try:
            login = tokens.usable()
        except NoToken as why:
            enter(SessionState.LOGIN_NEEDED, str(why))
            login = await tokens.fresh()
        enter(SessionState.CONNECTING, "asking Kite who we are")
        try:
            return login, read_profile(await rest.read(PROFILE))
        except (KiteFailure, BrokerUnavailable, RemoteProtocolError) as problem:
            if isinstance(problem, KiteFailure) and problem.login_needed:
                continue  # the token is known to be dead by now
            enter(SessionState.CONNECTING, str(problem))
            limited = isinstance(problem, KiteFailure) and problem.rate_limited
            await trio.sleep(RETRY_LIMITED_S if limited else wait_s)
            wait_s = min(2 * wait_s, RETRY_LONGEST_S)


def ready_text(login: Login, profile: Profile) -> str:
    """Who trades, until when, and what the depository will not allow."""
    consent = "" if profile.demat_consent else "; no demat consent: holdings need the day's TPIN to be sold"
    return f"{profile.user_id} until {ist_text(login.expires_ns)} IST{consent}"
