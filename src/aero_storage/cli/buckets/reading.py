"""Reads pinned objects: whole and in order, several pieces at once, or a sample of one."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice

import attrs
from typing_extensions import Buffer, override

from aero_storage.catalog.content_digest import object_stamps
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.cli.stored_image import ImageSample, StoredImage
from aero_storage.errors import ObjectChangedError, OperatorError
from aero_storage.image_formats.byte_source import short_sample
from aero_storage.storage.objects.object_etag import object_etag
from aero_storage.storage.objects.origin import ObjectStatus, Origin

PIECE = 8 << 20
_AT_ONCE = 4
"""Pieces that are read at the same time: 32 MiB."""


@attrs.frozen
class StoredObject(StoredImage):
    """The object of a raw image, which had this status."""

    origin: Origin
    status: ObjectStatus

    @property
    @override
    def name(self) -> str:
        return f"{self.origin.name}/{self.status.key}"

    @property
    @override
    def size(self) -> int:
        return self.status.size

    @property
    @override
    def disk_usage(self) -> int:
        return self.status.size

    @property
    @override
    def stamps(self) -> tuple[str, ...]:
        return object_stamps(self.status.size, self.status.pin.tag)

    @property
    @override
    def etag(self) -> str:
        return object_etag(self.status)

    @override
    def sample(self) -> ImageSample:
        return ImageSample(short_sample(self._part, self.size), self.size, self.stamps)

    def _part(self, offset: int, length: int) -> bytes:
        with changes_told(self.name):
            return bytes(self.origin.get(self.status.key, self.status.pin, offset, length))

    @override
    def contents(self) -> Iterator[Buffer]:
        with changes_told(self.name):
            yield from pieces_of(self.origin, self.status)

    @override
    def sha256(self, track: Callable[[int], AbstractContextManager[Advance]]) -> tuple[int, str]:
        digest = hashlib.sha256()
        with track(self.size) as advance, changes_told(self.name):
            for piece in pieces_of(self.origin, self.status):
                digest.update(piece)
                advance(memoryview(piece).nbytes)
        return self.size, digest.hexdigest()


@attrs.define
class changes_told(AbstractContextManager[None]):  # noqa: N801 - a with block
    """Have an object that is replaced during a with block be told of by its name."""

    name: str

    @override
    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ObjectChangedError):
            raise OperatorError(f"{self.name} was replaced while it was read; try again") from error


def pieces_of(origin: Origin, status: ObjectStatus, piece_bytes: int = PIECE) -> Iterator[Buffer]:
    """Yield an object in order, in pieces of this size; some more are on their way meanwhile."""
    at_once = max(2, min(_AT_ONCE, _AT_ONCE * PIECE // piece_bytes))
    offsets = iter(range(0, status.size, piece_bytes))
    with ThreadPoolExecutor(at_once) as threads:

        def begun(offset: int) -> Future[Buffer]:
            length = min(piece_bytes, status.size - offset)
            return threads.submit(origin.get, status.key, status.pin, offset, length)

        waiting = deque(begun(offset) for offset in islice(offsets, at_once))
        try:
            while waiting:
                piece = waiting.popleft().result()
                waiting.extend(begun(offset) for offset in [next(offsets, None)] if offset is not None)
                yield piece
        finally:
            for future in waiting:
                future.cancel()
