"""The end of a connection whose client may still be sending (RFC 9112 §9.6)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableDescriptor, IReactorTime, ISSLTransport

from aero_storage.streaming.transports import TrackedTransport, sendfile_transport

LINGER_SECONDS = 2.0
"""How long a client may go on sending after our last response, once it has taken all of that."""


class ClosingTransport(Protocol):
    """A transport, as far as its closing goes."""

    def loseConnection(self) -> None:
        """Close, once all is sent."""
        ...

    def loseWriteConnection(self) -> None:
        """Close our half, once all is sent."""
        ...

    def abortConnection(self) -> None:
        """Reset."""
        ...

    def resumeProducing(self) -> None:
        """Read on."""
        ...


def is_secure(transport: object) -> bool:
    """Whether this is TLS."""
    return ISSLTransport(transport, None) is not None


def can_half_close(transport: object) -> bool:
    """Whether our half can be closed alone; TLS only pretends to have the half-close of what is below it."""
    return bool(IHalfCloseableDescriptor.providedBy(transport)) and not is_secure(transport)


def _holds_file(transport: object) -> bool:
    """Whether bytes of a file wait in the socket: closed, nobody could reset it when the file changes in place."""
    sending = sendfile_transport(transport)
    return sending is not None and sending.in_flight.has(sending)


def can_close_at_once(transport: object, tracked: TrackedTransport | None) -> bool:
    """Whether a client that has nothing to send needs no LingeringClose.

    Twisted closes a socket once it is writable. That of a client which reads nothing may never be, and nobody would
    watch it.
    """
    is_writable = tracked is None or tracked.is_writable()
    return can_half_close(transport) and is_writable and not _holds_file(transport)


def close_now(transport: ClosingTransport, tracked: TrackedTransport | None) -> None:
    """Close a connection whose client has all of our responses; over TLS, do not wait for its alert."""
    transport.loseConnection()
    if tracked is not None and is_secure(transport):
        tracked.loseConnection()  # once our alert is sent


def close_if_acknowledged(transport: ClosingTransport) -> None:
    """Close, as the client has closed its half; if bytes of a file wait in the socket, a LingeringClose does it."""
    if not _holds_file(transport):
        transport.loseConnection()


@attrs.define(eq=False)
class LingeringClose:
    """Closes our half, and the whole once the client has closed its own or LINGER_SECONDS have passed.

    A close with unread input would make the kernel reset the connection, and the client could lose our response. TLS
    closes with an alert, and then waits for the client's: that has to be read, and not for ever. A client that has
    not acknowledged all of our response has as much time as StallDetector leaves it: this is a Stream, too.
    """

    _transport: ClosingTransport
    _tracked: TrackedTransport | None
    _clock: IReactorTime
    _half_closed: bool = attrs.field(init=False, default=False)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """Close our half, and read on."""
        self._transport.resumeProducing()
        self._half_closed = can_half_close(self._transport)
        self._wait()
        if self._half_closed:
            self._transport.loseWriteConnection()
        else:
            self._transport.loseConnection()

    def stop(self) -> None:
        """The connection is lost."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _wait(self) -> None:
        self._timer = self._clock.callLater(LINGER_SECONDS, self._end)

    def _end(self) -> None:
        self._timer = None
        if self.progress() is not None:
            self._wait()
        elif self._half_closed:
            self._transport.loseConnection()  # a reset could take away what it has and has not read yet
        else:
            self._transport.abortConnection()

    # A Stream of StallDetector

    def progress(self) -> int | None:
        """Bytes that the client has acknowledged; None if it has all."""
        return None if self._tracked is None else self._tracked.progress()

    def position(self) -> Hashable:
        """No response is under way."""
        return None

    def max_unacknowledged_read(self) -> int:
        """The most bytes that the client may have read since it made progress."""
        return 0 if self._tracked is None else self._tracked.max_unacknowledged_read()

    @property
    def holds_place(self) -> bool:
        """It has none."""
        return False

    def give_place_up(self) -> bool:
        """It has none."""
        return False

    @property
    def request_id(self) -> None:
        """The response is complete, as far as the log goes."""
        return

    @property
    def response(self) -> None:
        """It is complete: no lease is asked for any more."""
        return

    def shut(self) -> None:
        """Reset the connection."""
        self._transport.abortConnection()
