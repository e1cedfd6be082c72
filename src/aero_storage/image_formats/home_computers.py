"""The signs of floppy disks of home computers: file systems at fixed places of disks of fixed sizes."""

from __future__ import annotations

from collections.abc import Callable

from aero_storage.image_formats.byte_source import ByteSource

_SECTOR = 256
_D64_MAP, _D81_MAP = 0x16500, 0x61800
# With and without a byte for each sector that tells its errors.
_D64_SIZES = frozenset({174_848, 175_531, 196_608, 197_376, 349_696, 351_062})
_D81_SIZES = frozenset({819_200, 822_400})
_APPLE_SIZE = 35 * 16 * _SECTOR
_APPLE_TRACKS = b"\x23\x10\0\1"  # 35 of them, 16 sectors, of 256 bytes
_PRODOS_SECTOR = 11 * _SECTOR
_TR_DOS_SIZES = frozenset(tracks * 16 * _SECTOR for tracks in (40, 80, 160))


def is_prodos_at(source: ByteSource, place: int) -> bool:
    """Return whether the directory of a ProDOS volume begins at this offset."""
    is_volume = source.read(place, 4) == b"\0\0\3\0" and source.number("B", place + 4) >> 4 == 0xF  # noqa: PLR2004
    return is_volume and source.read(place + 35, 2) == b"\x27\x0d"  # length of an entry, entries in a block


def _is_commodore(source: ByteSource) -> bool:
    """Return whether the block availability map is there: it begins with the place of the directory and a version."""
    if source.size in _D64_SIZES:
        return source.read(_D64_MAP, 3) == b"\x12\1A"
    return source.size in _D81_SIZES and source.read(_D81_MAP, 3) == b"\x28\3D"


def _is_apple_dos(source: ByteSource) -> bool:
    """Return whether track 17 begins with a table of contents of DOS 3.3."""
    table = source.read(17 * 16 * _SECTOR, 56)
    is_table = table[1] == 17 and table[3] == 3 and table[39] == 122  # noqa: PLR2004 - track, DOS 3, pairs in a list
    return source.size == _APPLE_SIZE and is_table and table[52:56] == _APPLE_TRACKS


def _is_prodos_in_sectors(source: ByteSource) -> bool:
    """Return whether there is a ProDOS volume whose sectors are in the order of DOS 3.3."""
    return source.size == _APPLE_SIZE and is_prodos_at(source, _PRODOS_SECTOR)


def _is_tr_dos(source: ByteSource) -> bool:
    is_known = source.size in _TR_DOS_SIZES and 0x16 <= source.number("B", 0x8E3) <= 0x19  # noqa: PLR2004 - kinds of disk
    return is_known and source.number("B", 0x8E7) == 0x10 and not source.number("B", 0x800)  # noqa: PLR2004


def _is_ti_99(source: ByteSource) -> bool:
    return source.read(13, 3) == b"DSK" and source.number(">H", 10) * _SECTOR == source.size


RULES: tuple[tuple[str, Callable[[ByteSource], bool]], ...] = (
    ("ProDOS", lambda source: is_prodos_at(source, 1024)),
    ("ProDOS", _is_prodos_in_sectors),
    ("Commodore floppy disk", _is_commodore),
    ("Apple DOS 3.3", _is_apple_dos),
    ("TR-DOS", _is_tr_dos),
    ("TI-99 floppy disk", _is_ti_99),
)
"""Name, and whether a file is such a disk."""
