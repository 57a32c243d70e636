"""A broker server over HTTP: the twin of its WebSocket, and the controls for whoever tests against it.

Owns the translation between HTTP and the desk's outcomes. The controls (`/trouble`, `/control/…`) need no key: the
server listens on the loopback only. Called by broker_server.py for every HTTP request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import parse_qs

import attrs
import trio

from protocol.broker_wire import ErrorCode, Message, Refusal, Response, encode_message
from protocol.broker_wire_fields import Fields, Json, MalformedFrame, dump, paise_of_number, parse_object
from protocol.broker_wire_rest import NoSuchPath, read_rest, status_of
from simulation.broker_desk import Desk, LineFate
from simulation.broker_market import ServerMarket
from simulation.broker_seat import Update
from simulation.one_port import HttpAnswer, HttpRequest, NoAnswer
from simulation.trouble import Trouble, TroubleError

KEY_SCHEMES = ("bearer ", "token ")  # a key may come alone, or as some HTTP libraries like to send it


class Controls(Protocol):
    """What a tester may do to a server, besides trouble. Errors are ValueError with a text to answer with."""

    def price(self, symbol: str, price_paise: int) -> None: ...

    def limits(self, symbol: str, lower_paise: int, upper_paise: int) -> None: ...

    def end_of_day(self) -> None: ...

    def start_of_day(self, day: str) -> None: ...

    def disconnect_all(self) -> None: ...

    def status(self) -> Json: ...

    def books(self, account: str) -> Message: ...


class Rest:
    def __init__(
        self,
        desk: Desk,
        market: ServerMarket,
        trouble: Trouble,
        controls: Controls,
        publish: Callable[[str, Iterable[Update]], None],
    ) -> None:
        self._desk = desk
        self._market = market
        self._trouble = trouble
        self._controls = controls
        self._publish = publish

    async def answer(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        """One request of either kind."""
        path = request.target.partition("?")[0]
        if path == "/trouble" or path.startswith("/control/"):
            return self._control(request, path)
        await trio.sleep(self._trouble.span_s("slow_read_ms"))
        answered = self._serve(request)
        await trio.sleep(self._trouble.drawn_s("delay_ms"))
        return answered

    # --- the twin --------------------------------------------------------------------------------------

    def _serve(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        account = self._desk.account_of(_key(request.headers.get("authorization", "")))
        if account is None:
            return self._error(ErrorCode.NOT_AUTHENTICATED.value, "send your api key in the Authorization header")
        try:
            asked = read_rest(request.method, request.target, request.content)
        except NoSuchPath as wrong:
            return self._error("NOT_FOUND", str(wrong), 404)
        except MalformedFrame as wrong:
            return self._error(ErrorCode.MALFORMED.value, str(wrong))
        outcome = self._desk.ask(account, asked.request_id, asked.body)
        self._publish(account, outcome.updates)
        if outcome.line is LineFate.CUT:
            return NoAnswer.CUT
        if outcome.answer is None:
            return NoAnswer.SILENCE
        if self._trouble.happens("garbage"):
            return HttpAnswer(200, b"<html>Bad Gate", (("content-type", "text/html"),))
        answer = outcome.answer
        if isinstance(answer, (Response, Refusal)):
            answer = attrs.evolve(answer, request_id=asked.request_id or None)
        return self._answered(answer, status_of(answer.code) if isinstance(answer, Refusal) else 200)

    def _error(self, code: str, message: str, status: int | None = None) -> HttpAnswer:
        refusal = Refusal(request_id=None, code=code, message=message)
        return self._answered(refusal, status_of(code) if status is None else status)

    def _answered(self, message: Message, status: int) -> HttpAnswer:
        return HttpAnswer(status, encode_message(message, self._market.last_price).encode())

    # --- controls --------------------------------------------------------------------------------------

    def _control(self, request: HttpRequest, path: str) -> HttpAnswer:
        try:
            found = self._controlled(request, path)
        except (ValueError, MalformedFrame, TroubleError) as wrong:
            return HttpAnswer(400, dump({"error": str(wrong)}).encode())
        if found is None:
            return HttpAnswer(404, dump({"error": f"nothing is served at {request.method} {path}"}).encode())
        return HttpAnswer(200, found.encode())

    def _controlled(self, request: HttpRequest, path: str) -> str | None:
        """The answer's JSON; None: there is no such control."""
        values = parse_object(request.content) if request.content else {}
        match request.method, path:
            case "GET", "/trouble":
                pass
            case "POST", "/trouble":
                self._trouble.set(values)
            case "DELETE", "/trouble":
                self._trouble.clear()
            case "GET", "/control/state":
                return dump(self._controls.status())
            case "GET", "/control/books":
                query = parse_qs(request.target.partition("?")[2])
                return encode_message(self._controls.books(query.get("account", [""])[0]), self._market.last_price)
            case "POST", "/control/prices":
                for symbol, value in values.items():
                    self._controls.price(symbol, paise_of_number(value, symbol))
                return dump(self._controls.status())
            case "POST", "/control/limits":
                for symbol in values:
                    lower, upper = Fields(values).items(symbol, most=2)
                    self._controls.limits(symbol, paise_of_number(lower, symbol), paise_of_number(upper, symbol))
                return dump(self._controls.status())
            case "POST", "/control/day":
                fields = Fields(values)
                if fields.has("start"):
                    self._controls.start_of_day(fields.text("start"))
                else:
                    self._controls.end_of_day()
                return dump(self._controls.status())
            case "POST", "/control/disconnect":
                self._controls.disconnect_all()
                return dump(self._controls.status())
            case _:
                return None
        return dump(self._trouble.as_json())


def _key(header: str) -> str:
    for scheme in KEY_SCHEMES:
        if header.lower().startswith(scheme):
            return header[len(scheme) :].strip()
    return header.strip()
