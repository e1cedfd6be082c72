"""Whether an image has a chunk manifest, for the metadata of the image (http.md §4 and §6)."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.delivery.representation import VirtualChunks
from aero_storage.errors import BlobNotFoundError, ClientError
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.store import BlobRequest, Opened, Store

FRESH_SECONDS = 1.0
"""Time for which the result of a look is used, in a directory."""

FAILED_SECONDS = 5.0
"""Time for which no other look is made after one that failed: else each request of an outage would wait."""

LINK_SECONDS = 0.5
"""Time that the metadata of an image waits for a look: while a disk or a store does not answer, it has no link."""

_MOST_KNOWN = 10_000


class ChunkLinks:
    """Tells of no chunks."""

    async def has(self, image: Image, status: BlobStatus) -> bool:  # noqa: ARG002 - as of those that look
        """Whether the image, whose file has this status, has chunks; False where that cannot be known now."""
        return False


@attrs.define(eq=False)
class ChunkLooks(ChunkLinks):
    """Looks for published manifests, at most once in `fresh_seconds` for each image."""

    _store: Store
    _virtual: VirtualChunks
    _clock: IReactorTime
    _fresh_seconds: float = FRESH_SECONDS
    _known: dict[Image, tuple[bool, float]] = attrs.field(init=False, factory=dict)

    async def has(self, image: Image, status: BlobStatus) -> bool:
        """Find that out, within a second or so."""
        return self._is_cut(image, status) or await self._is_published(image)

    def _is_cut(self, image: Image, status: BlobStatus) -> bool:
        if not self._virtual.may_serve(image, None):
            return False
        try:
            self._virtual.cut(image, status)
        except BlobNotFoundError:
            return False
        return True

    async def _is_published(self, image: Image) -> bool:
        now, seconds = self._clock.seconds(), self._fresh_seconds
        is_there, until = self._known.get(image, (False, 0.0))
        if now < until:
            return is_there
        try:
            is_there = await self._look(image)
        except (ClientError, DeferredTimeoutError):
            is_there, seconds = False, min(seconds, FAILED_SECONDS)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[image] = is_there, now + seconds
        return is_there

    async def _look(self, image: Image) -> bool:
        wanted = BlobRequest(artifact=f"{image.chunked_directory}/{MANIFEST_NAME}")
        opened = self._store.open_cached(wanted)
        try:
            opened = opened or await self._open(wanted)
        except BlobNotFoundError:
            return False
        opened.close()
        return True

    def _open(self, wanted: BlobRequest) -> Deferred[Opened]:
        opening = self._store.open(wanted)
        opening.addTimeout(LINK_SECONDS, self._clock)
        return opening
