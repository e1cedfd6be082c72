"""A cache of open files: opening and closing in a thread would take most of the time of a small range.

A cached file in use is revalidated in a thread, so that a replaced file takes effect within a second. Apart from work
passed to `disk`, everything runs on the reactor's thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.open_file import OpenFile
from aero_storage.storage.blob import Blob, BlobStatus
from aero_storage.storage.store import RememberedFile

FRESH_SECONDS = 0.9
"""Time after a revalidation for which a cached file is used: a change must take effect within one second."""

CHECK_SECONDS = 0.4
"""Age of the last revalidation after which the next use starts another."""

COMPARE_SECONDS = 0.002
"""Time for which an `fstat` comparison of size and mtime is valid; reads make their own comparison."""

_IDLE_SECONDS = 5.0
"""A file unused for this long is closed: it may have been removed to free its space."""


class CacheableFile(Blob, Protocol):
    """A blob that several requests may use, one after the other or at once."""

    __slots__ = ()

    @property
    def identity(self) -> Hashable:
        """Equal only for the same version of the same file."""
        ...

    @property
    def remote(self) -> bool:
        """Whether `is_current` may wait: then it is not asked."""
        ...

    def is_current(self) -> bool:
        """Return whether the file is as it was when it was opened."""
        ...


@attrs.frozen
class OpenedFile:
    """An opened file; `raw` if it is an image from which a chunk is to be cut."""

    blob: CacheableFile
    raw: bool
    sha256: str | None = None
    """The digest of a published chunk, in hex, where it is known."""

    def is_as(self, other: OpenedFile) -> bool:
        """Return whether both are the same, unchanged file with the same digest."""
        return (self.blob.identity, self.sha256) == (other.blob.identity, other.sha256)


Opener = Callable[[], OpenedFile]


@attrs.define(eq=False)
class _File(RememberedFile):
    """A cached open file; `checked` is when its last revalidation began."""

    files: OpenFileCache
    key: Hashable
    opened: OpenedFile
    opener: Opener
    checked: float
    compared: float = -math.inf
    """When its size and mtime were last compared by `fstat`."""
    users: int = 0
    cached: bool = True
    checking: bool = False

    def current_file(self, now: float) -> OpenFile | None:
        """Return the file, if the cache would lease it at `now` and it may be asked without waiting."""
        return self.opened.blob.file if self.cached and self.files.is_usable(self, now) else None

    def lease(self) -> Lease:
        """Return a lease."""
        self.users += 1
        return Lease(self, self.files)


@attrs.define(eq=False)
class Lease(Blob):
    """A reference to a cached open file: a Blob whose `close` only releases the reference."""

    _file: _File
    _files: OpenFileCache
    _held: bool = True

    @property
    @override
    def status(self) -> BlobStatus:
        return self._file.opened.blob.status

    @property
    def raw(self) -> bool:
        """Whether it is the raw image, not a chunk artifact."""
        return self._file.opened.raw

    @property
    def sha256(self) -> str | None:
        """The digest of a published chunk, in hex, where it is known."""
        return self._file.opened.sha256

    @property
    def remembered(self) -> RememberedFile:
        """The cached file."""
        return self._file

    @property
    def origin_bytes(self) -> None:
        """Nothing comes from an origin."""
        return

    def begins_now(self, _offset: int, _length: int) -> bool:
        """Return True: a disk is waited for once the head has been sent."""
        return True

    def begin(self, _offset: int, _length: int) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    @property
    @override
    def lane(self) -> Hashable:
        return self._file.opened.blob.lane

    @property
    @override
    def piece_bytes(self) -> int:
        return self._file.opened.blob.piece_bytes

    @property
    @override
    def file(self) -> OpenFile | None:
        return self._file.opened.blob.file

    @override
    def read(self, offset: int, length: int) -> bytes:
        return self._file.opened.blob.read(offset, length)

    @override
    def read_later(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        return self._file.opened.blob.read_later(disk, offset, length, background=background)

    @override
    def close(self) -> None:
        # Called on the reactor's thread.
        if self._held:
            self._held = False
            self._files.release(self._file)


@attrs.define(eq=False)
class OpenFileCache:
    """Keeps up to `limit` files open, the most recently used ones."""

    _disk: Disk
    _clock: IReactorTime
    _limit: int
    _cached: dict[Hashable, _File] = attrs.field(init=False, factory=dict)
    _idle_timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def lease(self, key: Hashable) -> Lease | None:
        """Return a lease of the file with this key, if it is open and was revalidated within FRESH_SECONDS."""
        file = self._cached.get(key)
        return file.lease() if file is not None and self.is_usable(file, self._clock.seconds()) else None

    def is_usable(self, file: _File, now: float) -> bool:
        """Return whether a cached file may be used when the clock shows `now`, and revalidate it if that is due."""
        blob = file.opened.blob
        if not (blob.remote or 0 <= now - file.compared <= COMPARE_SECONDS):  # the clock may have been stepped back
            file.compared = now
            if not blob.is_current():  # changed in place: another version
                self._drop(file.key)
                return False
        age = now - file.checked
        if 0 <= age <= CHECK_SECONDS:
            return True
        self._check(file.key, file)
        return 0 <= age <= FRESH_SECONDS

    def open(self, key: Hashable, opener: Opener, raw_key: Hashable, lane: Hashable = None) -> Deferred[Lease]:
        """Open the file in a thread of `lane`, and cache it, under `raw_key` if it is the raw image.

        Fails with the errors of `opener`; can be cancelled.
        """
        started = self._clock.seconds()
        opening = self._disk.run(opener, discard=_close, lane=lane)
        return opening.addCallback(
            lambda opened: self._cache_and_lease(raw_key if opened.raw else key, opened, opener, started)
        )

    def close(self) -> None:
        """Drop all files; those in use are closed with their last lease."""
        for key in tuple(self._cached):
            self._drop(key)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def release(self, file: _File) -> None:
        """Release a lease of the file."""
        file.users -= 1
        if not file.cached:
            self._close_if_unused(file)

    def _cache_and_lease(self, key: Hashable, opened: OpenedFile, opener: Opener, started: float) -> Lease:
        return self._cache(key, opened, opener, started).lease()

    def _cache(self, key: Hashable, opened: OpenedFile, opener: Opener, started: float) -> _File:
        """Return the cached file if it is the one found on disk, else the new one, which is cached now."""
        cached = self._cached.get(key)
        if cached is not None and cached.opened.is_as(opened):
            self._close(opened)
            cached.checked = max(cached.checked, started)
            return cached
        self._drop(key)
        while len(self._cached) >= self._limit:
            self._drop(next(iter(self._cached)))
        file = self._cached[key] = _File(self, key, opened, opener, started)
        if self._idle_timer is None:
            self._idle_timer = self._clock.callLater(_IDLE_SECONDS, self._close_idle)
        return file

    def _check(self, key: Hashable, file: _File) -> None:
        """Revalidate the file in a thread, and make it the most recently used one."""
        if file.checking:
            return
        file.checking = True
        del self._cached[key]
        self._cached[key] = file
        started = self._clock.seconds()
        revalidating = self._disk.run(file.opener, discard=_close, lane=file.opened.blob.lane)
        revalidating.addCallbacks(
            lambda opened: self._checked(key, file, opened, started),
            lambda failure: self._on_open_failure(key, file, failure),
        )

    def _checked(self, key: Hashable, file: _File, opened: OpenedFile, started: float) -> None:
        file.checking = False
        if self._cached.get(key) is not file:
            self._close(opened)
        elif opened.raw == file.opened.raw:
            self._cache(key, opened, file.opener, started)
        else:  # chunks were published or removed: drop the entry, the next request reopens it
            self._close(opened)
            self._drop(key)

    def _on_open_failure(self, key: Hashable, file: _File, _failure: Failure) -> None:
        """Drop a file that can no longer be opened; the next request opens it and gets the error."""
        file.checking = False
        if self._cached.get(key) is file:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        file = self._cached.pop(key, None)
        if file is not None:
            file.cached = False
            self._close_if_unused(file)

    def _close_if_unused(self, file: _File) -> None:
        if not file.cached and not file.users:
            self._close(file.opened)

    def _close(self, opened: OpenedFile) -> None:
        self._disk.later(opened.blob.close, opened.blob.lane)

    def _close_idle(self) -> None:
        self._idle_timer = None
        now = self._clock.seconds()
        for key in [
            key for key, file in self._cached.items() if now - file.checked > _IDLE_SECONDS and not file.users
        ]:
            self._drop(key)
        if self._cached:
            self._idle_timer = self._clock.callLater(_IDLE_SECONDS, self._close_idle)


def _close(opened: OpenedFile) -> None:
    opened.blob.close()
