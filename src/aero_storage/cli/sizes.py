"""Parse and format sizes in bytes: `4MiB`, `20GB`, `512`."""

from __future__ import annotations

import re
from fractions import Fraction

_BINARY = "KMGTPE"
_SIZE = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,9})?)\s*(?:([KMGTPE])(iB|B)?|B)?\s*", re.ASCII | re.IGNORECASE)
_MOST = 2**63


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
