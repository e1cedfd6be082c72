"""`python -m aero_storage.service.worker_main REACTOR NUMBER`: the first steps of a worker.

REACTOR is the module that installs the one that the parent has: it must be there before anything imports Klein.

Signals may come that early: a Ctrl-C goes to all processes at a terminal. A worker ends because its parent says so or
is gone; once it runs, SIGTERM and SIGINT stop it as they stop the daemon of one process, which the parent notices.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from importlib import import_module

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become a worker."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    import_module(sys.argv[1]).install()
    from aero_storage.service.worker import run  # noqa: PLC0415 - takes half a second

    run()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that ends and whatever we are doing.

    Where there is no Linux, the closed channel to the parent alone has to do.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


if __name__ == "__main__":
    main()
