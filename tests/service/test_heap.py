"""The heap of the C library, in a process of its own: what it is told holds for good."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALLOCATE = """
import ctypes, sys, threading
from aero_storage.service.heap import keep_heap_small
if sys.argv[1] == "kept":
    keep_heap_small()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
started = threading.Barrier(4)
def allocate():
    started.wait()
    for size in (1000, 100_000):
        assert libc.malloc(size)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def heaps(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ALLOCATE, how], capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told anything")
def test_one_heap() -> None:
    """Threads take from the one heap that there is, and would not by themselves."""
    if not heaps("as it is"):
        pytest.skip("the C library does not tell of its heaps")
    assert heaps("as it is") > 1
    assert heaps("kept") == 1
