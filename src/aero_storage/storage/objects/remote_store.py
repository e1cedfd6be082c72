"""The store on a prefix of a bucket (http.md §11)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import attrs
from twisted.internet.defer import Deferred, succeed
from typing_extensions import override

from aero_storage.catalog.model import Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, ClientError
from aero_storage.http.extents.extents import KnownExtents
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.bucket_listing import BucketListing
from aero_storage.storage.objects.object_keys import key_of
from aero_storage.storage.objects.object_lease import CachedLease, UncachedLease
from aero_storage.storage.objects.object_looks import Look, ObjectLooks
from aero_storage.storage.objects.object_reads import ObjectReads
from aero_storage.storage.objects.object_status import blob_status
from aero_storage.storage.objects.open_objects import OpenObject, OpenObjects
from aero_storage.storage.objects.origin import ORIGIN_LANE, ObjectStatus, Origin
from aero_storage.storage.objects.stored_extents import StoredExtents
from aero_storage.storage.store import BlobRequest, EntryFault, FindDigest, Opened, Store, Survey


@attrs.define(eq=False)
class RemoteStore(Store):
    """A Store on an Origin, with a block cache or without (`objects` is None)."""

    _origin: Origin
    _threads: Disk
    _looks: ObjectLooks
    _listing: BucketListing
    _find_sha256: FindDigest
    _extents: StoredExtents
    _objects: OpenObjects | None = None
    _asked_about: object = attrs.field(init=False, default=None)
    """The images whose faults were asked for last."""

    @override
    def open(self, wanted: BlobRequest) -> Deferred[Opened]:
        return Deferred.fromCoroutine(self._open(wanted))

    @override
    def open_cached(self, wanted: BlobRequest) -> Opened | None:
        try:
            key, raw = self._recall_choice(wanted)
        except BlobNotFoundError:  # told by `open`
            return None
        look = None if key is None else self._looks.recall(key)
        if look is None or look.found is None or (not raw and not look.has_digest):
            return None
        if self._objects is None or not look.found.size:
            return self._lease(look, look.found, None, raw=raw)
        used = self._objects.recall(look.found)
        return None if used is None else self._lease(look, look.found, used, raw=raw)

    @override
    def extents(self, image: Image, status: BlobStatus) -> Deferred[KnownExtents]:
        return Deferred.fromCoroutine(self._extents.find(image, status))

    @override
    def close(self) -> None:
        if self._objects is not None:
            self._objects.close()

    @override
    def look_anew(self) -> None:
        self._looks.look_anew()
        self._listing.look_anew()

    @override
    def survey(self, images: Iterable[Image]) -> Deferred[Survey]:
        images = tuple(images)
        return self._listing.current(images).addCallback(lambda listed: listed.survey)

    @override
    def complete(self, images: Iterable[Image]) -> Deferred[bool]:
        images = tuple(images)
        return self._listing.current(images).addCallback(lambda listed: listed.is_complete)

    @override
    def faults(self, images: Iterable[Image]) -> Deferred[tuple[EntryFault, ...]]:
        # Nobody asks for them but the daemon itself: its own curiosity is worth one LIST for each catalog.
        images = tuple(images)
        last = self._listing.last(images)
        if self._asked_about is images and last is not None:
            return succeed(last.faults)
        self._asked_about = images
        return self._listing.current(images).addCallback(lambda listed: listed.faults)

    # Opening

    async def _open(self, wanted: BlobRequest) -> Opened:
        image, artifact = wanted.image, wanted.artifact
        if artifact is not None and (image is None or await self._exists(wanted.manifest)):
            return await self._open_key(key_of(artifact), raw=False)
        return await self._open_key(key_of("" if image is None else image.file), raw=True)

    async def _exists(self, manifest: str | None) -> bool:
        return (await self._looks.look(key_of(manifest or ""))).found is not None

    def _recall_choice(self, wanted: BlobRequest) -> tuple[str | None, bool]:
        """Return the key that is to be opened, and whether it is that of an image; None if that is not known."""
        if wanted.artifact is None or wanted.image is None:
            if wanted.artifact is not None:
                return key_of(wanted.artifact), False
            return key_of("" if wanted.image is None else wanted.image.file), True
        manifest = self._looks.recall(key_of(wanted.manifest or ""))
        if manifest is None:
            return None, False
        return (key_of(wanted.image.file), True) if manifest.found is None else (key_of(wanted.artifact), False)

    async def _open_key(self, key: str, *, raw: bool) -> Opened:
        look = await self._looks.look(key)
        found = look.found
        if found is None:
            raise BlobNotFoundError(f"{key}: no such object")
        if not raw and not look.has_digest:
            await self._find_digest(look, found)
        if self._objects is None or not found.size:
            return self._lease(look, found, None, raw=raw)
        used = self._objects.recall(found) or await self._objects.open(found)
        return self._lease(look, found, used, raw=raw)

    async def _find_digest(self, look: Look, found: ObjectStatus) -> None:
        """Look the digest of a chunk up; a chunk is served without it where its manifest cannot be read."""
        look.digest_due_at = math.inf
        try:
            find = partial(self._find_sha256, look.key, found.size)
            look.sha256 = await self._threads.run(find, lane=ORIGIN_LANE)
        except ClientError:
            self._looks.digest_failed(look)
        look.has_digest = True  # not where the one who waited has gone: the next one looks again

    def _lease(self, look: Look, found: ObjectStatus, used: OpenObject | None, *, raw: bool) -> Opened:
        if not raw and self._looks.is_digest_due(look):  # the client does not wait: the bytes are what they were
            Deferred.fromCoroutine(self._find_digest(look, found))
        status, sha256 = look.status or blob_status(found), None if raw else look.sha256
        forget = partial(self._looks.forget, look.key)
        if used is None or self._objects is None:
            return UncachedLease(status, raw, sha256, forget, ObjectReads(self._origin, found), self._threads)
        file = used.cached.another(partial(self._objects.release, used))
        return CachedLease(status, raw, sha256, forget, file, self._threads)
