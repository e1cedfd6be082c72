"""Blobs: open representations, as a store returns them."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import attrs
from typing_extensions import override

from aero_storage.catalog.content_digest import stamps
from aero_storage.http.conditional import Validators, file_etag
from aero_storage.http.dates import usable_mtime
from aero_storage.open_file import ByteSource, OpenFile


@attrs.frozen(cache_hash=True)
class BlobStatus:
    """Size in bytes, times in nanoseconds since the epoch, and the inode, all from one `fstat`."""

    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0

    @property
    def validators(self) -> Validators:
        """The validators of the file itself (http.md §3)."""
        return _validators(self)

    @property
    def stamps(self) -> tuple[str, str]:
        """The texts by which a catalog entry may name this state of the file (http.md §16)."""
        return stamps(self.size, self.mtime_ns, self.ctime_ns, self.inode)


@lru_cache(256)
def _validators(status: BlobStatus) -> Validators:
    tag = file_etag(status.size, status.mtime_ns, status.ctime_ns, status.inode)
    return Validators(tag, usable_mtime(status.mtime_ns))


class Blob(ByteSource, Protocol):
    """An open representation. Its holder closes it once; reads may wait for a disk."""

    __slots__ = ()

    @property
    def status(self) -> BlobStatus:
        """Size and mtime when it was opened; the headers are made from them."""
        ...

    @property
    def file(self) -> OpenFile | None:
        """The blob as an open file for `sendfile`; None if its file system may block the reactor's thread."""
        ...

    @override
    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on, of the version that was opened.

        Raises ShortReadError if the file has changed, OSError if the disk fails.
        """
        ...

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        ...
