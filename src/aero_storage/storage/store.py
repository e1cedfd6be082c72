"""The Store protocol: images and chunk artifacts, opened for a request that waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.http.extents.extents import KnownExtents
from aero_storage.open_file import OpenFile
from aero_storage.storage.blob import Blob, BlobStatus
from aero_storage.values import request_value

FindDigest = Callable[[str, int], str | None]
"""Looks up the digest of a chunk object, by its path relative to the root and its size; may wait."""

FindData = Callable[[str, str | None, int], KnownExtents]
"""Looks up the data of an image by its published chunks; may wait.

It is given the path of the chunk manifest, the digest of the whole image in hex, if that is known, and its size.
"""


@attrs.frozen
class Survey:
    """The state of a set of images: the status of those that can be opened, and how many exist but cannot."""

    found: tuple[tuple[Image, BlobStatus], ...]
    unreadable: int


@attrs.frozen
class EntryFault:
    """A fault of a catalog entry, with the reason in words."""

    image: Image
    reason: str
    is_served: bool = False
    """Whether it is served all the same."""


@request_value
class BlobRequest:
    """A request to open an image, a chunk artifact, or the one of them that is there."""

    image: Image | None = None
    artifact: str | None = None
    """Place of a chunk artifact relative to the root."""
    manifest: str | None = None
    """If both are wanted: the chunk manifest whose presence makes it the artifact."""

    @property
    def key(self) -> tuple[Image | None, str | None, str | None]:
        """The identity of the request, as a key; tuples compare by identity first."""
        return self.image, self.artifact, self.manifest

    @property
    def place(self) -> str:
        """Where it is to be found, relative to the root: for an artifact the directory, which holds thousands."""
        if self.artifact is None:
            return "" if self.image is None else self.image.file
        return str(PurePath(self.artifact).parent)

    @property
    def raw_key(self) -> tuple[Image | None, str | None, str | None]:
        """The same, where the image has to stand in: one open file serves all artifacts that one manifest lacks."""
        return self.image, None, self.manifest


class RememberedFile(Protocol):
    """An open file that is kept for later requests."""

    __slots__ = ()

    def current_file(self, now: float) -> OpenFile | None:
        """Return the file, if `open_cached` would return it when the clock shows `now`; else None."""
        ...

    def lease(self) -> Opened:
        """Return what `open_cached` would; call it right after `current_file`."""
        ...


class Opened(Blob, Protocol):
    """An open file; `raw` where it is an image, not a chunk artifact."""

    @property
    def raw(self) -> bool:
        """Whether chunks would have to be cut from it."""
        ...

    @property
    def sha256(self) -> str | None:
        """The digest of a published chunk, in hex, where its manifest has it (http.md §16)."""
        ...

    @property
    def remembered(self) -> RememberedFile | None:
        """The open file, where it is kept for later requests."""
        ...

    @property
    def origin_bytes(self) -> int | None:
        """Bytes that came from the origin for this request so far; None for a file of this machine."""
        ...

    def begins_now(self, offset: int, length: int) -> bool:
        """Return whether the head of a response with `length` > 0 bytes from `offset` on may be sent at once."""
        ...

    def begin(self, offset: int, length: int) -> Deferred[None]:
        """Have the first bytes brought in; can be cancelled.

        Fails with OriginUnavailableError, OriginDeniedError, and ObjectChangedError if it is to be opened anew.
        """
        ...


class Store(Protocol):
    """A place of images. The caller closes what it has opened."""

    def open(self, wanted: BlobRequest) -> Deferred[Opened]:
        """Open. Fails with BlobNotFoundError or BlobUnreadableError; can be cancelled."""
        ...

    def open_cached(self, wanted: BlobRequest) -> Opened | None:
        """The same at once, from memory, or not at all: at most a second old (http.md §3)."""
        ...

    def extents(self, image: Image, status: BlobStatus) -> Deferred[KnownExtents]:
        """Look for the data of an image whose file or object has this status.

        Fails with ImageChangedError, and as `open` does.
        """
        ...

    def look_anew(self) -> None:
        """Believe nothing any more that is remembered of objects: the operator asks for it."""
        ...

    def survey(self, images: Iterable[Image]) -> Deferred[Survey]:
        """Look at many images at once."""
        ...

    def faults(self, images: Iterable[Image]) -> Deferred[tuple[EntryFault, ...]]:
        """Return one fault for each image that has one.

        That neither its bytes nor a chunk manifest can be opened, or that its digest is of another state of the file.
        """
        ...

    def close(self) -> None:
        """Close every file that is not in use; the others follow with their last user."""
        ...

    def complete(self, images: Iterable[Image]) -> Deferred[bool]:
        """Whether each image has its bytes or a chunk manifest."""
        ...
