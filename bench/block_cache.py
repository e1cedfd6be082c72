"""What the block cache costs for each request, beside a file of a directory. Run it with `python -m`."""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from aero_storage.disk import DiskThreads
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.objects.block_cache.cache import BlockCache
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory, claim_directory
from aero_storage.storage.objects.block_cache.identity import ObjectIdentity

KIB, MIB = 1024, 1024 * 1024
SIZE, BLOCK = 64 * MIB, MIB
_ROUNDS, _WINDOW = 400, MIB


class Source(Protocol):
    def is_sendable(self, offset: int, length: int) -> bool: ...

    def read_now_into(self, offset: int, target: memoryview) -> bool: ...

    def transmit(self, socket: int, offset: int, most: int) -> int: ...


class _Reactor:
    def callFromThread(self, work: Callable[..., object], *args: object) -> None:  # noqa: N802 - Twisted's
        work(*args)


class _Pool:
    def callInThread(self, work: Callable[[], object]) -> None:  # noqa: N802 - Twisted's
        work()


def _drain(peer: socket.socket) -> None:
    buffer = bytearray(MIB)
    while peer.recv_into(buffer):
        pass


def send_range(source: Source, ours: socket.socket, offset: int, length: int) -> None:
    """Send as a FileSegment does: a window is asked for, then sent."""
    end = offset + length
    while offset < end:
        window = min(_WINDOW, end - offset)
        if not source.is_sendable(offset, window):
            raise RuntimeError("not in memory")
        stop = offset + window
        while offset < stop:
            offset += source.transmit(ours.fileno(), offset, stop - offset)


def seconds(work: Callable[[int], object], rounds: int) -> float:
    took = []
    for number in range(rounds):
        began = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def compared(one: Source, other: Source, work: Callable[[Source, int], object], rounds: int) -> tuple[float, float]:
    """Return the medians of five pairs, in microseconds."""
    pairs = [(seconds(partial(work, one), rounds // 5), seconds(partial(work, other), rounds // 5)) for _ in range(5)]
    there, here = (statistics.median(column) * 1e6 for column in zip(*pairs, strict=True))
    return there, here


def _cached(directory: Path, data: bytes) -> tuple[BlockCache, Source]:
    reactor, clock, pool = cast("IReactorFromThreads", _Reactor()), cast("IReactorTime", Clock()), _Pool()
    threads = DiskThreads(reactor, clock, cast("ThreadPool", pool), 8, 60.0)
    cache = BlockCache(CacheDirectory(directory), 4 * SIZE, BLOCK, threads, clock, lambda call: call())
    cache.start()
    identity = ObjectIdentity("http://store", "bucket", "disk.img", '"1"')
    opened = cache.open(identity, SIZE, lambda offset, length: data[offset : offset + length])
    for offset in range(0, SIZE, BLOCK):
        opened.warm(threads, offset, BLOCK, background=False)
    return cache, opened


def main() -> None:
    data = os.urandom(SIZE)
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        place = Path(name)
        (place / "disk.img").write_bytes(data)
        local = ImageDirectory(place).open("disk.img")
        claim = claim_directory(place / "cache")
        _, cached = _cached(place / "cache", data)
        listener = socket.create_server(("127.0.0.1", 0))
        ours = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        threading.Thread(target=_drain, args=(peer,), daemon=True).start()
        target = memoryview(bytearray(4 * KIB))
        rows: list[tuple[str, Callable[[Source, int], object], int]] = [
            ("is_sendable 1 MiB", lambda source, at: source.is_sendable(at % 63 * MIB, MIB), 20 * _ROUNDS),
            (
                "read_now_into 4 KiB",
                lambda source, at: source.read_now_into(at % 16000 * 4 * KIB, target),
                50 * _ROUNDS,
            ),
            ("send 8 MiB", lambda source, at: send_range(source, ours, at % 7 * 8 * MIB, 8 * MIB), _ROUNDS),
        ]
        for title, work, rounds in rows:
            there, here = compared(cast("Source", local), cached, work, rounds)
            sys.stdout.write(f"{title}: directory {there:.1f} µs, cache {here:.1f} µs, {here - there:+.1f} µs\n")
        claim.close()


if __name__ == "__main__":
    main()
