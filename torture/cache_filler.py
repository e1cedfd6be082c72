"""Fills a block cache and is killed at it, again and again: `python -m torture.cache_filler DIRECTORY COUNT SEED`.

A small process forks the fillers, as a worker that starts anew takes a second. Each goes the way that a block of the
daemon goes, but for its threads: fetch, lock, reserve, write, present. Prints a summary as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import attrs
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool

from aero_storage.disk import DiskThreads
from aero_storage.storage.objects.block_cache.cache import BlockCache
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory, claim_directory
from aero_storage.storage.objects.block_cache.cached_object import CachedObject
from aero_storage.storage.objects.block_cache.file_pair import Outcome
from aero_storage.storage.objects.block_cache.identity import ObjectIdentity
from aero_storage.storage.objects.block_cache.pair_files import find_pair
from torture.bucket_readers import two_versions
from torture.outcome import MIB

SIZE, BLOCK = 8 * MIB, 65_536
LIMIT = 5 * MIB
"""Of the cache: less than the image, so that fillers are killed while they evict, too."""

_LONGEST = 0.03
"""Seconds after which a filler is killed at the latest."""


@attrs.define
class Summary:
    """What was found after the kills."""

    kills: int = 0
    present: int = 0
    """Blocks that were present after a kill, all together."""
    complaints: list[str] = attrs.field(factory=list)


class _Reactor:
    def callFromThread(self, work: Callable[..., object], *args: object) -> None:  # noqa: N802 - Twisted's
        work(*args)


class _Pool:
    def callInThread(self, work: Callable[[], object]) -> None:  # noqa: N802 - Twisted's
        work()


def opened(directory: CacheDirectory, data: bytes) -> tuple[CachedObject, DiskThreads]:
    """Open the image in a cache whose work is done at once, in the thread that asks for it."""
    reactor, pool, clock = cast("IReactorFromThreads", _Reactor()), cast("ThreadPool", _Pool()), Clock()
    threads = DiskThreads(reactor, clock, pool, 8, 60.0)
    cache = BlockCache(directory, LIMIT, BLOCK, threads, clock, lambda call: call())
    cache.start()
    identity = ObjectIdentity("http://store", "s3://images", "disk", '"1"')
    return cache.open(identity, SIZE, lambda offset, length: data[offset : offset + length]), threads


def fill_until_killed(directory: CacheDirectory, data: bytes, seed: int) -> None:
    """Bring blocks in at random."""
    image, threads = opened(directory, data)
    rng = random.Random(seed)
    while True:
        offset = rng.randrange(SIZE // BLOCK) * BLOCK
        image.warm(threads, offset, BLOCK, background=False)


def kill_one(directory: CacheDirectory, data: bytes, rng: random.Random) -> None:
    """Fork a filler and kill it at a random moment."""
    pid = os.fork()
    if not pid:
        fill_until_killed(directory, data, rng.randrange(1 << 30))
    time.sleep(rng.random() * _LONGEST)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def look(directory: CacheDirectory, data: bytes, summary: Summary) -> None:
    """Compare every block that is present with the image, and check it as the daemon does."""
    for name in directory.names():
        pair = find_pair(directory, name) if directory.map(name).exists() else None
        if pair is None:
            continue  # killed while it made the files: they are thrown away
        layout, present = pair.layout, pair.map.present()
        summary.present += len(present)
        for index in present:
            start = layout.offset(index)
            if pair.read(index) != data[start : start + layout.length(index)]:
                summary.complaints.append(f"block {index} is present, and wrong")
            elif pair.check(index)[0] is not Outcome.PRESENT:
                summary.complaints.append(f"block {index} is right, and not taken for present")
        pair.close()


def check_serves(directory: CacheDirectory, data: bytes, summary: Summary) -> None:
    """Read all of the image by way of what the kills have left."""
    image, threads = opened(directory, data)
    got = b"".join(_read(image, threads, offset) for offset in range(0, SIZE, BLOCK))
    if got != data:
        summary.complaints.append("the image is wrong afterwards")
    if directory.allocated() > LIMIT:
        summary.complaints.append(f"the cache has {directory.allocated()} bytes, and may have {LIMIT}")


def _read(image: CachedObject, threads: DiskThreads, offset: int) -> bytes:
    read: list[bytes] = []
    image.read_later(threads, offset, BLOCK, background=False).addCallback(read.append)
    return read[0] if read else b""


def main(place: Path, count: int, seed: str) -> None:
    """Kill so many fillers, look after each, and read the image at the end."""
    rng, summary, directory = random.Random(seed), Summary(), CacheDirectory(place)
    data = two_versions(SIZE)[0].data
    claim = claim_directory(place)
    for _ in range(count):
        kill_one(directory, data, rng)
        summary.kills += 1
        look(directory, data, summary)
    check_serves(directory, data, summary)
    claim.close()
    summary.complaints = summary.complaints[:20]
    sys.stdout.write(json.dumps(attrs.asdict(summary)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
