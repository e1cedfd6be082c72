"""Maps of the zeros in objects (http.md §14): made of content on its way, and stored when the object is.

A map names the state of its object. So it does not matter which of the two is there first, or which of two commands
writes last: a map of another content counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from typing_extensions import Buffer

from aero_storage.catalog.content_digest import object_stamps
from aero_storage.http.extents.content_scan import ContentScan
from aero_storage.http.extents.documents import stored_map
from aero_storage.http.extents.extents import Extents
from aero_storage.storage.objects.object_keys import map_key
from aero_storage.storage.objects.origin import Origin


def scanned(pieces: Iterable[Buffer], scan: ContentScan) -> Iterator[Buffer]:
    """Yield the pieces of a content, and have each looked at."""
    for piece in pieces:
        scan.feed(piece)
        yield piece


def put_map(origin: Origin, key: str, extents: Extents, tag: str) -> None:
    """Store the map of an object with this tag; an object without one cannot be told from another."""
    if tag:
        origin.put(map_key(key), stored_map(extents, object_stamps(extents.size, tag)[0]))
