"""The catalog in force: the last good one, whatever happens to the file meanwhile (http.md §3)."""

from __future__ import annotations

import enum

import attrs

from aero_storage.catalog.model import Catalog
from aero_storage.catalog.reader import Reading
from aero_storage.errors import CatalogError


class Change(enum.Enum):
    """What a reading of the catalog brought."""

    NONE = "none"
    LOADED = "loaded"
    FAILED = "failed"
    RECOVERED = "recovered"
    """The catalog in force is good on disk again after a failure."""


@attrs.define
class CurrentCatalog:
    """Holds the catalog that requests are answered from.

    An invalid reading never replaces a good one; while there has been none yet, `error` says why.
    """

    _catalog: Catalog | None = None
    error: CatalogError | None = None

    def take(self, reading: Reading) -> Change:
        """Take note of what is on disk now, and tell what is new about it."""
        before, self.error = self.error, reading.error
        if reading.catalog is None:
            again = not reading.fresh and str(before) == str(reading.error)
            return Change.NONE if again else Change.FAILED
        if reading.catalog == self._catalog:
            return Change.RECOVERED if before else Change.NONE
        self._catalog = reading.catalog
        return Change.LOADED

    @property
    def has_catalog(self) -> bool:
        """Whether there is a catalog in force."""
        return self._catalog is not None

    @property
    def current(self) -> Catalog:
        """The catalog in force. Raises CatalogError while no reading has been good."""
        if self._catalog is None:
            # A new one each time: an exception that is raised again and again grows by a traceback each time.
            raise CatalogError(str(self.error or "the catalog has not been read yet"))
        return self._catalog
