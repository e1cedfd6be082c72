"""Bytes that an import takes for a raw disk."""

from __future__ import annotations

import random

_BOOT_SIGNATURE = b"\x55\xaa"


def bootable(data: bytes) -> bytes:
    """Return these bytes with a boot signature in the first sector."""
    return data[:510] + _BOOT_SIGNATURE + data[512:]


def noise_disk(seed: int, size: int) -> bytes:
    """Return a disk of noise."""
    return bootable(random.Random(seed).randbytes(size))
