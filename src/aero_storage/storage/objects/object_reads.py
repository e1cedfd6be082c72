"""Pinned reads of one object for one request, and how many bytes they took from the origin."""

from __future__ import annotations

from threading import Lock

import attrs

from aero_storage.storage.objects.origin import ObjectStatus, Origin


@attrs.define(eq=False)
class ObjectReads:
    """Reads one version of an object, in threads."""

    _origin: Origin
    _found: ObjectStatus
    received: int = attrs.field(init=False, default=0)
    """Bytes that came from the origin so far."""
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def fetch(self, offset: int, length: int) -> memoryview:
        """Return exactly these bytes. Waits; raises the origin's errors."""
        data = memoryview(self._origin.get(self._found.key, self._found.pin, offset, length))
        with self._lock:
            self.received += length
        return data

    def read(self, offset: int, length: int) -> bytes:
        """Do the same, for transports that take nothing but `bytes`."""
        return bytes(self.fetch(offset, length))
