"""The current catalog: the last valid one, even if the file becomes invalid (http.md §3)."""

from __future__ import annotations

import enum

import attrs

from aero_storage.catalog.model import Catalog
from aero_storage.catalog.reader import Reading
from aero_storage.errors import CatalogDeniedError, CatalogError, CatalogUnavailableError


class Change(enum.Enum):
    """The effect of a reading on the current catalog."""

    NONE = "none"
    LOADED = "loaded"
    FAILED = "failed"
    RECOVERED = "recovered"
    """The file holds the current catalog again, after an invalid reading."""


@attrs.define
class CurrentCatalog:
    """Holds the catalog that requests are answered from.

    An invalid reading never replaces a valid one; `error` is the error of the last reading, None if it was valid.
    """

    _catalog: Catalog | None = None
    error: CatalogError | None = None

    def take(self, reading: Reading) -> Change:
        """Apply a reading of the file, and return its effect."""
        before, self.error = self.error, reading.error
        if reading.catalog is None:
            again = not reading.is_new and str(before) == str(reading.error)
            return Change.NONE if again else Change.FAILED
        if reading.catalog == self._catalog:
            return Change.RECOVERED if before else Change.NONE
        self._catalog = reading.catalog
        return Change.LOADED

    @property
    def is_invalid(self) -> bool:
        """Whether the last reading found an invalid catalog, or none; an origin that did not tell it says nothing."""
        return self.error is not None and not isinstance(self.error, (CatalogUnavailableError, CatalogDeniedError))

    @property
    def has_catalog(self) -> bool:
        """Whether there is a current catalog."""
        return self._catalog is not None

    @property
    def current(self) -> Catalog:
        """The current catalog. Raises CatalogError until a reading was valid."""
        if self._catalog is None:
            raise self._failure()
        return self._catalog

    def require_valid(self) -> None:
        """Raise CatalogError until a reading was valid."""
        if self._catalog is None:
            raise self._failure()

    def _failure(self) -> CatalogError:
        # A new exception each time: one that is raised again grows by a traceback each time.
        kind = CatalogError if self.error is None else type(self.error)
        return kind(str(self.error or "the catalog has not been read yet"))
