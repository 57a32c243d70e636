"""config.toml and --set → Settings, or every problem at once.

Owns the way from text to `Settings`: the file, `${NAME}` from the environment, the overrides, and the list of
problems. Never judges a single value (values.py) or whether two agree (agreement.py). Called by cli.py for
every verb.

The defaults are written out as a tree in the file's own terms; the file and then the overrides are laid over
it, tables key by key, lists as a whole; structuring.py turns the tree into the classes. A faulty place falls
back to its default and the rest is still checked, so that one run names everything that is wrong.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Any

import attrs
from cattrs.errors import ClassValidationError

from commands.agreement import disagreements
from commands.structuring import Place, faults, fields_by_key, in_file_terms, known, structure
from protocol.errors import PureAlphaError
from settings import Form, Kind, Settings, form_of

DEFAULT_FILE = Path(__file__).resolve().parent.parent / "config.toml"
ENVIRONMENT = re.compile(r"\$\{([^}]*)\}")
UNQUOTED = {Kind.EXACT, Kind.NUMBER, Kind.SPEED, Kind.SWITCH}
NUMBER_OF_TABLE = "the number of a table that exists or of the next one, counted from 0"
SHOWN_CHARACTERS_MAX = 60
MISSING = object()


@attrs.frozen
class Problem:
    """One thing that is wrong: where it was written, its dotted key, the value, and what would be right."""

    source: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.key} = {self.value}" if self.key else self.value
        return f"{self.source}: {place}\n    should be {self.expected}"


class SettingsError(PureAlphaError):
    """The configuration cannot be used; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def load(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    implied: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings of `path`; without one, of config.toml at the project root, if it is there.

    `overrides` are `section.key=value`, the value as TOML or a bare string; `accounts.0.user=…` reaches into
    a list, and the number after its last starts a new table. `implied` holds dotted keys and values that a
    verb's own options stand for; it comes before `overrides`. Raises SettingsError.
    """
    file, given = _read_file(path)
    draft = _Draft(_short(file), environment)
    draft.merge(Settings, draft.tree, given, ())
    for key, value in (implied or {}).items():
        draft.assign(key, value, "the command line")
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals and key.strip():
            draft.assign(key.strip(), parse_value(value), f"--set {text}")
        else:
            draft.problems.append(Problem("--set", "", text, "section.key=value"))
    return draft.settings()


def parse_value(text: str) -> Any:
    """A value as TOML writes it; what is no TOML is the text itself, so that quotes can be left out."""
    try:
        parsed = tomllib.loads(f"value = {text}", parse_float=Decimal)
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _read_file(path: Path | None) -> tuple[Path, dict[str, Any]]:
    file = path or DEFAULT_FILE
    if path is None and not file.exists():
        return file, {}
    try:
        return file, tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        problem = Problem(_short(file), "", error.strerror or str(error), "a file that can be read")
    except RecursionError:
        problem = Problem(_short(file), "", "values nested too deeply", "TOML of a few levels")
    except ValueError as error:
        problem = Problem(_short(file), "", str(error), "valid TOML in UTF-8")
    raise SettingsError([problem])


def _short(file: Path) -> str:
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


class _Draft:
    """A configuration on its way to Settings: the tree, the sources of overridden values, the problems."""

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.tree = in_file_terms(Settings())
        self.problems: list[Problem] = []
        self._faulty: list[Place] = []
        self._file = file
        self._environment = environment
        self._sources: dict[Place, str] = {}

    def merge(self, section: type, node: dict[str, Any], given: Mapping[str, Any], place: Place) -> None:
        """Lay the values given for a section over its node."""
        for key, value in given.items():
            self._put(section, node, value, (*place, key))

    def assign(self, dotted: str, value: Any, source: str) -> None:
        """Set one dotted key."""
        place = tuple(dotted.split("."))
        self._sources[place] = source
        section: type = Settings
        node: Any = self.tree
        for key in place[:-1]:
            expected = NUMBER_OF_TABLE if isinstance(node, list) else known(section, key)
            if isinstance(node, list):
                node = self._element(node, key)
            else:
                field = fields_by_key(section).get(key)
                inner = form_of(field).section if field else None
                section, node = inner or section, node[key] if inner else None
            if node is None:
                self._problem(place, value, expected)
                return
        if not isinstance(node, list):
            self._put(section, node, value, place)
        elif isinstance(value, dict) and (element := self._element(node, place[-1])) is not None:
            self.merge(section, element, value, place)
        else:
            self._problem(place, value, NUMBER_OF_TABLE)

    def settings(self) -> Settings:
        """The finished settings. Raises SettingsError with all problems."""
        for position, account in enumerate(self.tree["accounts"], start=1):
            account.setdefault("tag", f"{position:02}")
        try:
            settings = structure(self.tree)
        except ClassValidationError as error:
            for place, expected in faults(error):
                if place not in self._faulty:
                    self._problem(place, self._value_at(place), expected)
            settings = structure(_sound(self.tree, in_file_terms(Settings()), self._faulty))
        lists_as_a_whole = [tuple(takewhile(lambda key: not key.isdigit(), place)) for place in self._faulty]
        for dotted, expected in disagreements(settings):
            places = [tuple(key.split(".")) for key in dotted]
            if not any(_meet(place, fault) for place in places for fault in lists_as_a_whole):
                self._problem(places[0], self._value_at(places[0]), expected)
        if self.problems:
            raise SettingsError(self.problems)
        return settings

    def _put(self, section: type, node: dict[str, Any], value: Any, place: Place) -> None:
        key = place[-1]
        field = fields_by_key(section).get(key)
        form = form_of(field) if field else None
        if form is None:
            node[key] = value  # structuring names every unknown key
        elif form.kind is Kind.TABLE and form.section:
            if isinstance(value, dict):
                self.merge(form.section, node[key], value, place)
            else:
                self._problem(place, value, f"a table, [{'.'.join(place)}]")
        elif form.kind is Kind.TABLES and form.section:
            if isinstance(value, list) and all(isinstance(each, dict) for each in value):
                node[key] = [{} for _ in value]
                for position, each in enumerate(value):
                    self.merge(form.section, node[key][position], each, (*place, str(position)))
            else:
                self._problem(place, value, f"tables, each under [[{'.'.join(place)}]]")
        else:
            node[key] = self._substituted(form, value, place)

    def _element(self, tables: list[dict[str, Any]], number: str) -> dict[str, Any] | None:
        """The table of that number; the number after the last makes a new one."""
        if not re.fullmatch("[0-9]{1,4}", number) or int(number) > len(tables):
            return None
        if int(number) == len(tables):
            tables.append({})
        return tables[int(number)]

    def _substituted(self, form: Form, value: Any, place: Place) -> Any:
        if isinstance(value, list):
            return [self._substituted(form, each, place) for each in value]
        if not isinstance(value, str) or not ENVIRONMENT.search(value):
            return value
        absent = [name for name in ENVIRONMENT.findall(value) if name not in self._environment]
        if absent:
            self._problem(place, value, f"set in the environment, which has no {' or '.join(absent)}")
            return value
        text = ENVIRONMENT.sub(lambda found: self._environment[found[1]], value)
        return parse_value(text) if form.kind in UNQUOTED else text

    def _problem(self, place: Place, value: Any, expected: str) -> None:
        source = self._file
        for assigned, text in self._sources.items():
            if place[: len(assigned)] == assigned:
                source = text  # the latest one counts
        self._faulty.append(place)
        self.problems.append(Problem(source, ".".join(place), _shown(value), expected))

    def _value_at(self, place: Place) -> Any:
        node: Any = self.tree
        for key in place:
            node = node[int(key)] if isinstance(node, list) else node.get(key, MISSING)
        return node


def _sound(node: dict[str, Any], default: dict[str, Any], faulty: Sequence[Place], at: Place = ()) -> dict[str, Any]:
    """The tree with faulty values, and lists with a fault in them, as they are by default."""
    sound = {}
    for key, usual in default.items():
        here = (*at, key)
        if isinstance(usual, dict):
            sound[key] = _sound(node[key], usual, faulty, here)
        else:
            sound[key] = usual if any(_meet(here, fault) for fault in faulty) else node[key]
    return sound


def _meet(one: Place, other: Place) -> bool:
    """Whether one of two places is, or lies within, the other."""
    return all(key == its for key, its in zip(one, other, strict=False))


def _shown(value: Any) -> str:
    if value is MISSING:
        return "(missing)"
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):  # a number of thousands of digits, tables thousands deep
        return "(too long to show)"
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
