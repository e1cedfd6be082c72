"""Listings that a store repeats for ever: a continuation that leads to the same page again."""

from __future__ import annotations

import attrs

from aero_storage.storage.objects.origin import ObjectStatus
from aero_storage.storage.objects.store_failures import ERROR, StoreFailureError


@attrs.define
class NotRepeated:
    """Finds a page that was there before, by its first key: one text is kept for each page."""

    last: str | None = None
    """The last key so far, behind which the listing can go on."""
    _first: set[str] = attrs.field(factory=set)

    def check(self, page: list[ObjectStatus]) -> list[ObjectStatus]:
        """Return a page. Raises StoreFailureError if it was there before, or has a key twice."""
        names = [status.key for status in page]
        if names[:1] and (names[0] in self._first or len({*names}) < len(names)):
            raise StoreFailureError(ERROR, "a listing that repeats itself")
        self._first.update(names[:1])
        self.last = names[-1] if names else self.last
        return page
