"""The documents of a catalog: a directory and the prefix of a bucket have this protocol in common."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import attrs

from aero_storage.catalog.model import Catalog


@attrs.frozen
class DocumentState:
    """The state of a place: another mark means other content."""

    mark: Hashable
    is_settled: bool
    """Whether an equal mark means equal content. A file that is a moment old may change again under its mark."""


class CatalogDocuments(Protocol):
    """The documents of one images root that make its catalog. All methods may wait."""

    @property
    def manifest_name(self) -> str:
        """Full name of the manifest, for messages."""
        ...

    def state(self) -> DocumentState:
        """Return the state of the manifest, or of the listing where there is none. Raises CatalogError."""
        ...

    def look_anew(self) -> None:
        """Have the next `state` be that of a look which begins after now."""
        ...

    def has_manifest(self) -> bool:
        """Return whether there is an entry with the manifest's name, valid or not; False if that is unknown."""
        ...

    def read_manifest(self) -> bytes:
        """Return the manifest, of a longer one its first MAX_MANIFEST_BYTES + 1 bytes.

        Raises CatalogError, with the full name, if it cannot be read.
        """
        ...

    def list_images(self) -> Catalog:
        """Return the catalog of a place without a manifest: its images, sorted by id. Raises CatalogError."""
        ...

    def left_out(self) -> dict[str, str]:
        """Return the names that the listing leaves out → why; hidden ones are not told. Raises CatalogError."""
        ...
