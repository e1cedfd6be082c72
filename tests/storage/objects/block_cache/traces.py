"""Traces of requests for blocks, made after recorded figures, and the hit rates of policies over them.

No recording of a session is at hand. A boot is made after what was measured: a Linux of 30 MiB touches 1,122 blocks
of 4 KiB, in runs, of which later ones come back to earlier ones. `python -m` with this module's name writes the files
of `tests/data/` anew: 40 images, drawn by Zipf. A line is the number of an image and the runs of blocks that a
session reads, as `first+count`.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator
from pathlib import Path

import attrs

from aero_storage.storage.objects.block_cache.sieve import EvictionPolicy, Sieve, Visits

DATA = Path(__file__).parents[3] / "data"
IMAGES, IMAGE_BLOCKS, BOOT_BLOCKS = 40, 2000, 60
SESSIONS = 200

Block = tuple[int, int]


@attrs.frozen
class MemoryVisits(Visits[Block]):
    used: set[Block] = attrs.field(factory=set)

    def add(self, key: Block) -> None:
        self.used.add(key)

    def take(self, key: Block) -> bool:
        was_used = key in self.used
        self.used.discard(key)
        return was_used


@attrs.frozen
class Lru(EvictionPolicy[Block]):
    """What SIEVE is compared with: the block goes that was not used for longest."""

    order: dict[Block, None] = attrs.field(factory=dict)

    def insert(self, key: Block) -> None:
        self.order[key] = None

    def touch(self, key: Block) -> None:
        self.order.pop(key, None)
        self.order[key] = None

    def victim(self) -> Block | None:
        return next(iter(self.order), None)

    def remove(self, key: Block) -> None:
        self.order.pop(key, None)


def sieve() -> Sieve[Block]:
    return Sieve(MemoryVisits())


def hit_rate(policy: EvictionPolicy[Block], trace: Iterator[Block], capacity: int) -> float:
    cached: set[Hashable] = set()
    hits = requests = 0
    for block in trace:
        requests += 1
        if block in cached:
            hits += 1
            policy.touch(block)
            continue
        if len(cached) >= capacity:
            victim = policy.victim()
            assert victim is not None
            policy.remove(victim)
            cached.discard(victim)
        cached.add(block)
        policy.insert(block)
    return hits / requests


def read_trace(name: str) -> Iterator[Block]:
    for line in (DATA / f"{name}.trace").read_text(encoding="ascii").splitlines():
        image, *runs = line.split()
        for run in runs:
            first, count = map(int, run.split("+"))
            yield from ((int(image), block) for block in range(first, first + count))


# Making


def _boot_runs(chance: random.Random) -> list[tuple[int, int]]:
    """The runs of a boot of one image: kernel and libraries, then programs all over the disk, some twice."""
    runs = [(0, 6)]
    while sum(count for _, count in runs) < BOOT_BLOCKS:
        runs.append((chance.randrange(IMAGE_BLOCKS - 8), chance.choice((1, 1, 1, 2, 4))))
    return [*runs, *chance.sample(runs, 8)]


def _session(chance: random.Random, boots: list[list[tuple[int, int]]], weights: list[float]) -> str:
    image = chance.choices(range(IMAGES), weights)[0]
    own = [(chance.randrange(IMAGE_BLOCKS - 4), chance.choice((1, 2, 3))) for _ in range(chance.randrange(20))]
    return _line(image, [*boots[image], *own])


def _line(image: int, runs: list[tuple[int, int]]) -> str:
    return " ".join([str(image), *(f"{first}+{count}" for first, count in runs)])


def made_traces() -> dict[str, list[str]]:
    """Boots alone; whole images read once; and boots with a scan among each ten."""
    chance = random.Random(13)
    boots = [_boot_runs(chance) for _ in range(IMAGES)]
    weights = [1 / (rank + 1) for rank in range(IMAGES)]
    boot = [_session(chance, boots, weights) for _ in range(SESSIONS)]
    scan = [_line(chance.randrange(IMAGES), [(0, IMAGE_BLOCKS)]) for _ in range(30)]
    mix = [
        line
        for number, session in enumerate(boot)
        for line in (
            [session, _line(chance.randrange(IMAGES), [(0, IMAGE_BLOCKS // 4)])] if number % 10 == 9 else [session]
        )
    ]
    return {"boot": boot, "scan": scan, "mix": mix}


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for trace_name, lines in made_traces().items():
        (DATA / f"{trace_name}.trace").write_text("\n".join([*lines, ""]), encoding="ascii")
