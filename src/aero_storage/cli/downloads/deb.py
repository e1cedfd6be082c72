"""Files of a Debian package (deb(5)): an `ar` archive with a compressed tar archive in it."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from aero_storage.cli.downloads.cache import UnavailableError

_MAGIC = b"!<arch>\n"
_HEAD_BYTES = 60
_DATA = b"data.tar"
_MOST_MEMBER_BYTES = 64 << 20
_MOST_WANTED_BYTES = 256 << 20
_MOST_UNPACKED_BYTES = 2 << 30
"""A kernel has 300 MB; a small package may unpack to a thousand times its size."""


def read_files(package: Path, is_wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the regular files that are wanted, by their absolute paths. Raises UnavailableError."""
    try:
        with _data(package) as data, tarfile.open(fileobj=data, mode="r|*") as tar:
            return dict(_members(tar, is_wanted))
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
        raise UnavailableError(f"{package.name} is no Debian package that can be read: {error}") from error


def _members(tar: tarfile.TarFile, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    taken = 0
    for member in tar:
        if member.offset_data + member.size > _MOST_UNPACKED_BYTES or taken > _MOST_WANTED_BYTES:
            raise ValueError("it unpacks to too much")
        path = str(PurePosixPath("/") / member.name)
        if member.isfile() and member.size <= _MOST_MEMBER_BYTES and is_wanted(path):
            file = tar.extractfile(member)
            if file is not None:
                taken += member.size
                yield path, file.read()


@contextmanager
def _data(package: Path) -> Iterator[IO[bytes]]:
    """Open the archive of the files, which tarfile decompresses: xz, gzip or bzip2."""
    with package.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UnavailableError(f"{package.name} is no Debian package")
        while len(head := file.read(_HEAD_BYTES)) == _HEAD_BYTES:
            name, length = head[:16].rstrip(b" /"), _length_in(head)
            if name.startswith(_DATA):
                yield io.BytesIO(file.read(min(length, package.stat().st_size)))
                return
            file.seek(length + length % 2, io.SEEK_CUR)
    raise UnavailableError(f"{package.name} has no files")


def _length_in(head: bytes) -> int:
    """Return the length of a member; one below 0 would lead back to its own head."""
    text = head[48:58].rstrip(b" ")
    if not text.isdigit():
        raise ValueError("a length is no number")
    return int(text)
