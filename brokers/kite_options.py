"""How one account trades at Kite: keys, addresses, limits and deadlines.

Owns the check that secrets travel over TLS. Read by the other kite_* files of this folder, the login verb and the
composition of the tree. Durations in seconds of machine time.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import attrs

from brokers.rate_limit import CallLimits
from protocol.kite_orders import OrderStyle
from protocol.kite_wire import API_URL, LOGIN_URL, TICKER_URL

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
GTT_ALLOWANCE = 250  # active GTTs per account; Kite's pages say 250 and 500 (kite-facts 8)


@attrs.frozen(kw_only=True)
class KiteOptions:
    """Raises ValueError for missing keys and for an address that would send them unencrypted.

    `limits` keeps below Kite's 10 orders a second, 400 a minute, 10 other calls a second; quotes and candles are
    limited apart. `static_ip` is the registered address, for the error text only.
    """

    api_key: str
    api_secret: str = attrs.field(repr=False)
    token_file: Path
    api_url: str = API_URL
    ticker_url: str = TICKER_URL
    login_url: str = LOGIN_URL
    style: OrderStyle = attrs.field(factory=OrderStyle)
    gtt_allowance: int = GTT_ALLOWANCE
    static_ip: str = ""
    limits: CallLimits = attrs.field(factory=CallLimits)
    quotes_per_second: int = 1
    historical_per_second: int = 3
    request_timeout_s: float = 5.0
    entry_wait_s: float = 5.0  # an entry that could not be sent for so long is not sent at all (orders.md, entry_ttl)
    token_look_s: float = 2.0  # how often the token file is looked at while a new token is awaited
    ticker_silence_s: float = 6.0  # Kite's heartbeat comes every couple of seconds

    def __attrs_post_init__(self) -> None:
        if not self.api_key or not self.api_secret:
            raise ValueError("broker.kite: api_key and api_secret are needed, from the Kite developer console")
        for name, url, secure in (
            ("api_url", self.api_url, "https"),
            ("ticker_url", self.ticker_url, "wss"),
            ("login_url", self.login_url, "https"),
        ):
            parts = urlsplit(url)
            if parts.scheme != secure and not (parts.scheme == secure[:-1] and parts.hostname in LOOPBACK):
                raise ValueError(f"broker.kite.{name} is {url!r}: {secure}:// is needed outside this machine")
