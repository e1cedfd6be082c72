"""JSON that two readers cannot understand in two ways, and its fields, checked as they are taken. Pure.

No key twice in an object, no NaN, nothing but UTF-8. All complaints are ChunkFormatErrors of one short line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NoReturn

import attrs

from aero_storage.errors import ChunkFormatError

Values = dict[str, object]

_SHOWN_LENGTH = 80


@attrs.frozen
class Doubled:
    """Stands for an object that has a key twice: its readers may not agree on the value."""

    key: str


def load(data: bytes, compact: Callable[[Values], object]) -> object:
    """Parse JSON; each object is replaced by the result of `compact`, so that many small ones take little."""

    def assemble(pairs: list[tuple[str, object]]) -> object:
        values = dict(pairs)
        return compact(values) if len(values) == len(pairs) else Doubled(_first_double(pairs))

    try:
        return json.loads(data.decode(), object_pairs_hook=assemble, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ChunkFormatError(f"not UTF-8: byte {error.start}: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise ChunkFormatError(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ChunkFormatError("not usable: nested too deeply") from error
    except ValueError as error:  # int() refuses numbers of more than 4,300 digits
        raise ChunkFormatError("not usable: a number of thousands of digits") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ChunkFormatError(f"not JSON: {name} is no JSON number")


def _first_double(pairs: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError(pairs)


def show(value: object) -> str:
    """A value for a message."""
    if isinstance(value, list):
        return "an array"
    if not (value is None or isinstance(value, (str, int, float))):
        return "an object"
    text = json.dumps(value[: _SHOWN_LENGTH + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


@attrs.frozen
class Fields:
    """The fields of an object; `label` goes before their names in complaints."""

    values: Values
    label: str = ""

    def text(self, key: str, is_valid: Callable[[str], bool], rule: str) -> str:
        """The string of that key."""
        value = self._value(key)
        if not isinstance(value, str) or not is_valid(value):
            raise ChunkFormatError(f"{self.label}{key}: {rule}, not {show(value)}")
        return value

    def number(self, key: str, is_valid: Callable[[int], bool], rule: str) -> int:
        """The whole number of that key."""
        value = self._value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not is_valid(value):
            raise ChunkFormatError(f"{self.label}{key}: {rule}, not {show(value)}")
        return value

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise ChunkFormatError(f"{self.label}{key}: missing")
        return self.values[key]
