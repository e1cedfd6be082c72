"""The manifest as a draft: edited as JSON, so that the order of the entries and unknown keys are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import attrs

from aero_storage.catalog.parser import parse_manifest, read_document
from aero_storage.errors import CatalogError

_FIRST_INDENT = re.compile(rb"\n([ \t]+)\S")

Entry = dict[str, object]


@attrs.define
class Draft:
    """The manifest as JSON, to be edited; `entries` are its own objects and may be changed in place."""

    entries: list[Entry]
    listed: tuple[str, ...] = ()
    """Ids of the images that a directory listing served before; a new manifest lists them too."""
    _document: object = None
    _indent: str | None = "  "

    @classmethod
    def of_manifest(cls, data: bytes) -> Draft:
        """Return the draft of a valid manifest; its indentation is kept."""
        document: Any = read_document(data)
        known: list[Entry] = document["images"] if isinstance(document, dict) else document
        indent = _FIRST_INDENT.search(data)
        return cls(known, document=document, indent=indent[1].decode() if indent else None)

    @classmethod
    def of_listing(cls, served: Sequence[str]) -> Draft:
        """Return the draft of a new manifest with these ids of a listing."""
        return cls([{"id": name, "file": name, "name": name} for name in served], listed=tuple(served))

    def find(self, image_id: str) -> Entry | None:
        """Return the entry with this id, or None."""
        return next((entry for entry in self.entries if entry["id"] == image_id), None)

    def put(self, entry: Entry) -> None:
        """Append an entry, or replace the one with the same id."""
        for index, other in enumerate(self.entries):
            if other["id"] == entry["id"]:
                self.entries[index] = entry
                return
        self.entries.append(entry)

    def remove(self, image_id: str) -> None:
        """Remove the entry with this id."""
        self.entries[:] = [entry for entry in self.entries if entry["id"] != image_id]

    def to_bytes(self) -> bytes:
        """Return the file's new content. Raises CatalogError if that is not a valid catalog."""
        try:
            data = self._dump(ensure_ascii=False)
        except UnicodeEncodeError:  # half a surrogate pair under an unknown key
            data = self._dump(ensure_ascii=True)
        except ValueError as error:  # a number such as 1e400
            raise CatalogError(f"it holds a number that cannot be kept: {error}") from error
        parse_manifest(data)
        return data

    def _dump(self, *, ensure_ascii: bool) -> bytes:
        document = {"images": self.entries} if self._document is None else self._document
        separators = (",", ":") if self._indent is None else None
        text = json.dumps(
            document, ensure_ascii=ensure_ascii, allow_nan=False, indent=self._indent, separators=separators
        )
        return text.encode() + b"\n"
