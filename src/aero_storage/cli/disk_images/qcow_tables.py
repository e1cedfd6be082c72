"""Walks the two levels of tables of qcow2 and qcow images, for the ends of the tables and of compressed clusters."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import attrs

from aero_storage.image_formats.byte_source import ByteSource

_SECTOR = 512
_MOST_TRIED = 64  # as many clusters of zeros fit into a sector
_MOST_ENTRIES = 4 * 1024 * 1024  # of level 1, as in qemu
_MOST_CLUSTER_BITS = 21  # as in qemu
_LEAST_CLUSTER_BITS = 9
_MOST_L2_BITS = 18  # of a table of 2 MiB
_QCOW2_OFFSET = 0x00FFFFFFFFFFFE00
_QCOW2_COMPRESSED = 1 << 62
_QCOW2_EXTENDED_L2 = 1 << 4
_QCOW_COMPRESSED = 1 << 63

_EndOf = Callable[[int], int]


@attrs.frozen
class _Tables:
    """Where the tables are: level 1, the length of those of level 2, and how compressed clusters are marked."""

    first: int
    entries: int
    table: int
    """Bytes of a table of level 2."""
    entry: int
    """Bytes of an entry of it; the first eight tell the place."""
    mask: int
    mark: int
    end_of: _EndOf


def qcow2_ends(image: ByteSource) -> Iterator[int]:
    """Yield ends that the file of a qcow2 image has to reach, of tables and of compressed clusters."""
    bits = image.number(">L", 20)
    features = image.number(">Q", 72) if image.number(">L", 4) > 2 else 0  # noqa: PLR2004 - version 2 ends before
    if _LEAST_CLUSTER_BITS <= bits <= _MOST_CLUSTER_BITS:
        entry = 16 if features & _QCOW2_EXTENDED_L2 else 8
        first, entries = image.number(">Q", 40), image.number(">L", 36)
        ending = _qcow2_ending(image, bits)
        yield from _ends(image, _Tables(first, entries, 1 << bits, entry, _QCOW2_OFFSET, _QCOW2_COMPRESSED, ending))


def _qcow2_ending(image: ByteSource, bits: int) -> _EndOf:
    """Return the end of a compressed cluster by its entry, which tells whole sectors.

    qemu fills the last sector of the file. Where it is not full, the bytes that are there have to give the cluster.
    """
    places = 62 - (bits - 8)
    most = (1 << (bits - 8)) - 1
    tried: dict[int, bool] = {}

    def end(value: int) -> int:
        start, more = value & ((1 << places) - 1), value >> places & most
        sectors = (start // _SECTOR + more + 1) * _SECTOR
        if not start < image.size < sectors or sectors - image.size >= _SECTOR:
            return sectors
        if start not in tried and len(tried) < _MOST_TRIED:
            tried[start] = _inflates(image.read(start, image.size - start), 1 << bits)
        return image.size if tried.get(start) else sectors

    return end


def _inflates(data: bytes, length: int) -> bool:
    """Return whether deflated data are complete; those of zstd are not known here, and only qemu writes them."""
    try:
        return len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length)) == length
    except zlib.error:
        return False


def qcow_ends(image: ByteSource) -> Iterator[int]:
    """Yield ends that the file of a qcow image has to reach, of tables and of compressed clusters."""
    cluster_bits, l2_bits = image.read(32, 2)
    if not (_LEAST_CLUSTER_BITS <= cluster_bits <= _MOST_CLUSTER_BITS and l2_bits <= _MOST_L2_BITS):
        return
    covered = 1 << (cluster_bits + l2_bits)
    entries = -(-image.number(">Q", 24) // covered)
    ending = _qcow_ending(cluster_bits)
    first = image.number(">Q", 40)
    yield first + 8 * entries
    yield from _ends(image, _Tables(first, entries, 8 << l2_bits, 8, 2**63 - 1, _QCOW_COMPRESSED, ending))


def _qcow_ending(bits: int) -> _EndOf:
    """Return the end of a compressed cluster by its entry, which tells its bytes."""
    places = 63 - bits

    def end(value: int) -> int:
        return (value & ((1 << places) - 1)) + (value >> places & ((1 << bits) - 1))

    return end


def _ends(image: ByteSource, tables: _Tables) -> Iterator[int]:
    unmarked = bytes(byte for byte in range(256) if not byte & tables.mark >> 56)
    level1 = image.read(tables.first, 8 * min(tables.entries, _MOST_ENTRIES))
    for place in {place for (value,) in struct.iter_unpack(">Q", level1) if (place := value & tables.mask)}:
        yield place + tables.table
        table = image.read(place, tables.table)
        if table[:: tables.entry].translate(None, unmarked):  # most tables have none: no loop for them
            yield from _compressed_ends(table, tables)


def _compressed_ends(table: bytes, tables: _Tables) -> Iterator[int]:
    for offset in range(0, len(table), tables.entry):
        (value,) = struct.unpack_from(">Q", table, offset)
        if value & tables.mark:
            yield tables.end_of(value)
