"""What test images hold: every byte follows from its offset, so that each that arrives can be checked."""

from __future__ import annotations

import random
from pathlib import Path

import attrs

MIB = 1 << 20
PERIOD = 1_048_573
"""After so many bytes the image repeats: a prime, so that no page, chunk or window is taken for another."""

_LONGEST = 8 * MIB


@attrs.frozen
class Content:
    """What an image of so many bytes holds."""

    size: int
    _tile: bytes = attrs.field(init=False, repr=False, factory=lambda: _tile(PERIOD + _LONGEST))

    def part(self, offset: int, length: int) -> bytes:
        """Bytes of the image, 8 MiB at most."""
        start = offset % PERIOD
        return self._tile[start : start + length]

    def wrong_bytes(self, got: bytes, offset: int = 0) -> int:
        """How many bytes are not those of the image from an offset on, however many there are."""
        return sum(
            differing(got[at : at + _LONGEST], self.part(offset + at, min(_LONGEST, len(got) - at)))
            for at in range(0, len(got), _LONGEST)
        )

    def write(self, path: Path) -> None:
        """Write the image, piece by piece."""
        with path.open("wb") as file:
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
