"""Tells what long work is at, every two seconds, also while one step of it waits for a disk or a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

NOTICE_SECONDS = 2.0


@attrs.define(eq=False)
class Watched:
    """The step that work is at."""

    _say: Callable[[str], None]
    _current: str = attrs.field(init=False, default="")
    _last: str = attrs.field(init=False, default="")

    def begin(self, step: str) -> None:
        """Take a step for the current one."""
        self._current = step

    def report_once(self) -> None:
        """Report the current step, unless it was reported before."""
        if self._current != self._last:
            self._last = self._current
            self._say(self._current)


@contextmanager
def watched(say: Callable[[str], None]) -> Iterator[Watched]:
    """Report the steps of a with block that takes longer than two seconds."""
    work, is_over = Watched(say), threading.Event()

    def watch() -> None:
        while not is_over.wait(NOTICE_SECONDS):
            work.report_once()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield work
    finally:
        is_over.set()
        thread.join()
