"""How the C library keeps memory, so that a process is as large after a week as after its first minute.

Only glibc is told anything.
"""

from __future__ import annotations

import ctypes

TRIM_SECONDS = 10.0
"""How often what is free is given back."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Of glibc's malloc.h."""
_LARGE = 128 * 1024
"""Bytes: what glibc begins with, and gives up when the first block of that size is freed."""


def limit_arenas() -> None:
    """Have one heap, and large blocks apart from it; before the first thread begins.

    By default glibc has up to eight heaps for each core, from which threads take what the reactor's thread frees:
    pieces of responses that are read for TLS, 128 KiB each. And once it has seen one of these freed, it puts the next
    between small blocks that stay.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)


def trim() -> None:
    """Give free pages of the heap back to the kernel, wherever they lie; not on the reactor's thread.

    By itself glibc gives back only what is free at the end, not the holes before it, which a crowd leaves: when
    clients of all kinds had gone it was 5 of 71 MiB. It takes 1 ms for a heap of 20 MiB, and holds up who needs
    memory meanwhile.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
