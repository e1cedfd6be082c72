"""Publishes an image of a bucket in chunks: it is read twice, first for its digests, then for the chunks.

The name of a version depends on its content, and objects cannot be renamed. So the digests come first. Nothing is
stored on this machine meanwhile.
"""

from __future__ import annotations

import hashlib

import attrs
from typing_extensions import Buffer

from aero_storage.catalog.content_digest import ContentDigest, object_stamps
from aero_storage.chunks.manifest import (
    ChunkManifest,
    check_geometry,
    content_version,
    is_content_version,
    is_virtual_version,
)
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.chunks.zero_chunks import zeros_by_digest
from aero_storage.cli.buckets.keys import version_directory
from aero_storage.cli.buckets.maps import put_map
from aero_storage.cli.buckets.reading import PIECE, changes_told, pieces_of
from aero_storage.cli.buckets.uploading import Place, Upload, is_published, require_room
from aero_storage.cli.repository import PublishedVersion
from aero_storage.errors import OperatorError
from aero_storage.http.extents.content_scan import ContentScan
from aero_storage.http.extents.extents import Extents
from aero_storage.storage.objects.origin import ObjectStatus, Origin


@attrs.define(eq=False)
class _Half:
    """Reports the progress of two runs over the same bytes as that of one."""

    advance: Advance
    _odd: int = 0

    def __call__(self, count: int) -> None:
        halves, self._odd = divmod(count + self._odd, 2)
        self.advance(halves)


@attrs.frozen
class _Digests:
    """Digests of an image: of its chunks, and of the whole of it, if that was asked for; and where its data is."""

    sha256: bytes
    md5: bytes
    whole: str | None
    extents: Extents


@attrs.frozen
class Publication:
    """A publication to be made of the object `status` of an image."""

    origin: Origin
    status: ObjectStatus
    image_id: str
    is_conditional: bool
    now_ns: int
    jobs: int
    advance: Advance

    def carry_out(
        self, chunk_size: int, version: str | None, *, digested: bool, known: str | None
    ) -> PublishedVersion:
        """Cut the object into chunks, as `Work.publish` says; `known` is its SHA-256, if that is known."""
        if version is not None and is_virtual_version(version):
            raise OperatorError(f"{version} is a name for chunks that are cut on request; choose another name")
        check_geometry(self.status.size, chunk_size)
        draft = ChunkManifest(
            image_id=self.image_id, version=version or "", total_size=self.status.size, chunk_size=chunk_size
        )
        if version is not None:
            require_room(self._place(version), draft)
        with changes_told(f"{self.origin.name}/{self.status.key}"):
            return self._publish(draft, digested=digested, known=known)

    def _place(self, version: str) -> Place:
        directory = version_directory(self.image_id, version)
        return Place(self.origin, directory, self.is_conditional, self.now_ns)

    def _publish(self, draft: ChunkManifest, *, digested: bool, known: str | None) -> PublishedVersion:
        half = _Half(self.advance)
        digests = self._digests(draft, half, whole=digested)
        manifest = attrs.evolve(_complete(draft, digests.sha256), image_sha256=digests.whole or known)
        place = self._place(manifest.version)
        already_there = is_published(place, manifest)
        if already_there:
            half(manifest.total_size)
        else:
            Upload(place, manifest, self._chunk_reader(manifest), half, self.jobs, digests.md5).carry_out()
        self._require_unchanged()
        put_map(self.origin, self.status.key, digests.extents, self.status.pin.tag)
        stamp = object_stamps(self.status.size, self.status.pin.tag)[0]
        digest = None if digests.whole is None else ContentDigest(digests.whole, stamp)
        return PublishedVersion(manifest.version, manifest, place.name, already_there, digest)

    def _digests(self, draft: ChunkManifest, advance: Advance, *, whole: bool) -> _Digests:
        sha256, md5, digest, size = bytearray(), bytearray(), hashlib.sha256(), draft.chunk_size
        scan = ContentScan(draft.total_size)
        for piece in pieces_of(self.origin, self.status, size * max(1, PIECE // size)):
            view = memoryview(piece).cast("B")
            scan.feed(view)
            if whole:
                digest.update(view)
            for first in range(0, len(view), size):
                sha256 += hashlib.sha256(view[first : first + size]).digest()
                md5 += hashlib.md5(view[first : first + size], usedforsecurity=False).digest()
            advance(len(view))
        return _Digests(bytes(sha256), bytes(md5), digest.hexdigest() if whole else None, scan.finish())

    def _chunk_reader(self, manifest: ChunkManifest) -> _ChunkReader:
        return _ChunkReader(self.origin, self.status, manifest)

    def _require_unchanged(self) -> None:
        if self.origin.head(self.status.key).pin != self.status.pin:
            raise OperatorError(f"{self.origin.name}/{self.status.key} was replaced while it was cut; try again")


@attrs.frozen
class _ChunkReader:
    origin: Origin
    status: ObjectStatus
    manifest: ChunkManifest

    def __call__(self, index: int) -> Buffer:
        bounds = self.manifest.chunk_offset(index), self.manifest.chunk_length(index)
        return self.origin.get(self.status.key, self.status.pin, *bounds)


def _complete(draft: ChunkManifest, digests: bytes) -> ChunkManifest:
    version = content_version(draft.total_size, draft.chunk_size, digests)
    if is_content_version(draft.version) and draft.version != version:
        raise OperatorError(f"the content is not that of {draft.version}; its own version is {version}")
    zeros = zeros_by_digest(digests, draft)
    return attrs.evolve(draft, digests=digests, version=draft.version or version, zeros=zeros)
