"""Where a request meets its fate at a broker server: carried out, refused, lost, or cut off in the middle.

Owns the order in which the trouble switches strike, the same for WebSocket and HTTP, and the api keys. Never sends
anything. Called by broker_link.py and broker_rest.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from hmac import compare_digest

import attrs

from protocol.broker import CancelGtt, CancelOrder, PlaceGtt, PlaceOrder
from protocol.broker_wire import ErrorCode, Message, Refusal
from protocol.broker_wire_requests import (
    Auth,
    ChangeGtt,
    ChangeOrder,
    GetGtts,
    GetHoldings,
    GetMargins,
    GetOrder,
    GetOrders,
    GetPositions,
    GetQuotes,
    GetTrades,
    Ping,
    Read,
    ReadBody,
    Subscribe,
    Unsubscribe,
)
from simulation.broker_exchange import ServerAccount, ServerExchange
from simulation.broker_seat import Update
from simulation.trouble import Trouble

TYPE_OF: dict[type, str] = {
    Auth: "AUTH",
    PlaceOrder: "PLACE_ORDER",
    ChangeOrder: "MODIFY_ORDER",
    CancelOrder: "CANCEL_ORDER",
    PlaceGtt: "PLACE_GTT",
    ChangeGtt: "MODIFY_GTT",
    CancelGtt: "CANCEL_GTT",
    GetOrders: "GET_ORDERS",
    GetOrder: "GET_ORDER",
    GetGtts: "GET_GTTS",
    GetTrades: "GET_TRADES",
    GetPositions: "GET_POSITIONS",
    GetHoldings: "GET_HOLDINGS",
    GetMargins: "GET_MARGINS",
    GetQuotes: "GET_QUOTES",
    Subscribe: "SUBSCRIBE",
    Unsubscribe: "UNSUBSCRIBE",
    Ping: "PING",
}


class LineFate(Enum):
    """What becomes of the connection that the request came by."""

    KEPT = "kept"
    CUT = "cut"
    SILENT = "silent"  # open, and nothing is read or written any more


@attrs.frozen(kw_only=True)
class Outcome:
    """`answer` None: nothing comes back. `updates` are for all connections of the account."""

    answer: Message | None
    updates: Sequence[Update] = ()
    line: LineFate = LineFate.KEPT


LOST = Outcome(answer=None)
CUT = Outcome(answer=None, line=LineFate.CUT)
SILENT = Outcome(answer=None, line=LineFate.SILENT)


class Desk:
    def __init__(self, accounts: Sequence[ServerAccount], exchange: ServerExchange, trouble: Trouble) -> None:
        self._accounts = accounts
        self._exchange = exchange
        self._trouble = trouble

    def account_of(self, api_key: str) -> str | None:
        """The account that a key opens."""
        offered = api_key.encode()
        for account in self._accounts:
            if compare_digest(offered, account.api_key.encode()):
                return account.name
        return None

    def line_fate(self, body: ReadBody) -> LineFate:
        """What happens to the connection before the request is so much as looked at."""
        kind = TYPE_OF[type(body)]
        if self._trouble.happens("half_open", kind):
            return LineFate.SILENT
        return LineFate.CUT if self._trouble.happens("disconnect", kind) else LineFate.KEPT

    def ask(self, account: str, request_id: str, body: ReadBody) -> Outcome:
        """What a request of the account's leads to: an order, a GTT or a read."""
        kind, happens = TYPE_OF[type(body)], self._trouble.happens
        line = self.line_fate(body)
        if line is not LineFate.KEPT:
            return CUT if line is LineFate.CUT else SILENT
        if happens("lose_request", kind):
            return LOST
        if happens("too_many", kind):
            return Outcome(answer=_error(request_id, ErrorCode.RATE_LIMITED.value, "too many requests: ask later"))
        if happens("server_error", kind):
            return Outcome(answer=_error(request_id, ErrorCode.SERVER_ERROR.value, "the server is in trouble"))
        if happens("reject", kind):
            return Outcome(answer=_error(request_id, "REFUSED", "refused, because the switch `reject` is on"))
        answer, updates = self._carried_out(account, request_id, body)
        if happens("disconnect_after", kind):
            return Outcome(answer=None, updates=updates, line=LineFate.CUT)
        if happens("server_error_after", kind):
            error = _error(request_id, ErrorCode.SERVER_ERROR.value, "the server is in trouble")
            return Outcome(answer=error, updates=updates)
        if happens("lose_answer", kind):
            return LOST
        return Outcome(answer=answer, updates=updates)

    def _carried_out(self, account: str, request_id: str, body: ReadBody) -> tuple[Message, Sequence[Update]]:
        if isinstance(body, Read):
            return self._exchange.read(account, request_id, body), ()
        assert not isinstance(body, (Auth, Ping, Subscribe, Unsubscribe)), f"{body} is the connection's own matter"
        return self._exchange.carry_out(account, request_id, body)


def _error(request_id: str, code: str, message: str) -> Refusal:
    return Refusal(request_id=request_id or None, code=code, message=message)
