"""Listings of a prefix: page by page, or one directory of it at once; the client cannot page that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import attrs

from aero_storage.storage.objects import keys
from aero_storage.storage.objects.origin import ObjectStatus
from aero_storage.storage.objects.store_client import StoreClient
from aero_storage.storage.objects.store_failures import ERROR, StoreFailureError

_T = TypeVar("_T")
MOST_LISTED = 250_000
"""Keys of one directory: the client has all of them in memory, at 0.7 KiB each."""


class Run(Protocol):
    """Runs one request with a time limit in seconds, repeated while that may help."""

    def __call__(self, attempt: Callable[[float], _T]) -> _T:
        """Return the result of `attempt(limit)`."""
        ...


@attrs.define
class NotRepeated:
    """Finds a page that was there before, to which a continuation led again; one text is kept for each page."""

    last: str | None = None
    """The last key so far, behind which the listing can go on."""
    _first: set[str] = attrs.field(factory=set)

    def check(self, page: list[ObjectStatus]) -> list[ObjectStatus]:
        """Return a page. Raises StoreFailureError if it was there before, or has a key twice."""
        names = [status.key for status in page]
        if names[:1] and (names[0] in self._first or len({*names}) < len(names)):
            raise StoreFailureError(ERROR, "a listing that repeats itself")
        self._first.update(names[:1])
        self.last = names[-1] if names else self.last
        return page


@attrs.frozen
class Listing:
    """The objects below a prefix: names in the bucket, and their status; directories have none."""

    _client: StoreClient
    _run: Run
    _full: str
    _most: int

    def directory(self) -> Iterator[tuple[str, ObjectStatus | None]]:
        """Yield what lies directly below it. Raises StoreFailureError for too many names."""
        found, prefixes = self._run(lambda limit: self._client.list_directory(self._full, limit))
        if len(found) + len(prefixes) > self._most:
            detail = f"over {self._most:,} keys in one directory: use directories, and name images in a manifest"
            raise StoreFailureError(ERROR, detail)
        yield from ((status.key, status) for status in found)
        yield from ((name, None) for name in prefixes)

    def flat(self) -> Iterator[tuple[str, ObjectStatus | None]]:
        """Yield what is below a prefix; a listing that breaks goes on behind its last key.

        A page is lost whole if the client cannot name a key of it. The rest is listed directory by directory then.
        """
        seen, is_unnameable = NotRepeated(), False
        pages: Iterator[list[ObjectStatus]] | None = None

        def next_page(limit: float) -> list[ObjectStatus] | None:
            nonlocal pages, is_unnameable
            if pages is None:
                pages = self._client.list_flat(self._full, seen.last, limit)
            try:
                page = next(pages, None)
                return None if page is None else seen.check(page)
            except StoreFailureError as failure:
                pages, is_unnameable = None, failure.is_unnameable
                if is_unnameable:
                    return None
                raise

        while page := self._run(next_page):
            yield from ((status.key, status) for status in page)
        if is_unnameable:
            yield from self._walk(seen.last or "")

    def _walk(self, after: str) -> Iterator[tuple[str, ObjectStatus | None]]:
        """Yield what is below a prefix, behind a key; without status the directories that cannot be listed."""
        directories = [self._full]

        def attempt(limit: float) -> tuple[list[ObjectStatus], Sequence[str]] | None:
            try:
                return self._client.list_directory(directory, limit)
            except StoreFailureError as failure:
                if failure.is_unnameable and directory != self._full:
                    return None
                raise

        while directories:
            directory = directories.pop()
            found = self._run(attempt)
            if found is None:
                yield directory, None
                continue
            directories += (name for name in found[1] if keys.relative(directory, name))
            yield from ((one.key, one) for one in found[0] if one.key.encode() > after.encode())
