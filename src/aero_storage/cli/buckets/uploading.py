"""Uploads the chunks of a version, several at a time, then its manifest: all of a version is there before that is.

A key is never written with other content than what it has, so two commands that publish one version at once do no
harm. Chunks of an earlier run are kept, unless they are so old that a sweep may be removing them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import attrs
from typing_extensions import Buffer

from aero_storage.chunks.manifest import (
    CHUNKS_DIRECTORY,
    MAX_MANIFEST_BYTES,
    ChunkManifest,
    is_content_version,
)
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.chunks.parallel import WorkItems, share_out
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.cli.buckets.keys import chunk_manifest_key
from aero_storage.errors import (
    BlobNotFoundError,
    ChunkFormatError,
    ObjectTooLargeError,
    OperatorError,
    PreconditionFailedError,
)
from aero_storage.storage.objects.origin import ObjectStatus, Origin

FRESH_NS = 12 * 3600 * 10**9
"""Objects of an earlier run that are older than half of the shortest grace by default are uploaded anew."""

_MIB = 1 << 20
_IN_FLIGHT = 128 * _MIB
_MOST_AT_ONCE, _FEWEST_AT_ONCE = 16, 4
_ABSENT, _DOUBTFUL, _DONE = 0, 1, 2


@attrs.frozen
class Place:
    """Where a version goes."""

    origin: Origin
    directory: str
    """The key of its directory."""
    is_conditional: bool
    now_ns: int
    """The time by the store's clock."""

    @property
    def name(self) -> str:
        """The URL of the directory, for messages."""
        return f"{self.origin.name}/{self.directory}"

    @property
    def manifest_key(self) -> str:
        """The key of its manifest."""
        return chunk_manifest_key(self.directory)

    def put_new(self, key: str, data: Buffer) -> None:
        """Store an object where there is none, or the same. Raises PreconditionFailedError if there is another."""
        if self.is_conditional:
            self.origin.put_if(key, data, None)
        else:
            self.origin.put(key, data)

    def chunks(self) -> Iterator[ObjectStatus]:
        """Yield what lies in the directory of the chunks."""
        for listed in self.origin.list(f"{self.directory}/{CHUNKS_DIRECTORY}", delimiter=False):
            if listed.status is not None:
                yield listed.status

    def manifest(self) -> bytes | None:
        """Return the manifest that is there. Raises OperatorError if it is none that can be."""
        try:
            return self.origin.read(self.manifest_key, MAX_MANIFEST_BYTES)[1]
        except BlobNotFoundError:
            return None
        except ObjectTooLargeError as error:
            raise self.taken("its manifest is too large") from error

    def taken(self, reason: str) -> OperatorError:
        """Return the error that something else is there."""
        return OperatorError(
            f"{self.name} is there already and {reason}; choose another version name, or remove it first"
        )


def require_room(place: Place, draft: ChunkManifest) -> None:
    """Raise OperatorError if something else is there than the version of `draft`, as yet without digests."""
    data = place.manifest()
    if data is None:
        return
    existing = _parsed(place, data)
    if existing.digests is None or attrs.evolve(existing, digests=None) != draft:
        raise place.taken("it is of other content")


def is_published(place: Place, manifest: ChunkManifest) -> bool:
    """Return whether exactly this version is there. Raises OperatorError if anything else is."""
    data = place.manifest()
    if data is None:
        return False
    if data != manifest.to_json() and _parsed(place, data) != manifest:
        raise place.taken("it is of other content")
    damaged = first_missing(place, manifest)
    if damaged is not None:
        raise OperatorError(
            f"{place.name} was published before, but its {damaged} is missing or cut short; remove its chunks "
            f"(aero-storage remove {manifest.image_id} --chunks-only) and publish it under another version name"
        )
    return True


def _parsed(place: Place, data: bytes) -> ChunkManifest:
    try:
        return parse_chunk_manifest(data)
    except ChunkFormatError as error:
        raise place.taken(f"its manifest is invalid ({error})") from error


def first_missing(place: Place, manifest: ChunkManifest) -> str | None:
    """Return the name of a chunk that is missing, or of another length; None if all are there."""
    seen = bytearray(manifest.chunk_count)
    for status in place.chunks():
        index = _index(manifest, status)
        if index is not None and status.size == manifest.chunk_length(index):
            seen[index] = 1
    missing = seen.find(0)
    return None if missing < 0 else manifest.chunk_name(missing)


def _index(manifest: ChunkManifest, status: ObjectStatus) -> int | None:
    return manifest.index_of(status.key.rpartition("/")[2])


@attrs.define(eq=False)
class Upload:
    """The upload of a version: `read` returns the content of a chunk, in any thread.

    `tags` are the MD5 digests of the chunks, 16 bytes each, where they are known.
    """

    place: Place
    manifest: ChunkManifest
    read: Callable[[int], Buffer]
    advance: Advance
    jobs: int
    tags: bytes | None = None
    _states: bytearray = attrs.field(init=False)

    def carry_out(self) -> None:
        """Upload what is missing, and then the manifest; nothing names the version yet.

        Raises OperatorError if the version's name is taken by other content.
        """
        self._states = bytearray(self.manifest.chunk_count)
        for status in self.place.chunks():
            self._take(status)
        share_out(range(self.manifest.chunk_count), self._threads(), self._work)
        missing = first_missing(self.place, self.manifest)
        if missing is not None:
            raise OperatorError(f"{self.place.name}: {missing} is gone again: another command removed it; try again")
        try:
            self.place.put_new(self.place.manifest_key, self.manifest.to_json())
        except PreconditionFailedError as error:
            raise self.place.taken("it is of other content") from error

    def _threads(self) -> int:
        fitting = _IN_FLIGHT // self.manifest.chunk_length(0)
        return max(1, min(fitting, _MOST_AT_ONCE, max(self.jobs, _FEWEST_AT_ONCE)))

    def _take(self, status: ObjectStatus) -> None:
        """Note what an earlier run, or another one, has uploaded."""
        index = _index(self.manifest, status)
        if index is None:
            return
        is_young = self.place.now_ns - status.modified_ns < FRESH_NS
        is_same = self.tags is not None and status.pin.tag == f'"{self.tags[16 * index : 16 * index + 16].hex()}"'
        is_whole = status.size == self.manifest.chunk_length(index)
        self._states[index] = _DONE if is_young and is_same and is_whole else _DOUBTFUL

    def _work(self, share: WorkItems[int]) -> None:
        for index in share:
            if self._states[index] != _DONE:
                self._store(index)
            self.advance(self.manifest.chunk_length(index))

    def _store(self, index: int) -> None:
        key = f"{self.place.directory}/{CHUNKS_DIRECTORY}/{self.manifest.chunk_name(index)}"
        if self._states[index] == _DOUBTFUL and self.tags is None and self._is_there(key, index):
            return
        data = self.read(index)
        self._require_right(index, data)
        if is_content_version(self.manifest.version) and self._states[index] == _DOUBTFUL:
            self.place.origin.put(key, data)  # nobody writes other bytes there, and it is as new then
            return
        try:
            self.place.put_new(key, data)
        except PreconditionFailedError as error:
            if not is_content_version(self.manifest.version):
                raise self.place.taken("chunks of other content are in it, perhaps of a command at work") from error
            self.place.origin.put(key, data)

    def _is_there(self, key: str, index: int) -> bool:
        """Return whether a young object has the content of the chunk, by its digest."""
        try:
            status, data = self.place.origin.read(key, self.manifest.chunk_length(index))
        except (BlobNotFoundError, ObjectTooLargeError):
            return False
        is_young = self.place.now_ns - status.modified_ns < FRESH_NS
        digest = self.manifest.digest(index)
        return is_young and digest is not None and hashlib.sha256(data).digest() == digest

    def _require_right(self, index: int, data: Buffer) -> None:
        digest, length = self.manifest.digest(index), self.manifest.chunk_length(index)
        is_right = digest is None or hashlib.sha256(data).digest() == digest
        if memoryview(data).nbytes != length or not is_right:
            name = self.manifest.chunk_name(index)
            raise OperatorError(f"{name} is not what the manifest says: it was changed, or is damaged")
