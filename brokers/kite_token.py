"""The day's access token: the file it is kept in, and who waits for a new one.

Owns the token file (mode 0600, replaced as a whole) and the rule when a token may be used: it is of this api key,
it has not ended at 06:00 IST, and Kite has not said that it is dead. A dead token is never tried again. Never logs
in (commands/login.py does) and never shows a token. The session and the tickers of an account share one `Tokens`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from protocol.clock import ist_text
from protocol.errors import PureAlphaError
from protocol.kite_wire import Login

LOG_IN = "run `python -m supervisor login`"
OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


class NoToken(PureAlphaError):
    """There is no usable access token; the text says why and what to do."""


class TokenFile:
    """Where `login` leaves the token. A file that others may read is not used: whoever reads it can trade."""

    def __init__(self, path: Path, api_key: str) -> None:
        self.path = path
        self._api_key = api_key

    def write(self, login: Login) -> None:
        """Replace the file as a whole; it is never readable by others, not even for an instant. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)
        content = {"api_key": self._api_key, **attrs.asdict(login)}
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        new.replace(self.path)

    def read(self) -> Login:
        """Raises NoToken, naming the file and the reason."""
        try:
            mode = self.path.stat().st_mode
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NoToken(f"nobody has logged in to Kite yet: {LOG_IN}") from None
        except (OSError, ValueError) as problem:
            raise NoToken(f"{self.path} cannot be read ({problem}): {LOG_IN}") from None
        if mode & OTHERS_MAY:
            raise NoToken(f"{self.path} may be read by others: chmod 600 it, or {LOG_IN}")
        try:
            if content["api_key"] != self._api_key:
                raise NoToken(f"{self.path} holds a token of another api key: {LOG_IN}")
            return Login(
                user_id=str(content["user_id"]),
                access_token=str(content["access_token"]),
                login_ns=int(content["login_ns"]),
                expires_ns=int(content["expires_ns"]),
                demat_consent=bool(content["demat_consent"]),
            )
        except (KeyError, TypeError, ValueError):
            raise NoToken(f"{self.path} is no token file: {LOG_IN}") from None


class Tokens:
    """The token in use, told dead by whoever hears so first. `now_ns` is market time."""

    def __init__(self, file: TokenFile, now_ns: Callable[[], int], look_every_s: float) -> None:
        self._file = file
        self._now_ns = now_ns
        self._look_every_s = look_every_s
        self._dead: tuple[str, str] | None = None  # the token that Kite refused, and in which words
        self._death = trio.Event()

    def usable(self) -> Login:
        """Raises NoToken when there is none: a person has to log in."""
        login = self._file.read()
        if self._dead is not None and login.access_token == self._dead[0]:
            raise NoToken(f"Kite has ended the session ({self._dead[1]}): {LOG_IN}")
        if self._now_ns() >= login.expires_ns:
            raise NoToken(f"the access token ended at {ist_text(login.expires_ns)} IST: {LOG_IN}")
        return login

    def died(self, access_token: str, reason: str) -> None:
        """Kite refused this token. It is not used again, whatever its file says."""
        self._dead = (access_token, reason)
        self._death.set()
        self._death = trio.Event()

    async def fresh(self) -> Login:
        """Wait for a usable token; the file is looked at every few seconds, Kite is not asked."""
        while True:
            try:
                return self.usable()
            except NoToken:
                await trio.sleep(self._look_every_s)

    async def until_over(self, login: Login) -> None:
        """Until this token may not be used any more: dead, at 06:00, or replaced by a newer login."""
        while True:
            try:
                if self.usable().access_token != login.access_token:
                    return
            except NoToken:
                return
            with trio.move_on_after(self._look_every_s):
                await self._death.wait()
