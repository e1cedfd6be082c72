"""Open files, kept for the next request: a thread for every open and close would cost a small range most of its time.

What is kept is looked at again, in a thread, while it is in use: a file that was replaced shows within a second.
All of it happens on the reactor's thread but for the work that is handed to the disk.
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
"""For how long after a look at the disk a file may be handed out: a change has to show within one second."""

CHECK_SECONDS = 0.4
"""How old the last look is when the next use orders another."""

GLANCE_SECONDS = 0.002
"""For how long a comparison of size and mtime in memory holds; the readers make their own, of what they have read."""

_IDLE_SECONDS = 5.0
"""A file that nobody has asked for so long is closed, as it may have been removed to free its space."""


@attrs.frozen
class OpenedFile:
    """A file that was just opened; `raw` where it is an image from which a chunk is to be cut."""

    blob: LocalBlob
    raw: bool


Opener = Callable[[], OpenedFile]


@attrs.define(eq=False)
class _File:
    """An open file with the requests that use it; `checked` is when the last look at the disk began."""

    found: OpenedFile
    opener: Opener
    checked: float
    glanced: float = -math.inf
    """When its size and mtime were last compared, in memory."""
    users: int = 0
    kept: bool = True
    checking: bool = False


@attrs.define(eq=False)
class Lease(Blob):
    """A request's share of an open file: a Blob whose close costs nothing, wherever it is called."""

    _file: _File
    _files: OpenFileCache
    _held: bool = True

    @property
    @override
    def status(self) -> BlobStatus:
        return self._file.found.blob.status

    @property
    def raw(self) -> bool:
        """Whether this is the raw image."""
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
    """Keeps up to `limit` files open, those that were used last."""

    _disk: Disk
    _clock: IReactorTime
    _limit: int
    _kept: dict[Hashable, _File] = attrs.field(init=False, factory=dict)
    _sweep: IDelayedCall | None = attrs.field(init=False, default=None)

    def lease(self, key: Hashable) -> Lease | None:
        """The file of that key, if it is open and was looked at within the last second."""
        file = self._kept.get(key)
        if file is None:
            return None
        now, blob = self._clock.seconds(), file.found.blob
        if not (blob.remote or 0 <= now - file.glanced <= GLANCE_SECONDS):  # the clock may have been set back
            file.glanced = now
            if not blob.is_current():  # changed in place: what was found there is gone
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
        """Open the file in a thread of `lane`, and keep it: under `raw_key` if it is the raw image.

        Fails as `opener` does; can be cancelled.
        """
        started = self._clock.seconds()
        opening = self._disk.run(opener, discard=_close, lane=lane)
        return opening.addCallback(lambda found: self._keep(raw_key if found.raw else key, found, opener, started))

    def close(self) -> None:
        """Keep nothing any more; what is in use is closed by its last user."""
        for key in tuple(self._kept):
            self._drop(key)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def give_back(self, file: _File) -> None:
        """A request has done with the file."""
        file.users -= 1
        self._close_if_unused(file)

    def _keep(self, key: Hashable, found: OpenedFile, opener: Opener, started: float) -> Lease:
        file = self._take(key, found, opener, started)
        file.users += 1
        return Lease(file, self)

    def _take(self, key: Hashable, found: OpenedFile, opener: Opener, started: float) -> _File:
        """The file to hand out: the one that is kept if it still is what was found, else the new one, kept now."""
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
        """Look at the disk again, in a thread, and move the file to the end of the line to be dropped."""
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
        else:  # chunks were published, or taken away: what has this key now only its own request can tell
            self._close(found)
            self._drop(key)

    def _gone(self, key: Hashable, file: _File, _failure: Failure) -> None:
        """It cannot be opened any more; the next request opens it itself, and learns why."""
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
