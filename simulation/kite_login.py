"""The Kite server's login: request tokens, one access token at a time, its death at six in the morning.

Owns who is let in. Never speaks HTTP. Called by kite_routes.py and, at the ticker's handshake, by kite_server.py.
As at Kite, a new login kills the token before it, and nothing says when a token will die.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from random import Random

from protocol.clock import ist_text
from protocol.kite_wire import session_checksum, token_expires_ns
from simulation.kite_refusal import Form, Refused, needed
from simulation.kite_rows import Row

REQUEST_TOKENS_MAX = 16
DEAD = Refused(403, "TokenException", "Incorrect `api_key` or `access_token`.")


class Logins:
    """One app with one user. `changed` hears of every new access token."""

    def __init__(self, api_key: str, api_secret: str, user_id: str, random: Random) -> None:
        self.api_key = api_key
        self.user_id = user_id
        self.access_token = ""
        self.login_ns = 0
        self.changed: Callable[[], None] = lambda: None
        self._api_secret = api_secret
        self._random = random
        self._request_tokens: list[str] = []

    def new_request_token(self, api_key: str) -> str:
        """What the browser is redirected with; good for one exchange."""
        if api_key != self.api_key:
            raise Refused(400, "InputException", "Invalid `api_key`.")
        self._request_tokens = [*self._request_tokens, self._token()][-REQUEST_TOKENS_MAX:]
        return self._request_tokens[-1]

    def exchange(self, form: Form, at_ns: int, consent: bool) -> Row:
        """The session of a request token; the token before it is dead from now on."""
        token = needed(form, "request_token")
        expected = session_checksum(self.api_key, token, self._api_secret)
        if needed(form, "api_key") != self.api_key or token not in self._request_tokens:
            raise Refused(403, "TokenException", "Token is invalid or has expired.")
        if not hmac.compare_digest(expected, form.get("checksum", "")):
            raise Refused(403, "TokenException", "Invalid `checksum`.")
        self._request_tokens.remove(token)
        self.access_token, self.login_ns = self._token(), at_ns
        self.changed()
        return self.profile(consent) | {
            "api_key": self.api_key,
            "access_token": self.access_token,
            "public_token": self._token(),
            "refresh_token": "",
            "login_time": ist_text(at_ns),
        }

    def profile(self, consent: bool) -> Row:
        return {
            "user_id": self.user_id,
            "user_type": "individual",
            "email": "",
            "user_name": self.user_id,
            "user_shortname": self.user_id,
            "broker": "ZERODHA",
            "exchanges": ["NSE"],
            "products": ["CNC"],
            "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
            "avatar_url": None,
            "meta": {"demat_consent": "consent" if consent else "empty"},
        }

    def alive(self, api_key: str, access_token: str, at_ns: int) -> bool:
        return (
            bool(self.access_token)
            and (api_key, access_token) == (self.api_key, self.access_token)
            and at_ns < token_expires_ns(self.login_ns)
        )

    def kill(self) -> None:
        """Log out, here or elsewhere. Sockets that are open stay open, as at Kite."""
        self.access_token = ""
        self.changed()

    def _token(self) -> str:
        return f"{self._random.getrandbits(160):040x}"[:32]
