"""Checks whether bytes of a file are in the page cache, without waiting for a disk.

It uses two system calls, as neither is enough alone. `cachestat` (Linux 6.5) counts all pages of a window in one
call, including pages whose read is still under way: 1.3 µs a MiB for large folios, 8 for single pages. `preadv` with
RWF_NOWAIT tells the difference, at 1 µs a page, and probes a few pages: together 5 µs a MiB, at worst 12, and 3 for
64 KiB. Without `cachestat` more pages are probed: 15 µs a MiB. Probing all pages would copy them: 80 µs a MiB. A
probe of a missing page starts readahead of it, and still does not block.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable, Iterable

PROBE_BYTES = 512 * 1024
"""One page is probed for each so many bytes, if `cachestat` counts all pages."""

SAMPLE_BYTES = 64 * 1024
"""The same without `cachestat`."""

_CACHESTAT = 451
_MACHINES = frozenset({"x86_64", "aarch64"})
_PAGE_SHIFT = mmap.PAGESIZE.bit_length() - 1
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_PROBE = (bytearray(1),)

CountPages = Callable[[int, int, int], int | None]
"""Descriptor, offset, length → number of pages in the cache or being read into it; None if unknown."""


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Counts(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted")
    )


def _kernel_counter() -> CountPages:
    """Return a function that calls `cachestat`, or one that returns None if there is no such call.

    It is called with the GIL held (PyDLL): releasing it for a microsecond may take five milliseconds to get it back.
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
        # ENOSYS: an older kernel; EPERM: a file of another user that is not writable, or a container's filter.
        return None if syscall(_CACHESTAT, descriptor, window_at, counts_at, 0) else int(counts.cache)

    return count


count_pages = _kernel_counter()
"""The kernel's count; for the reactor's thread only."""


def is_resident(descriptor: int, offset: int, length: int, count: CountPages = count_pages) -> bool:
    """Return whether `length` > 0 bytes from `offset` on are resident; False too if the kernel cannot tell."""
    counted, last = count(descriptor, offset, length), offset + length - 1
    if counted is not None and counted < (last >> _PAGE_SHIFT) - (offset >> _PAGE_SHIFT) + 1:
        return False
    step = SAMPLE_BYTES if counted is None else PROBE_BYTES
    # The last page first: pages are read in order, so it arrives last.
    return _are_resident(descriptor, (last, *range(offset, last & -mmap.PAGESIZE, step)))


def _are_resident(descriptor: int, offsets: Iterable[int]) -> bool:
    if not _NOWAIT:
        return False
    try:
        for offset in offsets:
            if not os.preadv(descriptor, _PROBE, offset, _NOWAIT):
                return False
    except OSError:  # not resident, or unknown; see read_resident_into
        return False
    return True


def read_resident(descriptor: int, offset: int, length: int) -> bytearray | None:
    """Return `length` bytes from `offset` on if all are resident; None if reading them may wait for a disk."""
    data = bytearray(length)
    return data if read_resident_into(descriptor, offset, data) else None


def read_resident_into(descriptor: int, offset: int, target: bytearray | memoryview) -> bool:
    """Fill `target` from `offset` on if all bytes are resident; return False if reading them may wait for a disk.

    False too if the file system does not support RWF_NOWAIT (tmpfs: EOPNOTSUPP), if the file is too short, and for
    any other error, which an ordinary read reports again.
    """
    try:
        return bool(_NOWAIT) and os.preadv(descriptor, (target,), offset, _NOWAIT) == len(target)
    except OSError:
        return False
