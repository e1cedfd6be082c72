"""Objects of a bucket that nothing names: imported ones, and versions of chunks, that no catalog entry has.

When it was first seen so, or given up, says a mark: an empty object. An object keeps its own age, which tells when it
was written, and not since when nothing names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import attrs

from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog
from aero_storage.chunks.manifest import CHUNKS_DIRECTORY
from aero_storage.chunks.parallel import WorkItems, share_out
from aero_storage.cli.buckets.keys import (
    OURS,
    chunk_manifest_key,
    chunks_of,
    imported_directory,
    is_imported_key,
    named_by,
)
from aero_storage.cli.image_files import IMPORTED
from aero_storage.errors import BlobNotFoundError
from aero_storage.http.identifiers import is_image_id, is_version
from aero_storage.storage.objects.object_keys import is_chunk_file, map_key
from aero_storage.storage.objects.origin import Listed, Origin

LOOKS_AT_ONCE = 16
"""Requests about as many images are made at the same time: each waits for the store more than it works."""

MARKS = f"{OURS}/unnamed"
"""The directory of the marks: below it, the key that a mark is about."""


@attrs.frozen
class Unit:
    """An object, or with `is_directory` all below a key: they are named, or not, together."""

    key: str
    is_directory: bool = False

    @property
    def mark(self) -> str:
        """The key of its mark."""
        return f"{MARKS}/{self.key}"

    def listed(self, origin: Origin) -> Iterator[Listed]:
        """Yield its objects in the order in which they may be deleted.

        A manifest comes first: a version whose manifest is gone is not served any more.
        """
        if not self.is_directory:
            for key in (map_key(self.key), self.key):  # a map never outlives its object
                with suppress(BlobNotFoundError):
                    yield Listed(key, origin.head(key))
            return
        manifest = chunk_manifest_key(self.key)
        with suppress(BlobNotFoundError):
            yield Listed(manifest, origin.head(manifest))
        yield from (one for one in self._published(origin) if one.key != manifest)

    def has_objects(self, origin: Origin) -> bool:
        """Return whether a directory has an object: SeaweedFS keeps directories that are empty by now."""
        return next((True for _ in self._published(origin)), False)

    def _published(self, origin: Origin) -> Iterator[Listed]:
        """Yield the objects in a directory that publications make: others are an operator's own, and stay."""
        below = f"{self.key}/"
        chunks = below if below.endswith(f"/{CHUNKS_DIRECTORY}/") else f"{below}{CHUNKS_DIRECTORY}/"
        for one in origin.list(self.key, delimiter=False):
            is_chunk = one.key.startswith(chunks) and is_chunk_file(one.key.removeprefix(chunks))
            if one.status is not None and (is_chunk or one.key == chunk_manifest_key(self.key)):
                yield one


@attrs.frozen
class Survey:
    """Looks for what a catalog does not name."""

    origin: Origin
    catalog: Catalog
    _files: frozenset[str] = attrs.field(init=False)

    @_files.default
    def _named_files(self) -> frozenset[str]:
        return named_by(self.catalog)

    def units(self) -> Iterator[Unit]:
        """Yield all units that nothing names."""
        yield from self.imports()
        below = (
            one.key.rpartition("/")[2] for one in self.origin.list(CHUNKED, delimiter=True) if one.status is None
        )
        image_ids, found = [name for name in below if is_image_id(name)], dict[str, list[Unit]]()

        def work(share: WorkItems[str]) -> None:
            for image_id in share:
                found[image_id] = [*self._versions(image_id)]

        share_out(image_ids, LOOKS_AT_ONCE, work)
        for image_id in image_ids:
            yield from found[image_id]

    def imports(self) -> Iterator[Unit]:
        """Yield the imported files that nothing names: one listing for all images."""
        return self._imported(IMPORTED)

    def units_of(self, image_id: str) -> Iterator[Unit]:
        """Yield the units of one image's imports and chunks that nothing names."""
        yield from self._imported(imported_directory(image_id))
        yield from self._versions(image_id)

    def is_named(self, unit: Unit) -> bool:
        """Return whether an entry of the catalog names a unit."""
        top, _, rest = unit.key.partition("/")
        if top != CHUNKED or not unit.is_directory:
            return unit.key in self._files
        image_id, _, name = rest.partition("/")
        image = self.catalog.find(image_id)
        return image is not None and image.chunked_version == (None if name == CHUNKS_DIRECTORY else name)

    def _imported(self, directory: str) -> Iterator[Unit]:
        for listed in self.origin.list(directory, delimiter=False):
            image_id = listed.key.removeprefix(f"{IMPORTED}/").partition("/")[0]
            if is_imported_key(image_id, listed.key) and listed.key not in self._files:
                yield Unit(listed.key)

    def _versions(self, image_id: str) -> Iterator[Unit]:
        found = [*self.origin.list(chunks_of(image_id), delimiter=True)]
        has_manifest = any(one.status and one.key.endswith(f"/{MANIFEST_NAME}") for one in found)
        for unit in _directories(found):
            is_unversioned = unit.key.endswith(f"/{CHUNKS_DIRECTORY}")
            if is_unversioned and has_manifest:  # its manifest is its pointer
                continue
            if (is_unversioned or not self.is_named(unit)) and unit.has_objects(self.origin):
                yield unit


def chunk_units(origin: Origin, image_id: str) -> Iterator[Unit]:
    """Yield the units of all chunks of an image, whether something names them or not."""
    return _directories(origin.list(chunks_of(image_id), delimiter=True))


def _directories(found: Iterable[Listed]) -> Iterator[Unit]:
    for listed in found:
        name = listed.key.rpartition("/")[2]
        if listed.status is None and (is_version(name) or name == CHUNKS_DIRECTORY):
            yield Unit(listed.key, is_directory=True)


def is_complete(origin: Origin, unit: Unit) -> bool:
    """Return whether a unit is a version with its manifest, as `publish` leaves it."""
    if not unit.is_directory:
        return False
    try:
        origin.head(chunk_manifest_key(unit.key))
    except BlobNotFoundError:
        return False
    return True


def set_marks(origin: Origin, units: Iterable[Unit]) -> None:
    """Mark units as unnamed from now on."""
    for unit in units:
        origin.put(unit.mark, b"")
