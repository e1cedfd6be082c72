"""The statuses of many objects from listings: 1,000 at a request, of which those that are wanted are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs

from aero_storage.catalog.model import CHUNKED
from aero_storage.storage.objects.origin import ObjectStatus, Origin


@attrs.frozen
class Statuses:
    """The statuses of some objects as listings have told them."""

    _found: Mapping[str, ObjectStatus]

    @classmethod
    def listed(cls, origin: Origin, wanted: Collection[str]) -> Statuses:
        """List what has the first part of its key in common with a wanted one. Chunks are too many to be listed."""
        tops = {key.partition("/")[0] for key in wanted if "/" in key} - {CHUNKED}
        found: dict[str, ObjectStatus] = {}
        for top in sorted(tops):
            for listed in origin.list(top, delimiter=False):
                if listed.status is not None and listed.key in wanted:
                    found[listed.key] = listed.status
        if any("/" not in key for key in wanted):
            directly = (one.status for one in origin.list("", delimiter=True))
            found |= {status.key: status for status in directly if status is not None and status.key in wanted}
        return cls({key: status for key, status in found.items() if status.pin.tag})

    def find(self, key: str) -> ObjectStatus | None:
        """Return the status of an object; None if listings have not told it."""
        return self._found.get(key)
