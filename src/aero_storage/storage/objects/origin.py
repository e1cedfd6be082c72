"""The Origin protocol: objects below a prefix of a bucket, by keys relative to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import attrs
from typing_extensions import Buffer

ORIGIN_LANE = "origin"
"""The lane of threads in which the calls below wait (disk.Disk)."""


@attrs.frozen
class Pin:
    """The state of an object that reads are bound to: its ETag as received, and its version id where there is one.

    Where the `size` was seen, reads are bound to it, too. It is no part of the identity.
    """

    tag: str
    version: str | None = None
    size: int | None = attrs.field(default=None, eq=False)


@attrs.frozen
class ObjectStatus:
    """The description of an object by its store; `modified_ns` in nanoseconds since the epoch, 0 if it tells none."""

    key: str
    size: int
    pin: Pin
    modified_ns: int


@attrs.frozen
class Listed:
    """An item of a listing: an object, or without `status` what objects have in common before a slash.

    The key of the latter ends without that slash. The pin of an object has no version, and its tag may be
    empty: not all listings tell them.
    """

    key: str
    status: ObjectStatus | None


class Observer(Protocol):
    """Is told of each request to the store when it has ended."""

    def requested(self, operation: str, result: str, seconds: float, size: int) -> None:
        """Take note of a request.

        `operation`: get, head, list, put or delete. `result`: ok, not_found, changed, throttled, timeout, denied or
        error. `size`: bytes of content that were received, or sent.
        """
        ...


@attrs.frozen
class NoObserver:
    """Takes note of nothing."""

    def requested(self, operation: str, result: str, seconds: float, size: int) -> None:
        """Do nothing."""


class Origin(Protocol):
    """Objects in a store. Every call blocks, and may be made in several threads at once.

    All raise OriginUnavailableError if there was no right answer in time, after retries, and OriginDeniedError. An
    object whose key is none does not exist.
    """

    @property
    def name(self) -> str:
        """The URL of the prefix, such as s3://bucket/prefix, for messages: there is no secret in it."""
        ...

    @property
    def identity(self) -> str:
        """Endpoint, bucket and prefix: equal for origins with the same objects. There is no secret in it."""
        ...

    def head(self, key: str) -> ObjectStatus:
        """Look at an object. Raises BlobNotFoundError."""
        ...

    def get(self, key: str, pin: Pin, offset: int, length: int) -> Buffer:
        """Return exactly these bytes of the object as `pin` names it.

        Raises ObjectChangedError if that is not to be had any more.
        """
        ...

    def read(self, key: str, most: int) -> tuple[ObjectStatus, bytes]:
        """Return a document whole. Raises BlobNotFoundError, and ObjectTooLargeError if it has over `most` bytes."""
        ...

    def put(self, key: str, data: Buffer) -> Pin:
        """Store an object; the stored content was compared with `data`, by its digest or byte by byte."""
        ...

    def put_if(self, key: str, data: Buffer, expected: Pin | None) -> Pin:
        """Store an object in place of the one that `expected` names, or, if that is None, where there is none.

        Raises PreconditionFailedError if the object is in another state, but for one: it holds `data` already, as
        after a write of ours whose answer was lost. Raises PreconditionUnsupportedError if the store has no
        conditional writes.
        """
        ...

    def put_large(self, key: str, pieces: Iterable[Buffer], size: int) -> Pin:
        """Store an object of `size` bytes in parts; it shows when it is complete and compared.

        A piece is not copied: it must not be changed afterwards. An error of `pieces` is raised again, and the upload
        is aborted; so is one whose pieces have another size.
        """
        ...

    def list(self, prefix: str, *, delimiter: bool) -> Iterator[Listed]:
        """List the objects in a directory of keys, `` for all; with `delimiter` not those below a further slash.

        Directories that cannot be listed, as a key there cannot be named, are left out of a listing without
        `delimiter`, and told without status.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that does not exist is none the worse."""
        ...
