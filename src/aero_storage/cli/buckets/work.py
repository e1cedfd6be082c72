"""The work of a command on an image in a bucket: new keys, then the catalog; replaced objects stay for a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import attrs
from typing_extensions import Buffer, override

from aero_storage.atomic_files import Directory
from aero_storage.catalog.content_digest import ContentDigest, object_stamps
from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.chunks.verify.source import ChunkSource
from aero_storage.cli.buckets.conditional import Tried
from aero_storage.cli.buckets.keys import (
    chunk_manifest_key,
    file_key,
    imported_directory,
    is_imported_key,
    key_of,
    named_by,
    new_imported_key,
    version_directory,
)
from aero_storage.cli.buckets.maps import put_map, scanned
from aero_storage.cli.buckets.pointer import CatalogPointer
from aero_storage.cli.buckets.profiles import BucketProfiles
from aero_storage.cli.buckets.publication import Publication
from aero_storage.cli.buckets.reading import StoredObject
from aero_storage.cli.buckets.unnamed import Survey, Unit, chunk_units, set_marks
from aero_storage.cli.buckets.uploading import FRESH_NS, Place, Upload, is_published
from aero_storage.cli.foresight import foretell_space
from aero_storage.cli.progress import progress
from aero_storage.cli.raw_contents import pieces_of
from aero_storage.cli.received import Received
from aero_storage.cli.repository import Freed, HashedContents, Placed, PublishedVersion, Say, Work
from aero_storage.errors import AeroStorageError, BlobNotFoundError, OperatorError
from aero_storage.http.extents.content_scan import ContentScan
from aero_storage.http.extents.extents import Extents
from aero_storage.sizes import format_size
from aero_storage.storage.objects.object_keys import map_key
from aero_storage.storage.objects.origin import ObjectStatus, Origin


@attrs.frozen
class _Given:
    """The objects that the command gives up, and those that it makes."""

    files: list[str] = attrs.field(factory=list)
    new: list[Unit] = attrs.field(factory=list)
    has_chunks: list[bool] = attrs.field(factory=list)
    """Whether the entry of the image stays, if its chunks are given up; its profiles go with the entry."""


@attrs.frozen
class _Stored:
    """A content that lies in the bucket under a key that nothing names yet."""

    key: str
    tag: str
    sha256: str
    extents: Extents


@attrs.frozen
class BucketWork(Work):
    """Work on the image `image_id`."""

    image_id: str
    origin: Origin
    pointer: CatalogPointer
    tried: Tried
    staging: Directory
    _say: Say
    _given: _Given = attrs.field(init=False, factory=_Given)

    @property
    @override
    def staging_disk(self) -> str:
        return f"the disk of {self.staging.path}"

    @override
    def foretell_staging(self, most: int, say: Say) -> None:
        of = f" of up to {format_size(most)}" if most else ""
        say(f"A temporary file{of} is made in {self.staging.path}; TMPDIR names another place.")
        foretell_space(self.staging, most, self.staging_disk, say)

    @property
    @override
    def send(self) -> Callable[[HashedContents, int], AbstractContextManager[Placed]]:
        return self._sent

    @contextmanager
    def _sent(self, contents: HashedContents, size: int) -> Iterator[Placed]:
        key, scan = self._new_key(), ContentScan(size)
        tag = self.origin.put_large(key, scanned(contents, scan), size).tag
        with self._kept_if_named(key, _digest(contents.sha256, size, tag), size) as placed:
            put_map(self.origin, key, scan.finish(), tag)
            yield placed

    def _new_key(self) -> str:
        return new_imported_key(self.image_id, (status.key for status in self._imported()))

    @override
    def foresee_publish(self, image: Image, say: Say) -> None:
        self.pointer.current()

    @contextmanager
    @override
    def placed(self, staged: str, sha256: str | None) -> Iterator[Placed]:
        key = self._new_key()
        scan, tag = self._uploaded(staged, key)
        with self._kept_if_named(key, _digest(sha256, scan.size, tag), scan.size) as placed:
            put_map(self.origin, key, scan.finish(), tag)
            yield placed

    @contextmanager
    @override
    def received(self, contents: Iterable[Buffer], size: int, sha256: str | None) -> Iterator[Placed]:
        present = [*self._imported()]
        stored = None if sha256 is None else self._present(present, size, sha256)
        if stored is None:
            key = new_imported_key(self.image_id, (status.key for status in present))
            stored = self._received(key, Received(contents, size, sha256), size)
        with self._kept_if_named(stored.key, _digest(stored.sha256, size, stored.tag), size) as placed:
            put_map(self.origin, stored.key, stored.extents, stored.tag)
            yield placed

    def _received(self, key: str, contents: Received, size: int) -> _Stored:
        scan = ContentScan(size)
        tag = self.origin.put_large(key, scanned(contents, scan), size).tag
        return _Stored(key, tag, contents.sha256, scan.finish())

    def _imported(self) -> Iterator[ObjectStatus]:
        for listed in self.origin.list(imported_directory(self.image_id), delimiter=False):
            if listed.status is not None:
                yield listed.status

    def _present(self, imported: Iterable[ObjectStatus], size: int, sha256: str) -> _Stored | None:
        """Return what an earlier run has stored whole; an old object may be about to be removed."""
        for status in imported:
            is_young = self.tried.now_ns - status.modified_ns < FRESH_NS
            if is_young and status.size == size and status.pin.tag:
                found, scan = Received(StoredObject(self.origin, status).contents(), size, None), ContentScan(size)
                with progress("Comparing what is there", size) as advance:
                    for piece in scanned(found, scan):
                        advance(memoryview(piece).nbytes)
                if found.sha256 == sha256:
                    self.origin.delete([Unit(status.key).mark])
                    return _Stored(status.key, status.pin.tag, sha256, scan.finish())
        return None

    @contextmanager
    def _kept_if_named(self, key: str, digest: ContentDigest | None, size: int) -> Iterator[Placed]:
        try:
            yield Placed(key, digest, size)
        except BaseException:
            with suppress(AeroStorageError):  # a later sweep does it
                self._withdraw(key)
            raise
        self._given.new.append(Unit(key))

    def _uploaded(self, staged: str, key: str) -> tuple[ContentScan, str]:
        """Upload a file, and return what was found in it, and the object's tag."""
        descriptor = self.staging.open_file(staged, os.O_RDONLY)
        try:
            scan = ContentScan(size := os.fstat(descriptor).st_size)
            with progress(f"Uploading {key}", size) as advance:
                contents = scanned(_told(pieces_of(descriptor, size), advance), scan)
                return scan, self.origin.put_large(key, contents, size).tag
        finally:
            os.close(descriptor)

    def _withdraw(self, key: str) -> None:
        """Delete a new object, unless a catalog names it: the last write may have been done all the same."""
        catalog = self.pointer.current()
        if catalog is None or key not in named_by(catalog):
            self.origin.delete([map_key(key), key])

    @override
    def condemn(self, file: str, *, own: bool = False) -> bool:
        key = key_of(file)
        is_ours = own or is_imported_key(self.image_id, key)
        if is_ours:
            self._given.files.append(key)
        return is_ours

    @override
    def condemn_chunks(self, *, keeps_image: bool) -> None:
        self._given.has_chunks.append(keeps_image)

    @override
    def settle(self) -> None:
        """Nothing is removed that a daemon may still be reading."""

    @override
    def carry_out(self) -> Freed:
        catalog = self.pointer.current()
        given = [Unit(file) for file in dict.fromkeys(self._given.files)]
        if self._given.has_chunks:
            given += chunk_units(self.origin, self.image_id)
        if catalog is None:  # a listing serves all that is there: no other pointer can be taken away
            return Freed(self._deleted(given))
        survey = Survey(self.origin, catalog)
        left = [unit for unit in given if not survey.is_named(unit)]
        set_marks(self.origin, left)
        self.origin.delete(unit.mark for unit in self._given.new if survey.is_named(unit))
        if catalog.find(self.image_id) is None:
            self._delete_profiles()
        if self._given.has_chunks:
            self.origin.delete([self._unversioned_manifest()])
        kept = self._size(left)
        if left:
            self._say(
                f"{format_size(kept)} that nothing names any more stay for those who still read them; "
                "24 hours from now, aero-storage remove --expired deletes them."
            )
        return Freed(0, kept)

    def _size(self, units: Iterable[Unit]) -> int:
        return sum(one.status.size for unit in units for one in unit.listed(self.origin) if one.status is not None)

    def _unversioned_manifest(self) -> str:
        return chunk_manifest_key(version_directory(self.image_id, None))

    def _deleted(self, units: list[Unit]) -> int:
        freed = 0
        if self._given.has_chunks:
            self.origin.delete([self._unversioned_manifest()])
        self._delete_profiles()
        for unit in units:
            for listed in unit.listed(self.origin):
                freed += 0 if listed.status is None else listed.status.size
            self.origin.delete(listed.key for listed in unit.listed(self.origin))
        return freed

    def _delete_profiles(self) -> None:
        """Delete the profiles of an image that is gone: nobody needs one to go on reading."""
        if False in self._given.has_chunks:
            profiles = BucketProfiles(self.origin)
            self.origin.delete(place.path for place in profiles.places(self.image_id))

    @override
    def publish(
        self,
        image: Image,
        *,
        chunk_size: int,
        version: str | None,
        jobs: int,
        advance: Advance,
        digested: bool,
    ) -> PublishedVersion:
        try:
            status = self.origin.head(file_key(image))
        except BlobNotFoundError as error:
            raise OperatorError(f"{image.id}: there is no object {image.file} in {self.origin.name}") from error
        publication = Publication(
            self.origin, status, image.id, self.tried.is_conditional, self.tried.now_ns, jobs, advance
        )
        known = image.known_sha256(object_stamps(status.size, status.pin.tag))
        made = publication.carry_out(chunk_size, version, digested=digested, known=known)
        self._made_version(made.version)
        return made

    def _made_version(self, version: str) -> None:
        """Have a version that is named next be no longer marked as unnamed."""
        unit = Unit(version_directory(self.image_id, version), is_directory=True)
        self._given.new.append(unit)
        self.origin.delete([unit.mark])

    @override
    def adopt(self, manifest: ChunkManifest, source: ChunkSource, *, jobs: int, advance: Advance) -> bool:
        directory = version_directory(self.image_id, manifest.version)
        place = Place(self.origin, directory, self.tried.is_conditional, self.tried.now_ns)
        if is_published(place, manifest):
            return False

        def read(index: int) -> bytes:
            with source.chunk(manifest.chunk_name(index)) as content:
                return b"".join(map(bytes, content.pieces))  # a piece is valid until the next one

        Upload(place, manifest, read, advance, jobs).carry_out()
        self._made_version(manifest.version)
        return True


def _digest(sha256: str | None, size: int, tag: str) -> ContentDigest | None:
    return None if sha256 is None else ContentDigest(sha256, object_stamps(size, tag)[0])


def _told(pieces: Iterator[bytes], advance: Advance) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        advance(len(piece))
