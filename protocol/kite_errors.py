"""What Kite's refusals mean: carried out or not, who has to act.

Owns the classes of errors and the reading of an HTTP status (kite.trade/docs/connect/v3/exceptions; the clients'
fallback: an unknown name is a GeneralException). Never retries. Raised by kite_wire.answer, read by the Kite broker.
"""

from __future__ import annotations

from protocol.errors import PureAlphaError

GENERAL = "GeneralException"
TOKEN = "TokenException"
PERMISSION = "PermissionException"
UNREADABLE = "UNREADABLE"  # our own word: the body was no envelope
KNOWN = frozenset(
    {
        TOKEN,
        PERMISSION,
        GENERAL,
        "UserException",
        "OrderException",
        "InputException",
        "MarginException",
        "HoldingException",
        "NetworkException",
        "DataException",
    }
)

SERVER_ERROR = 500
FORBIDDEN = 403
TOO_MANY_REQUESTS = 429
# Answers by which the request was certainly not carried out. Kite's staff vouch for 400 only; 403, 428 (demat sale
# not authorised) and 429 by meaning, so reconciliation still looks at the book.
NOT_CARRIED_OUT = frozenset({400, 401, FORBIDDEN, 404, 405, 410, 428, TOO_MANY_REQUESTS})
PLAIN_BY_STATUS = frozenset({FORBIDDEN, TOO_MANY_REQUESTS})  # gateways answer these without an envelope

STATIC_IP_HINT = "orders are taken only from the static IP addresses registered in the Kite developer profile"
DEMAT_HINT = "authorise the sale at the depository (TPIN) or sign the demat consent (DDPI)"


class KiteFailure(PureAlphaError):
    """An answer of Kite that is no success.

    `reached` False: the request was certainly not carried out; True: nobody knows. `code` is Kite's error_type,
    "GeneralException" for a name we do not know, "UNREADABLE" without an envelope.
    """

    def __init__(self, http_status: int, code: str, message: str) -> None:
        self.http_status = http_status
        self.code = code if code in KNOWN or code == UNREADABLE else GENERAL
        self.message = _with_hint(http_status, self.code, message)
        super().__init__(f"{self.code} ({http_status}): {self.message}")

    @property
    def reached(self) -> bool:
        if self.http_status in PLAIN_BY_STATUS:
            return False
        return self.code == UNREADABLE or self.http_status not in NOT_CARRIED_OUT

    @property
    def login_needed(self) -> bool:
        """The access token is dead: ask for a new one, and do not try again with this one."""
        return self.code == TOKEN or (self.http_status == FORBIDDEN and self.code in (GENERAL, UNREADABLE))

    @property
    def rate_limited(self) -> bool:
        return self.http_status == TOO_MANY_REQUESTS

    @property
    def broken(self) -> bool:
        """The broker is in trouble, as opposed to refusing: what a circuit breaker counts."""
        return self.http_status >= SERVER_ERROR or (self.code == UNREADABLE and not self.login_needed)


def _with_hint(http_status: int, code: str, message: str) -> str:
    """The broker's words, and what to do where they do not say it."""
    words = message.lower()
    if code == PERMISSION or " ip " in f" {words} " or "ips" in words.split():
        return f"{message} ({STATIC_IP_HINT})"
    if http_status == 428:
        return f"{message} ({DEMAT_HINT})"
    return message
