"""Compares the places that an image's header names with the length of its file: qemu reads zeros past the end."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from aero_storage.cli.disk_images.formats import ImageFile, refuse_cut
from aero_storage.cli.disk_images.qcow_tables import qcow2_ends, qcow_ends
from aero_storage.cli.terminal import printable
from aero_storage.image_formats.containers import PARALLELS_OLD, SECTOR, udif_trailer

_QCOW2_EXTENSIONS = 100
_QCOW2_BITMAPS = 0x23852875
_QCOW2_MOST_EXTENSIONS = 1 << 16
_BITMAP_ENTRY = 24
_MOST_BITMAPS = 65535  # as in qemu
_PARALLELS_TABLE = 64
_PARALLELS_MOST_CLUSTERS = 1 << 24  # of 1 MiB: 16 TiB
_BOCHS_MOST_EXTENTS = 1 << 20  # as in qemu
_BOCHS_FREE = 2**32 - 1


def refuse_cut_short(image: ImageFile, name: str) -> None:
    """Raise OperatorError if this file of format `name` ends before a part that its header names."""
    check = _CHECKS.get(name)
    if check is not None:
        check(image)


def _check_qcow2(image: ImageFile) -> None:
    """Look for the ends of the tables, which qemu-img tells of in words that do not say that the file is cut."""
    if any(end > image.size for end in chain(_qcow2_ends(image), qcow2_ends(image))):
        refuse_cut(image)


def _check_qcow(image: ImageFile) -> None:
    if any(end > image.size for end in qcow_ends(image)):
        refuse_cut(image)


def _qcow2_ends(image: ImageFile) -> Iterator[int]:
    yield image.number(">Q", 40) + 8 * image.number(">L", 36)  # level 1
    yield image.number(">Q", 48) + 8 * bool(image.number(">L", 56))  # reference counts
    yield image.number(">Q", 64) + bool(image.number(">L", 60))  # snapshots
    if image.number(">L", 4) > 2:  # noqa: PLR2004 - version 2 has no header extensions
        for kind, place in _qcow2_extensions(image):
            if kind == _QCOW2_BITMAPS:
                yield from _bitmap_ends(image, place)


def _qcow2_extensions(image: ImageFile) -> Iterator[tuple[int, int]]:
    """Yield type and place of the header extensions: type, length, data in steps of eight bytes."""
    offset = image.number(">L", _QCOW2_EXTENSIONS)
    end = min(image.size, _QCOW2_MOST_EXTENSIONS)
    while offset < end and (kind := image.number(">L", offset)):
        yield kind, offset + 8
        offset += 8 + (image.number(">L", offset + 4) + 7) // 8 * 8


def _bitmap_ends(image: ImageFile, place: int) -> Iterator[int]:
    """Yield the ends of the directory of the bitmaps, and of the table of each."""
    count, size, start = image.number(">L", place), image.number(">Q", place + 8), image.number(">Q", place + 16)
    yield start + size
    offset = start
    for _ in range(min(count, _MOST_BITMAPS)):
        yield image.number(">Q", offset) + 8 * image.number(">L", offset + 8)
        name, extra = image.number(">H", offset + 18), image.number(">L", offset + 20)
        offset += (_BITMAP_ENTRY + extra + name + 7) // 8 * 8


def _check_bochs(image: ImageFile) -> None:
    kind, how = image.text(32, 16), image.text(48, 16)
    if (kind, how) != ("Redolog", "Growing"):
        shown = printable(f"{kind} {how}")
        image.refuse(f"is a Bochs image of the kind {shown}, which needs another image; commit it by bximage first")
    header, count, bitmap, extent = struct.unpack("<LLLL", image.read(68, 16))
    catalog = image.read(header, 4 * min(count, _BOCHS_MOST_EXTENTS))
    used = [entry for (entry,) in struct.iter_unpack("<L", catalog) if entry != _BOCHS_FREE]
    each = _whole_sectors(bitmap) + _whole_sectors(extent)
    if header + 4 * count + (max(used, default=-1) + 1) * each > image.size:
        refuse_cut(image)


def _whole_sectors(size: int) -> int:
    return (size + SECTOR - 1) // SECTOR * SECTOR


def _check_parallels(image: ImageFile) -> None:
    """Look for the end of the cluster that is the last in the file; `qemu-img check` of 7.2 misses that it is cut."""
    cluster, count, sectors = struct.unpack("<LLQ", image.read(28, 16))
    table = array("I", image.read(_PARALLELS_TABLE, 4 * min(count, _PARALLELS_MOST_CLUSTERS)))
    if sys.byteorder == "big":
        table.byteswap()
    last = max(table, default=0)
    if last:
        unit = 1 if image.read(0, 16) == PARALLELS_OLD else cluster  # of the offsets, in sectors
        length = min(cluster, sectors - table.index(last) * cluster)  # the end of the disk may cut its cluster
        if (last * unit + length) * SECTOR > image.size:
            refuse_cut(image)


def _check_dmg(image: ImageFile) -> None:
    trailer = udif_trailer(image)
    if image.number(">L", trailer + 60) > 1:
        image.refuse(
            "is one part of a DMG in several; convert it on a Mac, where all parts are: "
            "hdiutil convert FIRST-PART.dmg -format UDTO -o disk"
        )
    ends = (image.number(">Q", trailer + at) + image.number(">Q", trailer + at + 8) for at in (24, 216))
    if any(end > trailer for end in ends):  # of the data, of the property list
        refuse_cut(image)


_CHECKS: Mapping[str, Callable[[ImageFile], None]] = {
    "qcow2": _check_qcow2,
    "qcow": _check_qcow,
    "bochs": _check_bochs,
    "parallels": _check_parallels,
    "dmg": _check_dmg,
}
