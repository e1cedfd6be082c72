"""The image of the soak: every byte follows from its offset, so that each that arrives can be checked."""

from __future__ import annotations

import random
from pathlib import Path

import attrs
from bench.data import HOT, MIB

PERIOD = 1_048_573
"""After so many bytes the image repeats: a prime, so that no page, chunk or window is taken for another."""

_LONGEST = 8 * MIB


@attrs.frozen
class Content:
    """What the image holds."""

    size: int
    _tile: bytes = attrs.field(init=False, repr=False, factory=lambda: _tile(PERIOD + _LONGEST))

    def part(self, offset: int, length: int) -> bytes:
        """Bytes of the image, 8 MiB at most."""
        start = offset % PERIOD
        return self._tile[start : start + length]

    def write(self, root: Path) -> None:
        """Make the image under the name by which the benchmark's servers are asked whether they answer."""
        with (root / HOT).open("wb") as file:
            for offset in range(0, self.size, _LONGEST):
                file.write(self.part(offset, min(_LONGEST, self.size - offset)))


def _tile(size: int) -> bytes:
    period = random.Random(PERIOD).randbytes(PERIOD)
    return (period * (size // PERIOD + 1))[:size]


def differing(got: bytes, wanted: bytes) -> int:
    """How many bytes are not as they should be; missing ones count."""
    if got == wanted:
        return 0
    return sum(one != other for one, other in zip(got, wanted, strict=False)) + abs(len(wanted) - len(got))
