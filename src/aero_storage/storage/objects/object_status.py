"""Derives validators and stamps from what a store says of an object (http.md §11 and §16)."""

from __future__ import annotations

from aero_storage.catalog.content_digest import object_stamps
from aero_storage.http.conditional import Validators
from aero_storage.http.dates import usable_mtime
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.object_etag import object_etag
from aero_storage.storage.objects.origin import ObjectStatus


def blob_status(found: ObjectStatus) -> BlobStatus:
    """Return the status of a blob that is an object."""
    validators = Validators(object_etag(found), usable_mtime(found.modified_ns))
    return BlobStatus(found.size, validators, object_stamps(found.size, found.pin.tag))
