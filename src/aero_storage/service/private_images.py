"""Warns once where the catalog has private images while leases are off: everybody reads them (http.md §12)."""

from __future__ import annotations

import attrs

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.errors import CatalogError
from aero_storage.logs.json_log import EventLog


@attrs.define(eq=False)
class PrivateImagesWarning:
    """Looks at each catalog once, until it has warned."""

    _current_catalog: CurrentCatalog
    _log: EventLog
    _is_told: bool = attrs.field(init=False, default=False)
    _seen: object = attrs.field(init=False, default=None)

    def check(self) -> None:
        """Warn if the catalog in force has private images, and no earlier one had."""
        if self._is_told:
            return
        try:
            catalog = self._current_catalog.current
        except CatalogError:
            return  # that is told elsewhere
        if catalog.mark is self._seen:
            return
        self._seen = catalog.mark
        private = [image.id for image in catalog.images if not image.public]
        if private:
            self._is_told = True
            fields = {"images": len(private), "image_id": private[0]}
            self._log.event("warn", "private images are open to everybody: lease_keys_file is not set", fields)
