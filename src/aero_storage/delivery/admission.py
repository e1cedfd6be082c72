"""The cap on byte requests at work at once, and the queue in front of it (http.md §5)."""

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
    """A place under the cap; its holder releases it, and a second release does nothing."""

    _admission: Admission | None

    def release(self) -> None:
        """Give the place to the request that has waited longest."""
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
    """Lets so many requests in at once; others wait, up to the timeout in seconds, first come first served."""

    max_concurrent_bytes_requests: int
    """0 is any number."""
    _bytes_queue_timeout_secs: float
    _clock: IReactorTime
    _taken: int = attrs.field(init=False, default=0)
    _queue: deque[_Waiter] = attrs.field(init=False, factory=deque)
    _letting_in: bool = attrs.field(init=False, default=False)
    crowded: Callable[[], object] = attrs.field(init=False, default=lambda: None)
    """Called when a request has begun to wait: somebody may be able to give a place up."""
    rejected: Callable[[str], object] = attrs.field(init=False, default=lambda _reason: None)
    """Told why a request gets no place: `queue_full` (or nobody is to wait), or `timed_out` in the queue."""
    waited: Callable[[float], object] = attrs.field(init=False, default=lambda _seconds: None)
    """Told how long a request stood in the queue that gets a place."""

    @property
    def taken(self) -> int:
        """Places that are held now."""
        return self._taken

    @property
    def used_ratio(self) -> float:
        """Share of the places that is held; 0 without a limit."""
        return self._taken / self.max_concurrent_bytes_requests if self.max_concurrent_bytes_requests else 0.0

    @property
    def waiting(self) -> int:
        """Requests in the queue now."""
        return len(self._queue)

    def acquire(self) -> Deferred[Place]:
        """A place, perhaps later; can be cancelled. Fails with OverloadedError where none comes free in time."""
        place = self.try_acquire()
        if place is not None:
            return succeed(place)
        longest = max(_MIN_QUEUE, _QUEUE_PER_PLACE * self.max_concurrent_bytes_requests)
        if not self._bytes_queue_timeout_secs or len(self._queue) >= longest:
            self.rejected("queue_full")
            return fail(OverloadedError("all places are taken"))
        return self._wait()

    def try_acquire(self) -> Place | None:
        """A place at once, or None; nobody who waits is overtaken."""
        if self._queue or not self._has_room():
            return None
        self._taken += 1
        return Place(self)

    def _wait(self) -> Deferred[Place]:
        waiter = _Waiter(Deferred(lambda _: self._leave(waiter)), self._clock.seconds())
        waiter.timer = self._clock.callLater(self._bytes_queue_timeout_secs, self._give_up, waiter)
        self._queue.append(waiter)
        self.crowded()
        return waiter.deferred

    def _give_up(self, waiter: _Waiter) -> None:
        self._queue.remove(waiter)
        self.rejected("timed_out")
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
        if self._letting_in:  # released from within the loop below: it goes on by itself, a queue is no call stack
            return
        self._letting_in = True
        while self._queue and self._has_room():
            self._let_in(self._queue.popleft())
        self._letting_in = False

    def _let_in(self, waiter: _Waiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        self._taken += 1
        self.waited(self._clock.seconds() - waiter.since)
        waiter.deferred.callback(Place(self))
