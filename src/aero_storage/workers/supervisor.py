"""Keeps a number of workers running: starts, replaces and stops them. Independent of processes and signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.logs.json_log import EventLog

STEADY_SECONDS = 10.0
"""A worker that ran for this long did not fail at its start."""

LONGEST_WAIT = 30.0
"""Longest delay in seconds before a worker that keeps failing is started again."""

STOP_SECONDS = 5.0
"""Time for workers to stop before they are killed: connections get 2 seconds of it, and the log 2."""

KILL_SECONDS = 1.0
"""Time for killed workers to end: a process that waits for a broken disk ends later, or never."""


class Worker(Protocol):
    """A running worker."""

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    def stop(self) -> None:
        """Ask it to stop."""
        ...

    def reload(self) -> None:
        """Ask it to read the catalog again."""
        ...

    def kill(self) -> None:
        """Kill it; does nothing if it has just ended."""
        ...


Ended = Callable[[dict[str, object]], None]
"""Called once when a worker has ended and all its output is read, with its exit status or signal."""

Spawn = Callable[[int, Ended], Worker]
"""Starts the worker of a number; raises OSError if that fails."""


@attrs.define(eq=False)
class _Slot:
    """The state of one worker number."""

    number: int
    worker: Worker | None = None
    began: float = 0.0
    early_deaths: int = 0
    """Consecutive deaths within STEADY_SECONDS of the start."""
    again: IDelayedCall | None = None

    def wait(self, now: float) -> float:
        """Return the delay in seconds before a dead worker is replaced: at first 0, then longer and longer."""
        if now - self.began >= STEADY_SECONDS:
            self.early_deaths = 0
        seconds = min(LONGEST_WAIT, 2.0 ** (self.early_deaths - 1)) if self.early_deaths else 0.0
        self.early_deaths += 1
        return seconds


@attrs.define(eq=False)
class Supervisor:
    """Keeps `number` workers running until `stop`."""

    _spawn: Spawn
    _clock: IReactorTime
    _log: EventLog
    _number: int
    _patience: float = 0.0
    """Seconds that workers have to finish responses before STOP_SECONDS begins."""
    _posts: list[_Slot] = attrs.field(init=False)
    _all_gone: Deferred[None] | None = attrs.field(init=False, default=None)
    _killing: IDelayedCall | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._posts = [_Slot(number) for number in range(1, self._number + 1)]

    def start(self) -> None:
        """Start all workers."""
        for post in self._posts:
            self._fill(post)

    def reload(self) -> None:
        """Have every worker read the catalog again; one that is not started yet reads it anyway."""
        for worker in self._workers:
            worker.reload()

    def stop(self) -> Deferred[None]:
        """Ask all workers to stop, then kill the rest; fires when none is left, or KILL_SECONDS after the kill."""
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        for post in self._posts:
            if post.again is not None:
                post.again.cancel()
                post.again = None
        for worker in self._workers:
            worker.stop()
        self._killing = self._clock.callLater(self._patience + STOP_SECONDS, self._kill)
        gone.addCallback(lambda _: self._cancel())
        self._tell_if_gone()
        return gone

    def hurry(self) -> bool:
        """Have stopping workers stop at once, without finishing responses; return False if there is nothing to do."""
        patience, self._patience = self._patience, 0.0
        if not patience or self._killing is None or not self._killing.active():
            return False
        self._killing.reset(STOP_SECONDS)
        for worker in self._workers:
            worker.stop()
        return True

    def _cancel(self) -> None:
        if self._killing is not None and self._killing.active():
            self._killing.cancel()

    @property
    def _workers(self) -> list[Worker]:
        return [post.worker for post in self._posts if post.worker is not None]

    def _fill(self, post: _Slot) -> None:
        post.again, post.began = None, self._clock.seconds()
        try:
            post.worker = self._spawn(post.number, lambda how: self._ended(post, how))
        except OSError as error:
            self._ended(post, {"reason": str(error)})
        else:
            self._log.event("info", "worker started", {"child": post.number, "pid": post.worker.pid})

    def _ended(self, post: _Slot, how: dict[str, object]) -> None:
        who = {"child": post.number} | ({} if post.worker is None else {"pid": post.worker.pid})
        post.worker = None
        if self._all_gone is not None:
            self._log.event("info", "worker stopped", {**who, **how})
            self._tell_if_gone()
            return
        seconds = post.wait(self._clock.seconds())
        post.again = self._clock.callLater(seconds, self._fill, post)
        self._log.event("error", "worker ended unasked", {**who, **how, "restart_in_seconds": seconds})

    def _kill(self) -> None:
        for post in self._posts:
            if post.worker is not None:
                self._log.event("error", "killing a worker that does not stop", {"child": post.number})
                post.worker.kill()
        self._killing = self._clock.callLater(KILL_SECONDS, self._give_up)

    def _give_up(self) -> None:
        pids = [worker.pid for worker in self._workers]
        self._log.event("error", "leaving workers behind that cannot be killed yet", {"pids": pids})
        if self._all_gone is not None:
            self._all_gone.callback(None)

    def _tell_if_gone(self) -> None:
        gone = self._all_gone
        if gone is not None and not gone.called and not self._workers:
            gone.callback(None)
