"""An images root in a bucket: one origin and one block cache for each process (http.md §11)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.chunks.published_digests import PublishedDigests
from aero_storage.chunks.published_zeros import PublishedZeros
from aero_storage.disk import Disk
from aero_storage.linux.malloc import reuse_buffers
from aero_storage.metrics import Gauge, Gauges
from aero_storage.service.disk_pools import DiskPools
from aero_storage.service.origin_counts import OriginCounts
from aero_storage.settings import OriginUrl, Settings
from aero_storage.storage.objects.block_cache.cache import BlockCache
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.bucket_listing import BucketListing
from aero_storage.storage.objects.common_looks import CommonLooks
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.storage.objects.object_file import open_object
from aero_storage.storage.objects.object_lease import PIECE_BYTES
from aero_storage.storage.objects.object_looks import ObjectLooks
from aero_storage.storage.objects.open_objects import OpenObjects
from aero_storage.storage.objects.opening import open_origin
from aero_storage.storage.objects.origin import Origin
from aero_storage.storage.objects.origin_threads import OriginThreads
from aero_storage.storage.objects.polled_documents import PolledDocuments
from aero_storage.storage.objects.remote_profiles import RemoteProfiles
from aero_storage.storage.objects.remote_store import RemoteStore
from aero_storage.storage.objects.stored_extents import StoredExtents
from aero_storage.storage.store import Store

_FIRST_SECONDS = 3.0
"""Time limit of the first look at the catalog, which a start waits for; a bucket that is away is awaited later."""

_POLL_SHARE, _LEAST_POLL = 0.1, 0.05
"""Part of the refresh time, and seconds, between polls: for what another worker has seen, or a look that is due."""


@attrs.frozen(eq=False)
class BucketRoot:
    """The parts of a bucket that an images root is made of."""

    _origin: Origin
    _common: CommonLooks
    documents: PolledDocuments
    counts: OriginCounts
    _cache: BlockCache | None
    _settings: Settings
    _threads: Disk
    _clock: IReactorTime

    @classmethod
    def of(  # noqa: PLR0913, PLR0917 - what the settings do not say
        cls,
        url: OriginUrl,
        settings: Settings,
        pools: DiskPools,
        clock: IReactorTime,
        environ: Mapping[str, str],
        looks: LooksFile,
    ) -> BucketRoot:
        """Open the origin behind a URL, and the cache; nothing is asked yet. Raises SettingsError."""
        counts, limit = OriginCounts(), settings.origin_timeout_secs
        origin = open_origin(url, environ, limit, counts)
        first = open_origin(url, environ, min(limit, _FIRST_SECONDS), counts)
        threads = OriginThreads(pools.origin or pools.readers, clock, limit)
        cache = None
        if settings.cache_dir is not None:
            limit_bytes, block_bytes = settings.cache_max_bytes, settings.cache_block_bytes
            directory = CacheDirectory(settings.cache_dir)
            on_reactor = pools.readers.reactor.callFromThread
            cache = BlockCache(directory, limit_bytes, block_bytes, threads, clock, on_reactor)
            counts.cached = cache.counts
        common, at_first = (CommonLooks(one, looks, clock.seconds) for one in (origin, first))
        documents = PolledDocuments(common, at_first, settings.origin_refresh_secs, clock.seconds)
        return cls(origin, common, documents, counts, cache, settings, threads, clock)

    @property
    def poll_seconds(self) -> float:
        """Interval of the looks at the catalog."""
        return max(self._settings.origin_refresh_secs * _POLL_SHARE, _LEAST_POLL)

    @property
    def fresh_seconds(self) -> float:
        """Time for which what was seen of an object is used."""
        return self._settings.origin_refresh_secs

    def is_stale(self) -> bool:
        """Whether the last good look at the catalog was too long ago."""
        silent = self.documents.silent_seconds()
        return silent is None or silent > self._settings.origin_stale_secs + self._settings.origin_refresh_secs

    @property
    def gauges(self) -> Gauges:
        """The gauges of origin and cache."""
        gauges: dict[Gauge, Callable[[], float]] = {Gauge.ORIGIN_UP: lambda: self.counts.is_up}
        cache = self._cache
        if cache is not None:
            gauges |= {Gauge.CACHE_BYTES: lambda: cache.used_bytes, Gauge.CACHE_LIMIT: lambda: cache.limit_bytes}
        return gauges

    def store(self, most_open: int) -> Store:
        """Return the store; it keeps so many objects open."""
        origin, threads, clock = self._origin, self._threads, self._clock
        refresh, stale = self._settings.origin_refresh_secs, self._settings.origin_stale_secs
        cache, open_file = self._cache, partial(open_object, origin)
        return RemoteStore(
            origin,
            threads,
            ObjectLooks(self._common, threads, clock, refresh, stale),
            BucketListing(self._common, threads, clock, refresh, stale),
            PublishedDigests(open_file, time.monotonic, refresh / 2).sha256,
            StoredExtents(origin, threads, PublishedZeros(open_file).data),
            None if cache is None else OpenObjects(cache, origin, threads, most_open),
        )

    def profiles(self) -> RemoteProfiles:
        """Return the stored boot profiles."""
        return RemoteProfiles(self._origin, self._common, self.fresh_seconds / 2, self._clock.seconds, self._threads)

    def start(self) -> None:
        """Begin: the cache is looked through in a thread."""
        reuse_buffers(PIECE_BYTES if self._cache is None else self._settings.cache_block_bytes)
        if self._cache is not None:
            self._cache.start()

    def stop(self) -> None:
        """End what is under way in the cache."""
        if self._cache is not None:
            self._cache.stop()
