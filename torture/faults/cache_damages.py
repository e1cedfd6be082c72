"""Damages of the files of a block cache which holds a whole image."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs

from aero_storage.linux.hole_punching import punch_hole
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.file_pair import FilePair
from torture.bucket_readers import CUT

_FLIPS = 12


@attrs.frozen
class Damage:
    """Something that is done to the files of a cache which holds the whole image."""

    name: str
    do: Callable[[CacheDirectory, FilePair, random.Random], object]
    is_counted: bool = True
    """Whether the daemon counts damaged blocks."""
    allowed: tuple[str, ...] = ()
    """What readers may see, apart from whole responses, where it is done to a daemon that runs."""


def _flip(path: Path, rng: random.Random, start: int, end: int) -> None:
    with path.open("r+b") as file:
        for _ in range(_FLIPS):
            at = rng.randrange(start, end)
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))


def _flip_data(directory: CacheDirectory, pair: FilePair, rng: random.Random) -> None:
    _flip(directory.data(pair.layout.name), rng, 0, pair.layout.size)


def _flip_records(directory: CacheDirectory, pair: FilePair, rng: random.Random) -> None:
    _flip(directory.map(pair.layout.name), rng, pair.layout.record_at(0), pair.layout.visit_at(0))


def _flip_header(directory: CacheDirectory, pair: FilePair, rng: random.Random) -> None:
    _flip(directory.map(pair.layout.name), rng, 0, pair.layout.record_at(0))


def _punch(_directory: CacheDirectory, pair: FilePair, rng: random.Random) -> None:
    for index in rng.sample(range(pair.layout.count), _FLIPS):
        punch_hole(pair.descriptor, pair.layout.offset(index), pair.layout.length(index))


def _cut(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(rng.randrange(path.stat().st_size))


def _cut_data(directory: CacheDirectory, pair: FilePair, rng: random.Random) -> None:
    _cut(directory.data(pair.layout.name), rng)


def _cut_map(directory: CacheDirectory, pair: FilePair, rng: random.Random) -> None:
    _cut(directory.map(pair.layout.name), rng)


def _move_blocks(_directory: CacheDirectory, pair: FilePair, _rng: random.Random) -> None:
    """Exchange two blocks with their records: only the checksum's seed tells."""
    first, second = pair.read(0), pair.read(1)
    records = pair.map.record(0), pair.map.record(1)
    for index, data, record in ((0, second, records[1]), (1, first, records[0])):
        pair.map.write(index, record)
        with Path(f"/proc/self/fd/{pair.descriptor}").open("r+b") as file:
            file.seek(pair.layout.offset(index))
            file.write(data)


def _remove_data(directory: CacheDirectory, pair: FilePair, _rng: random.Random) -> None:
    directory.data(pair.layout.name).unlink()


def _remove_pair(directory: CacheDirectory, pair: FilePair, _rng: random.Random) -> None:
    for path in (directory.data(pair.layout.name), directory.map(pair.layout.name)):
        path.unlink()


def _remove_all(directory: CacheDirectory, _pair: FilePair, _rng: random.Random) -> None:
    for path in directory.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link(path: Path) -> None:
    """Put a symbolic link to as many other bytes in place of a file, at one moment."""
    others, link = path.parents[2] / f"others-{path.suffix[1:]}", path.with_suffix(".link")
    others.write_bytes(bytes(path.stat().st_size))
    link.symlink_to(others)
    link.replace(path)


def _link_data(directory: CacheDirectory, pair: FilePair, _rng: random.Random) -> None:
    _link(directory.data(pair.layout.name))


def _link_map(directory: CacheDirectory, pair: FilePair, _rng: random.Random) -> None:
    _link(directory.map(pair.layout.name))


def _replace_data(directory: CacheDirectory, pair: FilePair, rng: random.Random) -> None:
    """Put other bytes in place of the data, at one moment: no block is what the map says."""
    path = directory.data(pair.layout.name)
    path.with_suffix(".new").write_bytes(rng.randbytes(pair.layout.size))
    path.with_suffix(".new").replace(path)


def _scribble(directory: CacheDirectory, _pair: FilePair, rng: random.Random) -> None:
    directory.journal.write_bytes(rng.randbytes(10_000))


STOPPED = (
    Damage("flipped bits in data", _flip_data),
    Damage("flipped bits in the map", _flip_records),
    Damage("a hole beside present blocks", _punch),
    Damage("data cut short", _cut_data),
    Damage("two blocks exchanged", _move_blocks),
    Damage("flipped bits in the map's header", _flip_header),
    Damage("a map cut short", _cut_map),
    Damage("a link in place of the data", _link_data),
    Damage("no data", _remove_data, is_counted=False),
    Damage("a journal of random bytes", _scribble, is_counted=False),
)
RUNNING = (
    Damage("a map cut short under readers", _cut_map),
    Damage("data cut short under readers", _cut_data, allowed=(CUT,)),
    Damage("files removed under readers", _remove_pair),
    Damage("a link in place of the data under readers", _link_data),
    Damage("a link in place of the map under readers", _link_map),
    Damage("other data in its place under readers", _replace_data),
    Damage("all of the cache removed under readers", _remove_all),
    Damage("a journal of random bytes under readers", _scribble),
)
"""Done to a daemon of one process, and to one of several."""
