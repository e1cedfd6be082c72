"""Reads the catalog of an images root: its manifest if it exists, else a listing (http.md §3)."""

from __future__ import annotations

from collections.abc import Hashable

import attrs

from aero_storage.catalog.documents import CatalogDocuments
from aero_storage.catalog.model import Catalog
from aero_storage.catalog.parser import parse_manifest
from aero_storage.errors import CatalogError


@attrs.frozen
class Reading:
    """The catalog as stored, or the error of reading it.

    `is_new` is false if its place looks the same as in the previous reading and was read again to be sure.
    """

    catalog: Catalog | None
    error: CatalogError | None
    is_new: bool = True


@attrs.define
class CatalogReader:
    """Reads the catalog of one images root when it has changed.

    All methods may wait. A root that once had a manifest never becomes a listing.
    """

    documents: CatalogDocuments
    require_manifest: bool
    _seen_manifest: bool = attrs.field(init=False, default=False)
    _last: Hashable = attrs.field(init=False, default=None)
    _certain: bool = attrs.field(init=False, default=False)
    _rootless: bool = attrs.field(init=False, default=False)

    def read_if_changed(self, *, force: bool = False, anew: bool = False) -> Reading | None:
        """Return the catalog as stored, or None if it is certainly the one that was read last.

        With `force` it is read even then; with `anew` no look is believed that was made before now.
        """
        if anew:
            self.documents.look_anew()
        try:
            state = self.documents.state()
        except CatalogError as error:
            self._seen_manifest |= self.documents.has_manifest()
            is_new, self._rootless, self._certain = not self._rootless, True, False
            return Reading(None, error, is_new=is_new)
        if not force and state.mark == self._last and self._certain:
            return None
        is_new = state.mark != self._last or self._rootless
        self._last, self._certain, self._rootless = state.mark, state.is_settled, False
        return attrs.evolve(self._read(), is_new=is_new)

    def _read(self) -> Reading:
        try:
            return Reading(self._read_catalog(), None)
        except CatalogError as error:
            return Reading(None, error)

    def _read_catalog(self) -> Catalog:
        if not self.documents.has_manifest() and not self._seen_manifest and not self.require_manifest:
            return self.documents.list_images()
        self._seen_manifest = True
        return load_manifest(self.documents)[0]


def load_manifest(documents: CatalogDocuments) -> tuple[Catalog, bytes]:
    """Return the catalog of the manifest, and its bytes.

    Raises CatalogError, with its full name, if it cannot be read or is invalid.
    """
    data = documents.read_manifest()
    return parse_named(data, documents.manifest_name), data


def parse_named(data: bytes, name: str) -> Catalog:
    """Return the catalog of a manifest. Raises CatalogError, which begins with `name`, if it is invalid."""
    try:
        return parse_manifest(data)
    except CatalogError as error:
        raise CatalogError(f"{name}: {error}") from error
