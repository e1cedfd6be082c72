"""A cache of open files: opening and closing in a thread would take most of the time of a small range.

A cached file in use is revalidated in a thread, so that a replaced file takes effect within a second. Apart from work
passed to `disk`, everything runs on the reactor's thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.storage.blob import Blob, BlobStatus
from aero_storage.storage.local.directory import LocalBlob

FRESH_SECONDS = 0.9
"""Time after a revalidation for which a cached file is used: a change must take effect within one second."""

CHECK_SECONDS = 0.4
"""Age of the last revalidation after which the next use starts another."""

GLANCE_SECONDS = 0.002
"""Time for which an `fstat` comparison of size and mtime is valid; reads make their own comparison."""

_IDLE_SECONDS = 5.0
"""A file unused for this long is closed: it may have been removed to free its space."""


@attrs.frozen
class OpenedFile:
    """An opened file; `raw` if it is an image from which a chunk is to be cut."""

    blob: LocalBlob
    raw: bool


Opener = Callable[[], OpenedFile]


@attrs.define(eq=False)
class _File:
    """A cached open file; `checked` is when its last revalidation began."""

    found: OpenedFile
    opener: Opener
    checked: float
    glanced: float = -math.inf
    """When its size and mtime were last compared by `fstat`."""
    users: int = 0
    kept: bool = True
    checking: bool = False


@attrs.define(eq=False)
class Lease(Blob):
    """A reference to a cached open file: a Blob whose `close` only releases the reference."""

    _file: _File
    _files: OpenFileCache
    _held: bool = True

    @property
    @override
    def status(self) -> BlobStatus:
        return self._file.found.blob.status

    @property
    def raw(self) -> bool:
        """Whether it is the raw image, not a chunk artifact."""
        return self._file.found.raw

    @property
    @override
    def device(self) -> int:
        return self._file.found.blob.device

    @property
    @override
    def file(self) -> LocalBlob | None:
        return self._file.found.blob.file

    @override
    def read(self, offset: int, length: int) -> bytes:
        return self._file.found.blob.read(offset, length)

    @override
    def close(self) -> None:
        # Called on the reactor's thread.
        if self._held:
            self._held = False
            self._files.give_back(self._file)


@attrs.define(eq=False)
class OpenFileCache:
    """Keeps up to `limit` files open, the most recently used ones."""

    _disk: Disk
    _clock: IReactorTime
    _limit: int
    _kept: dict[Hashable, _File] = attrs.field(init=False, factory=dict)
    _sweep: IDelayedCall | None = attrs.field(init=False, default=None)

    def lease(self, key: Hashable) -> Lease | None:
        """Return a lease of the file with this key, if it is open and was revalidated within FRESH_SECONDS."""
        file = self._kept.get(key)
        if file is None:
            return None
        now, blob = self._clock.seconds(), file.found.blob
        if not (blob.remote or 0 <= now - file.glanced <= GLANCE_SECONDS):  # the clock may have been stepped back
            file.glanced = now
            if not blob.is_current():  # changed in place: another version
                self._drop(key)
                return None
        age = now - file.checked
        if not 0 <= age <= CHECK_SECONDS:
            self._check(key, file)
            if not 0 <= age <= FRESH_SECONDS:
                return None
        file.users += 1
        return Lease(file, self)

    def open(self, key: Hashable, opener: Opener, raw_key: Hashable, lane: Hashable = None) -> Deferred[Lease]:
        """Open the file in a thread of `lane`, and cache it, under `raw_key` if it is the raw image.

        Fails with the errors of `opener`; can be cancelled.
        """
        started = self._clock.seconds()
        opening = self._disk.run(opener, discard=_close, lane=lane)
        return opening.addCallback(lambda found: self._keep(raw_key if found.raw else key, found, opener, started))

    def close(self) -> None:
        """Drop all files; those in use are closed with their last lease."""
        for key in tuple(self._kept):
            self._drop(key)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def give_back(self, file: _File) -> None:
        """Release a lease of the file."""
        file.users -= 1
        self._close_if_unused(file)

    def _keep(self, key: Hashable, found: OpenedFile, opener: Opener, started: float) -> Lease:
        file = self._take(key, found, opener, started)
        file.users += 1
        return Lease(file, self)

    def _take(self, key: Hashable, found: OpenedFile, opener: Opener, started: float) -> _File:
        """Return the cached file if it is the one found on disk, else the new one, which is cached now."""
        kept = self._kept.get(key)
        if kept is not None and kept.found.blob.identity == found.blob.identity:
            self._close(found)
            kept.checked = max(kept.checked, started)
            return kept
        self._drop(key)
        while len(self._kept) >= self._limit:
            self._drop(next(iter(self._kept)))
        file = self._kept[key] = _File(found, opener, started)
        if self._sweep is None:
            self._sweep = self._clock.callLater(_IDLE_SECONDS, self._sweep_idle)
        return file

    def _check(self, key: Hashable, file: _File) -> None:
        """Revalidate the file in a thread, and make it the most recently used one."""
        if file.checking:
            return
        file.checking = True
        del self._kept[key]
        self._kept[key] = file
        started = self._clock.seconds()
        looking = self._disk.run(file.opener, discard=_close, lane=file.found.blob.device)
        looking.addCallbacks(
            lambda found: self._checked(key, file, found, started), lambda failure: self._gone(key, file, failure)
        )

    def _checked(self, key: Hashable, file: _File, found: OpenedFile, started: float) -> None:
        file.checking = False
        if self._kept.get(key) is not file:
            self._close(found)
        elif found.raw == file.found.raw:
            self._take(key, found, file.opener, started)
        else:  # chunks were published or removed: drop the entry, the next request reopens it
            self._close(found)
            self._drop(key)

    def _gone(self, key: Hashable, file: _File, _failure: Failure) -> None:
        """Drop a file that can no longer be opened; the next request opens it and gets the error."""
        file.checking = False
        if self._kept.get(key) is file:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        file = self._kept.pop(key, None)
        if file is not None:
            file.kept = False
            self._close_if_unused(file)

    def _close_if_unused(self, file: _File) -> None:
        if not file.kept and not file.users:
            self._close(file.found)

    def _close(self, found: OpenedFile) -> None:
        self._disk.later(found.blob.close, found.blob.device)

    def _sweep_idle(self) -> None:
        self._sweep = None
        now = self._clock.seconds()
        for key in [key for key, file in self._kept.items() if now - file.checked > _IDLE_SECONDS and not file.users]:
            self._drop(key)
        if self._kept:
            self._sweep = self._clock.callLater(_IDLE_SECONDS, self._sweep_idle)


def _close(found: OpenedFile) -> None:
    found.blob.close()
