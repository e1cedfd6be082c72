"""Faults of the block cache's files and of its disk: no damaged byte is served, and the cache is mended by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
from tests.blackbox.harness import running
from tests.blackbox.raw_http import NoReplyError
from tests.object_store.server import ObjectStore

from aero_storage.linux.hole_punching import punch_hole
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.file_pair import FilePair
from aero_storage.storage.objects.block_cache.pair_files import find_pair
from torture.bucket_readers import CUT, SERVED, Readers, Sightings, live_result, seen_until
from torture.bucket_trial import SIZE, BucketTrial, Root, home, run_bucket_trial
from torture.mounts import fill, small_disk
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE

_READERS = 3
_STEADY = 40
_SECONDS = 15.0
_FLIPS = 12
_ROOM = 16 * MIB
"""Of the cache's disk."""


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
    Damage("no data", _remove_data, is_counted=False),
    Damage("a journal of random bytes", _scribble, is_counted=False),
)
RUNNING = (
    Damage("data cut short under readers", _cut_data, is_counted=False, allowed=(CUT,)),
    Damage("a journal of random bytes under readers", _scribble, is_counted=False),
    Damage("a map cut short under readers", _cut_map, is_counted=False, allowed=(CUT,)),
)


def damaged_caches(count: int, seed: str = "cache") -> Outcome:
    """Damage the files of a cache, between two runs of the daemon and beneath one: all bytes stay right."""
    rng, told, complaints = random.Random(seed), list[str](), list[str]()
    seen = Sightings()
    stopped = STOPPED[: max(count - len(RUNNING), 1)]
    with ObjectStore() as store, home() as place:
        root = Root.filled(store)
        for damage in stopped:
            _fill(root, place, complaints)
            with _pair(place / "cache") as (directory, pair):
                damage.do(directory, pair, rng)
            told.append(_meet_stopped(root, place, damage, complaints))
        with run_bucket_trial(root, cache=place / "cache", complaints=complaints) as trial:
            told += [_meet_running(trial, damage, rng, seen) for damage in RUNNING]
    tried = f"damages of a cache's files (seed {seed})"
    count = len(stopped) + len(RUNNING)
    return Outcome(
        "a damaged cache", tried, count, "; ".join(told), live_result([seen]), complaints=tuple(complaints)
    )


def _fill(root: Root, place: Path, complaints: list[str]) -> None:
    with run_bucket_trial(root, cache=place / "cache", complaints=complaints) as trial:
        trial.daemon.ask(IMAGE)


@contextmanager
def _pair(cache: Path) -> Iterator[tuple[CacheDirectory, FilePair]]:
    """Open the one cached file."""
    directory = CacheDirectory(cache)
    pairs = [pair for name in directory.names() if (pair := find_pair(directory, name)) is not None]
    pair = next(one for one in pairs if one.layout.size == SIZE)
    try:
        yield directory, pair
    finally:
        for one in pairs:
            one.close()


def _meet_stopped(root: Root, place: Path, damage: Damage, complaints: list[str]) -> str:
    """Start a daemon over a damaged cache: the image is right, the cache whole again."""
    with run_bucket_trial(root, cache=place / "cache", complaints=complaints) as trial:
        before = root.store.count("get", key="disk")
        _read_all(trial, damage.name)
        fetched = root.store.count("get", key="disk") - before
        damaged = trial.daemon.metrics().value("aero_storage_cache_damaged_total")
        trial.check(damaged or not damage.is_counted, f"{damage.name}: no damaged block was counted")
        trial.check(_is_cached_again(trial), f"{damage.name}: the cache is not whole again")
    return f"{damage.name}: {damaged:.0f} blocks thrown away, {fetched} fetched anew"


def _read_all(trial: BucketTrial, name: str) -> None:
    try:
        reply = trial.daemon.ask(IMAGE)
    except NoReplyError as error:
        trial.check(holds=False, text=f"{name}: the image stood still: {str(error)[:80]}")
        return
    right = trial.root.tags[reply["ETag"]].is_right(reply.body, 0) and len(reply.body) == trial.root.size
    trial.check(right, f"{name}: the image is wrong, or ended by {reply.ending} after {len(reply.body)} bytes")


def _is_cached_again(trial: BucketTrial) -> bool:
    """Whether, soon, all of the image comes without a GET at the store."""

    def is_whole() -> bool:
        before = trial.root.store.count("get", key="disk")
        _read_all(trial, "once more")
        return trial.root.store.count("get", key="disk") == before

    return seen_until(is_whole, _SECONDS)


def _meet_running(trial: BucketTrial, damage: Damage, rng: random.Random, total: Sightings) -> str:
    """Damage the cache of a daemon that runs, under readers."""
    _read_all(trial, damage.name)
    with trial.root.readers(trial.daemon).reading(_READERS) as readers:
        trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"{damage.name}: not served before: {readers.seen}")
        seen = readers.count_from_now()
        with _pair(trial.cache) as (directory, pair):
            damage.do(directory, pair, rng)
        seen_until(lambda: sum(seen.ends.values()) >= _STEADY, _SECONDS)
        trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"{damage.name}: not served again: {readers.seen}")
    for text in (*seen.wrongs, *readers.seen.wrongs):
        trial.check(holds=False, text=f"{damage.name}: {text}")
    trial.check(set(seen.ends) <= {SERVED, *damage.allowed}, f"{damage.name}: readers saw {seen}")
    trial.check(_is_cached_again(trial), f"{damage.name}: the cache is not whole again")
    total.took.extend(seen.took)
    return f"{damage.name}: {seen}"


def full_cache_disk(count: int) -> Outcome:
    """Fill the disk of the cache, then have one that takes nothing: all goes on, through memory."""
    fault = "full and read-only cache disk"
    tried = "responses on a full disk, on a read-only one, and when there is room again"
    complaints: list[str] = []
    with ObjectStore() as store, home() as place, ExitStack() as held:
        (place / "cache").mkdir()
        if not held.enter_context(small_disk(place / "cache", _ROOM)):
            return Outcome(fault, tried, skipped="mounting a tmpfs needs root")
        root = Root.filled(store)
        trial = held.enter_context(run_bucket_trial(root, cache=place / "cache", complaints=complaints))
        readers = held.enter_context(root.readers(trial.daemon).reading(_READERS))
        seen = [_on_full_disk(trial, readers, count), _on_read_only_disk(trial, readers, count)]
        trial.check(_is_cached_again(trial), "the cache is not whole again")
    _check_start(complaints)
    saw = f"full: {seen[0]}; read-only: {seen[1]}; a start over a read-only directory is refused with one line"
    return Outcome(fault, tried, count, saw, live_result(seen), complaints=tuple(complaints))


def _on_full_disk(trial: BucketTrial, readers: Readers, count: int) -> Sightings:
    """Fill the disk before the image is read."""
    ballast = trial.cache / "ballast"
    fill(ballast)
    seen = _watched(trial, readers, count, "a full disk")
    trial.check(trial.cache_counter("miss") > 1, "a full disk: nothing was read")
    ballast.unlink()
    return seen


def _on_read_only_disk(trial: BucketTrial, readers: Readers, count: int) -> Sightings:
    """Cover the directory by one that takes nothing, and have a new version of the image."""
    root = trial.root
    with small_disk(trial.cache / "objects", _ROOM, read_only=True):
        root.put(root.versions[1])
        return _watched(trial, readers, count, "a read-only disk")


def _watched(trial: BucketTrial, readers: Readers, count: int, name: str) -> Sightings:
    seen = readers.count_from_now()
    trial.check(seen_until(lambda: seen.ends[SERVED] >= count, 4 * _SECONDS), f"{name}: readers saw {seen}")
    trial.check(set(seen.ends) <= {SERVED, CUT}, f"{name}: readers saw {seen}")
    for text in seen.wrongs:
        trial.check(holds=False, text=f"{name}: {text}")
    return seen


def _check_start(complaints: list[str]) -> None:
    """A cache directory that takes nothing is an error of the start."""
    with ObjectStore() as store, home() as place:
        root, objects = Root.filled(store), place / "cache"
        objects.mkdir()
        with small_disk(objects, _ROOM, read_only=True):
            try:
                with running(place, *root.flags, f"--cache-dir={objects}", env=store.environ):
                    complaints.append("a daemon started over a read-only cache directory")
            except AssertionError as error:
                if "--cache-dir" not in str(error) or "Traceback" in str(error):
                    complaints.append(f"a start over a read-only cache directory: {error}")
