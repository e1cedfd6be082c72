"""Executes a program that ends with its parent, with a limit of memory, confined by Landlock and without sockets.

Arguments: the parent's process id, the descriptor of the ruleset or "-" for none, the program and its arguments.

It is run by its path, between fork and exec. A preexec_fn would be unsafe there beside other threads, such as a
progress bar's. It imports nothing of the package, as it runs without site-packages.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys

MOST_MEMORY = 2 << 30
"""Bytes of address space. `qemu-img check` takes most, two bytes for each cluster of the file.

An image of 1 TiB takes less than 200 MiB with the usual clusters of 64 KiB, and less than 800 MiB with 4 KiB.
"""

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9
_LANDLOCK_RESTRICT_SELF = 446  # as in linux/landlock.py

# include/uapi/linux/seccomp.h, filter.h, bpf_common.h
_SECCOMP_MODE_FILTER = 2
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_OFFSET, _MACHINE_OFFSET = 0, 4  # in struct seccomp_data
_EACCES = 13
_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine → AUDIT_ARCH_* of include/uapi/linux/audit.h, and the number of `socket`."""


def _main(parent: int, ruleset: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before: nobody would kill us
        return
    _limit_memory()
    if ruleset != "-":
        _confine(libc, int(ruleset))
    os.execv(command[0], command)  # noqa: S606 - no shell


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (OSError, ValueError):  # macOS has the name, and no such limit
        if sys.platform == "linux":
            raise


def _confine(libc: ctypes.CDLL, ruleset: int) -> None:
    """Restrict this process, and all that it executes, for good."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0):
        sys.exit(f"cannot be confined: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)
    _forbid_sockets(libc)


def _forbid_sockets(libc: ctypes.CDLL) -> None:
    """Have `socket` fail, as Landlock restricts neither UDP nor UNIX sockets with a path, and TCP only since 6.7.

    On other machines, and on kernels without seccomp, Landlock has to do.
    """
    if os.uname().machine not in _SOCKET:
        return
    machine, number = _SOCKET[os.uname().machine]
    instructions = (
        (_LOAD, 0, 0, _MACHINE_OFFSET),
        (_JUMP_IF_EQUAL, 0, 3, machine),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_JUMP_IF_EQUAL, 0, 1, number),
        (_RETURN, 0, 0, _FAIL | _EACCES),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in instructions))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
