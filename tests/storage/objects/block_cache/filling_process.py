"""A worker that fills and evicts blocks until it is killed; it ends with status 1 if a byte is wrong."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.storage.objects.block_cache.workers import BLOCK, Origin, pattern, worker_of

SIZE = 12 * BLOCK
LIMIT = 16 * BLOCK
OBJECTS = 3


def objects() -> list[Origin]:
    return [Origin(pattern(SIZE, seed)) for seed in range(OBJECTS)]


def main(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    worker = worker_of(path, LIMIT)
    print("filling", flush=True)
    while True:
        which = chance.randrange(OBJECTS)
        origin = objects()[which]
        opened = worker.open(origin, f"{which}.img")
        offset = chance.randrange(SIZE)
        length = min(chance.randrange(1, SIZE), SIZE - offset)
        if worker.sent(opened, offset, length) != origin.data[offset : offset + length]:
            sys.exit(1)
        opened.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
