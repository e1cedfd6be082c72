"""Images in formats that qemu-img reads and does not write, made from their specifications."""

from __future__ import annotations

import base64
import struct
import zlib

_SECTOR = 512
_MI = 1 << 20
_ZERO, _RAW, _ZLIB, _END = 0, 1, 0x80000005, 0xFFFFFFFF


def bochs(disk: bytes) -> bytes:
    """Return a growing redolog of Bochs: extents of 1 MiB behind a bitmap of their sectors, none for zeros."""
    parts = [disk[start : start + _MI] for start in range(0, len(disk), _MI)]
    catalog, extents = [], b""
    for part in parts:
        catalog.append(len(extents) // (_MI + _SECTOR) if any(part) else 2**32 - 1)
        if any(part):
            extents += _bitmap(part).ljust(_SECTOR, b"\0") + part.ljust(_MI, b"\0")
    head = struct.pack("<32s16s16s", b"Bochs Virtual HD Image", b"Redolog", b"Growing")
    head += struct.pack("<LLLLLLQ", 0x20000, 512, len(parts), _MI // _SECTOR // 8, _MI, 0, len(disk))
    return head.ljust(512, b"\0") + struct.pack(f"<{len(catalog)}L", *catalog) + extents


def _bitmap(part: bytes) -> bytes:
    bits = 0
    for sector in range(len(part) // _SECTOR):
        bits |= any(part[sector * _SECTOR : (sector + 1) * _SECTOR]) << sector
    return bits.to_bytes(_MI // _SECTOR // 8, "little")


def dmg(disk: bytes) -> bytes:
    """Return a compressed UDIF of Apple's: chunks of 1 MiB, their table in a property list, and a trailer."""
    data, entries = b"", b""
    for start in range(0, len(disk), _MI):
        part = disk[start : start + _MI]
        packed = zlib.compress(part)
        kind, stored = (_ZERO, b"") if not any(part) else (_ZLIB, packed) if len(packed) < len(part) else (_RAW, part)
        entries += struct.pack(">LLQQQQ", kind, 0, start // _SECTOR, len(part) // _SECTOR, len(data), len(stored))
        data += stored
    sectors = len(disk) // _SECTOR
    entries += struct.pack(">LLQQQQ", _END, 0, sectors, 0, len(data), 0)
    table = struct.pack(">4sLQQQLL", b"mish", 1, 0, sectors, 0, 2056, 0).ljust(200, b"\0")
    table += struct.pack(">L", len(entries) // 40) + entries
    listed = _property_list(table)
    head = struct.pack(">4sLLL", b"koly", 4, 512, 1) + struct.pack(">QQQQQLL", 0, 0, len(data), 0, 0, 1, 1)
    trailer = head.ljust(216, b"\0") + struct.pack(">QQ", len(data), len(listed))
    return data + listed + trailer.ljust(492, b"\0") + struct.pack(">Q", sectors).ljust(20, b"\0")


def _property_list(table: bytes) -> bytes:
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict><key>resource-fork</key><dict>'
        b"<key>blkx</key><array><dict><key>Attributes</key><string>0x0050</string><key>Data</key><data>\n"
        + base64.b64encode(table)
        + b"\n</data><key>ID</key><string>0</string></dict></array></dict></dict></plist>\n"
    )
