"""Reads of connections without Twisted's wrapping: an epoll reactor calls them itself.

Twisted sets a context for its log around each event, and finds out by three calls what has happened. Of a small
request that is a tenth of the time, and a read needs nothing of it.
"""

from __future__ import annotations

import errno
import select
from typing import Any

import attrs
from twisted.python import log

from aero_storage.streaming.receive_buffer import SharedReceiveBuffer

_READABLE = getattr(select, "EPOLLIN", 1)


def read_directly(reactor: object) -> None:
    """Have an epoll reactor read from our connections itself; any other reactor is left as it is."""
    try:
        from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415 - Linux alone
    except ImportError:
        return
    if type(reactor) is EPollReactor:
        reactor.doIteration = DirectReads(reactor).poll  # type: ignore[method-assign]


@attrs.frozen(eq=False)
class DirectReads:
    """One look of a reactor at its descriptors, as `EPollReactor.doPoll` does it."""

    _reactor: Any

    def poll(self, timeout: float | None) -> None:
        """Wait for events, `timeout` seconds at most (None: without end), and handle them."""
        reactor = self._reactor
        selectables = reactor._selectables  # noqa: SLF001 - see twisted_internals
        try:
            events = reactor._poller.poll(-1 if timeout is None else timeout, len(selectables))  # noqa: SLF001
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        for descriptor, event in events:
            selectable = selectables.get(descriptor)
            if event == _READABLE and isinstance(selectable, SharedReceiveBuffer):
                try:
                    why = selectable.doRead()
                except BaseException as error:  # noqa: BLE001 - as Twisted does: the connection is lost
                    why = error  # type: ignore[assignment]
                    log.err()
                if why is not None:  # in Twisted's wrapping: it logs a failure, and the others are read
                    lost = reactor._disconnectSelectable  # noqa: SLF001
                    log.callWithLogger(selectable, lost, selectable, why, True)  # noqa: FBT003
            elif selectable is not None:
                log.callWithLogger(selectable, reactor._doReadOrWrite, selectable, descriptor, event)  # noqa: SLF001
