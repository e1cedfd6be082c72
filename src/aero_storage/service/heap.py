"""How the C library keeps memory, so that a process is as large after a week as after its first minute."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Of glibc's malloc.h."""
_LARGE = 128 * 1024
"""Bytes: what glibc begins with, and gives up when the first block of that size is freed."""


def keep_heap_small() -> None:
    """Have one heap, and large blocks apart from it; before the first thread begins. Only glibc is told.

    By default glibc has up to eight heaps for each core, from which threads take what the reactor's thread frees:
    pieces of responses that are read for TLS, 128 KiB each. And once it has seen one of these freed, it puts the next
    between small blocks that stay.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
