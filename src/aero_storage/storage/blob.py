"""Blobs: open representations, as a store returns them."""

from __future__ import annotations

from typing import Protocol

import attrs
from typing_extensions import override

from aero_storage.http.conditional import Validators
from aero_storage.open_file import ByteSource, OpenFile


@attrs.frozen(cache_hash=True)
class BlobStatus:
    """The status of one version of a representation. The same object means the same version."""

    size: int
    """In bytes."""
    validators: Validators
    """Those of the file or object itself (http.md §3)."""
    stamps: tuple[str, ...]
    """The texts by which a catalog entry may name this version (http.md §16)."""


class Blob(ByteSource, Protocol):
    """An open representation. Its holder closes it once; reads may wait for a disk."""

    __slots__ = ()

    @property
    def status(self) -> BlobStatus:
        """Size, validators and stamps as of when it was opened; the headers are made from them."""
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
