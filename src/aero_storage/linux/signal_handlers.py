"""Sets handlers of signals; a signal that arrives when it begins to be ignored leaves no trace.

The handler that CPython gives to the kernel only notes that a signal has come; the main thread calls the Python
function later. If the signal is ignored by then, CPython writes "OSError: Signal 15 ignored due to race condition" to
standard error. `signal.signal` looks for such notes before its system call; one may be made between the two, and for
some microseconds after them in another thread, where a handler still runs.
"""

from __future__ import annotations

import atexit
import ctypes
import signal

_SIG_IGN = 1
"""The value of SIG_IGN in C."""

_DO_NOTHING = "".format
"""Takes any arguments. A function in Python would be interrupted by the next signal of a flood before it began, again
and again, up to a RecursionError."""


def set_signal(number: int, handler: object) -> None:
    """Do what `signal.signal` does; for SIG_IGN, the handler is a function that does nothing until Python ends.

    Python's last step but one gives the default action back to all signals that have functions, so that one would
    end the process with a status of its own. By then all threads have ended.
    """
    if handler is not signal.SIG_IGN:
        signal.signal(number, handler)  # type: ignore[arg-type]
        return
    signal.signal(number, _DO_NOTHING)
    _ignore_in_kernel(number)
    atexit.register(signal.signal, number, signal.SIG_IGN)


def _ignore_in_kernel(number: int) -> None:
    libc_signal = ctypes.CDLL(None).signal
    libc_signal.argtypes, libc_signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc_signal(number, _SIG_IGN)
