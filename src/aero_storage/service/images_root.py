"""Opens an images root for the daemon: the documents of its catalog, and its store."""

from __future__ import annotations

import time
from pathlib import Path

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.documents import CatalogDocuments
from aero_storage.chunks.published_digests import PublishedDigests
from aero_storage.disk import Disk
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.image_store import LocalStore
from aero_storage.storage.open_file_cache import OpenFileCache
from aero_storage.storage.store import Store

OPEN_FILES = 256
"""Files kept open for the next request: a quarter of the descriptors that a process may have by default."""


@attrs.frozen
class ImagesRoot:
    """The two sides of an images root in the daemon; its owner closes the store."""

    documents: CatalogDocuments
    store: Store


def open_images_root(root: Path, disk: Disk, clock: IReactorTime) -> ImagesRoot:
    """Return the images root at `root`; its files are opened and read by `disk`."""
    files = OpenFileCache(disk, clock, OPEN_FILES)
    directory = ImageDirectory(root)
    digests = PublishedDigests(directory.open, time.monotonic)
    return ImagesRoot(DirectoryDocuments(root), LocalStore(directory, disk, files, digests.sha256))
