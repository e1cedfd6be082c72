"""The catalog in a bucket, the one pointer: switched by a conditional write, anew if somebody else was faster."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import TypeVar

import attrs

from aero_storage.atomic_files import Waiting
from aero_storage.catalog.draft import Draft
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog
from aero_storage.catalog.reader import parse_named
from aero_storage.cli.buckets.documents import BucketDocuments
from aero_storage.cli.buckets.keys import chunk_manifest_key, version_directory
from aero_storage.errors import BlobNotFoundError, BusyError, PreconditionFailedError
from aero_storage.http.identifiers import is_image_id
from aero_storage.storage.objects.origin import Origin, Pin

_T = TypeVar("_T")
_FIRST_PAUSE, _MOST_PAUSE = 0.05, 2.0


@attrs.frozen
class CatalogPointer:
    """`manifest.json` below the prefix of an origin."""

    origin: Origin
    is_conditional: bool
    """Whether it is written under conditions; otherwise nobody else writes."""
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def current(self) -> Catalog | None:
        """Return the catalog of the manifest; None if there is none. Raises CatalogError."""
        documents = BucketDocuments(self.origin)
        found = documents.pinned_manifest()
        return None if found is None else parse_named(found[1], documents.manifest_name)

    def change(self, change: Callable[[Draft], _T], *, listing: bool, waiting: Waiting) -> _T:
        """Change the catalog as `Repository.change_catalog` says; `change` is called anew on a newer one."""
        deadline, pause = self.clock() + waiting.timeout, _FIRST_PAUSE
        while True:
            pin, draft = self._draft(listing=listing)
            before = json.dumps(draft.entries)
            result = change(draft)
            if pin is not None and json.dumps(draft.entries) == before:
                return result
            try:
                self._write(draft.to_bytes(), pin)
            except PreconditionFailedError as error:
                if self.clock() >= deadline:
                    name = BucketDocuments(self.origin).manifest_name
                    raise BusyError(f"others keep changing {name}; try again, or say --lock-timeout") from error
            else:
                return result
            self.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            pause = min(2 * pause, _MOST_PAUSE)

    def _draft(self, *, listing: bool) -> tuple[Pin | None, Draft]:
        documents = BucketDocuments(self.origin)
        found = documents.pinned_manifest()
        if found is None:
            return None, Draft.of_listing(self._served_by_listing(documents) if listing else ())
        parse_named(found[1], documents.manifest_name)
        return found[0], Draft.of_manifest(found[1])

    def _write(self, data: bytes, expected: Pin | None) -> None:
        if self.is_conditional:
            self.origin.put_if(MANIFEST_NAME, data, expected)
        else:
            self.origin.put(MANIFEST_NAME, data)

    def _served_by_listing(self, documents: BucketDocuments) -> list[str]:
        """Return the ids served without a catalog: of objects, and of chunks without a raw file."""
        names = {image.id for image in documents.list_images().images}
        listed = (one.key.rpartition("/")[2] for one in self.origin.list(CHUNKED, delimiter=True) if not one.status)
        chunked = {name for name in listed if is_image_id(name) and self._has_chunks(name)}
        return sorted(names | chunked)

    def _has_chunks(self, image_id: str) -> bool:
        try:
            self.origin.head(chunk_manifest_key(version_directory(image_id, None)))
        except BlobNotFoundError:
            return False
        return True
