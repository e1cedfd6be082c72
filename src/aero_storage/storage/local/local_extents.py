"""The extents of images in a directory: from the holes of their files and the zeros of their chunks (http.md §14)."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobUnreadableError, ImageChangedError
from aero_storage.http.extents.extents import Extents, KnownExtents
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.device_map import DeviceMap
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.extent_scan import ExtentScan
from aero_storage.storage.store import FindData

TICK_SECONDS = 0.05
"""Wait for another tick of the clock of time stamps, which has 10 ms at most, or of that of a file server."""


@attrs.define(eq=False)
class LocalExtents:
    """Looks for extents, in threads, after other work on the same disk; until it is closed."""

    _directory: ImageDirectory
    _disk: Disk
    _devices: DeviceMap
    _find_data: FindData
    _clock: IReactorTime
    _now_ns: Callable[[], int] = time.time_ns
    _is_closed: bool = attrs.field(init=False, default=False)

    def close(self) -> None:
        """End what is under way with its present step."""
        self._is_closed = True

    async def find(self, image: Image, status: BlobStatus) -> KnownExtents:
        """Return what is known of an image whose file has this status.

        Raises ImageChangedError, BlobNotFoundError and BlobUnreadableError.
        """
        begin = partial(self._begin, image, status)
        scan = await self._disk.run(begin, ExtentScan.close, self._devices.lane(image.file), background=True)
        try:
            if scan.is_young:  # a write in the tick of its last change would show in no time stamp
                await deferLater(self._clock, TICK_SECONDS)
            found = await self._scanned(scan)
        except OSError as error:
            raise BlobUnreadableError(f"{image.file}: {error.strerror}") from error
        finally:
            self._disk.later(scan.close, scan.lane)
        published = await self._disk.run(partial(self._published, image, status), lane=scan.lane, background=True)
        return published.overlapped(found)

    def _begin(self, image: Image, status: BlobStatus) -> ExtentScan:
        blob = self._directory.open(image.file, follow_links=image.follow_links)
        if blob.status != status:
            blob.close()
            raise ImageChangedError(f"{image.file}: the file has changed")
        return ExtentScan(blob, self._now_ns())

    async def _scanned(self, scan: ExtentScan) -> Extents:
        while not self._is_closed:
            found = await self._disk.run(scan.step, lane=scan.lane, background=True)
            if found is not None:
                return found
        raise BlobUnreadableError("the store is closed")

    def _published(self, image: Image, status: BlobStatus) -> KnownExtents:
        manifest = str(image.chunked_directory / MANIFEST_NAME)
        return self._find_data(manifest, image.found_sha256(status.stamps), status.size)
