"""A disk out of a tar archive (an OVA is one), which is read forward; nothing of it becomes a file or a path.

The archive may be hostile, and tarfile trusts it: it reads records into memory as a whole, takes any damaged header
for the end, and spins over a member that claims to be longer than the file. So headers are bounded in size, number
and order here, an end before the archive's end is an error, and the rest behind the disk is read and judged as well.
"""

from __future__ import annotations

import tarfile
from contextlib import suppress
from itertools import pairwise
from typing import IO, Self, cast

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
from aero_storage.cli.sources.stream import MOST_PADDING, PIECE, Peekable
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.sizes import format_size

_BUFFER = 64 * 1024
_MOST_HEADERS = 4 * 1024 * 1024
"""Limit of bytes between two members, and of the records of all members."""

_LONGEST_RECORD = 16 * 1024  # an expression of tarfile takes a second for 16 KiB of digits, four times that for 32
_RECORDS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_FAULTS = (tarfile.TarError, ValueError, KeyError, IndexError, OverflowError, RecursionError)


class _DamagedError(Exception):
    """The archive is damaged or hostile; the message completes "the tar archive is damaged: "."""


class _Header(tarfile.TarInfo):
    """A header that is checked before tarfile acts on it; each archive has a class of its own."""

    is_end = False
    """Whether the last header is the mark of the end: zeros."""
    records = 0
    """Bytes of all records: long names, attributes."""

    @classmethod
    @override
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        cls.is_end = not any(buf)
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if cls.is_end:
                raise
            raise _DamagedError(str(error)) from error
        if header.type in _RECORDS:
            cls.records += header.size
            if not 0 <= header.size <= _LONGEST_RECORD or cls.records > _MOST_HEADERS:
                raise _DamagedError("the names or attributes of its members are too long")
        return header


@attrs.define
class _Input:
    """The bytes of the archive, for tarfile, which gets an error in place of an end: it would ask for ever."""

    _stream: Peekable
    _position: int = 0
    limit: int = 0
    """No reading begins behind this position."""

    def read(self, most: int, /) -> bytes:
        if self._position > self.limit:
            raise _DamagedError("a header of a member is too long")
        data = self._stream.read(most)
        if not data:
            raise _DamagedError("it is cut short")
        self._position += len(data)
        return data

    def require_zeros(self) -> None:
        """Read the padding behind the end of the archive."""
        count = 0
        while data := self._stream.read(PIECE):
            count += len(data)
            if count > MOST_PADDING:
                raise _DamagedError(f"more than {format_size(MOST_PADDING)} of zeros follow its end")
            if data.strip(b"\0"):
                raise _DamagedError("something else follows its end")


@attrs.define
class _Archive:
    """Goes through the members, and takes note of them."""

    name: str
    _input: _Input
    _choice: Choice
    listing: Listing = attrs.field(init=False)
    _others: int = attrs.field(init=False, default=0)
    """Bytes of the files that are not wanted."""
    _headers: type[_Header] = attrs.field(init=False)
    _tar: tarfile.TarFile = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.listing = Listing(self.name, self._choice)
        self._headers = type("_OwnHeader", (_Header,), {})
        self._input.limit = _MOST_HEADERS
        try:  # the first header is read at once
            self._tar = tarfile.open(  # noqa: SIM115 - it owns nothing
                fileobj=cast("IO[bytes]", self._input), mode="r|", bufsize=_BUFFER, tarinfo=self._headers
            )
        except (_DamagedError, *_FAULTS) as error:
            raise self.damaged(error) from error

    def next_wanted(self) -> tuple[tarfile.TarInfo, Peekable] | None:
        """Return header and content of the next wanted file; None at the end of the archive. Raises OperatorError."""
        try:
            while (header := self._next()) is not None:
                content = self._content(header)
                is_disk = content is not None and (
                    has_disk_name(header.name) or has_disk_content(content.peek(HEAD_BYTES))
                )
                is_wanted = self.listing.take(header.name, header.size, is_disk=is_disk, is_file=content is not None)
                if is_wanted and content is not None:
                    return header, content
                self._count_other(self._tar.offset - header.offset_data)
        except (_DamagedError, *_FAULTS) as error:
            raise self.damaged(error) from error
        return None

    def _next(self) -> tarfile.TarInfo | None:
        vars(self._tar)["members"].clear()  # tarfile keeps them all
        self._input.limit = self._tar.offset + _MOST_HEADERS
        header = self._tar.next()
        if header is None:
            if not self._headers.is_end:
                raise _DamagedError("a header is wrong")
            self._input.limit = 2**63
            self._input.require_zeros()
        elif header.size < 0:
            raise _DamagedError("a member has a negative size")
        return header

    def _count_other(self, count: int) -> None:
        """Count a member that is not wanted. Raises OperatorError if it would take too long to read past them."""
        self._others += count
        if self._others > self._choice.most_others:
            raise OperatorError(
                f"{self.name}: holds more than {format_size(self._choice.most_others)} beside the disk; "
                "if it is no bomb, allow it with --max-size SIZE"
            )

    def _content(self, header: tarfile.TarInfo) -> Peekable | None:
        """Return the content of a file; None for links, directories and devices, for empty files and for litter."""
        if not header.isreg() or not header.size or is_litter(header.name):
            return None
        _require_order(header)
        self._input.limit = 2**63
        file = self._tar.extractfile(header)
        return None if file is None else Peekable(_Content(self, file))

    def damaged(self, error: Exception) -> OperatorError:
        """Return the error that tells the operator."""
        return OperatorError(f"{self.name}: the tar archive is damaged: {printable(str(error))}; copy it here again")


def _require_order(header: tarfile.TarInfo) -> None:
    """Raise _DamagedError unless the data of a sparse member are in order: going back and forth could take days."""
    data: list[tuple[int, int]] = getattr(header, "sparse", None) or []
    if any(start + size > following for (start, size), (following, _) in pairwise(data)):
        raise _DamagedError("the map of a sparse member is wrong")


@attrs.define
class _Content:
    """The content of a member."""

    _archive: _Archive
    _file: IO[bytes]

    def read(self, most: int, /) -> bytes:
        try:
            return self._file.read(most)
        except (_DamagedError, *_FAULTS) as error:
            raise self._archive.damaged(error) from error


@attrs.define
class _OnlyDisk:
    """The content of the disk; its end comes once the rest of the archive was read, and holds no other one."""

    _archive: _Archive
    _content: Peekable
    _is_over: bool = False

    def read(self, most: int, /) -> bytes:
        data = b"" if self._is_over else self._content.read(most)
        if not data and not self._is_over:
            self._is_over = True
            while self._archive.next_wanted() is not None:
                self._archive.listing.refuse()
        return data


def is_tar(head: bytes) -> bool:
    """Return whether a file that begins so is a tar archive: by its mark, and the checksum of its first header."""
    if head[257:262] == b"ustar":
        with suppress(*_FAULTS):
            tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
            return True
    return False


def tar_disk(name: str, stream: Peekable, choice: Choice) -> Member:
    """Return the wanted disk in the tar archive that is read from `stream`; `name` is the archive's in messages.

    Raises OperatorError if it is not there. At the end of the disk its stream raises it if there are others, or the
    archive is damaged further on.
    """
    archive = _Archive(name, _Input(stream), choice)
    found = archive.next_wanted()
    if found is None:
        archive.listing.refuse()
    header, content = found
    return Member(header.name, header.size, Peekable(_OnlyDisk(archive, content)))
