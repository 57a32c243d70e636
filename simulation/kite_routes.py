"""The REST endpoints of the Kite server: a request in, Kite's envelope out.

Owns paths, authorisation, rate limits and the envelope. Never touches a stream and knows no trouble (kite_server.py
decides what goes wrong). The rules are kite_account.py's and kite_gtts.py's. Source of the endpoints:
kite.trade/docs/connect/v3; what is not listed in `_data` answers 404.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import attrs

from protocol.clock import ist_text
from protocol.errors import RemoteProtocolError
from protocol.kite_market import DAYS_PER_CALL, LAST_PRICES_MAX, QUOTES_MAX
from protocol.kite_values import instant_of, rupees
from protocol.kite_wire import Call
from simulation.kite_exchange import KiteExchange
from simulation.kite_limits import RateLimits
from simulation.kite_login import DEAD, Logins
from simulation.kite_market import INDEX_SYMBOL, INDEX_TOKEN, INTERVAL_MINUTES, Share
from simulation.kite_refusal import Form, Refused, bad_input
from simulation.kite_rows import Row, holding_rows, margin_row, ohlc, position_rows, quote_row, to_json
from simulation.one_port import HttpAnswer, HttpRequest

TOO_MANY = Refused(429, "NetworkException", "Too many requests")
INSTRUMENTS_HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange"
)
JSON_TYPE = (("content-type", "application/json"),)


@attrs.frozen
class _Asked:
    """A request, taken apart."""

    method: str
    parts: tuple[str, ...]
    query: dict[str, list[str]]
    form: Form
    api_key: str
    access_token: str

    @property
    def call(self) -> Call:
        """What it counts as for the rate limits."""
        match self.parts:
            case ("orders", *_) if self.method != "GET":
                return Call.ORDER
            case ("quote", *_):
                return Call.QUOTE
            case ("instruments", "historical", *_):
                return Call.HISTORICAL
            case ("gtt", *_):
                return Call.GTT
        return Call.READ


class KiteRoutes:
    """`static_ip_refused` True: orders are refused as if they came from an unregistered address."""

    def __init__(
        self,
        exchange: KiteExchange,
        limits: RateLimits,
        machine_s: Callable[[], float],
        redirect_url: str,
    ) -> None:
        self.static_ip_refused = False
        self._exchange = exchange
        self._logins: Logins = exchange.logins
        self._limits = limits
        self._machine_s = machine_s
        self._redirect_url = redirect_url

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Carry a request out. Never raises: what is wrong is an error envelope."""
        asked = _taken_apart(request)
        self._exchange.end_late_cancels()
        try:
            if asked.parts[:1] == ("connect",):
                return self._login_page(asked)
            if not self._limits.admit(
                asked.call,
                self._machine_s(),
                self._exchange.day,
                places=(asked.method, asked.call) == ("POST", Call.ORDER),
            ):
                raise TOO_MANY
            if asked.parts[:1] == ("instruments",) and "historical" not in asked.parts:
                return self._instruments(request)
            if asked.parts != ("session", "token"):
                self._authorise(asked)
            return HttpAnswer(200, to_json({"status": "success", "data": self._data(asked)}), JSON_TYPE)
        except Refused as refused:
            return error_answer(refused)

    def _authorise(self, asked: _Asked) -> None:
        if not self._logins.alive(asked.api_key, asked.access_token, self._exchange.clock.now_ns):
            raise DEAD
        if self.static_ip_refused and asked.call is Call.ORDER:
            raise Refused(403, "PermissionException", "The IP address of this request is not allowed for this app.")

    def _data(self, asked: _Asked) -> Any:
        account, gtts, now_ns = self._exchange.account, self._exchange.gtts, self._exchange.clock.now_ns
        form = asked.form
        match asked.method, asked.parts:
            case "POST", ("session", "token"):
                return self._logins.exchange(form, now_ns, account.options.demat_consent)
            case "DELETE", ("session", "token"):
                self._logins.kill()
                return True
            case "GET", ("user", "profile"):
                return self._logins.profile(account.options.demat_consent)
            case "GET", ("user", "margins"):
                margins = margin_row(account.engine.margins())
                return {"equity": margins, "commodity": margins | {"enabled": False}}
            case "GET", ("user", "margins", "equity"):
                return margin_row(account.engine.margins())
            case "POST", ("orders", "regular"):
                placed: Row = {"order_id": account.place(form, now_ns)}
                return placed | ({"children": []} if form.get("autoslice") == "true" else {})
            case "PUT", ("orders", "regular", order_id):
                return {"order_id": account.modify(order_id, form, now_ns)}
            case "DELETE", ("orders", "regular", order_id):
                return {"order_id": self._exchange.cancel(order_id)}
            case (("POST" | "PUT" | "DELETE"), ("orders", variety, *_)):
                raise bad_input(f"Invalid `variety`: {variety[:20]!r}; only regular orders are traded here")
            case "GET", ("orders",):
                return account.order_rows()
            case "GET", ("orders", order_id):
                return account.history_rows(order_id)
            case "GET", ("orders", order_id, "trades"):
                return account.trade_rows(order_id)
            case "GET", ("trades",):
                return account.trade_rows()
            case "GET", ("portfolio", "positions"):
                rows = position_rows(account.engine.books(now_ns), self._exchange.market)
                return {"net": rows, "day": rows}
            case "GET", ("portfolio", "holdings"):
                return holding_rows(account.engine.books(now_ns), self._exchange.market)
            case "GET", ("gtt", "triggers"):
                return gtts.rows()
            case "POST", ("gtt", "triggers"):
                return {"trigger_id": gtts.place(form, now_ns)}
            case "GET", ("gtt", "triggers", trigger_id):
                return gtts.row(trigger_id)
            case "PUT", ("gtt", "triggers", trigger_id):
                return {"trigger_id": gtts.modify(trigger_id, form, now_ns)}
            case "DELETE", ("gtt", "triggers", trigger_id):
                return {"trigger_id": gtts.delete(trigger_id, now_ns)}
            case "GET", ("quote",):
                return self._quotes(asked, QUOTES_MAX, quote_row)
            case "GET", ("quote", "ohlc"):
                return self._quotes(asked, LAST_PRICES_MAX, lambda share: _ltp(share) | {"ohlc": ohlc(share)})
            case "GET", ("quote", "ltp"):
                return self._quotes(asked, LAST_PRICES_MAX, _ltp)
            case "GET", ("instruments", "historical", token, interval):
                return {"candles": self._candles(asked, token, interval)}
        raise Refused(404, "GeneralException", f"Route not found: {asked.method} /{'/'.join(asked.parts)[:60]}")

    # --- login -----------------------------------------------------------------------------------

    def _login_page(self, asked: _Asked) -> HttpAnswer:
        """A person's part: here the login always succeeds, and the browser goes on with the request token."""
        if asked.parts == ("connect", "done"):
            page = b"Logged in. The login verb wants the request_token in this page's address."
            return HttpAnswer(200, page, (("content-type", "text/plain"),))
        if (asked.method, asked.parts) != ("GET", ("connect", "login")):
            raise Refused(404, "GeneralException", "Route not found")
        token = self._logins.new_request_token(_first(asked.query, "api_key"))
        fields = {"action": "login", "type": "login", "status": "success", "request_token": token}
        return HttpAnswer(302, b"", (("location", f"{self._redirect_url}?{urlencode(fields)}"), *JSON_TYPE))

    # --- market data -----------------------------------------------------------------------------

    def _quotes(self, asked: _Asked, at_most: int, row: Callable[[Share], Row]) -> Row:
        keys = asked.query.get("i", [])
        if len(keys) > at_most:
            raise bad_input(f"At most {at_most} instruments a call")
        found: Row = {}
        for key in keys:
            exchange, _, name = key.partition(":")
            share = self._exchange.market.by_symbol.get(name)
            if exchange == "NSE" and share is not None and share.last_paise:
                found[key] = row(share)
            elif key == f"NSE:{INDEX_SYMBOL}":
                index = self._exchange.market.index
                found[key] = {
                    "instrument_token": INDEX_TOKEN,
                    "timestamp": ist_text(index.at_ns),
                    "last_price": rupees(index.last_paise),
                    "ohlc": {
                        "open": rupees(index.open_paise),
                        "high": rupees(index.high_paise),
                        "low": rupees(index.low_paise),
                        "close": rupees(index.close_paise),
                    },
                }
        return found

    def _candles(self, asked: _Asked, token: str, interval: str) -> list[list[Any]]:
        number = int(token) if token.isascii() and token.isdigit() and len(token) < 12 else -1
        if number not in self._exchange.market.by_token:
            raise bad_input(f"Invalid `instrument_token`: {token[:20]!r}")
        if interval != "day" and interval not in INTERVAL_MINUTES:
            raise bad_input(f"Invalid `interval`: {interval[:20]!r}")
        first_ns, last_ns = (_instant(asked.query, name) for name in ("from", "to"))
        if last_ns - first_ns > DAYS_PER_CALL[interval] * 86_400 * 10**9:
            raise bad_input(f"Date range is longer than {DAYS_PER_CALL[interval]} days of {interval}")
        rows = self._exchange.market.candles(number, interval, first_ns, last_ns)
        extra = [0] if _first(asked.query, "oi") == "1" else []
        return [[_iso(row[0]), *(rupees(price) for price in row[1:5]), row[5], *extra] for row in rows]

    def _instruments(self, request: HttpRequest) -> HttpAnswer:
        """The whole file for any exchange asked for: all that is traded here is on NSE. No login is needed."""
        index = f"{INDEX_TOKEN},{INDEX_TOKEN >> 8},{INDEX_SYMBOL},{INDEX_SYMBOL},0,,0,0,0,EQ,INDICES,NSE"
        lines = [INSTRUMENTS_HEADER, index]
        for share in self._exchange.market.shares:
            name = share.name.replace('"', "")
            lines.append(
                f'{share.token},{share.token >> 8},{share.symbol},"{name}",0,,0,'
                f"{rupees(share.listing.tick_paise)},{share.listing.lot},EQ,NSE,NSE"
            )
        content = "\n".join([*lines, ""]).encode()
        headers: tuple[tuple[str, str], ...] = (("content-type", "text/csv"),)
        if "gzip" in request.headers.get("accept-encoding", ""):
            content, headers = gzip.compress(content, mtime=0), (*headers, ("content-encoding", "gzip"))
        return HttpAnswer(200, content, headers)


def error_answer(refused: Refused) -> HttpAnswer:
    envelope = {"status": "error", "message": refused.message, "data": None, "error_type": refused.error_type}
    return HttpAnswer(refused.http_status, to_json(envelope), JSON_TYPE)


def _taken_apart(request: HttpRequest) -> _Asked:
    url = urlsplit(request.target)
    query = parse_qs(url.query, keep_blank_values=True)
    form = dict(parse_qsl(request.content.decode("utf-8", "replace"), keep_blank_values=True))
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    api_key, _, access_token = token.partition(":") if kind == "token" else ("", "", "")
    parts = tuple(unquote(part) for part in url.path.strip("/").split("/"))
    return _Asked(request.method, parts, query, form, api_key, access_token)


def _ltp(share: Share) -> Row:
    return {"instrument_token": share.token, "last_price": rupees(share.last_paise)}


def _first(query: dict[str, list[str]], name: str) -> str:
    return query.get(name, [""])[0]


def _instant(query: dict[str, list[str]], name: str) -> int:
    try:
        return instant_of(_first(query, name), name)
    except RemoteProtocolError:
        raise bad_input(f"Invalid `{name}`: a time such as 2026-11-20 09:15:00 is needed") from None


def _iso(at_ns: int) -> str:
    return f"{ist_text(at_ns).replace(' ', 'T')}+0530"
