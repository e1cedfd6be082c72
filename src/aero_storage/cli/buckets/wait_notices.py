"""Tells the operator that a command waits for the object store, and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import attrs

from aero_storage.cli.repository import Say

FIRST_SECONDS, INTERVAL_SECONDS = 2.0, 5.0
"""A store that fails is told of after so long, and then so often."""


@attrs.define(eq=False)
class WaitNotices:
    """Is told of each request that waits or is tried again, in any thread; tells of them now and then."""

    say: Say
    clock: Callable[[], float] = time.monotonic
    _since: float = attrs.field(init=False, default=0.0)
    _last: float = attrs.field(init=False, default=float("-inf"))
    _told: float = attrs.field(init=False, default=float("-inf"))
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __call__(self, trouble: str, waited: float) -> None:
        """Take note of a request's trouble, in one line, that has lasted for `waited` seconds by now."""
        if self._is_due(waited):
            self.say(trouble)

    def _is_due(self, waited: float) -> bool:
        with self._lock:
            now = self.clock()
            began = now - waited
            if began - self._last > INTERVAL_SECONDS:  # the one before was another trouble
                self._since = began
            self._last = now
            is_due = now - self._since >= FIRST_SECONDS and now - self._told >= INTERVAL_SECONDS
            if is_due:
                self._told = now
            return is_due
