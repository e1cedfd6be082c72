"""Derives validators and stamps from what a store says of an object (http.md §11 and §16)."""

from __future__ import annotations

import hashlib

from aero_storage.catalog.content_digest import object_stamps
from aero_storage.http.conditional import Validators
from aero_storage.http.dates import usable_mtime
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.origin import ObjectStatus

_TAG_DIGITS = 32


def blob_status(found: ObjectStatus) -> BlobStatus:
    """Return the status of a blob that is an object."""
    validators = Validators(_etag(found), usable_mtime(found.modified_ns))
    return BlobStatus(found.size, validators, object_stamps(found.size, found.pin.tag))


def _etag(found: ObjectStatus) -> str:
    """Return the strong tag, equal on every replica; a weak one for what a listing has told without a tag."""
    if not found.pin.tag:
        return f'W/"{found.size:x}-{found.modified_ns:x}"'
    digest = hashlib.sha256(found.pin.tag.encode("utf-8", "surrogateescape")).hexdigest()
    return f'"{found.size:x}-{digest[:_TAG_DIGITS]}"'
