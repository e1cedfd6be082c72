"""The catalog documents below a prefix: the object `manifest.json`, or the objects directly below (http.md §11)."""

from __future__ import annotations

import hashlib

import attrs
from typing_extensions import override

from aero_storage.catalog.documents import CatalogDocuments, DocumentState
from aero_storage.catalog.listing import is_listed_name, listing_of
from aero_storage.catalog.model import MANIFEST_NAME, Catalog
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES
from aero_storage.errors import (
    BlobNotFoundError,
    CatalogError,
    ObjectTooLargeError,
    OriginDeniedError,
    OriginUnavailableError,
)
from aero_storage.storage.objects.origin import ObjectStatus, Origin, Pin
from aero_storage.storage.objects.polled_documents import left_out_of

_ORIGIN_ERRORS = (OriginDeniedError, OriginUnavailableError)


@attrs.frozen
class BucketDocuments(CatalogDocuments):
    """The documents below the prefix of an origin. Each call asks the store."""

    origin: Origin

    @property
    @override
    def manifest_name(self) -> str:
        return f"{self.origin.name}/{MANIFEST_NAME}"

    @override
    def state(self) -> DocumentState:
        try:
            status = self.origin.head(MANIFEST_NAME)
        except BlobNotFoundError:
            listed = hashlib.sha256()
            for image in self.list_images().images:
                listed.update(f"{image.id}\n".encode())
            return DocumentState((False, listed.digest()), is_settled=True)
        except _ORIGIN_ERRORS as error:
            raise CatalogError(str(error)) from error
        return DocumentState((True, status.pin), is_settled=True)

    @override
    def look_anew(self) -> None:
        pass  # each look is a new one

    @override
    def has_manifest(self) -> bool:
        try:
            self.origin.head(MANIFEST_NAME)
        except BlobNotFoundError:
            return False
        return True

    @override
    def read_manifest(self) -> bytes:
        found = self.pinned_manifest()
        if found is None:
            raise CatalogError(f"{self.manifest_name}: there is no such object")
        return found[1]

    def pinned_manifest(self) -> tuple[Pin, bytes] | None:
        """Return the manifest and what names its state; None if there is none. Raises CatalogError."""
        try:
            status, data = self.origin.read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
        except BlobNotFoundError:
            return None
        except ObjectTooLargeError as error:
            raise CatalogError(f"{self.manifest_name}: larger than {MAX_MANIFEST_BYTES} bytes") from error
        return status.pin, data

    @override
    def list_images(self) -> Catalog:
        return listing_of(sorted(status.key for status in self._objects() if is_listed_name(status.key)))

    @override
    def left_out(self) -> dict[str, str]:
        return left_out_of(self.origin.list("", delimiter=True))

    def _objects(self) -> list[ObjectStatus]:
        try:
            return [one.status for one in self.origin.list("", delimiter=True) if one.status is not None]
        except _ORIGIN_ERRORS as error:
            raise CatalogError(str(error)) from error
