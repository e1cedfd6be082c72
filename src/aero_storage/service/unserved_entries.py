"""Tells the log of catalog entries that cannot be served, or whose digest is of another state of the file.

One warning for each entry and change (http.md §8).
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Catalog
from aero_storage.errors import AeroStorageError
from aero_storage.logs.json_log import EventLog
from aero_storage.storage.store import EntryFault, Store

LOOK_SECONDS = 1.0
"""Interval of the looks at a small catalog."""

_NOT_SERVED = "catalog entry cannot be served"
_NO_DIGEST = "catalog entry has the digest of another file"

_LOOKS_PER_SECOND = 200
"""Files that are looked at in a second, on average: each takes some 20 µs of a thread."""


@attrs.define(eq=False)
class UnservedEntries:
    """Looks at the files of all entries when the catalog has changed, and from time to time.

    A directory listing has no entries: a file that is gone is not listed.
    """

    _store: Store
    _current_catalog: CurrentCatalog
    _clock: IReactorTime
    _log: EventLog
    _told: dict[str, EntryFault] = attrs.field(init=False, factory=dict)
    _mark: object = attrs.field(init=False, default=None)
    _next_look: float = attrs.field(init=False, default=0.0)

    async def check(self, *, is_remote: bool = False, tells: bool = True) -> None:
        """Look at the entries if it is time to, and tell what has changed, or, without `tells`, nothing.

        A listing of a bucket is looked at, too: while the store is away `/readyz` goes by what was seen before.
        """
        try:
            catalog = self._current_catalog.current
            if (is_remote or not catalog.listing) and self._is_due(catalog):
                faults = await self._store.faults(catalog.images)
                if tells:
                    self._tell(faults)
        except AeroStorageError:
            self._mark = None  # no catalog, or a disk that hangs: both are told elsewhere

    def _is_due(self, catalog: Catalog) -> bool:
        now = self._clock.seconds()
        if catalog.mark is self._mark and now < self._next_look:
            return False
        self._mark, self._next_look = catalog.mark, now + len(catalog.images) / _LOOKS_PER_SECOND
        return True

    def _tell(self, faults: Iterable[EntryFault]) -> None:
        before, self._told = self._told, {fault.image.id: fault for fault in faults}
        for image_id, fault in self._told.items():
            if before.get(image_id) != fault:
                fields = {"image_id": image_id, "file": fault.image.file, "reason": fault.reason}
                self._log.event("warn", _NO_DIGEST if fault.is_served else _NOT_SERVED, fields)
