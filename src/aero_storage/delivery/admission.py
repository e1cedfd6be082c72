"""The limit of concurrent byte requests, and the queue in front of it (http.md §5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.errors import OverloadedError

_MIN_QUEUE = 16
_QUEUE_PER_PLACE = 4


@attrs.define(eq=False)
class Place:
    """A place under the limit. Its holder releases it; a second release does nothing."""

    _admission: Admission | None

    def release(self) -> None:
        """Pass the place to the request that has waited longest."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission._free()  # noqa: SLF001 - two halves of one idea


@attrs.define(eq=False)
class _Waiter:
    deferred: Deferred[Place]
    since: float
    timer: IDelayedCall | None = None


@attrs.define(eq=False)
class Admission:
    """Admits a limited number of requests at once. Others wait in a FIFO queue, up to the timeout in seconds."""

    max_concurrent_bytes_requests: int
    """0 is any number."""
    _bytes_queue_timeout_secs: float
    _clock: IReactorTime
    _taken: int = attrs.field(init=False, default=0)
    _queue: deque[_Waiter] = attrs.field(init=False, factory=deque)
    _admitting: bool = attrs.field(init=False, default=False)
    _crowded: Callable[[], object] = attrs.field(kw_only=True, default=lambda: None)
    """Called when a request begins to wait, so that a stalled response may give its place up."""
    _rejected: Callable[[str], object] = attrs.field(kw_only=True, default=lambda _reason: None)
    """Called with the reason why a request gets no place: `queue_full` (also without a queue) or `timed_out`."""
    _waited: Callable[[float], object] = attrs.field(kw_only=True, default=lambda _seconds: None)
    """Called with the seconds that an admitted request waited in the queue."""

    @property
    def taken(self) -> int:
        """Number of places held."""
        return self._taken

    @property
    def used_ratio(self) -> float:
        """Share of the places that is held; 0 without a limit."""
        return self._taken / self.max_concurrent_bytes_requests if self.max_concurrent_bytes_requests else 0.0

    @property
    def waiting(self) -> int:
        """Number of requests in the queue."""
        return len(self._queue)

    def acquire(self) -> Deferred[Place]:
        """Return a Deferred of a place; it can be cancelled. Fails with OverloadedError if none is free in time."""
        place = self.try_acquire()
        if place is not None:
            return succeed(place)
        longest = max(_MIN_QUEUE, _QUEUE_PER_PLACE * self.max_concurrent_bytes_requests)
        if not self._bytes_queue_timeout_secs or len(self._queue) >= longest:
            self._rejected("queue_full")
            return fail(OverloadedError("all places are taken"))
        return self._wait()

    def try_acquire(self) -> Place | None:
        """Return a place now, or None if none is free or other requests wait."""
        if self._queue or not self._has_room():
            return None
        self._taken += 1
        return Place(self)

    def _wait(self) -> Deferred[Place]:
        waiter = _Waiter(Deferred(lambda _: self._leave(waiter)), self._clock.seconds())
        waiter.timer = self._clock.callLater(self._bytes_queue_timeout_secs, self._time_out, waiter)
        self._queue.append(waiter)
        self._crowded()
        return waiter.deferred

    def _time_out(self, waiter: _Waiter) -> None:
        self._queue.remove(waiter)
        self._rejected("timed_out")
        waiter.deferred.errback(OverloadedError("no place came free in time"))

    def _leave(self, waiter: _Waiter) -> None:
        self._queue.remove(waiter)
        if waiter.timer is not None:
            waiter.timer.cancel()

    def _has_room(self) -> bool:
        cap = self.max_concurrent_bytes_requests
        return not cap or self._taken < cap

    def _free(self) -> None:
        self._taken -= 1
        if self._admitting:  # released from within the loop below, which continues by itself: no recursion
            return
        self._admitting = True
        while self._queue and self._has_room():
            self._admit(self._queue.popleft())
        self._admitting = False

    def _admit(self, waiter: _Waiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        self._taken += 1
        self._waited(self._clock.seconds() - waiter.since)
        waiter.deferred.callback(Place(self))
