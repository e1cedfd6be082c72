"""How much of a file may wait in a socket: little, until the client has shown that it reads.

What waits there is still the file's: to change a file in place (to cut it short fills with zeros what is cut off)
changes those bytes, after the last check of ours. TCP_NOTSENT_LOWAT keeps them few for a client that is slow or reads
nothing. To a fast client, for whom they wait for milliseconds, it would cost a quarter of its speed.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable

import attrs

UNSENT_BYTES = 128 * 1024
"""What may wait in a socket beyond what the client's window takes."""

TRIAL_BYTES = 1024 * 1024
TRIAL_SECONDS = 0.1
"""A client that takes so much in so short a time is fast."""

_NO_LIMIT = 2**31 - 1
_OPTION: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def limit_unsent(some: socket.socket) -> None:
    """Let little wait in a socket, or in all that a listening socket accepts."""
    _set(some, UNSENT_BYTES)


def lift_limit(some: socket.socket) -> None:
    """Let a socket take what it can."""
    _set(some, _NO_LIMIT)


def _set(some: socket.socket, value: int) -> None:
    if _OPTION is not None:
        some.setsockopt(socket.IPPROTO_TCP, _OPTION, value)


@attrs.define(eq=False)
class SpeedTest:
    """Whether one client is fast."""

    _clock: Callable[[], float] = time.monotonic
    _since: float = attrs.field(init=False, default=-math.inf)
    _taken: int = attrs.field(init=False, default=TRIAL_BYTES)

    def passed(self, count: int) -> bool:
        """`count` bytes more have been taken; whether the client has shown by now that it is fast."""
        self._taken += count
        if self._taken < TRIAL_BYTES:
            return False
        now = self._clock()
        fast = now - self._since < TRIAL_SECONDS
        self._since, self._taken = now, 0
        return fast
