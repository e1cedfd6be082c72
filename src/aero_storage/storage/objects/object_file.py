"""An object as a file that threads read: of chunk manifests, whose digests are looked up."""

from __future__ import annotations

import attrs

from aero_storage.storage.objects.origin import ObjectStatus, Origin


@attrs.frozen
class ObjectFile:
    """One version of an object; reads wait, and raise the origin's errors."""

    _origin: Origin
    _found: ObjectStatus

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._found.size

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        return bytes(self._origin.get(self._found.key, self._found.pin, offset, length))

    def close(self) -> None:
        """Do nothing: nothing is held."""


def open_object(origin: Origin, key: str) -> ObjectFile:
    """Look at an object. Raises BlobNotFoundError, and the origin's errors."""
    return ObjectFile(origin, origin.head(key))
