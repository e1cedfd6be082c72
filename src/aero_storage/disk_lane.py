"""The order in which the work of one disk begins."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

import attrs

BACKGROUND_TURN = 8
"""Of so many pieces of work that begin in a lane, one is background work, if any waits."""


class Job(Protocol):
    """A piece of work."""

    since: float
    """When it was queued, or began."""

    @property
    def background(self) -> bool:
        """Whether it goes after other work."""
        ...


_JobT = TypeVar("_JobT", bound=Job)


@attrs.define(eq=False)
class Lane(Generic[_JobT]):
    """The work of one lane: under way in threads, and waiting for a thread; all in order of arrival."""

    name: Hashable
    width: int
    under_way: dict[_JobT, None] = attrs.field(factory=dict)
    waiting: dict[_JobT, None] = attrs.field(factory=dict)
    background: dict[_JobT, None] = attrs.field(factory=dict)
    """Background work that waits."""
    last_end: float = 0.0
    """When a job last ended."""
    _last_background: float = 0.0
    """When background work last began or ended."""
    _background_under_way: int = 0
    _ahead: int = 0
    """Jobs that have begun while background work waited, since the last of it began."""

    def add(self, job: _JobT) -> None:
        """Let a job wait."""
        (self.background if job.background else self.waiting)[job] = None

    def forget(self, job: _JobT) -> None:
        """Let a job wait no more, if it does."""
        (self.background if job.background else self.waiting).pop(job, None)

    def next(self) -> _JobT | None:
        """Return the job that may begin now, if any."""
        if len(self.under_way) >= self.width:
            return None
        may_background = self.background and self._background_under_way < max(1, self.width // 2)
        if may_background and (not self.waiting or self._ahead >= BACKGROUND_TURN - 1):
            return next(iter(self.background))
        return next(iter(self.waiting), None)

    def begin(self, job: _JobT, now: float) -> None:
        """Count a job as under way."""
        self.forget(job)
        self.under_way[job] = None
        job.since = now
        self._ahead = 0 if job.background or not self.background else self._ahead + 1
        if job.background:
            self._background_under_way += 1
            self._last_background = now

    def end(self, job: _JobT, now: float) -> None:
        """Count a job as ended."""
        del self.under_way[job]
        if job.background:
            self._background_under_way -= 1
            self._last_background = now

    def expired(self, latest: float) -> list[_JobT]:
        """Return the jobs that began at `latest` or before, and those of a line that has stood still since."""
        found = list(self.under_way)
        if self.last_end <= latest:
            found += self.waiting
        if self._last_background <= latest:
            found += self.background
        return [job for job in found if job.since <= latest]
