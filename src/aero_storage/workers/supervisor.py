"""Keeps a number of workers running: starts, replaces and stops them. Independent of processes and signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.linux.process_status import is_traced
from aero_storage.logs.json_log import EventLog
from aero_storage.workers.handover import Accepting, Handover, NoOwnSockets, OwnSockets
from aero_storage.workers.heartbeat import Heartbeat

STEADY_SECONDS = 10.0
"""A worker that ran for this long did not fail at its start."""

LONGEST_WAIT = 30.0
"""Longest delay in seconds before a worker that keeps failing is started again."""

STOP_SECONDS = 5.0
"""Time for workers to stop before they are killed: connections get 2 seconds of it, and the log 2."""

KILL_SECONDS = 1.0
"""Time for killed workers to end: a process that waits for a broken disk ends later, or never."""


class Worker(Accepting, Protocol):
    """A running worker."""

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    def stop(self) -> None:
        """Ask it to stop."""
        ...

    def reload(self, payload: bytes = b"") -> None:
        """Ask it to read the catalog again; `payload` has what else it is to know."""
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
    started: float = 0.0
    early_deaths: int = 0
    """Consecutive deaths within STEADY_SECONDS of the start."""
    restart: IDelayedCall | None = None
    is_killed: bool = False
    """Its worker was silent, and has been killed; that is logged already."""

    def restart_delay(self, now: float) -> float:
        """Return the delay in seconds before a dead worker is replaced: at first 0, then longer and longer."""
        if now - self.started >= STEADY_SECONDS:
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
    _grace: float = 0.0
    """Seconds that workers have to finish responses before STOP_SECONDS begins."""
    _sockets: OwnSockets = attrs.field(factory=NoOwnSockets)
    _is_traced: Callable[[int], bool] = is_traced
    _slots: list[_Slot] = attrs.field(init=False)
    _handover: Handover = attrs.field(init=False)
    _heartbeat: Heartbeat = attrs.field(init=False)
    _all_gone: Deferred[None] | None = attrs.field(init=False, default=None)
    _kill_timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._slots = [_Slot(number) for number in range(1, self._number + 1)]
        self._handover = Handover(self._sockets)
        self._heartbeat = Heartbeat(self._clock, self._kill_silent, self._handover.pause, self._is_traced)

    def start(self) -> None:
        """Start all workers."""
        self._heartbeat.start()
        for slot in self._slots:
            self._start_worker(slot)

    def reload(self, payload: bytes = b"") -> None:
        """Have every worker read the catalog again, with a payload; one that is not started yet reads it anyway."""
        for worker in self._workers:
            worker.reload(payload)

    def heard(self, number: int) -> None:
        """Worker `number` has sent a message."""
        self._heartbeat.heard(number)

    def ready(self, number: int) -> None:
        """Worker `number` accepts connections."""
        worker = self._slots[number - 1].worker
        if worker is not None and self._all_gone is None:
            self._handover.ready(number, worker)

    def stopping(self, number: int) -> None:
        """Worker `number` has begun to stop."""
        if self._all_gone is None:
            self._handover.leave(number)

    def stop(self) -> Deferred[None]:
        """Ask all workers to stop, then kill the rest; fires when none is left, or KILL_SECONDS after the kill."""
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        self._heartbeat.stop()
        for slot in self._slots:
            if slot.restart is not None:
                slot.restart.cancel()
                slot.restart = None
        for worker in self._workers:
            worker.stop()
        self._kill_timer = self._clock.callLater(self._grace + STOP_SECONDS, self._kill)
        gone.addCallback(lambda _: self._cancel_kill())
        self._check_all_gone()
        return gone

    def stop_now(self) -> bool:
        """Have stopping workers stop at once, without finishing responses; return False if there is nothing to do."""
        grace, self._grace = self._grace, 0.0
        if not grace or self._kill_timer is None or not self._kill_timer.active():
            return False
        self._kill_timer.reset(STOP_SECONDS)
        for worker in self._workers:
            worker.stop()
        return True

    def _cancel_kill(self) -> None:
        if self._kill_timer is not None and self._kill_timer.active():
            self._kill_timer.cancel()

    @property
    def _workers(self) -> list[Worker]:
        return [slot.worker for slot in self._slots if slot.worker is not None]

    def _start_worker(self, slot: _Slot) -> None:
        slot.restart, slot.started, slot.is_killed = None, self._clock.seconds(), False
        self._handover.starting(slot.number)
        try:
            slot.worker = self._spawn(slot.number, lambda status: self._ended(slot, status))
        except OSError as error:
            self._ended(slot, {"reason": str(error)})
        else:
            self._heartbeat.began(slot.number, slot.worker.pid)
            self._log.event("info", "worker started", {"child": slot.number, "pid": slot.worker.pid})

    def _ended(self, slot: _Slot, status: dict[str, object]) -> None:
        worker_fields = {"child": slot.number} | ({} if slot.worker is None else {"pid": slot.worker.pid})
        slot.worker = None
        self._heartbeat.ended(slot.number)
        if self._all_gone is not None:
            self._log.event("info", "worker stopped", {**worker_fields, **status})
            self._check_all_gone()
            return
        self._handover.leave(slot.number)
        self._restart(slot, {**worker_fields, **status})

    def _restart(self, slot: _Slot, fields: dict[str, object]) -> None:
        seconds = slot.restart_delay(self._clock.seconds())
        slot.restart = self._clock.callLater(seconds, self._start_worker, slot)
        if seconds:
            self._handover.wait(slot.number)
        if not slot.is_killed:
            self._log.event("error", "worker ended unasked", {**fields, "restart_in_seconds": seconds})

    def _kill_silent(self, number: int, seconds: float) -> None:
        slot = self._slots[number - 1]
        if slot.worker is not None:
            slot.is_killed = True
            fields = {"child": number, "pid": slot.worker.pid, "silent_seconds": round(seconds, 1)}
            self._log.event("error", "killing a worker that is silent", fields)
            slot.worker.kill()

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.worker is not None:
                self._log.event("error", "killing a worker that does not stop", {"child": slot.number})
                slot.worker.kill()
        self._kill_timer = self._clock.callLater(KILL_SECONDS, self._give_up)

    def _give_up(self) -> None:
        pids = [worker.pid for worker in self._workers]
        self._log.event("error", "leaving workers behind that cannot be killed yet", {"pids": pids})
        if self._all_gone is not None:
            self._all_gone.callback(None)

    def _check_all_gone(self) -> None:
        gone = self._all_gone
        if gone is not None and not gone.called and not self._workers:
            gone.callback(None)
