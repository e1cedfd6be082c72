"""Disk images for the view of an image: with partitions, private, damaged, hostile, of 2 TiB."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import zlib
from typing import TYPE_CHECKING

from tests.browser.served import operate
from tests.lease_tokens import KEYS

if TYPE_CHECKING:
    from pathlib import Path

MIB, TIB = 1 << 20, 1 << 40
SECTOR = 512
SIZE, HUGE = 8 * MIB, 2 * TIB
NEEDLE, NEEDLE_AT = b"needle<b>", 3 * MIB - 3
FAR_AT = HUGE - 4096
MARKUP = b"<script>globalThis.ran = 1</script>"
LABEL = "<img src=x id=y>"
CHUNK_SIZE = 256 << 10
DAMAGED_CHUNK = 12


def partition(kind: int, start: int, count: int, status: int = 0) -> bytes:
    """Return an entry of a master boot record."""
    return struct.pack("<B3xB3xII", status, kind, start, count)


def boot_record(*entries: bytes) -> bytes:
    """Return a first sector: a jump, a name, a text, these entries."""
    code = b"\xeb\x3c\x90MSDOS5.0".ljust(64, b"\0") + b"Missing operating system\0"
    return code.ljust(446, b"\0") + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def superblock(label: str) -> bytes:
    """Return the head of an ext2 with a label."""
    block = bytearray(1024)
    struct.pack_into("<H", block, 56, 0xEF53)
    block[120:136] = label.encode()[:16].ljust(16, b"\0")
    return bytes(block)


def guid_table(size: int, name: str) -> dict[int, bytes]:
    """Return a primary GPT with one partition of this name, by the offsets of its parts."""
    entry = bytes(range(1, 17)) + bytes(range(16)) + struct.pack("<QQQ", 40, 60, 0) + name.encode("utf-16le")[:72]
    entries = entry.ljust(128 * 128, b"\0")
    fields = (1, size // SECTOR - 1, 34, size // SECTOR - 34, bytes(16), 2, 128, 128, zlib.crc32(entries))
    rest = struct.pack("<QQQQ16sQIII", *fields)
    head = struct.pack("<8sIIII", b"EFI PART", 0x10000, 92, 0, 0) + rest
    head = struct.pack("<8sIIII", b"EFI PART", 0x10000, 92, zlib.crc32(head), 0) + rest
    return {0: boot_record(partition(0xEE, 1, 0xFFFFFFFF)), SECTOR: head, 2 * SECTOR: entries}


def write_sparse(path: Path, size: int, pieces: dict[int, bytes]) -> Path:
    """Write a file with these pieces, and holes between them."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            os.pwrite(file.fileno(), data, offset)
    return path


def disk_pieces() -> dict[int, bytes]:
    """Return a disk with two partitions: an ext2 with a hostile label, and one of unknown content."""
    return {
        0: boot_record(partition(0x83, 2048, 4096, 0x80), partition(0x0C, 8192, 2048)),
        MIB + 1024: superblock(LABEL),
        2 * MIB: MARKUP,
        NEEDLE_AT: NEEDLE,
        4 * MIB: random.Random(16).randbytes(MIB),
    }


def hostile_pieces() -> dict[int, bytes]:
    """Return a disk whose every text is markup, with marks that lead into many readers."""
    noise = bytearray(random.Random(52).randbytes(80_000))
    for offset, mark in guid_table(SIZE, "<svg onload=ran=1>").items():
        noise[offset : offset + len(mark)] = mark
    for offset, mark in {32769: b"CD001", 65600: b"_BHRfS_M", 65536 + 0x12B: MARKUP}.items():
        noise[offset : offset + len(mark)] = mark
    return {0: bytes(noise), 40 * SECTOR + 1024: superblock("\u202e<b>&amp;")}


def fill_root(home: Path) -> None:
    """Make the images below `home`, with a catalog, chunks, a lease key and a damaged chunk."""
    root, source = home / "images", home / "source.raw"
    root.mkdir()
    write_sparse(source, SIZE, disk_pieces())
    put_profile(root / "profiles" / "disk", hashlib.sha256(source.read_bytes()).hexdigest())
    for image_id in ("disk", "damaged", "moving"):
        operate(root, "import", source, "--id", image_id, "--format", "raw")
    operate(root, "import", source, "--id", "secret", "--format", "raw", "--private")
    for image_id in ("disk", "damaged"):
        operate(root, "publish", image_id, "--chunk-size", "256KiB")
    operate(root, "import", write_sparse(source, SIZE, hostile_pieces()), "--id", "hostile", "--format", "raw")
    (chunk,) = root.glob(f"chunked/damaged/**/{DAMAGED_CHUNK:08}.bin")
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    put_huge(root)
    keys = home / "keys.json"
    keys.write_bytes(KEYS)
    keys.chmod(0o600)


def put_profile(directory: Path, digest: str) -> None:
    """Write a boot profile of three parts of 64 KiB."""
    version = f"sha256-{digest}"
    profile = {
        "schema": "aero.profile.v1",
        "image_id": "disk",
        "version": version,
        "name": "boot",
        "unit": 65536,
        "sessions": 1,
        "recorded": "2026-11-28T12:00:00Z",
        "seconds": 30,
        "bytes": 3 * 65536,
        "ranges": [[0, 1, 0, 100], [64, 2, 10, 100]],
    }
    (directory / version).mkdir(parents=True)
    (directory / version / "boot.json").write_text(json.dumps(profile), encoding="utf-8")


def put_huge(root: Path) -> None:
    """Add an image of 2 TiB, which is a hole for the most part, as a file that no command has read."""
    table = boot_record(partition(0x83, 2048, 0xFFFFFFFF - 2048))
    write_sparse(root / "huge.raw", HUGE, {0: table, MIB + 1024: superblock("huge"), FAR_AT: b"far away"})
    path = root / "manifest.json"
    catalog = json.loads(path.read_bytes())
    catalog["images"].append({"id": "huge", "name": "Two tebibytes", "file": "huge.raw", "public": True})
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(catalog), encoding="utf-8")
    fresh.replace(path)
