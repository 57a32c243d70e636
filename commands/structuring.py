"""The settings classes on one side, the tree of tables and values that a file holds on the other.

Owns the structuring with cattrs and the search for where in the tree it failed. Never reads a file and never
decides what happens then. Called by configuration.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from commands.values import read, written
from settings import Form, Kind, Settings, form_of, key_of

Place = tuple[str, ...]  # the keys that lead to a value; a number where a list is passed


@cache
def fields_by_key(section: type) -> dict[str, attrs.Attribute[Any]]:
    """The attributes of a settings class under the keys that the file knows them by."""
    return {key_of(field): field for field in attrs.fields(section)}


def known(section: type, key: str) -> str:
    """What to say about a key that the section does not have."""
    similar = difflib.get_close_matches(key, fields_by_key(section), n=1)
    hint = f'; did you mean "{similar[0]}"?' if similar else ": " + ", ".join(fields_by_key(section))
    return "a known setting" + hint


def in_file_terms(section: Any) -> dict[str, Any]:
    """A settings object as the tree that its file would hold."""
    tree: dict[str, Any] = {}
    for field in attrs.fields(type(section)):
        value, form = getattr(section, field.name), form_of(field)
        if form.kind is Kind.TABLE:
            tree[key_of(field)] = in_file_terms(value)
        elif form.kind is Kind.TABLES:
            tree[key_of(field)] = [in_file_terms(each) for each in value]
        else:
            tree[key_of(field)] = written(form, value)
    return tree


def structure(tree: dict[str, Any]) -> Settings:
    """The settings a tree holds. Raises cattrs' ClassValidationError; `faults` reads it."""
    settings: Settings = _converter().structure(tree, Settings)
    return settings


def faults(error: ClassValidationError) -> list[tuple[Place, str]]:
    """The place of every fault in the tree, and what would be right there."""
    return list(_faults(error, Settings, ()))


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)

    def register(section: type) -> None:
        rules: dict[str, Any] = {}
        for field in attrs.fields(section):
            form = form_of(field)
            if form.section:
                register(form.section)
                rules[field.name] = override(rename=key_of(field))
            else:
                rules[field.name] = override(rename=key_of(field), struct_hook=_reader(form))
        hook: Any = make_dict_structure_fn(section, converter, _cattrs_forbid_extra_keys=True, **rules)
        converter.register_structure_hook(section, hook)

    register(Settings)
    return converter


def _reader(form: Form) -> Any:
    return lambda value, _: read(form, value)


def _faults(error: Exception, section: type, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(error, ClassValidationError):
        noted, bare = error.group_exceptions()
        for fault, note in noted:
            field = attrs.fields_dict(section)[note.name]
            form = form_of(field)
            inner = (*place, key_of(field))
            if isinstance(fault, KeyError):
                yield inner, _expected(form)
            else:
                yield from _faults(fault, form.section or section, inner)
        for fault in bare:
            yield from _faults(fault, section, place)
    elif isinstance(error, IterableValidationError):
        for fault, index in error.group_exceptions()[0]:
            yield from _faults(fault, section, (*place, str(index.index)))
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield (*place, key), known(section, key)
    else:
        yield place, str(error)


def _expected(form: Form) -> str:
    """What would be right for a value that was not given."""
    try:
        read(form, None)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{form.kind} accepts nothing at all")
