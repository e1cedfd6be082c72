"""The kinds of compression, recognised by the first bytes of a file."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import attrs

from aero_storage.cli.sources.decoders import (
    Decoders,
    bzip2_decoders,
    gzip_decoders,
    lz4_decoders,
    xz_decoders,
    zstd_decoders,
)

HEAD_BYTES = 64 * 1024
"""So many first bytes are looked at."""

_GZIP = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", re.DOTALL)
_XZ = re.compile(rb"\xfd7zXZ\x00", re.DOTALL)
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd", re.DOTALL)
_LZ4 = re.compile(rb"\x04\x22\x4d\x18", re.DOTALL)
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18(....)", re.DOTALL)  # frames without content, of zstd and lz4


@attrs.frozen
class Compression:
    """A kind of compression; `command` unpacks a file to standard output."""

    name: str
    suffixes: tuple[str, ...]
    command: str
    sign: re.Pattern[bytes]
    """The beginning of a frame."""
    load: Callable[[], Decoders]
    padding: int = 0
    """Zeros may follow the last frame, in multiples of this number; 0 forbids them."""
    has_skippable: bool = False

    def without_suffix(self, name: str) -> str:
        """Return the name that the content of a compressed file has."""
        suffix = next((one for one in self.suffixes if name.lower().endswith(one)), "")
        return name[: len(name) - len(suffix)] or name

    def is_start(self, head: bytes) -> bool:
        """Return whether a frame begins so."""
        return bool(self.sign.match(head) or (self.has_skippable and _SKIPPABLE.match(head)))


COMPRESSIONS = (
    Compression("gzip", (".gz", ".tgz"), "gzip -dc", _GZIP, gzip_decoders, padding=1),
    Compression("xz", (".xz", ".txz"), "xz -dc", _XZ, xz_decoders, padding=4),
    Compression("bzip2", (".bz2", ".tbz2"), "bzip2 -dc", _BZIP2, bzip2_decoders),
    Compression("zstd", (".zst", ".tzst"), "zstd -dc --long=31", _ZSTD, zstd_decoders, has_skippable=True),
    Compression("lz4", (".lz4",), "lz4 -dc", _LZ4, lz4_decoders, has_skippable=True),
)


def compression_of(head: bytes) -> Compression | None:
    """Return the compression of a file that begins so, None if it is of no kind of COMPRESSIONS."""
    head = _after_skippable(head)
    return next((one for one in COMPRESSIONS if one.sign.match(head)), None)


def _after_skippable(head: bytes) -> bytes:
    """Cut off the frames without content, with which pzstd begins."""
    while match := _SKIPPABLE.match(head):
        (length,) = struct.unpack("<I", match[1])
        head = head[match.end() + length :]
    return head
