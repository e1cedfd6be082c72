"""Streams at a pace: `python -m bench.paced_streams PORT PATH BYTES COUNT PACE`.

Each of COUNT connections reads a part of its own of the first BYTES of an image once, 1 MiB a request, at PACE bytes
a second. It is a process of its own, so that what is measured beside it does not wait for its interpreter's lock.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from bench.client import dial, receive_head, request
from bench.data import MIB
from bench.errors import BenchError

_SHORT = 64 * 1024


def drain(peer: socket.socket, path: str, extent: tuple[int, int] | None = None) -> None:
    """Take a body and look at none of it: the load's core has the store to run, too."""
    buffer = bytearray(_SHORT)
    peer.sendall(request(path, extent))
    head = receive_head(peer)
    left = head.length - len(head.rest)
    while left:
        taken = peer.recv_into(buffer, min(left, _SHORT), socket.MSG_TRUNC)
        if not taken:
            raise BenchError(f"{path}: the body ended {left} bytes early, of a {head.status}")
        left -= taken


def _stream(port: int, path: str, part: range, pace: int, begin: threading.Barrier) -> None:
    with dial(port) as peer:
        begin.wait()
        start = time.monotonic()
        for offset in part:
            time.sleep(max(0.0, start + (offset - part.start) / pace - time.monotonic()))
            drain(peer, path, (offset, MIB))


def main(port: int, path: str, size: int, count: int, pace: int) -> None:
    """Run the streams to their ends; say when they have begun."""
    share = size // count
    begin = threading.Barrier(count + 1)
    with ThreadPoolExecutor(count) as threads:
        parts = (range(number * share, (number + 1) * share, MIB) for number in range(count))
        streams = [threads.submit(_stream, port, path, part, pace, begin) for part in parts]
        begin.wait()
        sys.stdout.write("begun\n")
        sys.stdout.flush()
    for stream in streams:
        stream.result()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
