"""Are these bytes of a file in the page cache? Asked of the kernel, which answers without waiting for a disk.

Two questions, since neither does alone. `cachestat` (Linux 6.5) counts all pages of a window in one call, but counts
those as well whose read is still under way: 1.3 µs a MiB where the cache holds the file in large folios, 8 where in
single pages. `preadv` with RWF_NOWAIT knows the difference, at 1 µs a page, and is asked about a few: together 5 µs
a MiB, at worst 12, and 3 for 64 KiB. Where only `preadv` answers it is asked more often: 15 µs a MiB. To ask it about
everything would copy everything: 80 µs a MiB. Asked about a page that is missing, it makes the kernel begin to fetch
that, and still does not wait.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable, Iterable

PROBE_BYTES = 512 * 1024
"""One page is probed in so many bytes, if all pages are known to be there or on their way."""

SAMPLE_BYTES = 64 * 1024
"""The same if nothing is known."""

_CACHESTAT = 451
_MACHINES = frozenset({"x86_64", "aarch64"})
_PAGE_SHIFT = mmap.PAGESIZE.bit_length() - 1
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_PROBE = (bytearray(1),)

CountPages = Callable[[int, int, int], int | None]
"""Descriptor, offset, length: how many pages are in the cache or on their way there; None if that is unknown."""


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Counts(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted")
    )


def _kernel_counter() -> CountPages:
    """`cachestat`, or a stand-in that never knows.

    Called with the GIL held (PyDLL): to give it away for a microsecond could cost five milliseconds to get it back.
    """
    if not (sys.platform == "linux" and platform.machine() in _MACHINES and sys.maxsize >> 32):
        return lambda _descriptor, _offset, _length: None
    syscall = ctypes.PyDLL(None).syscall
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
    syscall.restype = ctypes.c_long
    window, counts = _Range(), _Counts()
    window_at, counts_at = ctypes.addressof(window), ctypes.addressof(counts)

    def count(descriptor: int, offset: int, length: int) -> int | None:
        window.offset, window.length = offset, length
        # ENOSYS: an older kernel; EPERM: another's file that we may not write, or a container's filter.
        return None if syscall(_CACHESTAT, descriptor, window_at, counts_at, 0) else int(counts.cache)

    return count


count_pages = _kernel_counter()
"""The kernel's own count; for one thread, the reactor's."""


def is_resident(descriptor: int, offset: int, length: int, count: CountPages = count_pages) -> bool:
    """Whether `length` > 0 bytes from `offset` on are in memory; False too where the kernel cannot tell."""
    counted, last = count(descriptor, offset, length), offset + length - 1
    if counted is not None and counted < (last >> _PAGE_SHIFT) - (offset >> _PAGE_SHIFT) + 1:
        return False
    step = SAMPLE_BYTES if counted is None else PROBE_BYTES
    # The last page first: of pages that are on their way, those at the end come last.
    return _are_there(descriptor, (last, *range(offset, last & -mmap.PAGESIZE, step)))


def _are_there(descriptor: int, places: Iterable[int]) -> bool:
    if not _NOWAIT:
        return False
    try:
        for place in places:
            if not os.preadv(descriptor, _PROBE, place, _NOWAIT):
                return False
    except OSError:  # not there, or not to be told; see read_resident
        return False
    return True


def read_resident(descriptor: int, offset: int, length: int) -> bytearray | None:
    """`length` bytes from `offset` on, if all of them can be had at once; else None, and they may take a disk."""
    data = bytearray(length)
    return data if read_resident_into(descriptor, offset, data) else None


def read_resident_into(descriptor: int, offset: int, target: bytearray | memoryview) -> bool:
    """Fill `target` from `offset` on, if all its bytes can be had at once; else they may take a disk.

    False too where the file system does not know the question (tmpfs: EOPNOTSUPP), where the file is too short, and
    for any other error: whoever then reads in the ordinary way meets it again.
    """
    try:
        return bool(_NOWAIT) and os.preadv(descriptor, (target,), offset, _NOWAIT) == len(target)
    except OSError:
        return False
