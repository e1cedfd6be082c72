"""Timers of less than a millisecond (timerfd_create(2)): a reactor waits for whole milliseconds, rounded up."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

SHORT_SECONDS = 0.001
"""Timers for less than this are short; the reactor has all others."""

_LEAST_SECONDS = 1e-6
_MONOTONIC = 1  # CLOCK_MONOTONIC
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK | TFD_CLOEXEC
_CLOSED = -1


class Timer(Protocol):
    """A call that is due."""

    def cancel(self) -> None:
        """Do not make it."""
        ...


class _Setting(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "after_s", "after_ns"))


@attrs.define(eq=False)
class _Call:
    due: float
    call: Callable[[], object]
    _calls: list[_Call]

    def cancel(self) -> None:
        self._calls.remove(self)


@implementer(IReadDescriptor)
@attrs.define(eq=False)
class ShortTimers:
    """One timerfd, read by the reactor between `start` and `stop`. Without timerfd the reactor has all timers."""

    _clock: IReactorTime
    _descriptors: IReactorFDSet
    _descriptor: int = attrs.field(init=False, default=_CLOSED)
    _calls: list[_Call] = attrs.field(init=False, factory=list)
    _armed_for: float | None = attrs.field(init=False, default=None)
    _setting: _Setting = attrs.field(init=False, factory=_Setting)

    def start(self) -> None:
        """Make the timer."""
        try:
            self._descriptor = _LIBC.timerfd_create(_MONOTONIC, _FLAGS)
        except AttributeError:
            return
        if self._descriptor != _CLOSED:
            self._descriptors.addReader(self)

    def stop(self) -> None:
        """Make no calls any more that are short."""
        self._calls.clear()
        if self._descriptor != _CLOSED:
            self._descriptors.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = _CLOSED

    def seconds(self) -> float:
        """Return the reactor's time."""
        return self._clock.seconds()

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        """Make a call in so many seconds."""
        if delay >= SHORT_SECONDS or self._descriptor == _CLOSED:
            return self._clock.callLater(delay, call)
        made = _Call(self._clock.seconds() + delay, call, self._calls)
        self._calls.append(made)
        if self._armed_for is None or made.due < self._armed_for:
            self._arm(made.due, delay)
        return made

    def _arm(self, due: float, delay: float) -> None:
        self._armed_for = due
        self._setting.after_ns = int(max(delay, _LEAST_SECONDS) * 1e9)
        _LIBC.timerfd_settime(self._descriptor, 0, ctypes.byref(self._setting), None)

    # IReadDescriptor

    def fileno(self) -> int:
        """Return the descriptor of the timer."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return what Twisted's log calls it."""
        return "timerfd"

    def doRead(self) -> None:
        """Make the calls that are due."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        self._armed_for = None
        now = self._clock.seconds()
        for made in sorted((made for made in self._calls if made.due <= now), key=lambda made: made.due):
            if made in self._calls:  # else one of the others has cancelled it
                self._calls.remove(made)
                made.call()
        if self._calls and self._armed_for is None:
            first = min(made.due for made in self._calls)
            self._arm(first, first - now)

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: the reactor ends, `stop` closes."""


_LIBC = ctypes.PyDLL(None)
"""Nothing here waits, and getting the GIL back may take milliseconds."""
