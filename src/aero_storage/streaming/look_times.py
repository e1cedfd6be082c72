"""When to look at how much a program has not read: nothing tells when it reads, and each look takes 10 µs.

The pause of a connection, from its last shared byte to the moment when all are read, is about as long as the one
before. So the first look comes then, mostly the only one. A program that reads on is looked at again when it should
be finished; one that does not, after an eighth of its pause.
"""

from __future__ import annotations

import math

import attrs

LEAST_WAIT, MOST_WAIT = 50e-6, 0.25
"""Seconds between two looks."""

_LONGEST_EXPECTED = 0.005
"""A pause that was longer is not expected again."""

_PATIENCE = 8
_EARLIER = 0.6
"""If all was read at the first look, the next first look comes so much earlier."""

_SHARE = 4
"""A program whose speed is not known yet is looked at again after such a share of its pause."""

_TRUST = 3
"""A speed that was seen is expected for so many times as long as the pause has lasted."""

_MARGIN = 1.05
"""So much later than a program should be finished it is looked at."""


@attrs.define(eq=False)
class Pauses:
    """How long a pause of one connection is expected to be."""

    expected: float = 100e-6


@attrs.define(eq=False)
class Looks:
    """The looks during one pause, which began at `began`."""

    _pauses: Pauses
    _began: float
    _unread: float = attrs.field(init=False, default=math.inf)
    _moved_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._moved_at = self._began

    def first(self) -> float:
        """Return the seconds until the first look."""
        return self._pauses.expected

    def next(self, unread: int, now: float) -> float:
        """Return the seconds from a look that has found `unread` bytes to the next; 0 if all is read."""
        if not unread:
            self._learn(now - self._began)
            return 0.0
        wanted = self._progress(unread, now) if unread < self._unread else (now - self._moved_at) / _PATIENCE
        return min(max(wanted, LEAST_WAIT), MOST_WAIT)

    def _progress(self, unread: int, now: float) -> float:
        before, since, pause = self._unread, self._moved_at, now - self._began
        self._unread, self._moved_at = unread, now
        if before == math.inf:
            return pause / _SHARE
        return min(_MARGIN * unread * (now - since) / (before - unread), _TRUST * pause)

    def _learn(self, pause: float) -> None:
        expected = self._pauses.expected * _EARLIER if self._unread == math.inf else pause
        self._pauses.expected = min(max(expected, LEAST_WAIT), _LONGEST_EXPECTED)
