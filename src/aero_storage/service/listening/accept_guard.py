"""Survives EMFILE in accept(): sheds waiting clients with a reserved descriptor, logs it at most once a minute.

Twisted survives it too, but logs a line for every connection that it closes, and one for every turn of the reactor if
another thread has taken its reserved descriptor.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

import attrs
from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from typing_extensions import override

from aero_storage.logs.json_log import EventLog
from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.metrics import Metrics

_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS = 0.25
"""Pause of accept() after a failure in which no waiting client could be shed."""

_MOST_AT_ONCE = 256
_CLOSED_PER_SHORTAGE = 8
"""Idle connections closed at each shortage, to make room for the next clients."""


class _ListeningSocket(socket.socket):
    """A listening socket that accepts nobody while `is_full` says so, and calls `shed` when descriptors run out."""

    shed: Callable[[_ListeningSocket, OSError], None]
    is_full: Callable[[], bool]

    @override
    def accept(self) -> tuple[socket.socket, object]:
        # A shortage of descriptors raises BlockingIOError, as if no client waited.
        if self.is_full():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in _SHORT:
                raise
            self.shed(self, error)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    def accept_and_close(self) -> None:
        """Accept a client and close it; raises BlockingIOError if none waits, OSError if accept() fails."""
        client, _ = super().accept()
        client.close()


@attrs.define(eq=False)
class AcceptGuard:
    """Reserves one descriptor, with which clients are accepted and closed when there is no other left.

    `make_room` closes an idle connection and returns False if there is none. While `is_full` says that no connection
    more can be open in this turn of the reactor, clients wait in the kernel.
    """

    _clock: IReactorTime
    _make_room: Callable[[], bool]
    _is_full: Callable[[], bool]
    _metrics: Metrics
    _log: EventLog
    _event: RateLimitedEvent = attrs.field(init=False)
    _spare: int | None = attrs.field(init=False, default=None)
    _paused: dict[tcp.Port, IDelayedCall] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._event = RateLimitedEvent(self._log, self._clock, "error", "out of file descriptors")

    def guard(self, port: object) -> None:
        """Make a listening port survive a shortage of descriptors."""
        if not isinstance(port, tcp.Port):
            return
        self._take_spare()
        original = port.socket
        listening = _ListeningSocket(original.family, original.type, original.proto, original.detach())
        listening.settimeout(0)
        listening.is_full = self._is_full
        listening.shed = lambda sock, error: self._shed(port, sock, error)
        port.socket = listening
        port.fileno = listening.fileno  # type: ignore[method-assign]

    def close(self) -> None:
        """Close the reserved descriptor, and forget the ports."""
        for resuming in self._paused.values():
            resuming.cancel()
        self._paused.clear()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def ran_out(self, reason: str = os.strerror(errno.EMFILE), times: int = 1) -> None:
        """Log that an open or accept failed for want of descriptors; rate limited."""
        self._event.happened(
            {"reason": reason, "remedy": "raise the limit (ulimit -n), or allow fewer connections"}, times
        )

    def _shed(self, port: tcp.Port, listening: _ListeningSocket, error: OSError) -> None:
        """Shed waiting clients and make room for the next ones; if none can be shed, pause accept()."""
        shed_count, more = self._shed_clients(listening)
        if not shed_count and not more:  # the kernel checks for a descriptor before it checks for a client
            return
        self._metrics.connection_refused("descriptors", shed_count)
        self.ran_out(os.strerror(error.errno or 0), max(1, shed_count))
        for _ in range(_CLOSED_PER_SHORTAGE):
            if not self._make_room():
                break
        if not shed_count and port not in self._paused:
            port.stopReading()
            self._paused[port] = self._clock.callLater(_PAUSE_SECONDS, self._resume, port)

    def _shed_clients(self, listening: _ListeningSocket) -> tuple[int, bool]:
        """Return how many clients were shed, and whether more may wait."""
        if self._spare is None:
            return 0, True
        os.close(self._spare)
        self._spare, shed_count = None, 0
        try:
            while shed_count < _MOST_AT_ONCE:
                listening.accept_and_close()
                shed_count += 1
        except OSError as error:
            return shed_count, not isinstance(error, BlockingIOError)
        finally:
            self._take_spare()
        return shed_count, True

    def _take_spare(self) -> None:
        if self._spare is None:
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return  # another thread took it; the next shortage pauses accept(), then this is tried again

    def _resume(self, port: tcp.Port) -> None:
        del self._paused[port]
        self._take_spare()
        if port.connected and not port.disconnecting:
            port.startReading()
