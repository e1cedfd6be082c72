"""Objects that are open in the block cache: to open one in a thread would take most of the time of a small range."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import attrs
from twisted.internet.defer import Deferred

from aero_storage.disk import Disk
from aero_storage.storage.objects.block_cache.cache import BlockCache
from aero_storage.storage.objects.block_cache.cached_object import CachedObject
from aero_storage.storage.objects.block_cache.identity import ObjectIdentity
from aero_storage.storage.objects.block_cache.shared import CACHE_LANE
from aero_storage.storage.objects.object_reads import ObjectReads
from aero_storage.storage.objects.origin import ObjectStatus, Origin


@attrs.define(eq=False)
class OpenObject:
    """One version of an object, open, and how many requests use it."""

    found: ObjectStatus
    cached: CachedObject
    users: int = 0
    is_kept: bool = True


@attrs.define(eq=False)
class OpenObjects:
    """Keeps up to `limit` objects open, the most recently used ones; used on the reactor's thread."""

    _cache: BlockCache
    _origin: Origin
    _disk: Disk
    _limit: int
    _kept: OrderedDict[str, OpenObject] = attrs.field(init=False, factory=OrderedDict)

    def recall(self, found: ObjectStatus) -> OpenObject | None:
        """Return this version of the object if it is open, and count a user."""
        kept = self._kept.get(found.key)
        if kept is None or kept.found is not found or not kept.cached.is_current():
            return None
        self._kept.move_to_end(found.key)
        kept.users += 1
        return kept

    def open(self, found: ObjectStatus) -> Deferred[OpenObject]:
        """Open this version in a thread, and count a user; can be cancelled."""
        opening = self._disk.run(partial(self._open, found), discard=CachedObject.close, lane=CACHE_LANE)
        return opening.addCallback(partial(self._keep, found))

    def release(self, used: OpenObject) -> None:
        """A user has left."""
        used.users -= 1
        if not used.is_kept:
            self._close_if_unused(used)

    def close(self) -> None:
        """Close what nobody uses; the rest is closed with its last user."""
        for key in tuple(self._kept):
            self._drop(key)

    def _open(self, found: ObjectStatus) -> CachedObject:
        identity = ObjectIdentity(
            self._origin.identity, self._origin.name, found.key, found.pin.tag, found.pin.version
        )
        return self._cache.open(identity, found.size, ObjectReads(self._origin, found).fetch)

    def _keep(self, found: ObjectStatus, cached: CachedObject) -> OpenObject:
        self._drop(found.key)
        while len(self._kept) >= self._limit:
            self._drop(next(iter(self._kept)))
        kept = self._kept[found.key] = OpenObject(found, cached, users=1)
        return kept

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            kept.is_kept = False
            self._close_if_unused(kept)

    def _close_if_unused(self, used: OpenObject) -> None:
        if not used.is_kept and not used.users:
            self._disk.later(used.cached.close, CACHE_LANE)
