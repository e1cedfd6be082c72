"""Brings the units of boot profiles into memory, or into the block cache, before clients ask (http.md §15).

One piece after the other is read, behind all other work that waits for the same disk or for the object store.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Image
from aero_storage.delivery.boot_profiles import BootProfiles, ProfileKey, profile_key
from aero_storage.disk import Disk
from aero_storage.errors import AeroStorageError
from aero_storage.logs.json_log import EventLog
from aero_storage.metrics import Metrics
from aero_storage.open_file import OpenFile
from aero_storage.profiles.document import BOOT, BootProfile, parse_profile
from aero_storage.service.disk_pools import DiskPools
from aero_storage.service.images_root import ImagesRoot
from aero_storage.settings import Settings
from aero_storage.storage.profile_files import ProfileFiles
from aero_storage.storage.store import BlobRequest, Opened, Store

CHECK_SECONDS = 1.0
"""The first look comes so long after the start."""

LOOK_SHARE = 2
"""Interval of looks for profiles to be warmed, in that of looks at a single one: a bucket is listed for it."""

REST_SHARE = 50
"""A look that takes long is followed by a pause of so many times its length."""

PIECE_BYTES = 1024 * 1024
"""Bytes that are brought in at a time."""

_Profile = tuple[str, str]
"""An image and a version."""


def half_of_memory() -> int:
    """Return half of the bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def profiles_of(  # noqa: PLR0913, PLR0917 - parts of a daemon
    settings: Settings,
    root: ImagesRoot,
    pools: DiskPools,
    current_catalog: CurrentCatalog,
    metrics: Metrics,
    log: EventLog,
) -> tuple[BootProfiles, ProfileWarming | None]:
    """Return the boot profiles and what warms them; None if nothing is to, or nothing here would keep the bytes."""
    clock = pools.readers.clock
    profiles = BootProfiles(root.profiles, clock, log, root.fresh_seconds)
    if not settings.warm_profiles or (root.is_remote and settings.cache_dir is None):
        return profiles, None
    most = settings.cache_max_bytes // 2 if root.is_remote else half_of_memory()
    seconds = root.fresh_seconds * LOOK_SHARE
    readers, store = pools.readers, root.store
    return profiles, ProfileWarming(
        profiles, root.profiles, store, current_catalog, readers, clock, log, metrics, most, seconds
    )


@attrs.define(eq=False)
class ProfileWarming:
    """Warms each boot profile once; `most_bytes` is the limit of what is brought in for those that are there."""

    _profiles: BootProfiles
    _files: ProfileFiles
    _store: Store
    _current_catalog: CurrentCatalog
    _readers: Disk
    _clock: IReactorTime
    _log: EventLog
    _metrics: Metrics
    _most_bytes: int
    _look_seconds: float
    _next_look: float = attrs.field(init=False, default=0.0)
    _seen: dict[_Profile, tuple[Hashable, object]] = attrs.field(init=False, factory=dict)
    """Stamps of profiles that are done with; of those of another version until the catalog changes."""
    _held: dict[str, int] = attrs.field(init=False, factory=dict)
    """Bytes that were brought in for the last profile of each image."""
    _cut: set[_Profile] = attrs.field(init=False, factory=set)
    """Profiles that are done with for want of room."""
    _is_stopped: bool = attrs.field(init=False, default=False)
    _is_full: bool = attrs.field(init=False, default=False)

    async def check(self) -> None:
        """Look for boot profiles that have come or changed, if it is time to, and warm them."""
        began = self._clock.seconds()
        if began < self._next_look:
            return
        self._next_look = began + self._look_seconds
        try:
            stored = await self._files.threads.run(partial(self._files.stored, BOOT), lane=self._files.lane)
            catalog = self._current_catalog.current
        except AeroStorageError:  # a disk that hangs, an origin that is away, or no catalog: told elsewhere
            return
        taken = self._clock.seconds() - began
        self._next_look = max(self._next_look, began + taken * REST_SHARE)
        self._forget_missing(stored)
        for profile, stamp in stored.items():
            image = catalog.find(profile[0])
            if image is None or self._seen.get(profile) in ((stamp, None), (stamp, catalog.mark)):
                continue
            if self._is_full and image.id not in self._held:  # until another one gives its bytes back
                continue
            if self._is_stopped:
                return
            is_done = await self._attempt(image, profile[1])
            self._seen[profile] = stamp, None if is_done else catalog.mark

    def _forget_missing(self, stored: Mapping[_Profile, Hashable]) -> None:
        self._seen = {profile: seen for profile, seen in self._seen.items() if profile in stored}
        self._cut &= stored.keys()
        for image_id in self._held.keys() - {image_id for image_id, _ in stored}:
            self._make_room(self._give_back(image_id))

    def _give_back(self, image_id: str) -> int:
        """Count the bytes of an image no more, as its profile is gone or is warmed anew; return how many they are."""
        size = self._held.pop(image_id, 0)
        self._most_bytes += size
        return size

    def _make_room(self, size: int) -> None:
        """Have those that were cut short warmed anew, if there is more room."""
        if size > 0:
            self._is_full = False
            for profile in self._cut:
                self._seen.pop(profile, None)
            self._cut.clear()

    def stop(self) -> None:
        """Bring nothing in any more."""
        self._is_stopped = True

    async def _attempt(self, image: Image, version: str) -> bool:
        """Warm the profile of a version; return whether it is that which the image has now, and was warmed."""
        try:
            opened = await self._store.open(BlobRequest(image))
            try:
                key = profile_key(image, opened.status, BOOT)
                return key is not None and key.version == version and await self._warm(key, opened)
            finally:
                opened.close()
        except (AeroStorageError, OSError) as error:
            fields = {"image_id": image.id, "version": version, "reason": str(error)}
            self._log.event("info", "boot profile not warmed", fields)
            return False

    async def _warm(self, key: ProfileKey, opened: Opened) -> bool:
        body = await self._profiles.find(key)
        if body is None or opened.file is None:  # bytes that nothing here keeps
            return True
        profile = await self._readers.run(partial(parse_profile, body.data, key.size), lane=self._files.lane)
        began, before = self._clock.seconds(), self._give_back(key.image_id)
        self._is_full = self._is_full and not before
        self._cut.discard((key.image_id, key.version))
        size = await self._bring_in(key, _pieces(profile, key.size), opened.file)
        self._make_room(before - size)
        seconds = round(self._clock.seconds() - began, 3)
        fields = {"image_id": key.image_id, "version": key.version, "bytes": size, "seconds": seconds}
        self._log.event("info", "boot profile warmed", fields)
        return True

    async def _bring_in(self, key: ProfileKey, pieces: Iterator[tuple[int, int]], file: OpenFile) -> int:
        """Bring pieces in as long as there is room; return the number of their bytes."""
        size = 0
        for offset, length in pieces:
            if self._is_stopped or self._is_over(length):
                self._cut.add((key.image_id, key.version))
                break
            await file.warm(self._readers, offset, length, background=True)
            self._metrics.profile_warmed(length)
            size += length
            self._most_bytes -= length
            self._held[key.image_id] = size
        return size

    def _is_over(self, length: int) -> bool:
        if length > self._most_bytes and not self._is_full:
            self._is_full = True
            self._log.event("warn", "boot profiles are no longer warmed: as much as is allowed was brought in")
        return self._is_full


def _pieces(profile: BootProfile, size: int) -> Iterator[tuple[int, int]]:
    for one in profile.ranges:
        first = one.start * profile.unit
        end = first + one.size(profile.unit, size)
        for offset in range(first, end, PIECE_BYTES):
            yield offset, min(PIECE_BYTES, end - offset)
