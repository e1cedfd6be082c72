"""Progress of long work: a bar on a terminal, else a plain line every few seconds."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from aero_storage.cli.terminal import error_console, printable, write_line
from aero_storage.cli.watching import NOTICE_SECONDS, watched
from aero_storage.sizes import format_size

LINE_SECONDS = 3.0
"""Interval of plain lines."""

Advance = Callable[[int], None]
"""Reports a number of bytes done; may be called from any thread."""


@attrs.define
class _Lines:
    """Plain lines on standard error."""

    task: str
    total: int | None
    """None if it is not known."""
    now: Callable[[], float] = time.monotonic
    _done: int = attrs.field(init=False, default=0)
    _started: float = attrs.field(init=False)
    _last_line: float = attrs.field(init=False)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._started = self._last_line = self.now()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = self.now()
            if now - self._last_line >= LINE_SECONDS:
                self._last_line = now
                write_line(self._line(now - self._started), is_error=True)

    def _line(self, seconds: float) -> str:
        rate = self._done / seconds if seconds else 0.0
        if self.total is None:
            return f"{self.task}: {format_size(self._done)}, {format_size(rate)}/s"
        left = f"{(self.total - self._done) / rate:.0f} s left" if rate else "time left unknown"
        share = 100 * self._done / self.total if self.total else 100.0
        amount = f"{format_size(self._done)} of {format_size(self.total)}"
        return f"{self.task}: {share:.0f} %, {amount}, {format_size(rate)}/s, {left}"


@contextmanager
def progress(task: str, total: int | None) -> Iterator[Advance]:
    """Show the progress of `task` through `total` bytes, None if not known, on standard error during a with block."""
    console = error_console()
    if console is None:
        yield _Lines(task, total).advance
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # file names may contain brackets
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        bar_task = bar.add_task(printable(task, None), total=total)
        yield lambda count: bar.advance(bar_task, count)


@contextmanager
def counted(task: str, total: int, noun: str, say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Show the progress of `task` through `total` things, if it takes over two seconds; call with each one's name.

    The name is that of what is being worked on, so that one which hangs is told of. May be called from any thread.
    """
    console, numbers = error_console(), itertools.count(1)
    if console is None:
        with watched(say) as work:
            yield lambda name: work.begin(f"{task} {next(numbers)} of {total} {noun}: {name}")
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True)
    bar_task = bar.add_task(task, total=total)
    begin = threading.Timer(NOTICE_SECONDS, bar.start)
    begin.start()
    try:
        yield lambda name: bar.update(bar_task, advance=1, description=printable(f"{task} {name}"))
    finally:
        begin.cancel()
        begin.join()
        bar.stop()
