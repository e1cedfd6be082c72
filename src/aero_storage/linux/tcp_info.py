"""Upper bound on the bytes that the peer may have read but not acknowledged: tells slow peers from stalled ones.

A full receive buffer stays closed until a sixteenth of it is free (Linux: `__tcp_select_window`), and memory is freed
by whole packets, which the kernel merges into pieces of up to 17 times 32 KiB. Until then a peer that reads looks
like one that does not: its system acknowledges nothing, and answers probes with a closed window. Measured with
Linux 6.18 and peers that read by the kilobyte: 60 to 130 kB in the buffer of a new connection, 200 to 350 kB in an
enlarged one, 530 to 790 kB in one of 8 MiB.
"""

from __future__ import annotations

import socket
import sys

STEP_BYTES = 17 * 32 * 1024
"""The largest piece of memory that is freed at once: MAX_SKB_FRAGS fragments, of 32 KiB over a loopback."""

_SHARE = 16
_LARGEST_UNSCALED = 65_535  # RFC 7323 §2.3
_RETRANSMITS, _PROBES, _SCALES = 2, 3, 6
"""Offsets in struct tcp_info (tcp(7), linux/tcp.h): unanswered retransmissions, unanswered probes, window scales."""

_GONE = 2
"""Unanswered retransmissions and probes after which a peer without progress is taken for gone."""


def max_unacknowledged_read(connection: socket.socket, taken: int) -> int:
    """Return an upper bound on the bytes read but not yet acknowledged; `taken` bytes are acknowledged.

    0 if the peer's system no longer answers.
    """
    info = _tcp_info(connection)
    if not info:
        return min(taken, STEP_BYTES)
    if info[_RETRANSMITS] + info[_PROBES] >= _GONE:
        return 0
    scale = info[_SCALES] & 15 if sys.byteorder == "little" else info[_SCALES] >> 4
    return min(taken, STEP_BYTES + (_LARGEST_UNSCALED << scale) // _SHARE)


def _tcp_info(connection: socket.socket) -> bytes:
    """Return struct tcp_info; empty if the system has none, or this is not a connected TCP socket."""
    option: int | None = getattr(socket, "TCP_INFO", None)
    if option is None:
        return b""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, option, _SCALES + 1)
    except OSError:
        return b""
    return info if len(info) > _SCALES else b""
