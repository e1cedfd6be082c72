"""Looks at an origin that the workers of a daemon have in common: one looks, the others take what it saw.

All calls wait, and are made in threads. A look that has failed counts for those who waited for it. One who has waited
for long looks for itself: a worker may hang with the lock in its hands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Generic, TypeVar

import attrs

from aero_storage.errors import (
    BlobNotFoundError,
    ClientError,
    ObjectTooLargeError,
    OriginDeniedError,
    OriginUnavailableError,
)
from aero_storage.storage.objects.looks_file import LooksFile, OpenLooks, Place, Record
from aero_storage.storage.objects.origin import Listed, ObjectStatus, Origin, Pin

_T = TypeVar("_T")
_ERRORS: dict[str, type[ClientError]] = {
    kind.__name__: kind
    for kind in (BlobNotFoundError, ObjectTooLargeError, OriginDeniedError, OriginUnavailableError)
}
_SOME = 1000
"""Keys that are encoded at once: the interpreter's lock is held for 1 ms."""

_FIRST_PAUSE, _MOST_PAUSE = 0.001, 0.02
HEAD_PATIENCE, LIST_PATIENCE = 1.0, 10.0
"""Seconds for which a look of another worker is awaited."""


@attrs.frozen
class Seen(Generic[_T]):
    """The sight of a look, and when it began."""

    began: float
    value: _T


@attrs.frozen(eq=False)
class CommonLooks:
    """Looks at one origin. `since`: a look that began then, or later, is believed; that may be one of another worker.

    All calls raise OriginUnavailableError and OriginDeniedError.
    """

    _origin: Origin
    _file: LooksFile
    _now: Callable[[], float]
    _sleep: Callable[[float], object] = time.sleep

    @property
    def origin_name(self) -> str:
        """The URL of the origin's prefix, for messages."""
        return self._origin.name

    def head(
        self, key: str, since: float, *, failed_since: float | None = None, patience: float = HEAD_PATIENCE
    ) -> Seen[ObjectStatus | None]:
        """Look at an object; None if it does not exist.

        A failure counts that began at `failed_since` or later, or, where that is None, ended since the call.
        """

        def look() -> bytes:
            try:
                return _encoded(self._origin.head(key))
            except BlobNotFoundError:
                return b"null"

        place = Place.small(f"head {self._origin.identity} {key}")
        record = self._share(place, since, failed_since, patience, look)
        return Seen(record.began, _status(key, record.content))

    def list(
        self, prefix: str, *, delimiter: bool, since: float, failed_since: float | None = None
    ) -> Seen[Iterator[Listed]]:
        """List the objects in a directory of keys; see Origin.list. Keys are decoded as they are taken."""

        def look() -> bytes:
            return b"\n".join(_encoded_pages(self._origin.list(prefix, delimiter=delimiter)))

        place = Place.large(f"list {self._origin.identity} {delimiter} {prefix}")
        record = self._share(place, since, failed_since, LIST_PATIENCE, look)
        return Seen(record.began, _decoded_pages(record.content))

    def read(self, key: str, most: int, since: float) -> Seen[bytes]:
        """Read a document whole. Raises BlobNotFoundError, and ObjectTooLargeError if it has over `most` bytes."""
        place = Place.large(f"read {self._origin.identity} {key}")
        record = self._share(place, since, None, LIST_PATIENCE, lambda: b"=" + self._origin.read(key, most)[1])
        return Seen(record.began, record.content[1:])

    def _share(
        self, place: Place, since: float, failed_since: float | None, patience: float, look: Callable[[], bytes]
    ) -> Record:
        asked = self._now()

        def believed(record: Record | None) -> bool:
            if record is None or not record.has_failed:
                return record is not None and record.began >= since
            return record.ended >= asked if failed_since is None else record.began >= failed_since

        with ExitStack() as held:
            file = record = None
            with suppress(OSError):  # no descriptor, lock or memory is left: each looks for itself
                file = held.enter_context(self._file.opened())
                record = self._await(file, place, believed, asked + patience)
            if record is None:
                record = self._look(look)
                with suppress(OSError):
                    if file is not None and file.lock(place):
                        file.write(place, record)
        return _raised(record) if record.has_failed else record

    def _await(
        self, file: OpenLooks, place: Place, believed: Callable[[Record | None], bool], deadline: float
    ) -> Record | None:
        """Return a record that is believed; None if there is none, with the lock, or, after the deadline, without."""
        pause = _FIRST_PAUSE
        while True:
            is_ours = file.lock(place)
            record = file.read(place)
            if believed(record):
                return record
            if is_ours or self._now() >= deadline:
                return None
            self._sleep(pause)
            pause = min(2 * pause, _MOST_PAUSE)

    def _look(self, look: Callable[[], bytes]) -> Record:
        began = self._now()
        try:
            content, has_failed = look(), False
        except tuple(_ERRORS.values()) as error:
            content, has_failed = json.dumps([type(error).__name__, str(error)]).encode(), True
        return Record(began, self._now(), has_failed, content)


def _raised(record: Record) -> Record:
    kind, text = json.loads(record.content)
    raise _ERRORS[kind](text)


def _encoded(status: ObjectStatus) -> bytes:
    pin = status.pin
    return json.dumps([status.size, pin.tag, pin.version, pin.size, status.modified_ns]).encode()


def _status(key: str, content: bytes) -> ObjectStatus | None:
    found = json.loads(content)
    if found is None:
        return None
    size, tag, version, pinned_size, modified_ns = found
    return ObjectStatus(key, size, Pin(tag, version, pinned_size), modified_ns)


def _encoded_pages(listed: Iterable[Listed]) -> Iterator[bytes]:
    page: list[tuple[object, ...]] = []
    for one in listed:
        found = one.status
        page.append((one.key,) if found is None else (one.key, found.size, found.pin.tag, found.modified_ns))
        if len(page) == _SOME:
            yield json.dumps(page).encode()
            page = []
    yield json.dumps(page).encode()


def _decoded_pages(content: bytes) -> Iterator[Listed]:
    for page in content.split(b"\n"):
        for key, *found in json.loads(page):
            yield Listed(key, ObjectStatus(key, found[0], Pin(found[1]), found[2]) if found else None)
