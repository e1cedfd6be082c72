"""The catalog documents below a prefix: the object `manifest.json`, or the objects directly below (http.md §11)."""

from __future__ import annotations

import hashlib

import attrs
from typing_extensions import override

from aero_storage.catalog.documents import CatalogDocuments, DocumentState
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog, Image
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES
from aero_storage.errors import (
    BlobNotFoundError,
    CatalogError,
    ObjectTooLargeError,
    OriginDeniedError,
    OriginUnavailableError,
)
from aero_storage.http.identifiers import NAME_RULE, is_image_id
from aero_storage.storage.objects.origin import ObjectStatus, Origin, Pin

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
        names = sorted(status.key for status in self._objects() if _is_listed(status.key))
        images = tuple(Image(id=name, file=name, name=name, follow_links=False) for name in names)
        return Catalog(images, listing=True)

    @override
    def left_out(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for listed in self.origin.list("", delimiter=True):
            reason = _reason_left_out(listed.key, is_object=listed.status is not None)
            if reason is not None:
                found[listed.key] = reason
        return dict(sorted(found.items()))

    def _objects(self) -> list[ObjectStatus]:
        try:
            return [one.status for one in self.origin.list("", delimiter=True) if one.status is not None]
        except _ORIGIN_ERRORS as error:
            raise CatalogError(str(error)) from error


def _is_listed(name: str) -> bool:
    return not name.startswith((".", MANIFEST_NAME)) and is_image_id(name)


def _reason_left_out(name: str, *, is_object: bool) -> str | None:
    if name.startswith(".") or name == CHUNKED or (is_object and _is_listed(name)):
        return None
    if not is_object:
        return f"the listing shows nothing below a slash; name the images there in {MANIFEST_NAME}"
    if name.startswith(MANIFEST_NAME):
        return f"names that begin with {MANIFEST_NAME} are kept for the catalog; rename it if it is an image"
    return f"its name is no image id: that {NAME_RULE}; rename it, or name it in {MANIFEST_NAME}"
