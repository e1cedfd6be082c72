"""The tag that an object has by itself (http.md §11)."""

from __future__ import annotations

import hashlib

from aero_storage.storage.objects.origin import ObjectStatus

_TAG_DIGITS = 32


def object_etag(found: ObjectStatus) -> str:
    """Return the strong tag, equal on every replica; a weak one for what a listing has told without a tag."""
    if not found.pin.tag:
        return f'W/"{found.size:x}-{found.modified_ns:x}"'
    digest = hashlib.sha256(found.pin.tag.encode("utf-8", "surrogateescape")).hexdigest()
    return f'"{found.size:x}-{digest[:_TAG_DIGITS]}"'
