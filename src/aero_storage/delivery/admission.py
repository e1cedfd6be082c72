"""The limit of requests for bytes that start, and the queue in front of it (http.md §5).

While requests wait, a free place goes to the client that holds fewest. If none is free, a client over its equal share
gives up the place of its oldest stream; if no client is, the slowest stream gives up its own. The stream goes on
without. Clients are counted only while requests wait, so a request that gets a place at once pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.delivery.client_queue import ClientQueue
from aero_storage.errors import OverloadedError
from aero_storage.http.client_address import client_of

_MIN_QUEUE = 16
_QUEUE_PER_PLACE = 4


@attrs.define(eq=False)
class Place:
    """A place under the limit. Its holder releases it; a second release does nothing."""

    _admission: Admission | None
    on_given_up: Callable[[], object] | None = None
    """Called once the stream has given it up."""

    @property
    def is_held(self) -> bool:
        """Whether it still counts; a stream that has given it up goes on without."""
        return self._admission is not None and self in self._admission._held  # noqa: SLF001 - two halves of one idea

    def give_up(self) -> bool:
        """Give it up to a request that waits, while the stream goes on; return False if it is not held."""
        admission = self._admission
        if admission is None or not self.is_held:
            return False
        admission._take_from(self)  # noqa: SLF001
        if self.on_given_up is not None:
            self.on_given_up()
        return True

    def release(self) -> None:
        """The request has ended: pass the place to another that waits."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission._release(self)  # noqa: SLF001


@attrs.define(eq=False)
class _Waiter:
    host: str | None
    client: str
    deferred: Deferred[Place]
    since: float
    timer: IDelayedCall | None = None


@attrs.define(eq=False)
class Admission:
    """Admits a limited number of requests at once. Others wait in a queue, up to the timeout in seconds."""

    max_concurrent_bytes_requests: int
    """0 is any number."""
    _bytes_queue_timeout_secs: float
    _clock: IReactorTime
    without_place: int = attrs.field(init=False, default=0)
    """Number of streams that go on after they have given their places up."""
    _held: dict[Place, str | None] = attrs.field(init=False, factory=dict)
    """The hosts of the clients, the oldest place first."""
    _queue: ClientQueue[Place, _Waiter] | None = attrs.field(init=False, default=None)
    """Holders and waiting requests by client; None until a request waits, and again when one gets a place at once."""
    _serving: bool = attrs.field(init=False, default=False)
    _crowded: Callable[[], object] = attrs.field(kw_only=True, default=lambda: None)
    """Called when a request waits and no client is over its share: the slowest stream may give its place up."""
    _given_up: Callable[[], object] = attrs.field(kw_only=True, default=lambda: None)
    """Called when a stream has given its place up."""
    _rejected: Callable[[str], object] = attrs.field(kw_only=True, default=lambda _reason: None)
    """Called with the reason why a request gets no place: `queue_full` (also without a queue) or `timed_out`."""
    _waited: Callable[[float], object] = attrs.field(kw_only=True, default=lambda _seconds: None)
    """Called with the seconds that an admitted request waited in the queue."""

    @property
    def taken(self) -> int:
        """Number of places held."""
        return len(self._held)

    @property
    def used_ratio(self) -> float:
        """Share of the places that is held; 0 without a limit."""
        return len(self._held) / self.max_concurrent_bytes_requests if self.max_concurrent_bytes_requests else 0.0

    @property
    def waiting(self) -> int:
        """Number of requests in the queue."""
        return 0 if self._queue is None else len(self._queue)

    @property
    def has_place(self) -> bool:
        """Whether `try_acquire` would return a place now."""
        cap = self.max_concurrent_bytes_requests
        return not self._queue and (not cap or len(self._held) < cap)

    def acquire(self, host: str | None = None) -> Deferred[Place]:
        """Return a Deferred of a place for the client at `host`; it can be cancelled.

        Fails with OverloadedError if none comes free in time, or if the queue is full.
        """
        place = self.try_acquire(host)
        if place is not None:
            return succeed(place)
        client = identity_of(host)
        if not self._bytes_queue_timeout_secs or not self._may_wait(client):
            self._rejected("queue_full")
            return fail(OverloadedError("all places are taken"))
        waiter = self._join_queue(host, client)
        self._shorten_queue()
        self.serve_queue()
        return waiter.deferred

    def try_acquire(self, host: str | None = None) -> Place | None:
        """Return a place now, or None if none is free or other requests wait."""
        if not self.has_place:
            return None
        self._queue = None
        place = Place(self)
        self._held[place] = host
        return place

    def serve_queue(self) -> None:
        """Admit requests that wait, while places are free or are given up; called when streams have become slow."""
        if self._serving:  # called from within the loop below, which continues by itself: no recursion
            return
        self._serving = True
        try:
            while self._queue and self._find_place(self._queue):
                self._admit(self._queue.next()[0])
        finally:
            self._serving = False

    # The queue

    @property
    def _longest(self) -> int:
        return max(_MIN_QUEUE, _QUEUE_PER_PLACE * self.max_concurrent_bytes_requests)

    def _may_wait(self, client: str) -> bool:
        """Whether a request of this client may wait: in a full queue if another client has more requests there."""
        queue = self._queue
        return queue is None or len(queue) < self._longest or queue.longest()[1] > queue.waiting_of(client) + 1

    def _join_queue(self, host: str | None, client: str) -> _Waiter:
        waiter = _Waiter(host, client, Deferred(lambda _: self._dequeue(waiter)), self._clock.seconds())
        waiter.timer = self._clock.callLater(self._bytes_queue_timeout_secs, self._time_out, waiter)
        if self._queue is None:
            self._queue = ClientQueue.of((identity_of(host), place) for place, host in self._held.items())
        self._queue.join(client, waiter)
        return waiter

    def _shorten_queue(self) -> None:
        """Refuse the newest request of the client that has most in the queue, if the queue is too long."""
        if self._queue is not None and len(self._queue) > self._longest:
            self._refuse(self._queue.longest()[0], "queue_full", "other clients have fewer requests in the queue")

    def _time_out(self, waiter: _Waiter) -> None:
        waiter.timer = None
        self._refuse(waiter, "timed_out", "no place came free in time")

    def _refuse(self, waiter: _Waiter, reason: str, message: str) -> None:
        self._dequeue(waiter)
        self._rejected(reason)
        waiter.deferred.errback(OverloadedError(message))

    def _dequeue(self, waiter: _Waiter) -> None:
        timer, waiter.timer = waiter.timer, None
        if timer is not None:
            timer.cancel()
        queue = self._queue
        assert queue is not None  # noqa: S101 - the waiter is in it
        queue.leave(waiter.client, waiter)

    def _admit(self, waiter: _Waiter) -> None:
        self._dequeue(waiter)
        self._waited(self._clock.seconds() - waiter.since)
        place = Place(self)
        self._held[place] = waiter.host
        if self._queue is not None:
            self._queue.hold(waiter.client, place)
        waiter.deferred.callback(place)

    # Places

    def _has_room(self) -> bool:
        return len(self._held) < self.max_concurrent_bytes_requests

    def _find_place(self, queue: ClientQueue[Place, _Waiter]) -> bool:
        """Return whether a place is free for the next request, if need be one that a stream has given up."""
        if self._has_room():
            return True
        place, held = queue.richest()
        share = max(1, self.max_concurrent_bytes_requests // queue.clients)
        if held > max(share, queue.next()[1] + 1):
            place.give_up()
        else:
            self._crowded()
        return self._has_room()

    def _take_from(self, place: Place) -> None:
        del self._held[place]
        if self._queue is not None:
            self._queue.release(place)
        self.without_place += 1
        self._given_up()
        self.serve_queue()

    def _release(self, place: Place) -> None:
        try:
            del self._held[place]
        except KeyError:  # it was given up
            self.without_place -= 1
            return
        if self._queue is not None:
            self._queue.release(place)
            self.serve_queue()


def identity_of(host: str | None) -> str:
    """Return the identity of a client by which places are shared; all clients without a host are one."""
    return "" if host is None else client_of(host)
