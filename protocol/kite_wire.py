"""Kite Connect's REST wire: requests, the envelope of every answer, login and account. Values in, values out.

Owns how a request is written and how an answer is opened; what lies in the envelope is read by kite_orders.py,
kite_gtts.py, kite_portfolio.py and kite_market.py beside it. Never sends anything and never waits. Called by
brokers/kite.py and the login verb. Source: kite.trade/docs/connect/v3.
"""

from __future__ import annotations

from enum import Enum
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import attrs

from protocol.broker import Margins
from protocol.clock import DAY_S, NS, at, ist_date
from protocol.errors import RemoteProtocolError
from protocol.kite_errors import GENERAL, UNREADABLE, KiteFailure
from protocol.kite_values import (
    Row,
    amount,
    ceiling_paise,
    decode_json,
    floor_paise,
    instant,
    row_of,
    text,
    text_or_nothing,
)

API_URL = "https://api.kite.trade"
TICKER_URL = "wss://ws.kite.trade"
LOGIN_URL = "https://kite.zerodha.com/connect/login"
VERSION = "3"
TOKEN_DIES_AT_S = 6 * 3600  # 06:00 IST, every day
CONSENTS = frozenset({"consent", "physical"})  # DDPI signed online, or a power of attorney on paper


class Call(Enum):
    """What a request counts as for Kite's rate limits (each is limited apart)."""

    ORDER = "order"
    GTT = "gtt"
    QUOTE = "quote"
    HISTORICAL = "historical"
    READ = "read"


@attrs.frozen
class HttpRequest:
    """One request, ready to be sent; form-encoded where it has a body, as all of Kite's order calls are."""

    call: Call
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> str:
        """Path and query, to be put behind the root URL."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def body(self) -> bytes:
        return urlencode(self.form).encode() if self.form else b""


def _read(path: str) -> HttpRequest:
    return HttpRequest(Call.READ, "GET", path)


PROFILE = _read("/user/profile")
MARGINS = _read("/user/margins/equity")
ORDERS = _read("/orders")
TRADES = _read("/trades")
POSITIONS = _read("/portfolio/positions")
HOLDINGS = _read("/portfolio/holdings")
GTTS = _read("/gtt/triggers")
INSTRUMENTS_NSE = _read("/instruments/NSE")


def path_part(value: str) -> str:
    """An id as one part of a path, whatever it holds."""
    return quote(value, safe="")


def headers(api_key: str, access_token: str | None) -> dict[str, str]:
    """What every request carries; without a token, as for the login itself, no authorisation."""
    needed = {"X-Kite-Version": VERSION, "Content-Type": "application/x-www-form-urlencoded"}
    if access_token is not None:
        needed["Authorization"] = f"token {api_key}:{access_token}"
    return needed


# --- the envelope ---------------------------------------------------------------------------------


def answer(http_status: int, body: bytes) -> Any:
    """The "data" of an answer. Raises KiteFailure for a refusal and for what is no envelope."""
    try:
        envelope = decode_json(body)
    except RemoteProtocolError as problem:
        raise KiteFailure(http_status, UNREADABLE, str(problem)) from None
    if not isinstance(envelope, dict):
        raise KiteFailure(http_status, UNREADABLE, "the answer is no envelope")
    if envelope.get("status") == "success" and http_status < 300 and "data" in envelope:
        return envelope["data"]
    if envelope.get("status") != "error":
        raise KiteFailure(http_status, UNREADABLE, f"an envelope of status {str(envelope.get('status'))[:40]!r}")
    code, message = envelope.get("error_type"), envelope.get("message")
    raise KiteFailure(
        http_status,
        code if isinstance(code, str) and code != UNREADABLE else GENERAL,
        message if isinstance(message, str) and message else "refused without a reason",
    )


# --- login ----------------------------------------------------------------------------------------


def login_url(api_key: str, root: str = LOGIN_URL) -> str:
    """Where a person logs in; Kite then redirects to the app's URL with a request token."""
    return f"{root}?{urlencode({'v': VERSION, 'api_key': api_key})}"


def request_token(redirect: str) -> str:
    """The request token in a redirect URL, or the bare token. Raises ValueError saying what is wrong."""
    redirect = redirect.strip()
    if "://" not in redirect and "=" not in redirect:
        if not redirect:
            raise ValueError("the request token is empty")
        return redirect
    fields = parse_qs(urlsplit(redirect).query)
    status = fields.get("status", ["success"])[0]
    if status != "success":
        raise ValueError(f"the login did not succeed: status is {status!r}")
    if "request_token" not in fields:
        raise ValueError("the URL has no request_token: paste the whole address the browser was sent to")
    return fields["request_token"][0]


def session_checksum(api_key: str, token: str, api_secret: str) -> str:
    """SHA-256 of api_key + request_token + api_secret, as hex (docs, User, Authentication)."""
    return sha256(f"{api_key}{token}{api_secret}".encode()).hexdigest()


def new_session(api_key: str, token: str, api_secret: str) -> HttpRequest:
    """Exchange a request token for the day's access token."""
    checksum = session_checksum(api_key, token, api_secret)
    form = (("api_key", api_key), ("request_token", token), ("checksum", checksum))
    return HttpRequest(Call.READ, "POST", "/session/token", form=form)


def end_session(api_key: str, access_token: str) -> HttpRequest:
    query = (("api_key", api_key), ("access_token", access_token))
    return HttpRequest(Call.READ, "DELETE", "/session/token", query=query)


@attrs.frozen
class Login:
    """A day's access. `demat_consent`: holdings can be sold without the day's TPIN."""

    user_id: str
    access_token: str = attrs.field(repr=False)
    login_ns: int
    expires_ns: int
    demat_consent: bool


def read_login(data: object) -> Login:
    row = row_of(data, "the session")
    login_ns = instant(row, "login_time")
    return Login(text(row, "user_id"), text(row, "access_token"), login_ns, token_expires_ns(login_ns), _consent(row))


def token_expires_ns(login_ns: int) -> int:
    """The next 06:00 IST after the login; Kite itself never says when a token dies."""
    six = at(ist_date(login_ns), TOKEN_DIES_AT_S)
    return six if login_ns < six else six + DAY_S * NS


# --- the account ----------------------------------------------------------------------------------


@attrs.frozen
class Profile:
    """Whose account it is. `demat_consent`: holdings can be sold without the day's TPIN."""

    user_id: str
    user_name: str
    demat_consent: bool


def read_profile(data: object) -> Profile:
    row = row_of(data, "the profile")
    return Profile(text(row, "user_id"), text_or_nothing(row, "user_name"), _consent(row))


def read_margins(data: object) -> Margins:
    """Of /user/margins (its equity part) or of one segment.

    Available is the lower of `net` and the live balance: what same-day sales add to one of them cannot be spent.
    Parts of a paisa are rounded against us.
    """
    row = row_of(data, "the margins")
    segment = row_of(row["equity"], "the equity margins") if "equity" in row else row
    available = row_of(segment.get("available"), "the available margin")
    used = row_of(segment.get("utilised"), "the utilised margin")
    free = min(amount(segment, "net"), amount(available, "live_balance"))
    return Margins(floor_paise(free), ceiling_paise(amount(used, "debits")))


def _consent(row: Row) -> bool:
    meta = row.get("meta")
    fields = meta if isinstance(meta, dict) else {}
    return text_or_nothing(fields, "demat_consent") in CONSENTS or text_or_nothing(fields, "poa") in CONSENTS
