"""How much a peer may have read without our seeing it: to tell one that is slow from one that is stuck.

A receive buffer that has been full stays closed until a sixteenth of it is free (Linux: `__tcp_select_window`), and
memory comes back by whole packets, which the system joins to pieces of up to 17 times 32 KiB. Until then we hear the
same of a peer that reads as of one that does not: its system acknowledges nothing, and says to probes that the window
is closed. Measured with Linux 6.18 and peers that read by the kilobyte: 60 to 130 kB in the buffer of a new
connection, 200 to 350 kB in one that the system has enlarged, 530 to 790 kB in one of 8 MiB.
"""

from __future__ import annotations

import socket
import sys

STEP_BYTES = 17 * 32 * 1024
"""The largest piece of memory that comes back at once: MAX_SKB_FRAGS fragments, of 32 KiB over a loopback."""

_SHARE = 16
_LARGEST_UNSCALED = 65_535  # RFC 7323 §2.3
_RETRANSMITS, _PROBES, _SCALES = 2, 3, 6
"""Where struct tcp_info (tcp(7), linux/tcp.h) has its bytes: what was sent anew without an answer, and the scales."""

_GONE = 2
"""Unanswered retransmissions and probes after which a peer that has stood still, too, is taken for gone."""


def max_unacknowledged_read(connection: socket.socket, taken: int) -> int:
    """The most bytes that the peer may have read since we saw it take any; `taken` is what it has acknowledged.

    0 if its system does not answer any more.
    """
    info = _tcp_info(connection)
    if not info:
        return min(taken, STEP_BYTES)
    if info[_RETRANSMITS] + info[_PROBES] >= _GONE:
        return 0
    scale = info[_SCALES] & 15 if sys.byteorder == "little" else info[_SCALES] >> 4
    return min(taken, STEP_BYTES + (_LARGEST_UNSCALED << scale) // _SHARE)


def _tcp_info(connection: socket.socket) -> bytes:
    """Empty if the system does not tell, or the connection is none of TCP, or none any more."""
    option: int | None = getattr(socket, "TCP_INFO", None)
    if option is None:
        return b""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, option, _SCALES + 1)
    except OSError:
        return b""
    return info if len(info) > _SCALES else b""
