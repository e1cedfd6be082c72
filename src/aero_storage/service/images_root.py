"""Opens an images root for the daemon: the documents of its catalog, its store, and how they are watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.documents import CatalogDocuments
from aero_storage.chunks.published_digests import PublishedDigests
from aero_storage.chunks.published_zeros import PublishedZeros
from aero_storage.errors import ClientError, ExtentsLateError, OriginUnavailableError
from aero_storage.metrics import Counts, Gauges
from aero_storage.service.bucket_root import BucketRoot
from aero_storage.service.disk_pools import DiskPools
from aero_storage.settings import OriginUrl, Settings
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.image_store import LocalStore
from aero_storage.storage.local.local_profiles import LocalProfiles
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.storage.objects.polled_documents import PolledDocuments
from aero_storage.storage.open_file_cache import OpenFileCache
from aero_storage.storage.profile_files import ProfileFiles
from aero_storage.storage.store import Store

OPEN_FILES = 256
"""Files kept open for the next request: a quarter of the descriptors that a process may have by default."""

POLL_SECONDS = 0.5
"""Interval of the looks at the catalog of a directory: a change must take effect within one second."""


def _nothing(*_args: object) -> None:
    pass


@attrs.frozen
class ImagesRoot:
    """An images root in the daemon; its owner starts it, and closes it."""

    documents: CatalogDocuments
    store: Store
    profiles: ProfileFiles
    poll_seconds: float = POLL_SECONDS
    fresh_seconds: float = 1.0
    """Time for which what was seen of a boot profile is used."""
    is_remote: bool = False
    late: type[ClientError] = ExtentsLateError
    """The error of a request that has waited too long for the extents of an image."""
    is_stale: Callable[[], bool] = lambda: False
    """Whether the catalog in force is too old, as its origin does not answer."""
    polled: PolledDocuments | None = None
    """The documents of a bucket."""
    gauges: Gauges = attrs.field(factory=dict)
    collect: Callable[[Counts], object] = _nothing
    start: Callable[[], object] = _nothing
    """Begins what takes threads."""
    stop: Callable[[], object] = _nothing
    """Ends what is under way, once the store is closed."""


def open_images_root(
    settings: Settings,
    pools: DiskPools,
    clock: IReactorTime,
    environ: Mapping[str, str],
    looks: LooksFile | None = None,
) -> ImagesRoot:
    """Return the images root that the settings name. Raises SettingsError if it is a bucket that cannot be asked.

    `looks` has the looks at a bucket that all workers have in common; None where there is but this process.
    """
    if isinstance(settings.images_root, OriginUrl):
        looks = looks or LooksFile.create()
        return _bucket(BucketRoot.of(settings.images_root, settings, pools, clock, environ, looks))
    return _directory(settings.images_root, pools, clock)


def _directory(root: Path, pools: DiskPools, clock: IReactorTime) -> ImagesRoot:
    files = OpenFileCache(pools.disk, clock, OPEN_FILES)
    directory = ImageDirectory(root)
    digests, zeros = PublishedDigests(directory.open, time.monotonic), PublishedZeros(directory.open)
    store = LocalStore(directory, pools.disk, files, digests.sha256, zeros.data, clock)
    return ImagesRoot(DirectoryDocuments(root), store, LocalProfiles(directory, pools.disk))


def _bucket(root: BucketRoot) -> ImagesRoot:
    return ImagesRoot(
        root.documents,
        root.store(OPEN_FILES),
        root.profiles(),
        root.poll_seconds,
        fresh_seconds=root.fresh_seconds,
        is_remote=True,
        late=OriginUnavailableError,
        is_stale=root.is_stale,
        polled=root.documents,
        gauges=root.gauges,
        collect=root.counts.put_into,
        start=root.start,
        stop=root.stop,
    )
