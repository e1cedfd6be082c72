"""An open object, as one request has it: in the block cache, or read from the origin as it goes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.errors import ObjectChangedError
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.block_cache.cached_object import CachedObject
from aero_storage.storage.objects.object_reads import ObjectReads
from aero_storage.storage.objects.origin import ORIGIN_LANE
from aero_storage.storage.store import Opened

PIECE_BYTES = 1024 * 1024
"""Bytes of one read of a stream without a cache; a stream holds two such pieces and what the transport has of one."""

BEGINNING_BYTES = 128 * 1024
"""So much of what is cached has to be on disk before the head of a response is sent."""


@attrs.define(eq=False)
class _ObjectLease(Opened):
    """One version of an object."""

    status: BlobStatus
    raw: bool
    sha256: str | None
    _has_changed: Callable[[], object]
    """Told if the object cannot be read any more as it was opened."""

    @property
    @override
    def lane(self) -> Hashable:
        return ORIGIN_LANE

    @property
    @override
    def remembered(self) -> None:
        return None

    def _failed(self, failure: Failure) -> Failure:
        if failure.check(ObjectChangedError):
            self._has_changed()
        return failure


@attrs.define(eq=False)
class CachedLease(_ObjectLease):
    """One version of an object whose blocks are cached."""

    file: CachedObject
    _disk: Disk

    @property
    @override
    def piece_bytes(self) -> int:
        return self.file.piece_bytes

    @property
    @override
    def origin_bytes(self) -> int:
        return self.file.origin_bytes

    @override
    def begins_now(self, offset: int, length: int) -> bool:
        return self.file.is_at_hand(offset, min(length, BEGINNING_BYTES))

    @override
    def begin(self, offset: int, length: int) -> Deferred[None]:
        beginning = self.file.warm(self._disk, offset, min(length, BEGINNING_BYTES), background=False)
        return beginning.addErrback(self._failed)

    @override
    def read(self, offset: int, length: int) -> bytes:
        return self.file.read(offset, length)

    @override
    def read_later(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        return self.file.read_later(disk, offset, length, background=background)

    @override
    def close(self) -> None:
        # Called on the reactor's thread.
        self.file.stop()
        self.file.close()


@attrs.define(eq=False)
class UncachedLease(_ObjectLease):
    """One version of an object of which every piece comes from the origin."""

    _reads: ObjectReads
    _threads: Disk
    _beginning: tuple[int, bytes] | None = attrs.field(init=False, default=None)
    """Offset and bytes of the first piece, until it is sent."""
    _is_open: bool = attrs.field(init=False, default=True)

    @property
    @override
    def piece_bytes(self) -> int:
        return PIECE_BYTES

    @property
    @override
    def file(self) -> None:
        return None

    @property
    @override
    def origin_bytes(self) -> int:
        return self._reads.received

    @override
    def begins_now(self, offset: int, length: int) -> bool:
        return False

    @override
    def begin(self, offset: int, length: int) -> Deferred[None]:
        piece = self.read_later(self._threads, offset, min(length, PIECE_BYTES), background=False)
        return piece.addCallback(partial(self._keep, offset)).addErrback(self._failed)

    def _keep(self, offset: int, data: bytes) -> None:
        if self._is_open:
            self._beginning = offset, data

    @override
    def read(self, offset: int, length: int) -> bytes:
        return self._reads.read(offset, length)

    @override
    def read_later(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        beginning, self._beginning = self._beginning, None
        if beginning is not None and beginning[0] == offset and len(beginning[1]) >= length:
            return succeed(beginning[1][:length])
        return self._threads.run(partial(self._reads.read, offset, length), lane=ORIGIN_LANE, background=background)

    @override
    def close(self) -> None:
        # Called on the reactor's thread.
        self._is_open, self._beginning = False, None
