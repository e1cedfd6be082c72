"""Detects archives and compressed files by their magic numbers: they must be unpacked before an import."""

from __future__ import annotations

import shlex

from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.terminal import printable

_TAR = (257, b"ustar")
_SIGNS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b\x08", "compressed with gzip", "gunzip --keep {}"),
    (0, b"\xfd7zXZ\x00", "compressed with xz", "unxz --keep {}"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", "unzstd {}"),
    (0, b"BZh", "compressed with bzip2", "bunzip2 --keep {}"),
    (0, b"PK\x03\x04", "a ZIP archive", "unzip {}"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x {}"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "unrar x {}"),
    (*_TAR, "a tar archive (an OVA is one)", "tar -xf {}"),
)
"""Offset, magic number, kind of file, and the command that unpacks it."""


def refuse_packed(image: ImageFile) -> None:
    """Raise OperatorError, with the command that unpacks it, if a seemingly raw image is packed."""
    for offset, magic, kind, command in _SIGNS:
        if image.read(offset, len(magic)) == magic:
            unpack = command.format(shlex.quote(printable(image.path, None)))
            image.refuse(f"is {kind}; unpack it first: {unpack}  (--format raw takes it as it is)")
