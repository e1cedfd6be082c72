"""Work that may wait for a disk, done in threads of its own and never on the reactor's.

It goes in lanes, one for each disk, of which none may take all threads: a disk that hangs holds up nobody but those
who wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

_T = TypeVar("_T")


def _drop(_result: object) -> None:
    pass


class Disk(Protocol):
    """Runs blocking work elsewhere."""

    def run(
        self, work: Callable[[], _T], discard: Callable[[_T], object] = _drop, lane: Hashable = None
    ) -> Deferred[_T]:
        """The result of `work()`, later; `lane` names the disk that it waits for (its st_dev), or another cause.

        A Deferred that is cancelled fails at once. Work that has not begun by then is never done; the result of work
        that has goes to `discard`, elsewhere too.
        """
        ...


@attrs.define(eq=False)
class _Job(Generic[_T]):
    """One piece of work on its way through a thread and back."""

    threads: DiskThreads
    work: Callable[[], _T]
    discard: Callable[[_T], object]
    lane: Hashable
    deferred: Deferred[_T] = attrs.field(init=False)
    cancelled: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.deferred = Deferred(self._cancel)

    def _cancel(self, _deferred: Deferred[_T]) -> None:
        self.cancelled = True

    def perform(self) -> None:
        """In a thread of the pool."""
        ended: Callable[[], None] = self._not_done
        if not self.cancelled:
            try:
                result = self.work()
            except Exception:  # noqa: BLE001 - carried over to the reactor's thread
                ended = partial(self._fail, Failure())
            else:
                ended = partial(self._succeed, result)
        self.threads.reactor.callFromThread(self._end, ended)

    def _end(self, ended: Callable[[], None]) -> None:
        self.threads.leave(self.lane)
        ended()

    def _not_done(self) -> None:
        pass

    def _succeed(self, result: _T) -> None:
        if self.cancelled:
            self.threads.run(partial(self.discard, result), lane=self.lane)
        else:
            self.deferred.callback(result)

    def _fail(self, failure: Failure) -> None:
        if not self.cancelled:
            self.deferred.errback(failure)


@attrs.define(eq=False)
class _Lane:
    """How much work of a lane is with the threads, and what waits for that."""

    under_way: int = 0
    waiting: deque[_Job[Any]] = attrs.field(factory=deque)


@attrs.define(eq=False)
class DiskThreads:
    """A Disk on a thread pool, whose start and stop are its owner's business; for one thread, the reactor's.

    `width`: how many threads the work of one lane may take.
    """

    reactor: IReactorFromThreads
    pool: ThreadPool
    width: int
    _lanes: dict[Hashable, _Lane] = attrs.field(init=False, factory=dict)
    _idle: list[Deferred[None]] = attrs.field(init=False, factory=list)

    @property
    def under_way(self) -> int:
        """How much work has not ended, whether anybody waits for it or not."""
        return sum(place.under_way for place in self._lanes.values())

    def when_idle(self) -> Deferred[None]:
        """Fires once nothing is under way; can be cancelled."""
        idle: Deferred[None] = Deferred(self._idle.remove)
        self._idle.append(idle)
        self._tell_if_idle()
        return idle

    def run(
        self, work: Callable[[], _T], discard: Callable[[_T], object] = _drop, lane: Hashable = None
    ) -> Deferred[_T]:
        """See Disk.run."""
        job, place = _Job(self, work, discard, lane), self._lanes.setdefault(lane, _Lane())
        if place.under_way < self.width:
            place.under_way += 1
            try:
                self.pool.callInThread(job.perform)
            except BaseException:
                self.leave(lane)
                raise
        else:
            place.waiting.append(job)
        return job.deferred

    def leave(self, lane: Hashable) -> None:
        """Work of a lane has ended: the next that is still wanted may begin."""
        place = self._lanes[lane]
        while place.waiting:
            job = place.waiting.popleft()
            if not job.cancelled:
                self.pool.callInThread(job.perform)
                return
        place.under_way -= 1
        if not place.under_way:
            del self._lanes[lane]
            self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if not self._lanes:
            waiting, self._idle = self._idle, []
            for idle in waiting:
                idle.callback(None)
