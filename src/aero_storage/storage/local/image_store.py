"""The store on a directory of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from typing_extensions import override

from aero_storage.catalog.content_digest import disagreement
from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, DescriptorsError
from aero_storage.http.extents.extents import KnownExtents
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.device_map import DeviceMap
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.local_extents import LocalExtents
from aero_storage.storage.open_file_cache import OpenedFile, OpenFileCache
from aero_storage.storage.store import BlobRequest, EntryFault, FindData, FindDigest, Opened, Store, Survey

_SURVEYS = "surveys"
"""The lane of looks at all images, whatever disks they are on."""


@attrs.frozen
class LocalStore(Store):
    """A Store on a directory, asked in threads."""

    _directory: ImageDirectory
    _disk: Disk
    _files: OpenFileCache
    _find_digest: FindDigest
    _find_data: FindData
    _clock: IReactorTime
    _devices: DeviceMap = attrs.field(init=False, factory=DeviceMap)
    _extents: LocalExtents = attrs.field(init=False)

    @_extents.default
    def _make_extents(self) -> LocalExtents:
        return LocalExtents(self._directory, self._disk, self._devices, self._find_data, self._clock)

    @override
    def open(self, wanted: BlobRequest) -> Deferred[Opened]:
        lane = self._devices.lane(wanted.place)
        opening = self._files.open(wanted.key, lambda: self._find(wanted), wanted.raw_key, lane)
        return cast("Deferred[Opened]", opening)

    @override
    def open_cached(self, wanted: BlobRequest) -> Opened | None:
        if wanted.artifact is None or wanted.image is None:
            return self._files.lease(wanted.key)
        return self._files.lease(wanted.raw_key) or self._files.lease(wanted.key)

    @override
    def extents(self, image: Image, status: BlobStatus) -> Deferred[KnownExtents]:
        return Deferred.fromCoroutine(self._extents.find(image, status))

    @override
    def close(self) -> None:
        self._extents.close()
        self._files.close()

    @override
    def look_anew(self) -> None:
        pass  # files are looked at within a second anyway

    @override
    def survey(self, images: Iterable[Image]) -> Deferred[Survey]:
        images = tuple(images)
        lane = self._devices.lane(images[0].file) if len(images) == 1 else _SURVEYS
        return self._disk.run(lambda: self._survey(images), lane=lane)

    @override
    def complete(self, images: Iterable[Image]) -> Deferred[bool]:
        return self._disk.run(lambda: all(self._is_complete(image) for image in images), lane=_SURVEYS)

    @override
    def faults(self, images: Iterable[Image]) -> Deferred[tuple[EntryFault, ...]]:
        return self._disk.run(lambda: tuple(self._faults(images)), lane=_SURVEYS)

    def _find(self, wanted: BlobRequest) -> OpenedFile:
        image, artifact = wanted.image, wanted.artifact
        if image is None or (artifact is not None and self._is_published(wanted.manifest)):
            found = self._open_artifact(artifact or "")
        else:
            found = OpenedFile(self._directory.open(image.file, follow_links=image.follow_links), raw=True)
        self._devices.learn(wanted.place, found.blob.lane)
        return found

    def _open_artifact(self, artifact: str) -> OpenedFile:
        blob = self._directory.open(artifact)
        try:
            return OpenedFile(blob, raw=False, sha256=self._find_digest(artifact, blob.status.size))
        except BaseException:
            blob.close()
            raise

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

    def _faults(self, images: Iterable[Image]) -> Iterator[EntryFault]:
        for image in images:
            try:
                status = self._status(image)
            except DescriptorsError:
                raise  # it says nothing of this image
            except (BlobNotFoundError, BlobUnreadableError) as error:
                if not self._has_manifest(image):
                    yield EntryFault(image, str(error))
            else:
                yield from _digest_faults(image, status)

    def _is_complete(self, image: Image) -> bool:
        return self._exists(lambda: self._status(image)) or self._has_manifest(image)

    def _has_manifest(self, image: Image) -> bool:
        manifest = str(image.chunked_directory / MANIFEST_NAME)
        return self._exists(lambda: self._directory.status(manifest))

    def _exists(self, look: Callable[[], object]) -> bool:
        try:
            look()
        except (BlobNotFoundError, BlobUnreadableError):
            return False
        return True

    def _status(self, image: Image) -> BlobStatus:
        with closing(self._directory.open(image.file, follow_links=image.follow_links)) as blob:
            self._devices.learn(image.file, blob.lane)
            return blob.status


def _digest_faults(image: Image, status: BlobStatus) -> Iterator[EntryFault]:
    if image.has_outdated_sha256(status.stamps):
        yield EntryFault(image, disagreement(image.sha256_of or "", status.stamps), is_served=True)
