"""The document in force: the last good one, even if the file is broken now."""

from __future__ import annotations

import enum
from typing import Generic

import attrs

from aero_storage.errors import LeaseDocumentError
from aero_storage.lease_documents.reader import D, Reading


class DocumentChange(enum.Enum):
    """The effect of a reading on the document in force."""

    NONE = "none"
    LOADED = "loaded"
    """Another document is in force: remembered leases are to be forgotten, streams to be looked at."""
    FAILED = "failed"
    """The file is broken, in a way that was not told yet; the document in force stays."""
    RECOVERED = "recovered"
    """The file holds the document in force again."""


@attrs.define(eq=False)
class CurrentDocument(Generic[D]):
    """Holds the document in force; `error` is that of the last reading, None if it was good."""

    document: D
    error: LeaseDocumentError | None = None

    def take(self, reading: Reading[D]) -> DocumentChange:
        """Apply a reading of the file, and return its effect."""
        before, self.error = self.error, reading.error
        if reading.error is not None:
            return DocumentChange.NONE if str(before) == str(reading.error) else DocumentChange.FAILED
        former, self.document = self.document, self.document if reading.document is None else reading.document
        if self.document == former:  # it may differ in what leases do not depend on
            return DocumentChange.NONE if before is None else DocumentChange.RECOVERED
        return DocumentChange.LOADED
