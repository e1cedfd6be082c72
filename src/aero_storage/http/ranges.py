"""The `Range` header for one representation (RFC 9110 §14, http.md §5).

`parse_range` parses the header without the representation; `resolve` applies one range to its size.
"""

from __future__ import annotations

import enum
import re

from aero_storage.values import request_value

MAX_HEADER_LENGTH = 8 * 1024
"""Longest `Range` value that is read, in bytes."""

MAX_RANGES = 1000
"""Limit of the ranges in one header."""

_UNSIGNED_64 = 2**64
_RANGE = re.compile(r"([0-9]*)[ \t]*-[ \t]*([0-9]*)")
_PLAIN = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_BLANKS = " \t"


class RangeProblem(enum.Enum):
    """The reason why a `Range` header has no single byte range."""

    OTHER_UNIT = "other unit"
    """RFC 9110 §14.2: a range unit that is not understood is ignored."""
    BROKEN = "broken"
    MULTIPLE = "multiple"
    TOO_MANY = "too many"
    """More than MAX_RANGES."""
    OVERSIZED = "oversized"
    """The header exceeds MAX_HEADER_LENGTH."""


@request_value
class ByteRange:
    """One requested range in bytes: `first-last`, `first-` or, with `first` None, the suffix `-last`."""

    first: int | None
    last: int | None

    @property
    def open_ended(self) -> bool:
        """Whether this is `first-`: the rest of the representation."""
        return self.last is None


@request_value
class Segment:
    """A part of a representation: `length` bytes from `offset` on."""

    offset: int
    length: int


def parse_range(header: str) -> ByteRange | RangeProblem:
    """Parse a `Range` header value, independent of the size of the representation."""
    if len(header) > MAX_HEADER_LENGTH:
        return RangeProblem.OVERSIZED
    plain = _PLAIN.fullmatch(header)  # nearly all headers; the general parser takes five times as long
    if plain is not None:
        first, last = int(plain[1]), int(plain[2])
        return ByteRange(first, last) if first <= last else RangeProblem.BROKEN
    unit, equals, ranges = header.strip(_BLANKS).partition("=")
    if not equals:
        return RangeProblem.BROKEN
    if unit.strip(_BLANKS).lower() != "bytes":
        return RangeProblem.OTHER_UNIT
    return _parse_set(ranges.split(","))


def _parse_set(texts: list[str]) -> ByteRange | RangeProblem:
    if len(texts) > MAX_RANGES:
        return RangeProblem.TOO_MANY
    ranges = [_parse_one(text.strip(_BLANKS)) for text in texts]
    if None in ranges:
        return RangeProblem.BROKEN
    return ranges[0] or RangeProblem.BROKEN if len(ranges) == 1 else RangeProblem.MULTIPLE


def _parse_one(text: str) -> ByteRange | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    try:
        first, last = (_number(digits) if digits else None for digits in match.groups())
    except OverflowError:
        return None
    if first is None:
        return ByteRange(None, last) if last else None
    return ByteRange(first, last) if last is None or first <= last else None


def _number(digits: str) -> int:
    significant = digits.lstrip("0") or "0"
    # Check the length first: int() takes quadratic time on long strings of digits.
    if len(significant) > len(str(_UNSIGNED_64)) or int(significant) >= _UNSIGNED_64:
        raise OverflowError
    return int(significant)


def resolve(requested: ByteRange, size: int) -> Segment | None:
    """Apply a range to a representation of `size` bytes; None if it is not satisfiable (RFC 9110 §14.1.2)."""
    if requested.first is None:
        length = min(requested.last or 0, size)
        return Segment(size - length, length) if length else None
    if requested.first >= size:
        return None
    last = requested.last
    if last is None or last >= size:
        last = size - 1
    return Segment(requested.first, last - requested.first + 1)


def content_range(segment: Segment, size: int) -> str:
    """Return the `Content-Range` of a 206 (RFC 9110 §14.4)."""
    return f"bytes {segment.offset}-{segment.offset + segment.length - 1}/{size}"


def unsatisfied_range(size: int) -> str:
    """Return the `Content-Range` of a 416 (RFC 9110 §14.4)."""
    return f"bytes */{size}"
