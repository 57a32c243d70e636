"""Trouble on purpose: what a simulated broker or its line may do wrong, switched on and off while it runs.

Owns the switches, their seeded chance and the count of what happened. Never touches an order or a connection: a
server asks `happens` at each place where things can go wrong and acts on the answer. Shared by the servers of
simulation/; set over HTTP with `POST /trouble` (see `set`), read with `GET /trouble`, cleared with `DELETE /trouble`.

Each switch draws from a source of its own, so that switching one on changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import attrs

# A chance per occasion, 0 to 1.
CHANCES = {
    "lose_request": "the request never arrives: not carried out, not answered",
    "lose_answer": "carried out, but neither the answer nor the updates it caused are ever sent",
    "reject": "refused for no reason: not carried out",
    "too_many": "refused as one request too many (HTTP 429)",
    "server_error": "answered with a server error (HTTP 5xx), not carried out",
    "server_error_after": "carried out, and answered with a server error",
    "disconnect": "the connection is cut before the request is carried out",
    "disconnect_after": "carried out, and the connection is cut before the answer",
    "half_open": "the connection falls silent: open, but nothing is read or written any more",
    "garbage": "an unreadable frame goes before the true one (HTTP: instead of it)",
    "drop_update": "an update of an order or a GTT is never sent",
    "duplicate_update": "an update is sent twice",
    "reorder_update": "an update is sent after the next one",
    "drop_ticks": "a frame of prices is never sent",
    "partial_fill": "a fill takes only a part of the order",
    "late_fill": "an order said to be cancelled can still trade for `late_fill_ms`",
}
# A span of machine time in milliseconds.
SPANS = {
    "delay_ms": "every answer, update and tick waits up to so long",
    "slow_read_ms": "the server waits so long before it reads the next request",
    "late_fill_ms": "how long a cancelled order can still trade",
}
DEFAULT_SPANS = {"delay_ms": 0, "slow_read_ms": 0, "late_fill_ms": 500}
SPAN_MAX_MS = 600_000


class TroubleError(ValueError):
    """Settings that name no switch or no possible value; all that is wrong stands in the text."""


@attrs.frozen
class Setting:
    """`times`: off after so many; `only`: the kinds of occasion it applies to, empty for all."""

    chance: float = 0.0
    times: int | None = None
    only: tuple[str, ...] = ()


OFF = Setting()


class Trouble:
    """All switches of one server, off at the beginning."""

    def __init__(self, seed: str = "0") -> None:
        self.happened: dict[str, int] = {}
        self._seed = seed
        self._chances: dict[str, Setting] = {}
        self._left: dict[str, int] = {}
        self._spans = dict(DEFAULT_SPANS)
        self._sources: dict[str, Random] = {}

    def happens(self, name: str, what: str = "") -> bool:
        """Whether that goes wrong now; `what` is the kind of occasion, a request's type or an update's."""
        assert name in CHANCES, f"there is no trouble called {name}"
        setting = self._chances.get(name, OFF)
        if not setting.chance or (setting.only and what not in setting.only) or self._left.get(name) == 0:
            return False
        if setting.chance < 1 and self._source(name).random() >= setting.chance:
            return False
        if name in self._left:
            self._left[name] -= 1
        self.happened[name] = self.happened.get(name, 0) + 1
        return True

    def span_s(self, name: str) -> float:
        """A span in seconds."""
        return self._spans[name] / 1000

    def drawn_s(self, name: str) -> float:
        """Chance's part of a span, in seconds: 0 up to the whole of it."""
        longest = self.span_s(name)
        return self._source(name).uniform(0, longest) if longest else 0.0

    def set(self, settings: Mapping[str, object]) -> None:
        """Change the switches named, leave the others.

        A chance is a number 0 to 1, true or false, or {"chance": 1, "times": 2, "only": ["PLACE_ORDER"]}; a span
        is whole milliseconds; "seed" starts every source of chance anew. Raises TroubleError, and then nothing was
        changed.
        """
        problems: list[str] = []
        chances: dict[str, Setting] = {}
        spans: dict[str, int] = {}
        for name, value in settings.items():
            if name in CHANCES:
                setting = _setting(value)
                if setting is None:
                    problems.append(f'{name}: {value!r} is no chance; right is 0 to 1, or {{"chance": 1, "times": 2}}')
                else:
                    chances[name] = setting
            elif name in SPANS:
                if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= SPAN_MAX_MS:
                    spans[name] = value
                else:
                    problems.append(f"{name}: {value!r} is not whole milliseconds from 0 to {SPAN_MAX_MS}")
            elif name != "seed":
                problems.append(f"there is no switch {name}; there are {', '.join([*CHANCES, *SPANS])}")
        if problems:
            raise TroubleError("; ".join(problems))
        if "seed" in settings:
            self._seed = str(settings["seed"])
            self._sources.clear()
        self._spans.update(spans)
        for name, setting in chances.items():
            self._chances[name] = setting
            self._left.pop(name, None)
            if setting.times is not None:
                self._left[name] = setting.times

    def clear(self) -> None:
        """Everything off. What happened stays counted."""
        self._chances.clear()
        self._left.clear()
        self._spans = dict(DEFAULT_SPANS)

    def as_json(self) -> dict[str, object]:
        """The switches that are on, the spans, and how often what happened."""
        on: dict[str, object] = {}
        for name, setting in sorted(self._chances.items()):
            if setting.chance and self._left.get(name) != 0:
                on[name] = {"chance": setting.chance, "times": self._left.get(name), "only": list(setting.only)}
        return {"seed": self._seed, "on": on, **self._spans, "happened": dict(sorted(self.happened.items()))}

    def _source(self, name: str) -> Random:
        if name not in self._sources:
            self._sources[name] = Random(f"{self._seed}/trouble/{name}")
        return self._sources[name]


def _setting(value: object) -> Setting | None:
    """The setting that a JSON value means, None when it means none."""
    if isinstance(value, (bool, int, float)):
        return Setting(float(value)) if 0 <= value <= 1 else None
    if not isinstance(value, dict) or value.keys() - {"chance", "times", "only"}:
        return None
    chance, times, only = value.get("chance", 1), value.get("times"), value.get("only") or []
    if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance <= 1:
        return None
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
        return None
    if not isinstance(only, list) or not all(isinstance(kind, str) for kind in only):
        return None
    return Setting(float(chance), times, tuple(only))
