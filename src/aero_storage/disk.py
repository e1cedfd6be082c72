"""Work that may wait for a disk, done in threads of its own and never on the reactor's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

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

    def run(self, work: Callable[[], _T], discard: Callable[[_T], object] = _drop) -> Deferred[_T]:
        """The result of `work()`, later.

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
    deferred: Deferred[_T] = attrs.field(init=False)
    cancelled: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.deferred = Deferred(self._cancel)

    def _cancel(self, _deferred: Deferred[_T]) -> None:
        self.cancelled = True

    def perform(self) -> None:
        """In a thread of the pool."""
        if self.cancelled:
            return
        try:
            result = self.work()
        except Exception:  # noqa: BLE001 - carried over to the reactor's thread
            self.threads.reactor.callFromThread(self._fail, Failure())
        else:
            self.threads.reactor.callFromThread(self._succeed, result)

    def _succeed(self, result: _T) -> None:
        if self.cancelled:
            self.threads.pool.callInThread(self.discard, result)
        else:
            self.deferred.callback(result)

    def _fail(self, failure: Failure) -> None:
        if not self.cancelled:
            self.deferred.errback(failure)


@attrs.frozen
class DiskThreads:
    """A Disk on a thread pool, whose start and stop are its owner's business."""

    reactor: IReactorFromThreads
    pool: ThreadPool

    def run(self, work: Callable[[], _T], discard: Callable[[_T], object] = _drop) -> Deferred[_T]:
        """See Disk.run."""
        job = _Job(self, work, discard)
        self.pool.callInThread(job.perform)
        return job.deferred
