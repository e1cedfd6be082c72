"""The images root of the commands below a prefix of a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import attrs
from typing_extensions import override

from aero_storage.atomic_files import Waiting
from aero_storage.catalog.draft import Draft, Entry
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog, Image
from aero_storage.chunks.manifest import MAX_MANIFEST_BYTES
from aero_storage.cli.buckets.chunk_source import BucketSource, beginning_of
from aero_storage.cli.buckets.conditional import Tried, require_conditional
from aero_storage.cli.buckets.documents import BucketDocuments
from aero_storage.cli.buckets.expiry import Expiry
from aero_storage.cli.buckets.keys import (
    chunk_manifest_key,
    chunks_of,
    file_key,
    is_imported_key,
    key_of,
    version_directory,
)
from aero_storage.cli.buckets.local_work import local_work
from aero_storage.cli.buckets.pointer import CatalogPointer
from aero_storage.cli.buckets.profiles import BucketProfiles
from aero_storage.cli.buckets.reading import StoredObject
from aero_storage.cli.buckets.statuses import Statuses
from aero_storage.cli.buckets.unnamed import LOOKS_AT_ONCE, Survey, Unit, is_complete
from aero_storage.cli.buckets.work import BucketWork
from aero_storage.cli.repository import GRACE_SECONDS, Expired, Leftover, Repository, Say
from aero_storage.cli.stored_image import StoredImage
from aero_storage.cli.terminal import printable
from aero_storage.errors import AeroStorageError, BlobNotFoundError, OperatorError
from aero_storage.http.identifiers import is_version
from aero_storage.sizes import format_size
from aero_storage.storage.objects.origin import Origin

_T = TypeVar("_T")
_UNNEEDED = "nothing names it"
_UNFINISHED = "nothing names it; a command is at work on it, or an interrupted one has left it"
_EXPIRED = "aero-storage remove --expired"


@attrs.define(eq=False)
class BucketRepository(Repository):
    """The prefix of `origin`; with `single_writer` nobody else writes there, and the store may lack conditions."""

    origin: Origin
    single_writer: bool = False
    _tried: Tried | None = attrs.field(init=False, default=None)
    _statuses: Statuses | None = attrs.field(init=False, default=None)
    _chunked: frozenset[str] | None = attrs.field(init=False, default=None)
    """The ids of all images that have chunks, once all were looked at."""

    @property
    @override
    def name(self) -> str:
        return self.origin.name

    @property
    @override
    def documents(self) -> BucketDocuments:
        return BucketDocuments(self.origin)

    def _try(self) -> Tried:
        if self._tried is None:
            self._tried = require_conditional(self.origin, single_writer=self.single_writer)
        return self._tried

    def _pointer(self) -> CatalogPointer:
        return CatalogPointer(self.origin, self._try().is_conditional)

    @override
    def change_catalog(self, change: Callable[[Draft], _T], *, listing: bool, waiting: Waiting) -> _T:
        return self._pointer().change(change, listing=listing, waiting=waiting)

    @contextmanager
    @override
    def at_work(self, image_id: str, say: Say) -> Iterator[BucketWork]:
        with local_work(self.origin.identity, image_id, say) as staging:
            tried, pointer = self._try(), self._pointer()
            expired = self._expiry(GRACE_SECONDS).sweep_image(image_id)
            if expired.removed:
                say(f"An interrupted command had left {format_size(expired.freed)} of {image_id}; removed it.")
            yield BucketWork(image_id, self.origin, pointer, tried, staging, say)

    @override
    def remove_expired(self, grace_seconds: float) -> Expired:
        return self._expiry(grace_seconds).sweep()

    def _expiry(self, grace_seconds: float) -> Expiry:
        return Expiry(self.origin, self._pointer(), self._try().now_ns, int(grace_seconds * 10**9))

    @override
    def foresee_import(self, image_id: str, say: Say) -> None:
        self._require_fresh(image_id)
        catalog = self._pointer().current()
        before = None if catalog is None else catalog.find(image_id)
        if before is not None:
            say(f"{image_id} is an image already: this import replaces it, and {printable(before.file)} stays.")

    def _require_fresh(self, image_id: str) -> None:
        """Raise OperatorError if chunks of older content would be served for the new one."""
        stale = chunk_manifest_key(version_directory(image_id, None))
        if self._has_object(stale):
            raise OperatorError(
                f"{self.name}/{stale} is of older content, and would be served for the new image; "
                f"remove it first: aero-storage remove {image_id} --chunks-only"
            )

    @property
    @override
    def profiles(self) -> BucketProfiles:
        return BucketProfiles(self.origin)

    @override
    def look_at_all(self, images: Iterable[Image]) -> None:
        self._statuses = Statuses.listed(self.origin, {file_key(image) for image in images})
        below = self.origin.list(CHUNKED, delimiter=True)
        self._chunked = frozenset(one.key.rpartition("/")[2] for one in below if one.status is None)

    @property
    @override
    def looks_at_once(self) -> int:
        return LOOKS_AT_ONCE

    @override
    def needs_sample(self, image: Image, stored: StoredImage) -> bool:
        """Each sample takes two requests. An import looks at the content, and the digest says that it is the same."""
        is_examined = self.is_imported(image.id, image.file) and image.known_sha256(stored.stamps) is not None
        return not is_examined

    @override
    def stored(self, image: Image) -> StoredObject:
        key = file_key(image)
        try:
            found = None if self._statuses is None else self._statuses.find(key)
            return StoredObject(self.origin, found or self.origin.head(key))
        except BlobNotFoundError as error:
            raise OperatorError(
                f"{image.id}: there is no object {image.file} in {self.name}; put it there or import it again"
            ) from error

    @override
    def has_file(self, file: str) -> bool:
        return self._has_object(key_of(file))

    def _has_object(self, key: str) -> bool:
        try:
            self.origin.head(key)
        except BlobNotFoundError:
            return False
        return True

    @override
    def is_named(self, file: str, entries: Iterable[Entry]) -> bool:
        return any(key_of(str(entry["file"])) == key_of(file) for entry in entries)

    @override
    def is_imported(self, image_id: str, file: str) -> bool:
        return is_imported_key(image_id, key_of(file))

    @override
    def is_removable(self, image: Image) -> bool:
        return file_key(image) != MANIFEST_NAME and self._has_object(file_key(image))

    @override
    def leftovers(self, catalog: Catalog, *, thorough: bool = True) -> Sequence[Leftover]:
        if catalog.listing:
            return ()
        survey = Survey(self.origin, catalog)
        return [self._leftover(unit) for unit in (survey.units() if thorough else survey.imports())]

    def _leftover(self, unit: Unit) -> Leftover:
        is_unfinished = unit.is_directory and not is_complete(self.origin, unit)
        return Leftover(unit.key, _UNFINISHED if is_unfinished else _UNNEEDED, _EXPIRED)

    @override
    def chunk_versions(self, image_id: str) -> list[str] | None:
        listed = self.origin.list(chunks_of(image_id), delimiter=True)
        found = [
            one
            for one in listed
            if one.status is not None or Unit(one.key, is_directory=True).has_objects(self.origin)
        ]
        names = (one.key.rpartition("/")[2] for one in found if one.status is None)
        return sorted(name for name in names if is_version(name)) if found else None

    @override
    def chunk_manifest(self, image: Image) -> bytes | None:
        if self._chunked is not None and image.id not in self._chunked:
            return None
        try:
            return beginning_of(self.origin, self._chunk_manifest_key(image), MAX_MANIFEST_BYTES)
        except BlobNotFoundError:
            return None
        except AeroStorageError as error:
            raise OSError(0, str(error)) from error

    @override
    def chunk_source(self, image: Image) -> BucketSource | None:
        if not self._has_object(self._chunk_manifest_key(image)):
            return None
        return BucketSource(self.origin, str(image.chunked_directory))

    @override
    def chunk_manifest_name(self, image: Image) -> str:
        return f"{self.name}/{self._chunk_manifest_key(image)}"

    @staticmethod
    def _chunk_manifest_key(image: Image) -> str:
        return chunk_manifest_key(str(image.chunked_directory))
