"""Blocking disk I/O in a thread pool, never on the reactor's thread.

Work is divided into lanes, one for each disk. No lane may use all threads, so a disk that hangs delays only the work
that waits for that disk.

Background work begins after other work of its lane that waits, and has at most half of the lane's threads. While both
wait, one of BACKGROUND_TURN pieces that begin is background work: its wait is bounded by the length of its line.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from typing_extensions import override

from aero_storage.errors import DiskHangsError

_T = TypeVar("_T")

BACKGROUND_TURN = 8
"""Of so many pieces of work that begin in a lane, one is background work, if any waits."""

_CHECK_SECONDS = 1.0


def _ignore(_result: object) -> None:
    pass


class Disk(Protocol):
    """Runs blocking work off the reactor's thread."""

    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = _ignore,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        """Return a Deferred of the result of `work()`; `lane` is the disk's st_dev, or names another cause to wait.

        Work in the `background` begins after other work of its lane.

        A cancelled Deferred fails at once. Work that has not begun by then is not done; the result of work that has
        begun is passed to `discard`, also in a thread. Fails with DiskHangsError if the disk does not answer in time.
        """
        ...

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        """Run `work()` without a timeout and ignore its result and OSError, for example to close a file."""
        ...


@attrs.define(eq=False)
class _Job(Generic[_T]):
    """One call of blocking work, from the reactor's thread to a pool thread and back."""

    threads: DiskThreads
    work: Callable[[], _T]
    discard: Callable[[_T], object]
    lane: _Lane
    since: float
    """When it was queued, or began."""
    expires: bool
    background: bool
    deferred: Deferred[_T] = attrs.field(init=False)
    cancelled: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.deferred = Deferred(self._cancel)

    def _cancel(self, _deferred: Deferred[_T]) -> None:
        self.cancelled = True
        self.lane.forget(self)

    def perform(self) -> None:
        """Do the work; called in a thread of the pool."""
        ended: Callable[[], None] = self._not_done
        try:
            if not self.cancelled:
                ended = partial(self._succeed, self.work())
        except BaseException:  # noqa: BLE001 - passed to the reactor's thread
            ended = partial(self._fail, Failure())
        self.threads.reactor.callFromThread(self._end, ended)

    def _end(self, ended: Callable[[], None]) -> None:
        try:
            self.threads.leave(self)
        finally:
            self._tell(ended)

    def _tell(self, ended: Callable[[], None]) -> None:
        try:
            ended()
        finally:
            self.threads.notify_if_idle()  # last: the end of a job may bring another one

    def _not_done(self) -> None:
        pass

    def _succeed(self, result: _T) -> None:
        if self.cancelled:
            self.threads.later(partial(self.discard, result), self.lane.name)
        else:
            self.deferred.callback(result)

    def _fail(self, failure: Failure) -> None:
        if not self.cancelled:
            self.deferred.errback(failure)

    def expire(self) -> None:
        """Fail with DiskHangsError; the thread may still be blocked."""
        self.cancelled = True
        self.lane.forget(self)
        self.deferred.errback(DiskHangsError("the disk does not answer"))


def _on_later_failure(work: Callable[[], object], failure: Failure) -> None:
    """Ignore I/O errors on close; if no thread can be had, close here rather than leak the descriptor."""
    if not failure.check(OSError):
        work()


@attrs.define(eq=False)
class _Lane:
    """The work of one lane: under way in threads, and waiting for a thread; all in order of arrival."""

    name: Hashable
    width: int
    under_way: dict[_Job[Any], None] = attrs.field(factory=dict)
    waiting: dict[_Job[Any], None] = attrs.field(factory=dict)
    background: dict[_Job[Any], None] = attrs.field(factory=dict)
    """Background work that waits."""
    last_end: float = 0.0
    """When a job last ended."""
    _last_background: float = 0.0
    """When background work last began or ended."""
    _background_under_way: int = 0
    _ahead: int = 0
    """Jobs that have begun while background work waited, since the last of it began."""

    def add(self, job: _Job[Any]) -> None:
        """Let a job wait."""
        (self.background if job.background else self.waiting)[job] = None

    def forget(self, job: _Job[Any]) -> None:
        """Let a job wait no more, if it does."""
        (self.background if job.background else self.waiting).pop(job, None)

    def next(self) -> _Job[Any] | None:
        """Return the job that may begin now, if any."""
        if len(self.under_way) >= self.width:
            return None
        may_background = self.background and self._background_under_way < max(1, self.width // 2)
        if may_background and (not self.waiting or self._ahead >= BACKGROUND_TURN - 1):
            return next(iter(self.background))
        return next(iter(self.waiting), None)

    def begin(self, job: _Job[Any], now: float) -> None:
        """Count a job as under way."""
        self.forget(job)
        self.under_way[job] = None
        job.since = now
        self._ahead = 0 if job.background or not self.background else self._ahead + 1
        if job.background:
            self._background_under_way += 1
            self._last_background = now

    def end(self, job: _Job[Any], now: float) -> None:
        """Count a job as ended."""
        del self.under_way[job]
        if job.background:
            self._background_under_way -= 1
            self._last_background = now

    def expired(self, latest: float) -> list[_Job[Any]]:
        """Return the jobs that began at `latest` or before, and those of a line that has stood still since."""
        found = list(self.under_way)
        if self.last_end <= latest:
            found += self.waiting
        if self._last_background <= latest:
            found += self.background
        return [job for job in found if job.since <= latest]


@attrs.define(eq=False)
class DiskThreads(Disk):
    """A Disk on a thread pool, which its owner starts and stops; used on the reactor's thread only.

    `width` is the number of threads that one lane may use. `timeout` is in seconds: work that does not end in this
    time, or does not begin while no other work of its lane ends, fails with DiskHangsError.
    """

    reactor: IReactorFromThreads
    clock: IReactorTime
    pool: ThreadPool
    width: int
    timeout: float
    _lanes: dict[Hashable, _Lane] = attrs.field(init=False, factory=dict)
    _idle: list[Deferred[None]] = attrs.field(init=False, factory=list)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    @property
    def under_way(self) -> int:
        """Number of jobs that have not ended, including cancelled and expired ones."""
        return sum(len(lane.under_way) for lane in self._lanes.values())

    def when_idle(self) -> Deferred[None]:
        """Return a Deferred that fires once nothing is under way; it can be cancelled."""
        idle: Deferred[None] = Deferred(self._idle.remove)
        self._idle.append(idle)
        self.notify_if_idle()
        return idle

    @override
    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = _ignore,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        return self._add(work, discard, lane, expires=True, background=background)

    @override
    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self._add(work, _ignore, lane, expires=False, background=False).addErrback(partial(_on_later_failure, work))

    def _add(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object],
        lane: Hashable,
        *,
        expires: bool,
        background: bool,
    ) -> Deferred[_T]:
        found = self._lanes.get(lane)
        if found is None:
            found = self._lanes[lane] = _Lane(lane, self.width)
        job = _Job(self, work, discard, found, self.clock.seconds(), expires, background)
        found.add(job)
        self._begin_next(found)
        if self._timer is None:
            self._timer = self.clock.callLater(_CHECK_SECONDS, self._expire_jobs)
        return job.deferred

    def _begin_next(self, lane: _Lane) -> None:
        while (job := lane.next()) is not None:
            self._begin(job)

    def _begin(self, job: _Job[Any]) -> None:
        lane = job.lane
        lane.begin(job, self.clock.seconds())
        try:
            self.pool.callInThread(job.perform)
        except Exception:  # noqa: BLE001 - no thread can be started
            lane.end(job, self.clock.seconds())
            self._remove_if_empty(lane)
            job.deferred.errback(Failure())
            self.notify_if_idle()

    def leave(self, job: _Job[Any]) -> None:
        """Remove a job that has ended, and begin the next of its lane."""
        lane = job.lane
        lane.last_end = now = self.clock.seconds()
        lane.end(job, now)
        self._begin_next(lane)
        self._remove_if_empty(lane)

    def _remove_if_empty(self, lane: _Lane) -> None:
        if not (lane.under_way or lane.waiting or lane.background) and self._lanes.get(lane.name) is lane:
            del self._lanes[lane.name]

    def notify_if_idle(self) -> None:
        """Tell those that wait for it that nothing is under way."""
        if not self._lanes:
            waiting, self._idle = self._idle, []
            for idle in waiting:
                idle.callback(None)

    def _expire_jobs(self) -> None:
        """Expire the jobs that have waited for too long."""
        self._timer = None
        latest = self.clock.seconds() - self.timeout
        for lane in tuple(self._lanes.values()):
            for job in lane.expired(latest):
                if job.expires and not (job.cancelled or job.deferred.called):
                    job.expire()
        if self._lanes:
            self._timer = self.clock.callLater(_CHECK_SECONDS, self._expire_jobs)
