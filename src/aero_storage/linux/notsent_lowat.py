"""Limits the file bytes that wait in a socket (TCP_NOTSENT_LOWAT), until the client is known to be fast.

Pages queued by `sendfile` belong to the file: changing it in place changes these bytes, and truncating it fills them
with zeros. The file is watched while they wait (`streaming.files_in_flight`), and TCP_NOTSENT_LOWAT keeps them few
for a slow or stalled client. A fast client, for which they wait only milliseconds as long as it reads, would lose a
quarter of its speed.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable

import attrs

UNSENT_BYTES = 128 * 1024
"""Bytes that may wait in a socket beyond the client's window."""

TRIAL_BYTES = 1024 * 1024
TRIAL_SECONDS = 0.1
"""A client that takes TRIAL_BYTES in this time is fast."""

_NO_LIMIT = 2**31 - 1
_OPTION: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def limit_unsent(sock: socket.socket) -> None:
    """Limit the unsent bytes of a socket, or of all connections that a listening socket accepts."""
    _set(sock, UNSENT_BYTES)


def lift_limit(sock: socket.socket) -> None:
    """Remove the limit of a socket."""
    _set(sock, _NO_LIMIT)


def _set(sock: socket.socket, value: int) -> None:
    if _OPTION is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _OPTION, value)


@attrs.define(eq=False)
class SpeedTest:
    """Measures whether one client is fast."""

    _clock: Callable[[], float] = time.monotonic
    _since: float = attrs.field(init=False, default=-math.inf)
    _taken: int = attrs.field(init=False, default=TRIAL_BYTES)

    def passed(self, count: int) -> bool:
        """Count `count` further bytes sent, and return whether the client is fast."""
        self._taken += count
        if self._taken < TRIAL_BYTES:
            return False
        now = self._clock()
        fast = now - self._since < TRIAL_SECONDS
        self._since, self._taken = now, 0
        return fast
