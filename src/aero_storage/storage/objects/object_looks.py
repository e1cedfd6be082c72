"""Looks at objects, remembered: HEADs are made once for all who ask, and believed for a while (http.md §11).

Everything runs on the reactor's thread but the HEADs, of which the workers of a daemon make one for all. Missing
objects are remembered, too.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aero_storage.disk import Disk
from aero_storage.errors import OriginUnavailableError
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.common_looks import CommonLooks, Seen
from aero_storage.storage.objects.object_keys import is_immutable
from aero_storage.storage.objects.object_status import blob_status
from aero_storage.storage.objects.origin import ObjectStatus
from aero_storage.storage.objects.origin_threads import LOOK_LANE
from aero_storage.storage.objects.shared_look import LATE_SECONDS, Flight

_MAX_LOOKS = 16_384
"""Objects that are remembered, at 1 KiB each."""


@attrs.define(eq=False)
class Look:
    """The state of an object as it was seen, and when the last look that saw it so began."""

    key: str
    found: ObjectStatus | None
    """None: it does not exist."""
    status: BlobStatus | None
    """The same object as long as the version is the same."""
    seen_at: float
    is_immutable: bool
    sha256: str | None = None
    """The digest of a published chunk, in hex, once it is known."""
    has_digest: bool = False
    """Whether its digest was looked for."""
    digest_due_at: float = math.inf
    """When its digest has to be looked for again: its manifest may have changed, or could not be read."""


@attrs.define(eq=False)
class ObjectLooks:
    """The last looks at the objects of one origin: up to _MAX_LOOKS, the most recently used ones.

    A look is believed for `refresh_secs`, and, while the origin does not answer, for `stale_secs`.
    """

    _common: CommonLooks
    _threads: Disk
    _clock: IReactorTime
    _refresh_secs: float
    _stale_secs: float
    _known: OrderedDict[str, Look] = attrs.field(init=False, factory=OrderedDict)
    _flights: dict[str, Flight[Look]] = attrs.field(init=False, factory=dict)
    _is_away: bool = attrs.field(init=False, default=False)
    """Whether the last look that ended, or was late, had no answer."""
    _all_anew_from: float = attrs.field(init=False, default=-math.inf)
    _anew_from: dict[str, float] = attrs.field(init=False, factory=dict)
    """Of objects that have been found changed: no look before then is believed."""

    def recall(self, key: str) -> Look | None:
        """Return the last look at an object if it may be believed now; asks anew in time, without waiting."""
        look = self._known.get(key)
        if look is None:
            return None
        seen_at, now = look.seen_at, self._clock.seconds()
        age = now - seen_at if seen_at >= self._all_anew_from else self._age(look)
        self._known.move_to_end(key)
        if look.is_immutable and look.found is not None:
            return look
        if age > self._refresh_secs / 2 and key not in self._flights:
            self._begin(key)
        is_believed = age <= self._refresh_secs or (self._is_away and self._may_be_stale(look))
        return look if is_believed else None

    def look(self, key: str) -> Deferred[Look]:
        """Return a look that may be believed, after a HEAD if need be; can be cancelled.

        Fails with OriginUnavailableError and OriginDeniedError.
        """
        recalled = self.recall(key)
        if recalled is not None:
            return succeed(recalled)
        flight = self._flights.get(key) or self._begin(key)
        known = self._known.get(key)
        waiter = flight.join()
        if known is None or not self._may_be_stale(known):
            return waiter
        if not waiter.called:
            waiter.addTimeout(LATE_SECONDS, self._clock, onTimeoutCancel=partial(self._late, known))
        return waiter.addErrback(partial(self._instead, known))

    def is_digest_due(self, look: Look) -> bool:
        """Return whether the digest of a chunk has to be looked for again."""
        return self._clock.seconds() >= look.digest_due_at

    def digest_failed(self, look: Look) -> None:
        """Have the digest looked for again after a while."""
        look.digest_due_at = self._clock.seconds() + self._refresh_secs

    def forget(self, key: str) -> None:
        """The object is no longer as it was seen, nor as a look sees it that has begun."""
        self._known.pop(key, None)
        self._flights.pop(key, None)
        self._anew_from[key] = math.nextafter(self._clock.seconds(), math.inf)
        while len(self._anew_from) > _MAX_LOOKS:
            del self._anew_from[next(iter(self._anew_from))]

    def look_anew(self) -> None:
        """Believe nothing any more that was seen before now, unless the origin does not answer."""
        self._all_anew_from = math.nextafter(self._clock.seconds(), math.inf)
        self._flights.clear()

    def _age(self, look: Look) -> float:
        if look.seen_at < self._all_anew_from:
            return max(self._refresh_secs, self._clock.seconds() - look.seen_at) + 1e-9
        return self._clock.seconds() - look.seen_at

    def _may_be_stale(self, look: Look) -> bool:
        return look.found is not None and self._clock.seconds() - look.seen_at <= self._stale_secs

    def _late(self, known: Look, _result: object, _seconds: float) -> Look:
        self._is_away = True
        return known

    def _instead(self, known: Look, failure: Failure) -> Look:
        failure.trap(OriginUnavailableError)
        if not self._may_be_stale(known):
            failure.raiseException()
        return known

    def _begin(self, key: str) -> Flight[Look]:
        now = self._clock.seconds()
        since = max(now - self._refresh_secs / 2, self._all_anew_from, self._anew_from.get(key, -math.inf))
        flight = self._flights[key] = Flight(now)
        looking = self._threads.run(partial(self._common.head, key, since), lane=LOOK_LANE)
        looking.addCallbacks(partial(self._seen, key, flight), partial(self._failed, key, flight))
        return flight

    def _seen(self, key: str, flight: Flight[Look], seen: Seen[ObjectStatus | None]) -> None:
        self._is_away = False
        is_last_word = self._flights.get(key) is flight
        look = (self._remember if is_last_word else _look_of)(key, seen.value, seen.began)
        self._end(key, flight, look)

    def _failed(self, key: str, flight: Flight[Look], failure: Failure) -> None:
        if failure.check(OriginUnavailableError):
            self._is_away = True
        self._end(key, flight, failure)

    def _end(self, key: str, flight: Flight[Look], outcome: Look | Failure) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.end(outcome)

    def _remember(self, key: str, found: ObjectStatus | None, began: float) -> Look:
        self._anew_from.pop(key, None)
        known = self._known.pop(key, None)
        if known is not None and known.found == found:
            known.seen_at = max(known.seen_at, began)
            if not known.is_immutable:
                known.digest_due_at = began
            self._known[key] = known
            return known
        look = self._known[key] = _look_of(key, found, began)
        while len(self._known) > _MAX_LOOKS:
            self._known.popitem(last=False)
        return look


def _look_of(key: str, found: ObjectStatus | None, began: float) -> Look:
    return Look(key, found, None if found is None else blob_status(found), began, is_immutable(key))
