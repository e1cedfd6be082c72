"""An origin in memory whose answers tests decide, and a reactor side of which nothing takes time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import attrs
from tests.conftest import Pool
from tests.object_store.buckets import Bucket, Version
from twisted.internet.task import Clock
from typing_extensions import Buffer

from aero_storage.disk import DiskThreads
from aero_storage.errors import BlobNotFoundError, ObjectChangedError, OriginUnavailableError
from aero_storage.storage.objects.common_looks import CommonLooks
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.storage.objects.origin import Listed, ObjectStatus, Origin, Pin


@attrs.define(eq=False)
class FakeOrigin(Origin):
    """Objects of a bucket in memory; counts what it is asked."""

    bucket: Bucket = attrs.field(factory=Bucket)
    asked: list[tuple[str, str]] = attrs.field(factory=list)
    error: Exception | None = None
    """What every call raises, until it is None again."""
    name: str = "s3://images"
    identity: str = "fake s3://images"

    def _ask(self, operation: str, key: str) -> Version:
        self._note(operation, key)
        found = self.bucket.get(key)
        if found is None:
            raise BlobNotFoundError(f"{self.name}: {operation} {key}: NoSuchKey")
        return found

    def _note(self, operation: str, key: str) -> None:
        self.asked.append((operation, key))
        if self.error is not None:
            raise self.error

    def away(self) -> None:
        self.error = OriginUnavailableError("s3://images: no answer in time")

    def head(self, key: str) -> ObjectStatus:
        return _status(key, self._ask("head", key))

    def get(self, key: str, pin: Pin, offset: int, length: int) -> Buffer:
        try:
            found = self._ask("get", key)
        except BlobNotFoundError as error:
            raise ObjectChangedError(str(error)) from error
        if found.tag != pin.tag:
            raise ObjectChangedError(key)
        return found.data[offset : offset + length]

    def read(self, key: str, most: int) -> tuple[ObjectStatus, bytes]:
        found = self._ask("get", key)
        return _status(key, found), found.data[:most]

    def list(self, prefix: str, *, delimiter: bool) -> Iterator[Listed]:
        self._note("list", prefix)
        below = f"{prefix}/" if prefix else ""
        page = self.bucket.page(below, "/" if delimiter else "", "", 1_000_000)
        yield from (Listed(key, _status(key, found)) for key, found in page.keys)
        yield from (Listed(name.rstrip("/"), None) for name in page.prefixes)

    def put(self, key: str, data: Buffer) -> Pin:
        raise AssertionError(f"the daemon writes nothing: {key}, {data!r}")

    put_if = put_large = put  # type: ignore[assignment]

    def delete(self, keys: object) -> None:
        raise AssertionError(f"the daemon deletes nothing: {keys}")


def _status(key: str, found: Version) -> ObjectStatus:
    return ObjectStatus(key, len(found.data), Pin(found.tag, found.version), int(found.modified) * 10**9)


@attrs.define(eq=False)
class Threads:
    """A clock, and threads that work at once, or, while the pool is held, one step after the other."""

    clock: Clock = attrs.field(factory=Clock)
    pool: Pool = attrs.field(factory=Pool)
    disk: DiskThreads = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.disk = DiskThreads(cast("Any", self), cast("Any", self.clock), cast("Any", self.pool), 8, math.inf)

    def callFromThread(self, work: Any, *args: object) -> None:
        work(*args)


def common_looks(origin: Origin, clock: Clock, file: LooksFile | None = None) -> CommonLooks:
    """Return the looks of a worker; those with the same file are of one daemon."""
    return CommonLooks(origin, file or LooksFile.create(), clock.seconds, clock.advance)
