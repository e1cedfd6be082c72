"""The extents of images in a bucket: from the map that lies there with an object (http.md §14).

A map names the state of the object that it was made of, so one of another content is never taken for it.
"""

from __future__ import annotations

from functools import partial

import attrs

from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, JsonError, ObjectTooLargeError
from aero_storage.http.extents.documents import MOST_STORED_BYTES, parse_stored_map
from aero_storage.http.extents.extents import Extents, KnownExtents
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.object_keys import key_of, map_key
from aero_storage.storage.objects.origin import ORIGIN_LANE, Origin
from aero_storage.storage.store import FindData


@attrs.frozen
class StoredExtents:
    """Looks for maps, in threads."""

    _origin: Origin
    _threads: Disk
    _find_data: FindData

    async def find(self, image: Image, status: BlobStatus) -> KnownExtents:
        """Return what is known of an image whose object has this status.

        Raises OriginUnavailableError and OriginDeniedError.
        """
        return await self._threads.run(partial(self._find, image, status), lane=ORIGIN_LANE)

    def _find(self, image: Image, status: BlobStatus) -> KnownExtents:
        manifest = str(image.chunked_directory / MANIFEST_NAME)
        published = self._find_data(manifest, image.found_sha256(status.stamps), status.size)
        mapped = self._mapped(image, status)
        return published if mapped is None else published.overlapped(mapped)

    def _mapped(self, image: Image, status: BlobStatus) -> Extents | None:
        try:
            data = self._origin.read(map_key(key_of(image.file)), MOST_STORED_BYTES)[1]
            return parse_stored_map(data, status.stamps, status.size)
        except (BlobNotFoundError, ObjectTooLargeError, JsonError):
            return None
