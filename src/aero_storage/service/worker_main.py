"""`python -m aero_storage.service.worker_main REACTOR NUMBER`: the entry point of a worker process.

REACTOR is the module of the parent's reactor; it must be installed before anything imports Klein.

Signals may arrive that early: a terminal sends Ctrl-C to all processes. They are ignored at first: a worker ends on
its parent's command, or when the parent is gone. Once it runs, SIGTERM and SIGINT stop it like the daemon of one
process.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from importlib import import_module

from aero_storage.linux.signal_handlers import set_signal

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Install the reactor and run a worker."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        set_signal(number, signal.SIG_IGN)
    die_with_parent()
    import_module(sys.argv[1]).install()
    from aero_storage.service.worker import run  # noqa: PLC0415 - takes half a second

    run()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (PR_SET_PDEATHSIG).

    Without Linux, a worker ends only when the control channel to its parent closes.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


if __name__ == "__main__":
    main()
