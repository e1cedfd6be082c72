"""A screen that is written anew again and again, at the terminal behind standard output."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from rich.console import Group
from rich.live import Live
from rich.text import Text

from aero_storage.cli.terminal import output_console, printable

LinesOf = Callable[[int, int], list[str]]
"""Width and height of the terminal → the lines."""


@attrs.define(eq=False)
class LiveScreen:
    """The terminal's second screen; the first one comes back at the end."""

    _live: Live
    _resized: int
    """A descriptor that is readable once the terminal has another size."""
    _lines_of: LinesOf = attrs.field(init=False, default=lambda _width, _height: [])

    def show(self, lines_of: LinesOf) -> None:
        """Write lines, now and whenever the terminal gets another size."""
        self._lines_of = lines_of
        self._draw()

    def wait(self, seconds: float) -> None:
        """Wait, and write the lines anew if the terminal gets another size meanwhile."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if select.select([self._resized], [], [], left)[0]:
                os.read(self._resized, 4096)
                self._draw()

    def _draw(self) -> None:
        size = self._live.console.size
        lines = self._lines_of(size.width, size.height)
        shown = (Text(printable(line, None), no_wrap=True, overflow="crop", end="") for line in lines)
        self._live.update(Group(*(Text.assemble(text, "\n", end="") for text in shown)), refresh=True)


def is_screen() -> bool:
    """Return whether standard output is a terminal on which lines can be written anew."""
    return output_console() is not None


@contextmanager
def live_screen() -> Iterator[LiveScreen]:
    """Take the terminal for a with block, and give it back as it was."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGWINCH, lambda _number, _frame: None)
    try:
        with Live(screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            yield LiveScreen(live, reading)
    finally:
        signal.signal(signal.SIGWINCH, handler)
        signal.set_wakeup_fd(woken)
        os.close(reading)
        os.close(writing)
