"""Settings of glibc's malloc, which keep the process from growing over weeks. Without effect on other C libraries."""

from __future__ import annotations

import ctypes

TRIM_SECONDS = 10.0
"""Interval at which free memory is returned to the kernel."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Options of mallopt(3), from glibc's malloc.h."""
_LARGE = 128 * 1024
"""Threshold of mmap in bytes: glibc's initial value, which it raises when the first block of that size is freed."""
_LARGEST = 32 * 1024 * 1024
"""The highest threshold that glibc takes."""
_KEPT = 64 * 1024 * 1024
"""Bytes that stay free at the end of the heap between two trims."""


def limit_arenas() -> None:
    """Use one arena, and mmap for large blocks; call it before the first thread starts.

    By default glibc has up to eight arenas for each core: threads allocate blocks there that the reactor's thread
    frees, such as the 128 KiB pieces of responses over TLS. Once one of these is freed, glibc also raises its mmap
    threshold, and places the next one between small blocks that stay.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)


def reuse_buffers(size: int) -> None:
    """Keep freed buffers of up to `size` bytes for the next ones, until the next `trim`.

    A buffer by mmap is made of new pages each time: 1 MiB of an object took 510 page faults in two buffers, a quarter
    of the time of a read from the origin.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_MMAP_THRESHOLD, min(size + _LARGE, _LARGEST))
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)


def trim() -> None:
    """Return all free pages of the heap to the kernel (malloc_trim); call it off the reactor's thread.

    By itself glibc returns only free memory at the end of the heap, not the holes before it: after a load test with
    mixed clients it returned 5 of 71 MiB. A trim of a heap of 20 MiB takes 1 ms and blocks other allocations.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
