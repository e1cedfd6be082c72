"""A disc that starts a kernel, as a CD and as a hard disk: ISO 9660 with ISOLINUX, made without other programs.

ECMA-119 has the file system, "El Torito" the start from a CD; the start from a disk is that of isohybrid: a first
sector which knows where ISOLINUX lies, and a partition table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import accumulate

import attrs

from aero_storage.errors import OperatorError

SECTOR, BLOCK, ALIGNED = 512, 2048, 1 << 20
LOADER, LOADER_CODE, CONFIGURATION = "ISOLINUX.BIN", "LDLINUX.C32", "ISOLINUX.CFG"
_DESCRIPTOR, _PATHS_L, _PATHS_M, _ROOT, _CATALOG, _FIRST_FILE = 16, 19, 20, 21, 22, 23
_HYBRID_SIGN = b"\xfb\xc0\x78\x70"
_HYBRID_SIGN_AT, _INFO_TABLE, _INFO_TABLE_END = 64, 8, 64
_CODE_BYTES, _LOADER_AT = 432, 432
_DISC_ID = b"AERO"
_ISO, _LINUX = 0x17, 0x83
_NO_TIME = bytes(7)
_NO_DATE = b"0" * 16 + b"\0"


@attrs.frozen
class _Placed:
    """A file of the disc: its name, its first block, its bytes."""

    name: str
    block: int
    data: bytes


def make_disc(first_sector: bytes, files: Mapping[str, bytes], root: bytes = b"") -> bytes:
    """Return a disc with these files, by names of 8 and 3 capital letters, and `root` as its second partition.

    `first_sector` and the file LOADER are those of ISOLINUX. Raises OperatorError if they are of another kind.
    """
    placed = list(_place(files))
    loader = next(file for file in placed if file.name == LOADER)
    if len(first_sector) != _CODE_BYTES or not loader.data.startswith(_HYBRID_SIGN, _HYBRID_SIGN_AT):
        raise OperatorError("this ISOLINUX cannot start from a hard disk")
    blocks = placed[-1].block + _blocks(placed[-1].data)
    size = -(-blocks * BLOCK // ALIGNED) * ALIGNED
    disc = bytearray(size)
    for at, data in _structures(placed, loader, size // BLOCK):
        disc[at * BLOCK : at * BLOCK + len(data)] = data
    for file in placed:
        data = _with_info_table(file) if file is loader else file.data
        disc[file.block * BLOCK : file.block * BLOCK + len(data)] = data
    disc[:SECTOR] = _first_sector(first_sector, loader, size, len(root))
    return bytes(disc) + root


def _place(files: Mapping[str, bytes]) -> Iterator[_Placed]:
    names = sorted(files)
    starts = accumulate((_blocks(files[name]) for name in names), initial=_FIRST_FILE)
    return (_Placed(name, start, files[name]) for name, start in zip(names, starts, strict=False))


def _blocks(data: bytes) -> int:
    return -(-len(data) // BLOCK)


def _structures(placed: list[_Placed], loader: _Placed, blocks: int) -> Iterator[tuple[int, bytes]]:
    """Yield what describes the disc, each with its block."""
    yield _DESCRIPTOR, _primary_descriptor(blocks)
    yield _DESCRIPTOR + 1, b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", _CATALOG)
    yield _DESCRIPTOR + 2, b"\xffCD001\x01"
    yield _PATHS_L, b"\x01\0" + struct.pack("<IH", _ROOT, 1) + b"\0\0"
    yield _PATHS_M, b"\x01\0" + struct.pack(">IH", _ROOT, 1) + b"\0\0"
    yield _ROOT, _directory(placed)
    yield _CATALOG, _boot_catalog(loader)


def _primary_descriptor(blocks: int) -> bytes:
    """Return the descriptor of the volume (ECMA-119 §8.4)."""
    return b"".join(
        (
            b"\x01CD001\x01\0",
            b"LINUX".ljust(32),
            b"AERO_STORAGE".ljust(32),
            bytes(8),
            _both(blocks),
            bytes(32),
            *(struct.pack("<H", value) + struct.pack(">H", value) for value in (1, 1, BLOCK)),
            _both(10),  # bytes of a path table
            struct.pack("<II", _PATHS_L, 0),
            struct.pack(">II", _PATHS_M, 0),
            _record(b"\0", _ROOT, BLOCK, is_directory=True),
            b" " * (128 * 4 + 37 * 3),
            _NO_DATE * 4,
            b"\x01",
        )
    )


def _directory(placed: list[_Placed]) -> bytes:
    itself = (_record(name, _ROOT, BLOCK, is_directory=True) for name in (b"\0", b"\x01"))
    files = (_record(f"{file.name};1".encode(), file.block, len(file.data)) for file in placed)
    directory = b"".join((*itself, *files))
    if len(directory) > BLOCK:
        raise OperatorError("the disc has too many files")
    return directory


def _record(name: bytes, block: int, length: int, *, is_directory: bool = False) -> bytes:
    """Return a directory record (ECMA-119 §9.1)."""
    padded = name + bytes(1 - len(name) % 2)
    flags = 2 if is_directory else 0
    facts = _NO_TIME + bytes((flags, 0, 0)) + b"\x01\0\0\x01" + bytes((len(name),))
    rest = _both(block) + _both(length) + facts + padded
    return bytes((len(rest) + 2, 0)) + rest


def _both(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _boot_catalog(loader: _Placed) -> bytes:
    """Return the catalog of what a CD starts: one entry, without emulation of a floppy ("El Torito" §2)."""
    validation = bytearray(b"\x01" + bytes(27) + b"\0\0\x55\xaa")
    words = struct.unpack("<16H", validation)
    struct.pack_into("<H", validation, 28, -sum(words) & 0xFFFF)
    return bytes(validation) + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, loader.block).ljust(32, b"\0")


def _with_info_table(loader: _Placed) -> bytes:
    """Return ISOLINUX with the table that tells it where it lies (mkisofs's `-boot-info-table`)."""
    data = bytearray(loader.data)
    padded = bytes(data[_INFO_TABLE_END:]) + bytes(-len(data) % 4)
    checksum = sum(word for (word,) in struct.iter_unpack("<I", padded)) & 0xFFFFFFFF
    table = struct.pack("<IIII", _DESCRIPTOR, loader.block, len(data), checksum)
    data[_INFO_TABLE:_INFO_TABLE_END] = table.ljust(_INFO_TABLE_END - _INFO_TABLE, b"\0")
    return bytes(data)


def _first_sector(code: bytes, loader: _Placed, size: int, root_size: int) -> bytes:
    """Return the sector that a PC starts from a hard disk, with its partition table."""
    where = struct.pack("<II", loader.block * (BLOCK // SECTOR), 0)
    root = _partition(0, _LINUX, size, root_size) if root_size else bytes(16)
    table = _partition(0x80, _ISO, 0, size) + root + bytes(32)
    return code[:_LOADER_AT] + where + _DISC_ID + b"\0\0" + table + b"\x55\xaa"


def _partition(active: int, kind: int, start: int, length: int) -> bytes:
    no_cylinders = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", active, no_cylinders, kind, no_cylinders, start // SECTOR, length // SECTOR)
