"""The events of the logs as short lines for a person: symbol, rung, rupees.

Pure: from the text of one event to a level and a line. logs.py decides which levels are shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from commands.log_text import fields_of
from protocol.money import paise_from_rupees, rupee_text

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"DEBUG": DEBUG, "INFO": INFO, "WARNING": WARNING, "ERROR": ERROR}
STYLES = {DEBUG: "dim", INFO: "", WARNING: "yellow", ERROR: "bold red"}

_ENTRY_COLOURS = {"P1": "green", "P2": "cyan", "P3": "magenta"}


def level_of(kind: str, text: str) -> int:
    """How important an event is: the order path's own steps are DEBUG, what came of them is INFO.

    A day's line is also told as a notice (`info day …`), and a crash's traceback follows its alert: both
    are DEBUG because they have been shown.
    """
    event = text.partition(" ")[0]
    if kind == "strategy":
        repeated = text.startswith("info day ")
        return WARNING if event == "warning" else DEBUG if repeated else INFO
    if kind == "errors":
        return {"alert": ERROR, "request_failed": WARNING}.get(event, DEBUG)
    return INFO if event == "session" else DEBUG


def human(actor: str, text: str, level: int) -> Text:
    """One event in a person's words. What has no words of its own is shown as it stands in the log."""
    event, _, rest = text.partition(" ")
    fields = fields_of(rest)
    if event == "entered" and "symbol" in fields:
        return _entered(fields)
    if event == "exited" and "symbol" in fields:
        return _exited(fields)
    if event == "stop_moved" and "symbol" in fields:
        return _stop_moved(fields)
    if event == "day" and "gross" in fields:
        return Text(day_in_words(fields), style="bold")
    if event == "session" and "state" in fields:
        return Text(_session(fields), style=STYLES[level])
    if event in ("info", "warning", "alert"):
        line = Text(event.upper(), style=STYLES[level])
        return line.append(f"  {actor}: {rest}", style=STYLES[level])
    return Text(f"{actor}  {text}", style=STYLES[level])


class Trails:
    """Which of a stop's many small moves a person is shown: the first, and then each half percent."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}

    def worth_showing(self, text: str) -> bool:
        """Whether this move is told; of those between, the log has every one."""
        fields = fields_of(text.partition(" ")[2])
        place, stop = _place(fields) if "symbol" in fields else "", fields.get("stop", "")
        if not place or not stop.isdigit():
            return True
        before = self._shown.get(place, 0)
        if before <= int(stop) and int(stop) * 1_000 < before * 1_005:
            return False
        self._shown[place] = int(stop)
        return True


def _place(fields: dict[str, str]) -> str:
    return f"{fields['symbol']:<11} {fields.get('rung', ''):<3}"


def _entered(fields: dict[str, str]) -> Text:
    price, rank = _rupees(fields.get("price", "")), fields.get("rank", "-")
    words = f"bought {fields.get('qty', '?')} at {price}  rank {rank}"
    return Text(f"{_place(fields)} {words}", style=_ENTRY_COLOURS.get(fields.get("rung", ""), ""))


def _exited(fields: dict[str, str]) -> Text:
    gross = fields.get("gross", "")
    line = Text(f"{_place(fields)} sold {fields.get('qty', '?')} at {_rupees(fields.get('price', ''))}")
    line.append(f"  {fields.get('reason', '').replace('_', '-')}")
    return line.append(f"  {_rupees(gross, sign=True)}", style="bold red" if gross.startswith("-") else "bold green")


def _stop_moved(fields: dict[str, str]) -> Text:
    words = f"stop {_rupees(fields.get('stop', ''))}, was {_rupees(fields.get('from', ''))}"
    return Text(f"{_place(fields)} {words}", style="dim")


def day_in_words(fields: Mapping[str, str]) -> str:
    """The day's line at the square-off, with what is still open, and at the close, where it is final."""
    net, gross = (_amount(fields.get(name, ""), sign=True) for name in ("net", "gross"))
    won = f"{fields.get('wins', '-')} of {fields.get('trades', '-')} won"
    held = fields.get("open", "0")
    if fields.get("stage") == "square_off":
        still = "nothing open" if held == "0" else f"{held} still open, cost {_amount(fields.get('cost', ''))}"
        return f"square-off done  net {net}  {won}  {still}"
    kept = "" if held == "0" else f", {held} held overnight"
    return f"the day  net {net}  gross {gross}  charges {_amount(fields.get('charges', ''))}  {won}{kept}"


def notice_in_words(text: str) -> str:
    """A notice as status shows it: the day's line in words, all others as they are."""
    return day_in_words(fields_of(text)) if text.startswith("day ") else text


def _session(fields: Mapping[str, str]) -> str:
    state, reason = fields["state"], fields.get("reason", "")
    words = f"{reason or 'broker'} ready" if state == "READY" else f"{state.lower().replace('_', ' ')}: {reason}"
    return words if fields.get("account", "main") == "main" else f"account {fields['account']}: {words}"


def _amount(rupees: str, *, sign: bool = False) -> str:
    """Rupees as the day's line has them, for a person; what is no amount is left as it is."""
    try:
        return rupee_text(paise_from_rupees(rupees), sign=sign)
    except ValueError:
        return rupees


def _rupees(paise: str, *, sign: bool = False) -> str:
    """Paise as they stand in a log line, as rupees; another text is left as it is."""
    digits = paise.removeprefix("-")
    return rupee_text(int(paise), sign=sign) if digits.isascii() and digits.isdigit() else paise
