"""Parse and format sizes in bytes, `4MiB`, `20GB`, `512`, and spans of time, `24h`, `90m`, `30s`."""

from __future__ import annotations

import re
from fractions import Fraction

_BINARY = "KMGTPE"
_SIZE = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,9})?)\s*(?:([KMGTPE])(iB|B)?|B)?\s*", re.ASCII | re.IGNORECASE)
_MOST = 2**63
_SPAN = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([smhd]?)\s*", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int:
    """Return bytes: `KiB`, `MiB`, … and bare `K`, `M`, … are powers of 1,024, `kB`, `MB`, … powers of 1,000.

    Raises ValueError, with a message that completes "… is", if the text is not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("no size; write it like 4MiB, 20GB or 1048576")
    number, prefix, unit = match.groups()
    power = _BINARY.index(prefix.upper()) + 1 if prefix else 0
    size = Fraction(number) * (1000 if (unit or "").upper() == "B" else 1024) ** power
    if size.denominator != 1:
        raise ValueError("no whole number of bytes")
    if size >= _MOST:
        raise ValueError("too large")
    return int(size)


def parse_span(text: str) -> float:
    """Return seconds: `90`, `90s`, `30m`, `24h` or `7d`. Raises ValueError, whose message completes "… is"."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError("no span of time; write it like 24h, 30m or 90s")
    return float(match[1]) * _SECONDS[match[2]]


def format_span(seconds: float) -> str:
    """Return a span of time: `24 h`, `30 min`, `1.5 s`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and not seconds % size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def format_size(size: float) -> str:
    """Return a size with about three digits: `512 B`, `4 MiB`, `19.6 GiB`."""
    value, unit = float(size), ""
    for letter in _BINARY:
        if round(value, _digits(value)) < 1024:  # noqa: PLR2004 - one of the next unit
            break
        value, unit = value / 1024, f"{letter}i"
    digits = _digits(value) if unit and value != int(value) else 0
    return f"{value:.{digits}f} {unit}B"


def _digits(value: float) -> int:
    return 0 if value >= 99.95 else 1  # noqa: PLR2004 - three digits after rounding
