"""The content of a raw disk in a file, in order: holes are told as zeros, and never read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import attrs

from aero_storage.chunks.publish.cutting import Advance
from aero_storage.cli.disk_images.convert import ImportSource
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.linux.sparse_files import next_data

PIECE = 1 << 20
_ZEROS = bytes(PIECE)


def pieces_of(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of an open file; a piece that is a hole is the same zeros each time.

    Raises OperatorError if the file is shorter.
    """
    data = -1
    for offset in range(0, size, PIECE):
        count = min(PIECE, size - offset)
        if data < offset:
            found = next_data(descriptor, offset)
            data = max(offset, os.fstat(descriptor).st_size) if found is None else found
        piece = _ZEROS[:count] if data >= offset + count else os.pread(descriptor, count, offset)
        if len(piece) != count:
            raise OperatorError("the image became shorter while it was read; try again")
        yield piece


@attrs.define(eq=False)
class RawContents:
    """The content of a raw image that is to be imported, once in order.

    Iterating raises OperatorError before the last piece if the file was changed since it was examined, or if its
    SHA-256 is not `expected`.
    """

    source: ImportSource
    expected: str | None
    digested: bool
    advance: Advance
    sha256: str | None = attrs.field(init=False, default=None)
    """In hex, once all has passed; None if it is not asked for."""

    def __iter__(self) -> Iterator[bytes]:
        digest, left = hashlib.sha256() if self.digested else None, self.source.size
        for piece in pieces_of(self.source.candidate.image.file.descriptor, left):
            if digest is not None:
                digest.update(piece)
            left -= len(piece)
            if not left:
                self._check(None if digest is None else digest.hexdigest())
            yield piece
            self.advance(len(piece))

    def _check(self, sha256: str | None) -> None:
        self.source.candidate.stamps.require_same()
        self.sha256 = sha256
        if self.expected not in (None, sha256):
            path = printable(self.source.path, None)
            raise OperatorError(f"{path}: its SHA-256 is {sha256}, not {self.expected}; nothing was imported")
