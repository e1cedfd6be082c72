"""Distributes work over threads and waits for all of them: none runs on after an error or an interrupt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import attrs

_T = TypeVar("_T")
_LOST_WAKE_SECONDS = 1.0


class HaltedError(Exception):
    """The work was halted: another thread failed, or the caller was interrupted."""


@attrs.define(eq=False)
class WorkItems(Iterator[_T], Generic[_T]):
    """The remaining items, shared by all threads: an iterator that ends early when the work is halted."""

    _items: Iterator[_T]
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _halted: bool = attrs.field(init=False, default=False)

    def __next__(self) -> _T:
        with self._lock:
            if self._halted:
                raise StopIteration
            return next(self._items)

    def halt(self) -> None:
        """Halt the work: no thread gets another item."""
        self._halted = True

    def check(self) -> None:
        """Raise HaltedError if the work was halted; for use within a long item."""
        if self._halted:
            raise HaltedError


@attrs.define(eq=False)
class _Pool(Generic[_T]):
    """The running threads. They report through lists: an interrupt may lose an element that a queue returned."""

    share: WorkItems[_T]
    work: Callable[[WorkItems[_T]], None]
    threads: list[threading.Thread] = attrs.field(init=False, factory=list)
    errors: list[BaseException] = attrs.field(init=False, factory=list)
    _ended: list[None] = attrs.field(init=False, factory=list)
    _wake: SimpleQueue[None] = attrs.field(init=False, factory=SimpleQueue)

    def start(self, jobs: int) -> None:
        for _ in range(jobs):
            self.threads.append(threading.Thread(target=self._run))
            self.threads[-1].start()

    def _run(self) -> None:
        try:
            self.work(self.share)
        except HaltedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.errors.append(error)
            self.share.halt()
        finally:
            self._ended.append(None)
            self._wake.put(None)

    def wait(self) -> None:
        """Wait for all threads. Not by Thread.join: after an interrupt, Python 3.11's takes the thread for ended."""
        started = [thread for thread in self.threads if thread.ident is not None]
        while len(self._ended) < len(started):
            with suppress(Empty):
                self._wake.get(timeout=_LOST_WAKE_SECONDS)
        for thread in started:
            thread.join()

    def dismiss(self) -> None:
        """Halt the work and wait for all threads, in spite of further interrupts: cleanup must not race with them."""
        while True:
            try:
                self.share.halt()
                self._await_last()
                self.wait()
            except KeyboardInterrupt:
                continue
            return

    def _await_last(self) -> None:
        """Wait for the last thread, if it runs: its start may have been interrupted before or after it began."""
        latest = time.monotonic() + _LOST_WAKE_SECONDS
        while self.threads and self.threads[-1].ident is None and (left := latest - time.monotonic()) > 0:
            with suppress(Empty):
                self._wake.get(timeout=left)


def share_out(items: Iterable[_T], jobs: int, work: Callable[[WorkItems[_T]], None]) -> None:
    """Run `work` in `jobs` threads, which share `items`; each item goes to one thread.

    Returns, or raises, once all threads have ended. The first error of a thread, or an interrupt of the caller, halts
    the others and is raised.
    """
    crew = _Pool(WorkItems(iter(items)), work)
    try:
        crew.start(jobs)
        crew.wait()
    except BaseException:
        crew.dismiss()
        raise
    if crew.errors:
        raise crew.errors[0]
