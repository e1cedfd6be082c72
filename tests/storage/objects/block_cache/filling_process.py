"""Workers that fill and evict blocks until they are killed; the program ends with status 1 if a byte is wrong.

It imports once, and forks each worker: a process that begins anew takes a hundred times as long.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.storage.objects.block_cache.workers import BLOCK, Origin, pattern, worker_of

SIZE = 12 * BLOCK
LIMIT = 16 * BLOCK
OBJECTS = 3
MOST_SECONDS = 0.03
"""A worker is killed within this time after it has begun to fill."""


def objects() -> list[Origin]:
    return [Origin(pattern(SIZE, seed)) for seed in range(OBJECTS)]


def fill(path: Path, seed: int, origins: list[Origin], begun: int) -> None:
    """Read ranges for ever, through a cache that is too small for them."""
    chance, worker = random.Random(seed), worker_of(path, LIMIT)
    os.write(begun, b".")
    while True:
        which = chance.randrange(OBJECTS)
        data = origins[which].data
        opened = worker.open(origins[which], f"{which}.img")
        offset = chance.randrange(SIZE)
        length = min(chance.randrange(1, SIZE), SIZE - offset)
        if worker.sent(opened, offset, length) != data[offset : offset + length]:
            os._exit(1)
        opened.close()


def forked(path: Path, seed: int, origins: list[Origin]) -> int:
    """Start a worker; return its process id once it fills."""
    reading, begun = os.pipe()
    process = os.fork()
    if not process:
        try:
            fill(path, seed, origins, begun)
        finally:
            os._exit(2)
    os.close(begun)
    if os.read(reading, 1) != b".":
        sys.exit("a worker did not begin")
    os.close(reading)
    return process


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(f"a worker found a wrong byte, or failed: {os.waitstatus_to_exitcode(status)}")


def main(path: Path, seed: int, kills: int) -> None:
    chance, origins = random.Random(seed), objects()
    survivor = forked(path, seed, origins)
    for number in range(kills):
        killed = forked(path, 1000 * seed + number, origins)
        time.sleep(chance.uniform(0, MOST_SECONDS))
        kill(killed)
    kill(survivor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
