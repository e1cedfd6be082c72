"""The heap of the C library, in a process of its own: what it is told holds for good."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALLOCATE = """
import ctypes, sys, threading
from aero_storage.linux.malloc import limit_arenas
if sys.argv[1] == "kept":
    limit_arenas()
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


HOLES = """
import os
from pathlib import Path
from aero_storage.linux.malloc import trim, limit_arenas

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

limit_arenas()
blocks = [bytearray(20_000) for _ in range(2000)]
kept = blocks[::2]
del blocks
before = resident()
trim()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told anything")
def test_holes_are_given_back() -> None:
    """Of 20 MiB that are free between blocks in use most are the kernel's again."""
    if not heaps("as it is"):
        pytest.skip("the C library does not tell of its heaps")
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10_000_000


BUFFERS = """
import ctypes, resource, sys
from aero_storage.linux.malloc import limit_arenas, reuse_buffers, trim

SIZE, ROUNDS, PAGE = 1 << 20, 50, resource.getpagesize()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
limit_arenas()
if sys.argv[1] == "reused":
    reuse_buffers(SIZE)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(ROUNDS):
    buffer = libc.malloc(SIZE)
    libc.memset(buffer, 1, SIZE)
    libc.free(buffer)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * PAGE // SIZE)
"""


def new_buffers(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", BUFFERS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told anything")
def test_buffers_are_used_again() -> None:
    """Of 50 buffers, one after the other, the first alone is made of new pages; without it nearly all are."""
    if not heaps("as it is"):
        pytest.skip("the C library does not tell of its heaps")
    assert new_buffers("as it is") > 40
    assert new_buffers("reused") < 5
