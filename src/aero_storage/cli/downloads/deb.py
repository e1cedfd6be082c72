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


def read_files(package: Path, is_wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the regular files that are wanted, by their absolute paths. Raises UnavailableError."""
    try:
        with _data(package) as data, tarfile.open(fileobj=data, mode="r|*") as tar:
            return dict(_members(tar, is_wanted))
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
        raise UnavailableError(f"{package.name} is no Debian package that can be read: {error}") from error


def _members(tar: tarfile.TarFile, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        path = str(PurePosixPath("/") / member.name)
        if member.isfile() and member.size <= _MOST_MEMBER_BYTES and is_wanted(path):
            file = tar.extractfile(member)
            if file is not None:
                yield path, file.read()


@contextmanager
def _data(package: Path) -> Iterator[IO[bytes]]:
    """Open the archive of the files, which tarfile decompresses: xz, gzip or bzip2."""
    with package.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UnavailableError(f"{package.name} is no Debian package")
        while len(head := file.read(_HEAD_BYTES)) == _HEAD_BYTES:
            name, length = head[:16].rstrip(b" /"), int(head[48:58])
            if name.startswith(_DATA):
                yield io.BytesIO(file.read(length))
                return
            file.seek(length + length % 2, io.SEEK_CUR)
    raise UnavailableError(f"{package.name} has no files")
