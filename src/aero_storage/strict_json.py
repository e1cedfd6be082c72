"""JSON that two readers cannot understand in two ways, and its fields, checked as they are taken. Pure.

No key twice in an object, no NaN, nothing but UTF-8, and no more values than the caller expects: one byte may become
thirty in memory. All complaints are JsonErrors of one short line that names the place.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import NoReturn

import attrs

from aero_storage.errors import JsonError

Values = dict[str, object]

_SHOWN_LENGTH = 80
_SHOWN_PLACE = 200
_STRUCTURE = (b",", b"{", b"[")
"""Each of these outside a string begins a value: a member or element behind the first, or an object or array."""

# Possessive throughout: no state is kept for a way back, and hostile input cannot ask for one.
_TO_NEXT_VALUE = re.compile(rb'(?:[^",{\[]++|"(?:[^"\\]++|\\.)*+")*+[,{\[]', re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_Path = tuple["_Path", str | int] | tuple[()]


@attrs.frozen
class _Doubled:
    """Stands for an object that has a key twice: its readers may not agree on the value."""

    key: str


def _as_is(values: Values) -> object:
    return values


def load(data: bytes, max_values: int, compact: Callable[[Values], object] = _as_is) -> object:
    """Parse JSON; each object is replaced by the result of `compact`, so that many small ones take little.

    Values are objects, arrays, members and elements. Raises JsonError.
    """
    _refuse_too_many(data, max_values)
    doubled = False

    def assemble(pairs: list[tuple[str, object]]) -> object:
        nonlocal doubled
        values = dict(pairs)
        if len(values) == len(pairs):
            return compact(values)
        doubled = True
        return _Doubled(_first_double(pairs))

    document = _parse(data, assemble)
    if doubled:
        raise JsonError(f"{_place_of_double(document)}: given twice")
    return document


def _parse(data: bytes, assemble: Callable[[list[tuple[str, object]]], object]) -> object:
    try:
        return json.loads(data.decode(), object_pairs_hook=assemble, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8: byte {error.start}: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise JsonError("not usable: nested too deeply") from error
    except ValueError as error:  # int() refuses numbers of more than 4,300 digits
        raise JsonError("not usable: a number of thousands of digits") from error


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"not JSON: {name} is no JSON number")


def _refuse_too_many(data: bytes, most: int) -> None:
    """Count values before any is made: quickly with those in strings too, exactly only if that is too many."""
    if sum(map(data.count, _STRUCTURE)) <= most:
        return
    position = 0
    for _ in range(most + 1):
        found = _TO_NEXT_VALUE.match(data, position)
        if found is None:  # no more of them, or an unfinished string, at which the parser stops
            return
        position = found.end()
    raise JsonError(f"not usable: more than {most} values: byte {position - 1}")


def _first_double(pairs: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError(pairs)


def _place_of_double(document: object) -> str:
    """Where the outermost key that is given twice stands, as `images[1].name`."""
    queue: deque[tuple[object, _Path]] = deque([(document, ())])
    while True:
        value, path = queue.popleft()
        if isinstance(value, _Doubled):
            return _place((path, value.key))
        queue.extend((child, (path, step)) for step, child in _children(value) if _may_hold(child))


def _children(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _may_hold(value: object) -> bool:
    return isinstance(value, (dict, list, _Doubled))


def _place(path: _Path) -> str:
    steps: list[str] = []
    while path:
        path, step = path
        plain = isinstance(step, str) and _PLAIN_KEY.fullmatch(step)
        steps.append(f".{step}" if plain else f"[{show(step)}]")
    text = "".join(reversed(steps)).removeprefix(".")
    return text if len(text) <= _SHOWN_PLACE else "…" + text[-_SHOWN_PLACE:]


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
            raise JsonError(f"{self.label}{key}: {rule}, not {show(value)}")
        return value

    def number(self, key: str, is_valid: Callable[[int], bool], rule: str) -> int:
        """The whole number of that key."""
        value = self._value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not is_valid(value):
            raise JsonError(f"{self.label}{key}: {rule}, not {show(value)}")
        return value

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise JsonError(f"{self.label}{key}: missing")
        return self.values[key]
