"""Images and chunk artifacts, opened for a request that waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import PurePath
from typing import Protocol, cast

import attrs
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, DescriptorsError
from aero_storage.storage.blob import Blob, BlobStatus
from aero_storage.storage.local.device_map import DeviceMap
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.open_file_cache import OpenedFile, OpenFileCache

_SURVEYS = "surveys"
"""The lane of what looks at all images, wherever they are."""

MANIFEST_NAME = "manifest.json"
"""File name of a chunk manifest in its directory (http.md §6)."""


@attrs.frozen
class Survey:
    """What is there of a set of images: the status of those that can be opened, and how many exist but cannot."""

    found: tuple[tuple[Image, BlobStatus], ...]
    unreadable: int


@attrs.frozen
class BlobRequest:
    """What a request wants opened: an image, a chunk artifact, or the one of them that is there."""

    image: Image | None = None
    artifact: str | None = None
    """Place of a chunk artifact relative to the root."""
    manifest: str | None = None
    """If both are wanted: the chunk manifest whose presence makes it the artifact."""

    @property
    def key(self) -> tuple[Image | None, str | None, str | None]:
        """What tells it from others; tuples compare by identity first."""
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


class Opened(Blob, Protocol):
    """An open file; `raw` where it is an image, not a chunk artifact."""

    @property
    def raw(self) -> bool:
        """Whether chunks would have to be cut from it."""
        ...


class Store(Protocol):
    """Where images lie. What is opened belongs to the caller, who closes it."""

    def open(self, wanted: BlobRequest) -> Deferred[Opened]:
        """Open. Fails with BlobNotFoundError or BlobUnreadableError; can be cancelled."""
        ...

    def open_cached(self, wanted: BlobRequest) -> Opened | None:
        """The same at once, from memory, or not at all: at most a second old (http.md §3)."""
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

    _directory: ImageDirectory
    _disk: Disk
    _files: OpenFileCache
    _devices: DeviceMap = attrs.field(init=False, factory=DeviceMap)

    def open(self, wanted: BlobRequest) -> Deferred[Opened]:
        """See Store.open."""
        lane = self._devices.lane(wanted.place)
        opening = self._files.open(wanted.key, lambda: self._find(wanted), wanted.raw_key, lane)
        return cast("Deferred[Opened]", opening)

    def open_cached(self, wanted: BlobRequest) -> Opened | None:
        """See Store.open_cached."""
        if wanted.artifact is None or wanted.image is None:
            return self._files.lease(wanted.key)
        return self._files.lease(wanted.raw_key) or self._files.lease(wanted.key)

    def close(self) -> None:
        """Give back every descriptor that nobody uses; those in use follow with their last user."""
        self._files.close()

    def survey(self, images: Iterable[Image]) -> Deferred[Survey]:
        """See Store.survey."""
        images = tuple(images)
        lane = self._devices.lane(images[0].file) if len(images) == 1 else _SURVEYS
        return self._disk.run(lambda: self._survey(images), lane=lane)

    def complete(self, images: Iterable[Image]) -> Deferred[bool]:
        """See Store.complete."""
        return self._disk.run(lambda: all(self._is_complete(image) for image in images), lane=_SURVEYS)

    def _find(self, wanted: BlobRequest) -> OpenedFile:
        image, artifact = wanted.image, wanted.artifact
        if image is None or (artifact is not None and self._is_published(wanted.manifest)):
            found = OpenedFile(self._directory.open(artifact or ""), raw=False)
        else:
            found = OpenedFile(self._directory.open(image.file, follow_links=image.follow_links), raw=True)
        self._devices.learn(wanted.place, found.blob.device)
        return found

    def _is_published(self, manifest: str | None) -> bool:
        try:
            self._directory.status(manifest or "")
        except BlobNotFoundError:
            return False
        return True

    def _survey(self, images: Iterable[Image]) -> Survey:
        found, unreadable = [], 0
        for image in images:
            try:
                found.append((image, self._status(image)))
            except BlobNotFoundError:
                continue
            except DescriptorsError:
                raise  # it says nothing of this image
            except BlobUnreadableError:
                unreadable += 1
        return Survey(tuple(found), unreadable)

    def _is_complete(self, image: Image) -> bool:
        manifest = str(image.chunked_directory / MANIFEST_NAME)
        return self._exists(lambda: self._status(image)) or self._exists(lambda: self._directory.status(manifest))

    def _exists(self, look: Callable[[], object]) -> bool:
        try:
            look()
        except (BlobNotFoundError, BlobUnreadableError):
            return False
        return True

    def _status(self, image: Image) -> BlobStatus:
        with closing(self._directory.open(image.file, follow_links=image.follow_links)) as blob:
            self._devices.learn(image.file, blob.device)
            return blob.status
