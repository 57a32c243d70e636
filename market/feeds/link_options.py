"""Where a JSON broker's server is, and how long we wait for it.

Owns the address, the deadlines of broker-protocol.md ("Connection") and the pauses between two attempts. Opens
nothing. Used by link.py and kept_link.py, for market data and, through brokers/websocket.py, for orders.
"""

from __future__ import annotations

from ipaddress import ip_address
from random import Random
from urllib.parse import urlsplit

import attrs

CONNECT_ON_LOOPBACK_S = 0.2
CONNECT_ELSEWHERE_S = 5.0
TLS_PORT, PLAIN_PORT = 443, 80


@attrs.frozen
class Address:
    """A server's address, read from a ws:// or wss:// URL."""

    host: str
    port: int
    path: str
    tls: bool
    loopback: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError, saying what would be right: TLS is needed everywhere but on this machine."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as wrong:
            raise ValueError(f"{_shown(url)!r} is not a URL such as wss://broker.example/ws: {wrong}") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{_shown(url)!r} is not a URL such as wss://broker.example/ws")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL holds a user or password: secrets belong into api_key, from the environment")
        tls = parts.scheme == "wss"
        loopback = _is_loopback(parts.hostname)
        if not tls and not loopback:
            raise ValueError(
                f"{_shown(url)!r} would send the api key in the clear: outside this machine the URL must begin "
                f"with wss://, for example wss://{parts.hostname}"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, port or (TLS_PORT if tls else PLAIN_PORT), path, tls, loopback)

    @property
    def authority(self) -> str:
        """Host and port as a Host header bears them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (TLS_PORT if self.tls else PLAIN_PORT) else f"{host}:{self.port}"

    @property
    def rest_url(self) -> str:
        """Where the same server answers HTTP: the same port, from the root."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def _shown(url: str) -> str:
    """A URL for an error text, without what may be secret in it."""
    return url.rpartition("@")[2].partition("?")[0]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@attrs.frozen(kw_only=True)
class LinkOptions:
    """One connection. The api key appears in no repr, log or error. Times in seconds of machine time."""

    url: str
    api_key: str = attrs.field(repr=False)
    request_timeout_s: float = 5.0  # an answer that takes longer is not waited for
    ping_interval_s: float = 5.0
    pongs_missed_max: int = 2  # so many missed in a row mean dead
    connect_timeout_s: float | None = None  # None: 0.2 s on this machine, 5 s elsewhere
    first_pause_s: float = 0.1  # before the second attempt; the first comes at once
    longest_pause_s: float = 0.8
    healthy_after_s: float = 30.0  # a connection that lasted so long makes the next pause the first again
    login_attempts: int = 3  # refused so often in a row, a person is needed
    login_pause_s: float = 60.0  # between two attempts from then on
    address: Address = attrs.field(init=False, repr=False)

    @address.default
    def _address(self) -> Address:
        return Address.of(self.url)

    def __attrs_post_init__(self) -> None:
        if not self.api_key:
            raise ValueError('api_key is empty: set it from the environment, api_key = "${NAME}"')
        for name in ("request_timeout_s", "ping_interval_s", "first_pause_s", "longest_pause_s", "login_pause_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("pongs_missed_max", "login_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")

    @property
    def connect_s(self) -> float:
        if self.connect_timeout_s is not None:
            return self.connect_timeout_s
        return CONNECT_ON_LOOPBACK_S if self.address.loopback else CONNECT_ELSEWHERE_S


class Pauses:
    """How long to wait before each attempt: 0, then doubling up to the longest, each with full jitter."""

    def __init__(self, options: LinkOptions, rng: Random) -> None:
        self._options = options
        self._rng = rng
        self._attempts = 0

    def next_s(self) -> float:
        """The pause before the next attempt. Full jitter: anything between 0 and the bound is as likely."""
        if not self._attempts:
            self._attempts = 1
            return 0.0
        bound = min(self._options.longest_pause_s, self._options.first_pause_s * 2.0 ** (self._attempts - 1))
        if bound < self._options.longest_pause_s:
            self._attempts += 1
        return self._rng.uniform(0.0, bound)

    def lasted(self, seconds: float) -> None:
        """A connection that was ready has ended after so long."""
        if seconds >= self._options.healthy_after_s:
            self._attempts = 0


def request_ids(rng: Random) -> str:
    """A random uuid (version 4) from a source that a simulation can seed."""
    digits = f"{rng.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
