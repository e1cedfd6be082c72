"""The disk: boot code, a partition table, and two partitions at boundaries of 1 MiB."""

from __future__ import annotations

import os
import struct
from pathlib import Path

SECTOR, ALIGNED = 512, 2048
FAT16, LINUX = 0x0E, 0x83
BOOT_CODE = 440
HIDDEN_SECTORS = 0x1C
"""Where FAT's boot sector says at which sector its partition begins."""


def write_disk(path: Path, boot_code: bytes, boot: bytes, root: bytes) -> None:
    """Write the disk; zeros are left out as holes."""
    first, second = ALIGNED, ALIGNED + len(boot) // SECTOR
    partition = bytearray(boot)
    struct.pack_into("<I", partition, HIDDEN_SECTORS, first)
    with path.open("wb") as file:
        file.write(_first_sector(boot_code, (first, len(boot)), (second, len(root))))
        _write_sparse(file.fileno(), first * SECTOR, bytes(partition))
        _write_sparse(file.fileno(), second * SECTOR, root)


def _first_sector(code: bytes, boot: tuple[int, int], root: tuple[int, int]) -> bytes:
    table = _entry(0x80, FAT16, *boot) + _entry(0, LINUX, *root) + bytes(32)
    return code[:BOOT_CODE].ljust(BOOT_CODE, b"\0") + b"AERO\0\0" + table + b"\x55\xaa"


def _entry(active: int, kind: int, start: int, length: int) -> bytes:
    no_cylinders = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", active, no_cylinders, kind, no_cylinders, start, length // SECTOR)


def _write_sparse(descriptor: int, start: int, data: bytes, unit: int = 4096) -> None:
    os.ftruncate(descriptor, start + len(data))
    for at in range(0, len(data), unit):
        part = data[at : at + unit]
        if part.count(0) < len(part):
            os.pwrite(descriptor, part, start + at)
