"""An origin by way of obstore: retries within a time limit, pinned reads, stored content compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import attrs
from typing_extensions import Buffer, override

from aero_storage.errors import (
    AeroStorageError,
    BlobNotFoundError,
    ObjectChangedError,
    ObjectTooLargeError,
    OriginDeniedError,
    OriginUnavailableError,
    PreconditionFailedError,
    PreconditionUnsupportedError,
)
from aero_storage.storage.objects import keys
from aero_storage.storage.objects.conditional_put import ConditionalPut
from aero_storage.storage.objects.content_tags import MIB, ContentDigests, content_tag, parts_of
from aero_storage.storage.objects.listing import MOST_LISTED, Listing
from aero_storage.storage.objects.origin import Listed, ObjectStatus, Origin, Pin
from aero_storage.storage.objects.retries import Retries
from aero_storage.storage.objects.store_client import Answer, StoreClient
from aero_storage.storage.objects.store_failures import (
    CHANGED,
    DENIED,
    ERROR,
    NOT_FOUND,
    OtherSizeError,
    StoreFailureError,
)
from aero_storage.storage.objects.stored_content import Source, is_stored, told_of_stalls

T = TypeVar("T")
Waits = Callable[[str, float], object]
"""Is told of a request that has failed or hangs, in one line, and for how many seconds that has been so."""
_SLOWEST_UPLOAD = 256 * 1024
"""Bytes a second, for which writes have more time than reads: an operator may have a slow link."""
_SMALL = 64 * 1024
"""Bytes that need no time of their own."""
_DELETED_AT_ONCE = 1000
_UNEXPLAINED = (400, 401, 403, 404)
"""Statuses of HEAD that may mean several things."""


def _no_waits(_text: str, _seconds: float) -> None:
    pass


@attrs.frozen(eq=False)
class ObstoreOrigin(Origin):
    """Objects below a prefix of a bucket. All calls block, and may be made in several threads at once."""

    client: StoreClient
    endpoint: str
    seconds: float
    """The time limit of one piece, all its tries together."""
    retries: Retries
    most_listed: int = MOST_LISTED
    """Keys that a listing with a delimiter may have."""
    waits: Waits = _no_waits
    """Called before the pause after which a request is tried again, and now and then while an upload hangs."""
    _conditional: ConditionalPut = attrs.field(init=False, factory=ConditionalPut)

    @property
    @override
    def name(self) -> str:
        return str(self.client.url)

    @property
    @override
    def identity(self) -> str:
        return f"{self.endpoint} {self.name}"

    @override
    def head(self, key: str) -> ObjectStatus:
        full = self._full(key)
        found = self._run("HEAD", key, lambda limit: self._explained_head(full, limit))
        return attrs.evolve(found, key=key)

    def _explained_head(self, full: str, limit: float) -> ObjectStatus:
        try:
            found = self.client.head(full, limit)
        except StoreFailureError as failure:
            if failure.status in _UNEXPLAINED:
                self.client.explain(full, limit)  # raises what it really is: no bucket, a skewed clock
                raise StoreFailureError(ERROR, f"{failure} to HEAD, but not to GET") from None
            raise
        return found if found.size else self.client.find_size(full, limit)

    @override
    def get(self, key: str, pin: Pin, offset: int, length: int) -> Buffer:
        if length == 0:
            return b""
        full, bounds = self._full(key), (offset, offset + length)
        try:
            return self._run("GET", key, lambda limit: self._pinned_get(full, pin, bounds, limit)).data
        except BlobNotFoundError as error:
            raise ObjectChangedError(str(error)) from None

    def _pinned_get(self, full: str, pin: Pin, bounds: tuple[int, int], limit: float) -> Answer:
        try:
            return self.client.get(full, pin, bounds, limit)
        except OtherSizeError as failure:
            if self._explained_head(full, limit).size != pin.size:  # it was seen wrongly
                raise StoreFailureError(CHANGED, str(failure)) from None
            raise

    @override
    def read(self, key: str, most: int) -> tuple[ObjectStatus, bytes]:
        full = self._full(key)
        found = self._run("GET", key, lambda limit: self.client.get_whole(full, most, limit))
        if isinstance(found, ObjectStatus):
            raise ObjectTooLargeError(self._message("GET", key, f"{found.size} bytes, over the {most} that are read"))
        return attrs.evolve(found.status, key=key), bytes(found.data)

    @override
    def put(self, key: str, data: Buffer) -> Pin:
        full = self._writable(key)
        size = memoryview(data).nbytes

        def attempt(limit: float) -> Pin:
            pin = self.client.put(full, data, "overwrite", limit)
            self._require_stored(key, data, pin)
            return pin

        return self._run("PUT", key, attempt, size)

    @override
    def put_if(self, key: str, data: Buffer, expected: Pin | None) -> Pin:
        full = self._writable(key)
        size = memoryview(data).nbytes

        def attempt(limit: float) -> Pin:
            def write(mode: object) -> Pin:
                pin = self.client.put(full, data, mode, limit)
                self._require_stored(key, data, pin)
                return pin

            return self._conditional.attempt(write, lambda: self._present(key, size), data, expected)

        try:
            return self._run("PUT", key, attempt, size)
        except (PreconditionFailedError, PreconditionUnsupportedError) as error:
            raise type(error)(self._message("PUT", key, str(error))) from None

    def _present(self, key: str, size: int) -> tuple[Pin | None, bytes | None]:
        """Return the pin of what is stored, and its content if it may be of `size` bytes."""
        try:
            status, content = self.read(key, size)
        except BlobNotFoundError:
            return None, None
        except ObjectTooLargeError:
            return self.head(key).pin, None
        return status.pin, content

    def _require_stored(self, key: str, data: Buffer, pin: Pin) -> None:
        """Compare what is stored with `data`: by the tag, or, if that is no digest or another, byte by byte."""
        if pin.tag.lower() != content_tag(data) and not is_stored(data, lambda *part: self.get(key, pin, *part)):
            raise StoreFailureError(ERROR, "other bytes were stored than were sent")

    @override
    def put_large(self, key: str, pieces: Iterable[Buffer], size: int) -> Pin:
        if size == 0:
            return self.put(key, b"".join(bytes(piece) for piece in pieces))
        full, parts = self._writable(key), parts_of(size)
        digests, source = ContentDigests(parts.part_bytes), Source(pieces, size)
        limit = self.seconds + parts.part_bytes * parts.at_once / _SLOWEST_UPLOAD

        def hangs(seconds: float) -> None:
            what = self._message("PUT", key, f"the store has taken nothing for {seconds:.0f} s")
            self.waits(f"{what}; waiting, for {limit:.0f} s at most", seconds)

        try:
            with told_of_stalls(source, hangs):
                pin = self.client.put_parts(full, digests.watch(source), parts.part_bytes, parts.at_once, limit)
        except StoreFailureError as failure:
            if source.error is not None:
                raise source.error from None
            if digests.size != size:
                raise self._error("PUT", key, failure) from None
            pin = self._completed(key, size, failure)
        if not pin.tag.endswith('"'):  # Ceph's last answer to an upload has no tag that the client reads
            pin = self._completed(key, size, StoreFailureError(ERROR, "no ETag"))
        self._require_uploaded(key, pin, digests)
        return pin

    def _completed(self, key: str, size: int, failure: StoreFailureError) -> Pin:
        """Return what an upload has left whose last answer was lost: all of it, or nothing."""
        try:
            status = self.head(key)
        except BlobNotFoundError:
            raise self._error("PUT", key, failure) from None
        if status.size != size:
            raise self._error("PUT", key, failure)
        return status.pin

    def _require_uploaded(self, key: str, pin: Pin, digests: ContentDigests) -> None:
        if pin.tag.lower() == digests.tag:
            return
        again = ContentDigests(digests.part_bytes)
        step = min(digests.part_bytes, 8 * MIB)
        for offset in range(0, digests.size, step):
            again.update(self.get(key, pin, offset, min(step, digests.size - offset)))
        if again.sha256 != digests.sha256:
            raise OriginUnavailableError(self._message("PUT", key, "other bytes were stored than were sent"))

    @override
    def list(self, prefix: str, *, delimiter: bool) -> Iterator[Listed]:
        base = self.client.url.prefix
        full = keys.below(base, prefix)
        listing = Listing(self.client, partial(self._run, "LIST", prefix), full, self.most_listed)
        try:
            for name, status in listing.directory() if delimiter else listing.flat():
                key = keys.relative(base, name)
                is_asked_for = keys.relative(full, name) is not None  # a store may list other keys, too
                if key is not None and is_asked_for:
                    yield Listed(key, None if status is None else attrs.evolve(status, key=key))
        except StoreFailureError as failure:
            raise self._error("LIST", prefix, failure) from None

    @override
    def delete(self, keys: Iterable[str]) -> None:
        left = iter(keys)
        at_once = _DELETED_AT_ONCE if self.client.url.scheme == "s3" else 1
        while some := [*islice(left, at_once)]:
            full = [self._writable(key) for key in some]
            try:
                self._run("DELETE", some[0], lambda limit, full=full: self.client.delete(full, limit))  # type: ignore[misc]
            except BlobNotFoundError:  # of Google and Azure, which say it of what is not there
                continue

    def _full(self, key: str) -> str:
        full = keys.below(self.client.url.prefix, key)
        if not keys.is_usable(key) or not keys.is_usable(full):
            raise BlobNotFoundError(f"{self.name}: {keys.shown(key)} cannot be the key of an object")
        return full

    def _writable(self, key: str) -> str:
        try:
            return self._full(key)
        except BlobNotFoundError as error:
            raise ValueError(str(error)) from None

    def _run(self, operation: str, key: str, attempt: Callable[[float], T], sent: int = 0) -> T:
        """Return the result of `attempt(limit)`, repeated while that may help; `sent` is the bytes of a write."""

        def waits(failure: StoreFailureError, seconds: float) -> None:
            what = self._message(operation, key, self._said(failure))
            self.waits(f"{what}; trying again, for {self.seconds:g} s at most", seconds)

        try:
            return self.retries.run(attempt, self.seconds, transfer=_seconds_of(sent), waits=waits)
        except StoreFailureError as failure:
            raise self._error(operation, key, failure) from None

    def _error(self, operation: str, key: str, failure: StoreFailureError) -> AeroStorageError:
        message = self._message(operation, key, self._said(failure))
        kinds = {NOT_FOUND: BlobNotFoundError, CHANGED: ObjectChangedError, DENIED: OriginDeniedError}
        return kinds.get(failure.result, OriginUnavailableError)(message)

    def _said(self, failure: StoreFailureError) -> str:
        """Return the failure, and where it was where nothing answered: the endpoint may be the mistake."""
        return f"{failure} at {self.endpoint}" if failure.is_silence else str(failure)

    def _message(self, operation: str, key: str, detail: str) -> str:
        return f"{self.name}: {operation} {keys.shown(key)}: {detail}"


def _seconds_of(size: int) -> float:
    """Return the time that the content of a write may take; rounded up, as the client is made anew for each limit."""
    return 0.0 if size <= _SMALL else 2 ** (size - 1).bit_length() / _SLOWEST_UPLOAD
