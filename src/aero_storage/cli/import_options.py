"""The operator's values for an imported image, and the catalog entry that is made of them."""

from __future__ import annotations

import attrs

from aero_storage.catalog.content_digest import ContentDigest
from aero_storage.catalog.draft import Entry

_OF_THE_CONTENT = ("etag", "last_modified", "chunked_version", "sha256", "sha256_of")
"""Keys of an entry that describe the content; they are dropped when the content is replaced."""


@attrs.frozen
class ImportOptions:
    """The operator's values for the entry; None keeps the present value, or the default."""

    id: str
    name: str | None = None
    description: str | None = None
    public: bool | None = None
    sha256: str | None = None
    """The digest that the content must have, of the file that is imported or of the disk in it."""
    digested: bool = True
    """Whether the digest is computed and recorded."""

    def entry(self, file: str, before: Entry | None, digest: ContentDigest | None) -> Entry:
        """Return the new entry: keys of `before` are kept, except those that describe the old content."""
        kept = {key: value for key, value in (before or {}).items() if key not in _OF_THE_CONTENT}
        given = {"name": self.name, "description": self.description, "public": self.public}
        new: Entry = {"id": self.id, "file": file, "name": self.id}
        known = {} if digest is None else digest.keys()
        return new | kept | {"file": file} | known | {key: value for key, value in given.items() if value is not None}
