"""Drops packets that arrive for a socket: its server finds the client's machine gone from the network."""

from __future__ import annotations

import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26
_REJECT = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K: keep no byte of any packet


def drop_incoming_packets(client: socket.socket) -> None:
    """Drop every packet that arrives for this socket; Linux alone (socket(7): SO_ATTACH_FILTER)."""
    program = ctypes.create_string_buffer(_REJECT)
    client.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
