"""The rules of a listing, which stands in for a missing catalog: which names are images (http.md §3)."""

from __future__ import annotations

from collections.abc import Iterable

from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog, Image
from aero_storage.http.identifiers import NAME_RULE, is_image_id
from aero_storage.profiles.document import PROFILES

OWN_DIRECTORIES = frozenset((CHUNKED, PROFILES))
"""Directories that our commands make beside images."""


def is_listed_name(name: str) -> bool:
    """Return whether a file or an object with this name is an image."""
    return not name.startswith((".", MANIFEST_NAME)) and is_image_id(name)


def why_not_listed(name: str) -> str:
    """Return in words why a file or an object with this name, which has no dot in front, is no image."""
    if name.startswith(MANIFEST_NAME):
        return f"names that begin with {MANIFEST_NAME} are kept for the catalog; rename it if it is an image"
    return f"its name is no image id: that {NAME_RULE}; rename it, or name it in {MANIFEST_NAME}"


def listing_of(names: Iterable[str]) -> Catalog:
    """Return the catalog of the listed names, in their order."""
    return Catalog(tuple(Image(id=name, file=name, name=name, follow_links=False) for name in names), listing=True)
