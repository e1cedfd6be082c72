"""Executes a program that ends with its parent, confined by a Landlock ruleset. It is run by its path.

Arguments: the parent's process id, the descriptor of the ruleset or "-" for none, the program and its arguments.

It runs between fork and exec, where a preexec_fn would be unsafe beside other threads, such as a progress bar's. It
imports nothing of the package, as it runs without site-packages.
"""

from __future__ import annotations

import ctypes
import os
import sys

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9
_LANDLOCK_RESTRICT_SELF = 446  # as in linux/landlock.py


def _main(parent: int, ruleset: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before: nobody would kill us
        return
    if ruleset != "-":
        _confine(libc, int(ruleset))
    os.execv(command[0], command)  # noqa: S606 - no shell


def _confine(libc: ctypes.CDLL, ruleset: int) -> None:
    """Restrict this process, and all that it executes, for good."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0):
        sys.exit(f"cannot be confined: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
