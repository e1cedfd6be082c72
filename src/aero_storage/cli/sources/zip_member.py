"""A disk out of a ZIP archive, which has to be a file: its directory is at the end."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import attrs
from typing_extensions import override

from aero_storage.cli.sources.members import (
    HEAD_BYTES,
    Choice,
    Listing,
    Member,
    has_disk_content,
    has_disk_name,
    is_litter,
)
from aero_storage.cli.sources.stream import Peekable
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError

_MOST_DIRECTORY = 4 * 1024 * 1024
"""Limit of the bytes of the directory: zipfile reads it as a whole, and makes an object of each of its entries."""

_ENCRYPTED = 0x1
# zipfile bounds the output of these alone: 1 MiB of the others may become gigabytes at once.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_FAULTS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
"""Exceptions of zipfile; OSError comes from places in the file that are none, such as negative ones."""


class _BoundedFile(io.FileIO):
    """A file of which no large piece is read at once."""

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        most = _MOST_DIRECTORY + 1 if size is None or size < 0 else size
        if most > _MOST_DIRECTORY + 1:
            raise zipfile.BadZipFile("its directory is too long")
        return super().read(most)


def is_zip(head: bytes) -> bool:
    """Return whether a file that begins so is a ZIP archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK\x03\x04"))


@contextmanager
def zip_disk(name: str, descriptor: int, choice: Choice) -> Iterator[Member]:
    """Read the wanted disk in a ZIP archive during a with block; `name` is the archive's in messages.

    Raises OperatorError if there is not exactly one, or it cannot be read.
    """
    with _BoundedFile(descriptor, closefd=False) as file:
        try:
            archive = zipfile.ZipFile(file)
        except _FAULTS as error:
            raise _damaged(name, error) from error
        with archive:
            info = _wanted(name, archive, choice)
            _require_readable(name, info)
            with _opened(name, archive, info) as content:
                yield Member(info.filename, info.file_size, Peekable(_Content(name, info.file_size, content)))


def _wanted(name: str, archive: zipfile.ZipFile, choice: Choice) -> zipfile.ZipInfo:
    listing, found = Listing(name, choice), list[zipfile.ZipInfo]()
    for info in archive.infolist():
        is_file = not info.filename.endswith("/") and info.file_size > 0 and not is_litter(info.filename)
        is_disk = is_file and (has_disk_name(info.filename) or has_disk_content(_head(archive, info)))
        if listing.take(info.filename, info.file_size, is_disk=is_disk, is_file=is_file):
            found.append(info)
    if len(found) != 1:
        listing.refuse()
    return found[0]


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the first bytes of a member; none if it cannot be read."""
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
        return b""
    try:
        with archive.open(info) as content:
            return content.read(HEAD_BYTES)
    except _FAULTS:
        return b""


def _require_readable(name: str, info: zipfile.ZipInfo) -> None:
    member = printable(info.filename)
    if info.flag_bits & _ENCRYPTED:
        raise OperatorError(f"{name}: {member} is encrypted; unpack it first")
    if info.compress_type not in _METHODS:
        method = info.compress_type
        raise OperatorError(f"{name}: {member} is compressed by method {method}; unpack it first: 7z x FILE")


@contextmanager
def _opened(name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    try:
        content = archive.open(info)
    except _FAULTS as error:
        raise _damaged(name, error) from error
    with content:
        yield content


@attrs.define
class _Content:
    """The content of a member; zipfile checks its CRC."""

    _name: str
    _left: int
    _file: IO[bytes]

    def read(self, most: int, /) -> bytes:
        try:
            data = self._file.read(most)
        except _FAULTS as error:
            raise _damaged(self._name, error) from error
        self._left -= len(data)
        if not data and self._left:
            raise _damaged(self._name, EOFError("the disk in it is cut short"))
        return data


def _damaged(name: str, error: Exception) -> OperatorError:
    reason = printable(str(error)) or "it is cut short"
    return OperatorError(f"{name}: the ZIP archive is damaged: {reason}; copy it here again")
