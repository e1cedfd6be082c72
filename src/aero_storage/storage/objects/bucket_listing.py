"""Which images of a catalog are there, by listings of the bucket: never a request for each image (http.md §11)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aero_storage.catalog.content_digest import disagreement
from aero_storage.catalog.model import CHUNKED, Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, OriginUnavailableError
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.common_looks import CommonLooks, Seen
from aero_storage.storage.objects.object_keys import key_of
from aero_storage.storage.objects.object_status import blob_status
from aero_storage.storage.objects.origin import Listed, ObjectStatus
from aero_storage.storage.objects.origin_threads import LIST_LANE
from aero_storage.storage.objects.shared_look import LATE_SECONDS, Flight
from aero_storage.storage.store import EntryFault, Survey

_MOST_DIRECTORIES = 16
"""If more of one branch have images, all of the branch is listed at once."""


@attrs.frozen
class ListedImages:
    """The state of the images of one catalog; it is made in a thread, as 10,000 tags take 50 ms."""

    began: float
    survey: Survey
    faults: tuple[EntryFault, ...]
    is_complete: bool
    """Whether each image has its bytes, or may have a chunk manifest."""


@attrs.define(eq=False)
class BucketListing:
    """The listing for one catalog at a time; used on the reactor's thread. LISTs are made while somebody asks."""

    _common: CommonLooks
    _threads: Disk
    _clock: IReactorTime
    _refresh_secs: float
    _stale_secs: float
    _images: object = attrs.field(init=False, default=None)
    """Those that `_last` is about."""
    _last: ListedImages | None = attrs.field(init=False, default=None)
    _flight: Flight[ListedImages] | None = attrs.field(init=False, default=None)
    _is_away: bool = attrs.field(init=False, default=False)
    _anew_from: float = attrs.field(init=False, default=-math.inf)
    """Listings that began before are not believed."""

    def last(self, images: tuple[Image, ...]) -> ListedImages | None:
        """Return the last listing for these images, however old."""
        return self._last if self._images is images else None

    def current(self, images: tuple[Image, ...]) -> Deferred[ListedImages]:
        """Return a listing that may be believed; can be cancelled. Fails with the origin's errors."""
        last, now = self.last(images), self._clock.seconds()
        if last is not None and last.began >= self._since(now):
            return succeed(last)
        flight = self._flight
        if flight is None or flight.subject is not images:
            flight = self._begin(images)
        if last is None or now - last.began > self._stale_secs:
            return flight.join()
        if self._is_away:
            return succeed(last)
        waiter = flight.join()
        if not waiter.called:
            waiter.addTimeout(LATE_SECONDS, self._clock, onTimeoutCancel=partial(self._late, last))
        return waiter.addErrback(partial(_instead, last))

    def look_anew(self) -> None:
        """Believe the last listing no longer, unless the origin does not answer."""
        self._anew_from, self._flight = math.nextafter(self._clock.seconds(), math.inf), None

    def _since(self, now: float) -> float:
        return max(now - self._refresh_secs, self._anew_from)

    def _late(self, last: ListedImages, _result: object, _seconds: float) -> ListedImages:
        self._is_away = True
        return last

    def _begin(self, images: tuple[Image, ...]) -> Flight[ListedImages]:
        flight = self._flight = Flight(self._clock.seconds(), images)
        listing = self._threads.run(partial(self._list, images, self._since(flight.began)), lane=LIST_LANE)
        listing.addCallbacks(partial(self._listed, flight), partial(self._failed, flight))
        return flight

    def _listed(self, flight: Flight[ListedImages], found: ListedImages) -> None:
        self._is_away = False
        if self._flight is flight:
            self._images, self._last, self._flight = flight.subject, found, None
        flight.end(found)

    def _failed(self, flight: Flight[ListedImages], failure: Failure) -> None:
        self._is_away = failure.check(OriginUnavailableError) is not None
        if self._flight is flight:
            self._flight = None
        flight.end(failure)

    # In a thread

    def _list(self, images: tuple[Image, ...], since: float) -> ListedImages:
        wanted = {key for image in images if (key := _key(image)) is not None}
        objects: dict[str, ObjectStatus] = {}
        began: list[float] = []

        def listed(directory: str, *, is_flat: bool) -> Iterator[Listed]:
            seen: Seen[Iterator[Listed]] = self._common.list(directory, delimiter=not is_flat, since=since)
            began.append(seen.began)
            return seen.value

        for directory, is_flat in _places(wanted):
            for one in listed(directory, is_flat=is_flat):
                if one.status is not None and one.key in wanted:
                    objects[one.key] = one.status
        is_all = len(objects) == len(wanted) and all(_key(image) for image in images)
        chunked = frozenset() if is_all else frozenset(_directories(listed(CHUNKED, is_flat=False)))
        found = [(image, objects.get(_key(image) or "")) for image in images]
        return _judged(min(began, default=since), found, chunked)


def _directories(listed: Iterable[Listed]) -> Iterable[str]:
    return (one.key.rpartition("/")[2] for one in listed if one.status is None)


def _judged(
    began: float, images: Iterable[tuple[Image, ObjectStatus | None]], chunked: frozenset[str]
) -> ListedImages:
    found: list[tuple[Image, BlobStatus]] = []
    faults: list[EntryFault] = []
    is_complete = True
    for image, listed in images:
        if listed is not None:
            status = blob_status(listed)
            found.append((image, status))
            if listed.pin.tag and image.has_outdated_sha256(status.stamps):
                reason = disagreement(image.sha256_of or "", status.stamps)
                faults.append(EntryFault(image, reason, is_served=True))
        elif image.id not in chunked:
            is_complete = False
            faults.append(EntryFault(image, f"{image.file}: no such object"))
    return ListedImages(began, Survey(tuple(found), 0), tuple(faults), is_complete)


def _instead(last: ListedImages, failure: Failure) -> ListedImages:
    failure.trap(OriginUnavailableError)
    return last


def _key(image: Image) -> str | None:
    try:
        return key_of(image.file)
    except BlobNotFoundError:
        return None


def _places(keys: Iterable[str]) -> Iterable[tuple[str, bool]]:
    """Yield the directories that are to be listed, and whether with all that is below them."""
    branches: defaultdict[str, set[str]] = defaultdict(set)
    for key in keys:
        directory = key.rpartition("/")[0]
        branches[directory.partition("/")[0]].add(directory)
    for branch, directories in branches.items():
        if branch and len(directories) > _MOST_DIRECTORIES:
            yield branch, True
        else:
            yield from ((directory, False) for directory in sorted(directories))
