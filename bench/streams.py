"""Streams that keep a server's disk busy: `python -m bench.streams PORT PATH FILE COUNT STATE`.

Each of COUNT connections walks through a part of its own of FILE, range after range, from the start again at its end,
as the state says. Ends when standard input does, and prints what it did as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import attrs

from bench.client import dial, receive_head, request
from bench.data import MIB
from bench.errors import BenchError
from bench.processes import resident_share

_PIECE = 256 * 1024


@attrs.frozen
class Pattern:
    """How one stream reads: bytes a range, bytes a second or as fast as it can (0), and from where.

    Cold means that each range is pushed out of the page cache just before it is asked for.
    """

    size: int
    pace: int
    cold: bool


WARM, COLD, PACED = "warm", "cold", "cold, paced"
PATTERNS = {
    WARM: Pattern(8 * MIB, 0, cold=False),
    COLD: Pattern(8 * MIB, 0, cold=True),
    PACED: Pattern(MIB, 8 * MIB, cold=True),
}


@attrs.define(eq=False)
class Stream:
    """One connection: what it asks for, how much came, how much of what it asked for was on the disk only."""

    port: int
    path: str
    file: Path
    part: range  # of offsets
    pattern: Pattern
    asked: int = 0
    received: int = 0
    missing: float = 0.0  # bytes
    failure: BaseException | None = None

    def run(self, stopping: threading.Event) -> None:
        """Ask and read until told to stop; what goes wrong is kept in `failure`."""
        try:
            with dial(self.port) as peer, self.file.open("rb") as file:
                due = time.monotonic()
                for offset in itertools.cycle(self.part):
                    if stopping.wait(due - time.monotonic()):
                        return
                    self._range(peer, file.fileno(), offset)
                    due += self.pattern.size / self.pattern.pace if self.pattern.pace else 0
        except (OSError, BenchError) as error:
            self.failure = error  # told by whoever started the thread
            stopping.set()

    def _range(self, peer: socket.socket, descriptor: int, offset: int) -> None:
        size = self.pattern.size
        for start in range(offset, offset + size, _PIECE):
            self._push_out(descriptor, start)
        self.asked += size
        peer.sendall(request(self.path, (offset, size)))
        head = receive_head(peer)
        if (head.status, head.length) != (206, size):
            raise BenchError(f"a stream got {head.status} with {head.length} bytes")
        self.received += len(head.rest)
        self._body(peer, size - len(head.rest))

    def _push_out(self, descriptor: int, offset: int) -> None:
        """Little at a time: where the kernel does not preempt itself 8 MiB keep the hot client waiting for 1.3 ms."""
        if self.pattern.cold:
            os.posix_fadvise(descriptor, offset, _PIECE, os.POSIX_FADV_DONTNEED)
        self.missing += _PIECE * (1 - resident_share(descriptor, offset, _PIECE))

    def _body(self, peer: socket.socket, left: int) -> None:
        buffer = bytearray(_PIECE)
        while left:
            # MSG_TRUNC throws away without a copy: the core that this shares with the hot client is for that one.
            taken = peer.recv_into(buffer, min(left, _PIECE), socket.MSG_TRUNC)
            if not taken:
                raise BenchError("the server closed in the middle of a stream")
            left -= taken
            self.received += taken


def main(port: int, path: str, file: Path, count: int, state: str) -> None:
    """Stream until standard input ends, with the least priority there is."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    pattern = PATTERNS[state]
    share = file.stat().st_size // count // pattern.size * pattern.size
    parts = [range(number * share, (number + 1) * share, pattern.size) for number in range(count)]
    streams = [Stream(port, path, file, part, pattern) for part in parts]
    stopping = threading.Event()
    threads = [threading.Thread(target=one.run, args=(stopping,), daemon=True) for one in streams]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopping.set()
    for thread in threads:
        thread.join()
    for one in streams:
        if one.failure:
            raise one.failure
    total = {name: sum(getattr(one, name) for one in streams) for name in ("asked", "received", "missing")}
    sys.stdout.write(json.dumps(total))


if __name__ == "__main__":
    _, port_text, url, name, count_text, kind = sys.argv
    main(int(port_text), url, Path(name), int(count_text), kind)
