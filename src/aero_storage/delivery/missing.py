"""Opens images of the catalog; a missing one may be missing because the catalog has changed (http.md §11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Image
from aero_storage.errors import BlobNotFoundError
from aero_storage.storage.store import BlobRequest, Opened, Store

LookAnew = Callable[[], Awaitable[object]]
"""Looks at the catalog of an origin now, unless that was done a moment ago."""


class Renewal(Protocol):
    """Has a catalog that is too old read anew before it is used."""

    def is_due(self) -> bool:
        """Return whether the catalog is too old for a request that begins now."""
        ...

    async def done(self) -> None:
        """Wait for the new one, for a moment."""
        ...


async def open_named(
    store: Store,
    current_catalog: CurrentCatalog,
    look_anew: LookAnew | None,
    request: Callable[[], tuple[Image, BlobRequest]],
) -> tuple[Image, Opened]:
    """Open what `request` finds in the catalog; if it is missing, look at the catalog anew, once, and try again.

    Raises BlobNotFoundError, and what the store raises.
    """
    mark = current_catalog.current.mark
    image, wanted = request()
    try:
        return image, await store.open(wanted)
    except BlobNotFoundError:
        if look_anew is None:
            raise
        await look_anew()
        if current_catalog.current.mark is mark:
            raise
    image, wanted = request()
    return image, await store.open(wanted)
