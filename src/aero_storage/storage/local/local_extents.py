"""The extents of images in a directory: from the holes of their files and the zeros of their chunks (http.md §14)."""

from __future__ import annotations

from functools import partial

import attrs

from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobUnreadableError, ImageChangedError
from aero_storage.http.extents.extents import Extents, KnownExtents, overlap
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.device_map import DeviceMap
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.extent_scan import ExtentScan
from aero_storage.storage.store import FindData


@attrs.define(eq=False)
class LocalExtents:
    """Looks for extents, in threads, after other work on the same disk; until it is closed."""

    _directory: ImageDirectory
    _disk: Disk
    _devices: DeviceMap
    _find_data: FindData
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
            found = await self._scanned(scan)
        except OSError as error:
            raise BlobUnreadableError(f"{image.file}: {error.strerror}") from error
        finally:
            self._disk.later(scan.close, scan.lane)
        published = await self._disk.run(partial(self._published, image, status), lane=scan.lane, background=True)
        by_chunks = published.extents
        return KnownExtents(found if by_chunks is None else overlap(found, by_chunks), published.chunk_size)

    def _begin(self, image: Image, status: BlobStatus) -> ExtentScan:
        blob = self._directory.open(image.file, follow_links=image.follow_links)
        if blob.status != status:
            blob.close()
            raise ImageChangedError(f"{image.file}: the file has changed")
        return ExtentScan(blob)

    async def _scanned(self, scan: ExtentScan) -> Extents:
        while not self._is_closed:
            found = await self._disk.run(scan.step, lane=scan.lane, background=True)
            if found is not None:
                return found
        raise BlobUnreadableError("the store is closed")

    def _published(self, image: Image, status: BlobStatus) -> KnownExtents:
        manifest = str(image.chunked_directory / MANIFEST_NAME)
        return self._find_data(manifest, image.known_sha256(status.stamps), status.size)
