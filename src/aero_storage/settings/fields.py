"""The kinds of fields in the table of settings: one value with a default, an optional one, several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs

T = TypeVar("T")
_KINDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def setting(parse: Callable[[str], T], default: str, metavar: str, meaning: str, **exceptions: object) -> T:
    """Return a field with a default, given as text; `variable=` is for an irregular name of its variable.

    `may_be_none=True` is for a number that the word `none` may stand for.
    """
    value = parse(default)
    row = {"parse": parse, "kind": _KINDS.get(type(value), "string"), "metavar": metavar, "help": meaning}
    return attrs.field(default=value, metadata={**row, "default": default, **exceptions})


def optional(parse: Callable[[str], T], metavar: str, meaning: str, *, is_secret: bool = False) -> T | None:
    """Return a field that is None unless given; a secret one is never shown."""
    row = {"parse": parse, "kind": "string", "metavar": metavar, "help": meaning, "is_secret": is_secret}
    field: T | None = attrs.field(default=None, repr=not is_secret, metadata=row)
    return field


def several(parse: Callable[[str], T], metavar: str, meaning: str) -> tuple[T, ...]:
    """Return a field with any number of items, each parsed by `parse`."""
    row = {"parse": parse, "kind": "array of strings", "metavar": metavar, "help": meaning}
    return attrs.field(default=(), metadata=row)
