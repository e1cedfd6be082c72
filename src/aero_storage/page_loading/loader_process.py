"""The process that brings pages into the page cache, as the reactor's thread sees it.

A thread that reads takes the interpreter's lock and the core between two looks at the sockets. A process of the
policy SCHED_IDLE takes neither. It never sees what becomes of the bytes: to send them the daemon asks the kernel for
them again.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from aero_storage.errors import AeroStorageError
from aero_storage.logs.json_log import EventLog
from aero_storage.page_loading.page_load import PageLoad, PageLoader
from aero_storage.page_loading.program import NOT_TRIED, REPLY, REQUEST

RESTART_SECONDS = 1.0
"""A process that has ended is replaced so long after it was started, at the next load; until then threads read."""

_END_SECONDS = 0.1
"""For a killed process to end, when the daemon ends: it takes a millisecond, unless a disk hangs."""

_PROGRAM = Path(__file__).with_name("program.py")
_READ_BYTES = 256 * REPLY.size
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@attrs.frozen
class _Running:
    """A process, our end of its socket, and that of the pipe for its replies."""

    process: subprocess.Popen[bytes]
    requests: socket.socket
    replies: int

    @classmethod
    def start(cls) -> _Running:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        replies, written = os.pipe()
        try:
            process = _spawn(theirs, written)
        except BaseException:
            ours.close()
            os.close(replies)
            raise
        finally:
            theirs.close()
            os.close(written)
        ours.setblocking(False)  # noqa: FBT003 - its interface
        os.set_blocking(replies, False)
        return cls(process, ours, replies)

    def end(self) -> None:
        """Kill it, and do not wait: a process that waits for a broken disk ends later, or never."""
        self.process.kill()
        self.requests.close()
        os.close(self.replies)


def _spawn(requests: socket.socket, replies: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own program, with no words of others
        [sys.executable, "-I", "-S", str(_PROGRAM)],
        stdin=requests.fileno(),
        stdout=replies,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        # A group of its own: Ctrl-C is for the daemon. Not a session: the kernel weighs sessions alike (autogroup).
        process_group=0,
    )


@attrs.frozen
class _Waiting:
    ended: Callable[[OSError | None], object]
    lost: Callable[[], object]


@implementer(IReadDescriptor)
@attrs.define(eq=False)
class LoaderProcess(PageLoader):
    """One process, started anew when it has ended; used on the reactor's thread only."""

    _descriptors: IReactorFDSet
    _clock: IReactorTime
    _log: EventLog
    _running: _Running | None = attrs.field(init=False, default=None)
    _started_at: float = attrs.field(init=False, default=-inf)
    _heard_at: float = attrs.field(init=False, default=-inf)
    _last: int = attrs.field(init=False, default=0)
    _waiting: dict[int, _Waiting] = attrs.field(init=False, factory=dict)
    _killed: list[subprocess.Popen[bytes]] = attrs.field(init=False, factory=list)
    """Processes that may not have ended yet: one in a minute, if each hangs."""
    _is_stopped: bool = attrs.field(init=False, default=True)

    @property
    def pid(self) -> int | None:
        """Of the process that runs."""
        return None if self._running is None else self._running.process.pid

    def start(self) -> None:
        """Start the process; without one, threads read."""
        self._is_stopped = False
        self._start()

    def stop(self) -> None:
        """Kill the process; of loads under way nothing more is told."""
        self._is_stopped = True
        self._waiting.clear()
        self._end()
        for process in self._killed:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
        self._killed.clear()

    @override
    def begin(self, load: PageLoad, ended: Callable[[OSError | None], object], lost: Callable[[], object]) -> bool:
        if self._running is None:
            self._start()
        if self._running is None:
            return False
        number = self._last + 1
        try:
            _send(self._running.requests, REQUEST.pack(number, load.offset, load.length), load.file.fileno())
        except (OSError, AeroStorageError):  # its socket is full, it has ended; or the file is closed
            return False
        self._last, self._waiting[number] = number, _Waiting(ended, lost)
        return True

    @override
    def replace_if_silent(self, seconds: float) -> None:
        if self._running is not None and self._clock.seconds() - self._heard_at >= seconds:
            self._lose("it does not answer")

    def _start(self) -> None:
        now = self._clock.seconds()
        if self._is_stopped or now - self._started_at < RESTART_SECONDS:
            return
        self._started_at = self._heard_at = now
        self._killed = [process for process in self._killed if process.poll() is None]
        try:
            self._running = _Running.start()
        except (OSError, ValueError) as error:
            self._log.event("warn", "no process for page loads: threads read", {"reason": str(error)})
        else:
            self._descriptors.addReader(self)

    def _end(self) -> None:
        running = self._running
        if running is not None:
            self._descriptors.removeReader(self)
            self._running = None
            running.end()
            self._killed.append(running.process)

    def _lose(self, reason: str) -> None:
        self._log.event("warn", "the process for page loads is replaced", {"reason": reason})
        self._end()
        lost, self._waiting = self._waiting, {}
        for waiting in lost.values():
            waiting.lost()

    # IReadDescriptor

    def fileno(self) -> int:
        """Return the descriptor of the pipe."""
        return -1 if self._running is None else self._running.replies

    def logPrefix(self) -> str:  # noqa: N802 - IReadDescriptor
        """Return what Twisted's log calls it."""
        return "page loads"

    def doRead(self) -> None:  # noqa: N802 - IReadDescriptor
        """Take the replies."""
        try:
            replies = os.read(self.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        self._heard_at = self._clock.seconds()
        if not replies:
            self._lose("it has ended")
        for number, result in REPLY.iter_unpack(replies):
            waiting = self._waiting.pop(number, None)
            if waiting is not None:
                _tell(waiting, result)

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - IReadDescriptor
        """The process has ended (ConnectionDone: a pipe without writers is not readable), or the reactor ends."""
        if isinstance(reason.value, ConnectionDone):
            self._lose("it has ended")


def _tell(waiting: _Waiting, result: int) -> None:
    if result == NOT_TRIED:
        waiting.lost()
    else:
        waiting.ended(OSError(result, os.strerror(result)) if result else None)


def _send(requests: socket.socket, packet: bytes, descriptor: int) -> None:
    requests.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))])
