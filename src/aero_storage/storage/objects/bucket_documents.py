"""The catalog documents below a prefix of a bucket: `manifest.json`, or the listing of its objects (http.md §11)."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import attrs
from typing_extensions import override

from aero_storage.catalog.documents import CatalogDocuments, DocumentState
from aero_storage.catalog.listing import is_listed_name, listing_of, why_not_listed
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES
from aero_storage.errors import (
    BlobNotFoundError,
    CatalogDeniedError,
    CatalogError,
    CatalogUnavailableError,
    ObjectTooLargeError,
    OriginDeniedError,
    OriginUnavailableError,
)
from aero_storage.storage.objects.origin import Listed, Origin


@attrs.define
class BucketDocuments(CatalogDocuments):
    """The documents below the prefix of `origin`. The first look, which a start waits for, is that of `first`."""

    _origin: Origin
    _first: Origin
    _now: Callable[[], float] = time.monotonic
    answered_at: float | None = attrs.field(init=False, default=None)
    """When the origin last told the state of the catalog; None if it never has."""
    _has_looked: bool = attrs.field(init=False, default=False)
    _has_manifest: bool = attrs.field(init=False, default=False)
    _listed: tuple[str, ...] = attrs.field(init=False, default=())
    """Names of the objects directly below the prefix, as of the last look."""

    @property
    @override
    def manifest_name(self) -> str:
        return f"{self._origin.name}/{MANIFEST_NAME}"

    def silent_seconds(self) -> float | None:
        """Return for how long the origin has not told the state of the catalog; None if it never has."""
        return None if self.answered_at is None else self._now() - self.answered_at

    @override
    def state(self) -> DocumentState:
        began, origin = self._now(), self._origin if self._has_looked else self._first
        self._has_looked = True
        with _told_as_ours():
            mark = self._mark(origin)
        self.answered_at = began
        return DocumentState(mark, is_settled=True)

    def _mark(self, origin: Origin) -> Hashable:
        try:
            found = origin.head(MANIFEST_NAME)
        except BlobNotFoundError:
            self._has_manifest = False
            self._listed = tuple(sorted(listed.key for listed in origin.list("", delimiter=True) if listed.status))
            return self._listed
        self._has_manifest, self._listed = True, ()
        return found.pin, found.size

    @override
    def has_manifest(self) -> bool:
        return self._has_manifest

    @override
    def read_manifest(self) -> bytes:
        with _told_as_ours():
            try:
                return self._origin.read(MANIFEST_NAME, MAX_MANIFEST_BYTES)[1]
            except ObjectTooLargeError:
                raise CatalogError(f"{self.manifest_name}: larger than {MAX_MANIFEST_BYTES} bytes") from None
            except BlobNotFoundError:
                raise CatalogError(f"{self.manifest_name}: no such object") from None

    @override
    def list_images(self) -> Catalog:
        return listing_of(filter(is_listed_name, self._listed))

    @override
    def left_out(self) -> dict[str, str]:
        with _told_as_ours():
            return left_out_of(self._origin)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except OriginUnavailableError as error:
        raise CatalogUnavailableError(str(error)) from error
    except OriginDeniedError as error:
        raise CatalogDeniedError(str(error)) from error


def left_out_of(origin: Origin) -> dict[str, str]:
    """Return what the listing of an origin leaves out → why; names with a dot in front are not told."""
    found = sorted(origin.list("", delimiter=True), key=lambda listed: listed.key)
    reasons = {listed.key: _reason_left_out(listed) for listed in found}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _reason_left_out(listed: Listed) -> str | None:
    name, is_object = listed.key, listed.status is not None
    if name.startswith(".") or name == CHUNKED or (is_object and is_listed_name(name)):
        return None
    if not is_object:
        return f"the listing shows nothing below a slash; name the images there in {MANIFEST_NAME}"
    return why_not_listed(name)
