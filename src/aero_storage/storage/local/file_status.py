"""Derives validators and stamps from the `fstat` of a file (http.md §3 and §16)."""

from __future__ import annotations

import os
from functools import lru_cache

from aero_storage.catalog.content_digest import stamps
from aero_storage.http.conditional import Validators, file_etag
from aero_storage.http.dates import usable_mtime
from aero_storage.storage.blob import BlobStatus


def status_of(found: os.stat_result) -> BlobStatus:
    """Return the status of a blob whose `fstat` has `found` this."""
    return file_status(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@lru_cache(256)
def file_status(size: int, mtime_ns: int, ctime_ns: int = 0, inode: int = 0) -> BlobStatus:
    """Return the same from a size in bytes, times in nanoseconds since the epoch, and the inode."""
    validators = Validators(file_etag(size, mtime_ns, ctime_ns, inode), usable_mtime(mtime_ns))
    return BlobStatus(size, validators, stamps(size, mtime_ns, ctime_ns, inode))
