"""Whether a debugger holds a process."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest

from aero_storage.linux.process_status import is_traced

PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def test_no_debugger() -> None:
    """A process that nobody traces is not traced, nor is one that does not exist."""
    assert not is_traced(os.getpid())
    assert not is_traced(2**31 - 1)


def test_debugger() -> None:
    """A process is traced from the time that a debugger attaches to it until it detaches."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    try:
        if ptrace(PTRACE_ATTACH, child, None, None):
            pytest.skip("no process may be traced here")
        os.waitpid(child, 0)
        assert is_traced(child)
        ptrace(PTRACE_DETACH, child, None, None)
        assert not is_traced(child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
