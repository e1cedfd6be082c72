"""The versions of the images whose published chunks are sent, for the log (http.md §8 and §13).

A chunk object knows nothing of the image that it was cut from. The catalog says which published version is that of
the image, so a chunk of it is told with the version of the image's raw file: then boot profiles can be learned.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.model import Image
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.representation import version_of
from aero_storage.delivery.routes import Resource
from aero_storage.errors import ClientError
from aero_storage.storage.store import BlobRequest, Store

FRESH_SECONDS = 1.0
"""Time for which a version is used: one look for all chunks of an image that are asked for in it."""

_MOST_KNOWN = 1024


@attrs.define(eq=False)
class ChunkVersions:
    """Looks at raw files, at most once in a second for each image."""

    _store: Store
    _clock: IReactorTime
    _known: dict[Image, tuple[str | None, float]] = attrs.field(init=False, factory=dict)

    def recall(self, facts: Facts, image: Image) -> str | None:
        """Return the version of the image that a published chunk is of, as it was seen last; None if unknown."""
        return self._known.get(image, (None, 0.0))[0] if _is_current(facts, image) else None

    async def look(self, facts: Facts, image: Image) -> None:
        """Look at the image of a chunk, if it is time to; a failure says nothing of the chunk."""
        now = self._clock.seconds()
        if not _is_current(facts, image) or now < self._known.get(image, (None, 0.0))[1]:
            return
        version = await self._version(image)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[image] = version, now + FRESH_SECONDS

    async def _version(self, image: Image) -> str | None:
        wanted = BlobRequest(image)
        try:
            opened = self._store.open_cached(wanted) or await self._store.open(wanted)
        except ClientError:
            return None
        try:
            return version_of(image, opened.status)
        finally:
            opened.close()


def _is_current(facts: Facts, image: Image) -> bool:
    is_chunk = facts.resource is Resource.CHUNK
    return is_chunk and facts.names.version in (None, image.chunked_version)
