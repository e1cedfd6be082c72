"""Images and chunk artifacts, opened for a request that waits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError
from aero_storage.store.blob import Blob, BlobStatus
from aero_storage.store.local import LocalDirectory

MANIFEST_NAME = "manifest.json"
"""File name of a chunk manifest in its directory (contract §6)."""


@attrs.frozen
class Survey:
    """What is there of a set of images: the status of those that can be opened, and how many exist but cannot."""

    found: tuple[tuple[Image, BlobStatus], ...]
    unreadable: int


@attrs.frozen
class Opened:
    """A chunk artifact, or, `raw`, the image that it would have been cut from."""

    blob: Blob
    raw: bool


class Store(Protocol):
    """Where images lie. What is opened belongs to the caller, who closes it."""

    def open(self, image: Image) -> Deferred[Blob]:
        """The bytes of an image. Fails with BlobNotFoundError or BlobUnreadableError; can be cancelled."""
        ...

    def open_artifact(self, path: PurePosixPath) -> Deferred[Blob]:
        """A chunk manifest or object by its place under the root; fails like `open`."""
        ...

    def open_published(self, path: PurePosixPath, manifest: PurePosixPath, image: Image) -> Deferred[Opened]:
        """Open a chunk artifact by its place, or the raw image where there is no such chunk manifest; like `open`."""
        ...

    def survey(self, images: Iterable[Image]) -> Deferred[Survey]:
        """Look at many images at once."""
        ...

    def complete(self, images: Iterable[Image]) -> Deferred[bool]:
        """Whether each image has its bytes or a chunk manifest."""
        ...


@attrs.frozen
class LocalStore:
    """A Store on a directory, asked in threads."""

    _directory: LocalDirectory
    _disk: Disk

    def open(self, image: Image) -> Deferred[Blob]:
        """See Store.open."""
        return self._disk.run(lambda: self._open(image), discard=_close)

    def open_artifact(self, path: PurePosixPath) -> Deferred[Blob]:
        """See Store.open_artifact."""
        return self._disk.run(lambda: self._directory.open(str(path)), discard=_close)

    def open_published(self, path: PurePosixPath, manifest: PurePosixPath, image: Image) -> Deferred[Opened]:
        """See Store.open_published: one trip to the disk."""
        return self._disk.run(lambda: self._open_published(path, manifest, image), discard=_close_opened)

    def survey(self, images: Iterable[Image]) -> Deferred[Survey]:
        """See Store.survey."""
        return self._disk.run(lambda: self._survey(images))

    def complete(self, images: Iterable[Image]) -> Deferred[bool]:
        """See Store.complete."""
        return self._disk.run(lambda: all(self._is_complete(image) for image in images))

    def _open(self, image: Image) -> Blob:
        return self._directory.open(image.file, follow_links=image.follow_links)

    def _open_published(self, path: PurePosixPath, manifest: PurePosixPath, image: Image) -> Opened:
        try:
            self._directory.status(str(manifest))
        except BlobNotFoundError:
            return Opened(self._open(image), raw=True)
        return Opened(self._directory.open(str(path)), raw=False)

    def _survey(self, images: Iterable[Image]) -> Survey:
        found, unreadable = [], 0
        for image in images:
            try:
                found.append((image, self._directory.status(image.file, follow_links=image.follow_links)))
            except BlobNotFoundError:
                continue
            except BlobUnreadableError:
                unreadable += 1
        return Survey(tuple(found), unreadable)

    def _is_complete(self, image: Image) -> bool:
        manifest = str(image.chunked_directory / MANIFEST_NAME)
        return self._exists(image.file, follow_links=image.follow_links) or self._exists(manifest)

    def _exists(self, name: str, *, follow_links: bool = True) -> bool:
        try:
            self._directory.status(name, follow_links=follow_links)
        except (BlobNotFoundError, BlobUnreadableError):
            return False
        return True


def _close(blob: Blob) -> None:
    blob.close()


def _close_opened(opened: Opened) -> None:
    opened.blob.close()
