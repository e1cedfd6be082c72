"""What a store hands out, and what it is asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import attrs

from aero_storage.http.conditional import Validators, file_etag
from aero_storage.http.dates import usable_mtime


@attrs.frozen
class BlobStatus:
    """Size in bytes and mtime in nanoseconds since the epoch, both from one `fstat`."""

    size: int
    mtime_ns: int

    @property
    def validators(self) -> Validators:
        """The validators that a file has by itself (http.md §3)."""
        return _validators(self.size, self.mtime_ns)


@lru_cache(256)
def _validators(size: int, mtime_ns: int) -> Validators:
    return Validators(file_etag(size, mtime_ns), usable_mtime(mtime_ns))


class OpenFile(Protocol):
    """A blob that is also an open file, for `sendfile`. Send before the blob is closed."""

    __slots__ = ()

    @property
    def device(self) -> int:
        """The disk that reads of it wait for: its st_dev."""
        ...

    def fileno(self) -> int:
        """The descriptor."""
        ...

    def verify(self) -> None:
        """Raise ShortReadError if this is not the version any more that was opened; waits for no disk."""
        ...

    def warm(self, offset: int, length: int) -> None:
        """Bring bytes into the page cache; may wait for a disk."""
        ...


class Blob(Protocol):
    """An open representation. Its holder closes it once; reads may wait for a disk."""

    __slots__ = ()

    @property
    def status(self) -> BlobStatus:
        """Size and mtime at the time of opening: what the headers promise."""
        ...

    @property
    def device(self) -> int:
        """The disk that reads of it wait for: its st_dev."""
        ...

    @property
    def file(self) -> OpenFile | None:
        """The same as an open file, where there is one of which the reactor's thread may ask what is in memory."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, all of them and of the version that was opened.

        Raises ShortReadError if they are not there any more, OSError if the disk fails.
        """
        ...

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        ...
