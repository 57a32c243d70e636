"""What may stand in a log line: one event, no secret; and the key=value fields read back from it.

Pure text. Used by logs.py and system_log.py before anything reaches a file or a screen, and by the console.
"""

from __future__ import annotations

import re

REDACTED = "***"
CONTINUED = "    "  # how the further lines of an event begin, so that every other line begins with its time

# Named as in Kite's requests and headers (kite.trade/docs/connect/v3/user), with the spellings of settings.
_NAMES = r"api[_-]?key|api[_-]?secret|(?:access|request|refresh|public|enc)[_-]?token|authorization|password"
_SECRET = re.compile(
    rf"""((?:{_NAMES})\\*["']?\s*(?:[:=]|(?<=["']),)\s*b?)"""
    r"""(?:\\*"[^"]*"|\\*'[^']*'|(?:(?:token|bearer|basic)\s+)?[^\s&,;"')\]}]+)""",
    re.IGNORECASE,
)
# A look for these costs microseconds per buffer of 64 KB, the pattern above milliseconds.
_WORDS = (
    "api_key", "api-key", "apikey", "api_secret", "api-secret", "apisecret", "token", "authorization",
    "password",
)  # fmt: skip

_FIELD = re.compile(r"""(\w+)=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S*)""")


def redact(text: str) -> str:
    """The text with every value of an api_key, api_secret, access_token, authorization … replaced by ***."""
    lowered = text.lower()
    return _SECRET.sub(rf"\g<1>{REDACTED}", text) if any(word in lowered for word in _WORDS) else text


def one_event(text: str) -> str:
    """The text of one event: further lines indented, control characters escaped.

    So that no broker's words can look like a line of ours or change the colours of a terminal.
    """
    first, *others = [
        "".join(character if character.isprintable() else _escaped(character) for character in line)
        for line in text.rstrip().split("\n")
    ]
    if not all(line.startswith(CONTINUED) for line in others):
        others = [CONTINUED + line for line in others]
    return "\n".join([first, *others])


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def fields_of(text: str) -> dict[str, str]:
    """The key=value fields of a line; a value with spaces stands in quotes, which are taken off."""
    return {name: _unquoted(value) for name, value in _FIELD.findall(text)}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] in "'\"" and value[0] == value[-1] else value
