"""The query of a request for extents: `unit`, `offset` and `length` (http.md §14). Pure."""

from __future__ import annotations

import re

from aero_storage.http.extents.selection import DEFAULT_UNIT, Part
from aero_storage.http.queries import first_value

LEAST_UNIT = 512
MOST_UNIT = 64 * 1024 * 1024
UNIT_RULE = "unit must be a power of two from 512 to 67108864, or the image's chunk size"

_NUMBER = re.compile(r"0*+([0-9]*)")
_DIGITS = 20
_BEYOND = 1 << 64
"""Stands for numbers of more digits than any image has bytes."""


class QueryError(ValueError):
    """A value of the query is none; the message names the parameter, and has nothing from the client."""


def parse_part(query: str) -> Part:
    """Return the part that a query asks for, in any unit above 0: the caller looks at that. Raises QueryError."""
    unit = _number(query, "unit")
    if unit == 0:
        raise QueryError(UNIT_RULE)
    return Part(unit or DEFAULT_UNIT, _number(query, "offset") or 0, _number(query, "length"))


def may_be_unit(number: int) -> bool:
    """Return whether a number is a unit of some image: of every one, or the size of chunks that may be published."""
    return LEAST_UNIT <= number <= MOST_UNIT and not number % LEAST_UNIT


def is_usual_unit(number: int) -> bool:
    """Return whether a number is a unit of every image; each has the size of its chunks besides."""
    return LEAST_UNIT <= number <= MOST_UNIT and number.bit_count() == 1


def _number(query: str, name: str) -> int | None:
    text = first_value(query, name)
    if text is None:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None or not text:
        raise QueryError(f"{name} must be a whole number of bytes, in decimal digits")
    digits = match[1]
    return _BEYOND if len(digits) > _DIGITS else int(digits or "0")
