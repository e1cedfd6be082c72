"""Floppy disks of home computers are told by their file system and their size together."""

from __future__ import annotations

import random
import struct

import pytest

from aero_storage.image_formats.byte_source import sample
from aero_storage.image_formats.recognition import Recognition, recognise

NOISE = random.Random(17).randbytes(822_400)
PRODOS = b"\0\0\3\0\xf5BLANK".ljust(35, b"\0") + b"\x27\x0d"
VTOC = b"\4\x11\x0f\3\0\0\xfe".ljust(39, b"\0") + b"\x7a".ljust(13, b"\0") + b"\x23\x10\0\1"
TR_DOS = b"\0".ljust(0xE3, b"\0") + b"\x16\0\0\0\x10"

# Name, size, and where the file system has which bytes.
DISKS: list[tuple[str, int, int, bytes]] = [
    ("Commodore floppy disk", 174_848, 0x16500, b"\x12\1A\0"),
    ("Commodore floppy disk", 175_531, 0x16500, b"\x12\1A\0"),
    ("Commodore floppy disk", 196_608, 0x16500, b"\x12\1A\0"),
    ("Commodore floppy disk", 349_696, 0x16500, b"\x12\1A\x80"),
    ("Commodore floppy disk", 819_200, 0x61800, b"\x28\3D\0"),
    ("Commodore floppy disk", 822_400, 0x61800, b"\x28\3D\0"),
    ("Apple DOS 3.3", 143_360, 0x11000, VTOC),
    ("ProDOS", 143_360, 0xB00, PRODOS),
    ("ProDOS", 143_360, 0x400, PRODOS),
    ("TR-DOS", 655_360, 0x800, TR_DOS),
    ("TR-DOS", 163_840, 0x800, TR_DOS),
    ("TI-99 floppy disk", 92_160, 0, b"BLANK     " + struct.pack(">H", 360) + b"\x09DSK"),
    ("TI-99 floppy disk", 184_320, 0, b"BLANK     " + struct.pack(">H", 720) + b"\x09DSK"),
]

DECISIVE = {
    "Commodore floppy disk": (0, 1, 2),
    "Apple DOS 3.3": (1, 3, 39, 52, 53, 54, 55),
    "ProDOS": (0, 1, 2, 3, 4, 35, 36),
    "TR-DOS": (0, 0xE3, 0xE7),
    "TI-99 floppy disk": (10, 11, 13, 14, 15),
}
"""The bytes that belong to the sign, from its beginning."""


def seen(size: int, place: int, part: bytes) -> Recognition:
    data = bytearray(NOISE[:size])
    data[place : place + len(part)] = part
    return recognise(sample(lambda offset, length: bytes(data[offset : offset + length]), len(data)), "disk.img")


@pytest.mark.parametrize(("kind", "size", "place", "part"), DISKS, ids=lambda value: f"{value}"[:24])
def test_disks(kind: str, size: int, place: int, part: bytes) -> None:
    """Each is a disk; a byte further, or with any byte of its sign changed, it is none."""
    assert seen(size, place, part) == Recognition(disk=kind)
    assert seen(size, place + 1, part).disk is None
    for index in DECISIVE[kind]:
        assert seen(size, place, part[:index] + bytes([part[index] ^ 0x40]) + part[index + 1 :]).disk is None


@pytest.mark.parametrize(
    ("kind", "size", "place", "part"), [disk for disk in DISKS if disk[2] != 0x400], ids=lambda value: f"{value}"[:24]
)
def test_other_sizes(kind: str, size: int, place: int, part: bytes) -> None:
    """The same bytes in a file of another size are by chance."""
    assert seen(size - 256, place, part).disk is None, kind
