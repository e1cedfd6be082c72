"""Faults of the block cache's files and of its disk: no damaged byte is served, and the cache is mended by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.blackbox.harness import running, until
from tests.blackbox.raw_http import NoReplyError
from tests.blackbox.worker_processes import children_of, is_serving
from tests.object_store.server import ObjectStore

from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.file_pair import FilePair
from aero_storage.storage.objects.block_cache.pair_files import find_pair
from torture.bucket_readers import CUT, SERVED, Readers, Sightings, live_result, seen_until
from torture.bucket_trial import SIZE, BucketTrial, Root, home, run_bucket_trial
from torture.faults.cache_damages import RUNNING, STOPPED, Damage
from torture.mounts import fill, small_disk
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE

_READERS = 3
_STEADY = 40
_SECONDS = 15.0
_ROOM = 16 * MIB
"""Of the cache's disk."""


_WORKERS = 2


def damaged_caches(count: int, seed: str = "cache") -> Outcome:
    """Damage the files of a cache, between two runs of the daemon and beneath one: all bytes stay right."""
    rng, told, complaints = random.Random(seed), list[str](), list[str]()
    seen = Sightings()
    stopped, running = _chosen(count)
    with ObjectStore() as store, home() as place:
        root = Root.filled(store)
        for damage in stopped:
            _fill(root, place, complaints)
            with _pair(place / "cache") as (directory, pair):
                damage.do(directory, pair, rng)
            told.append(_meet_stopped(root, place, damage, complaints))
    for workers in (1, _WORKERS):
        with ObjectStore() as store, home() as place:
            told += _meet_all_running(Root.filled(store), place, running, rng, (seen, complaints), workers)
    tried = f"damages of a cache's files (seed {seed})"
    done = len(stopped) + 2 * len(running)
    return Outcome("a damaged cache", tried, done, "; ".join(told), live_result([seen]), complaints=tuple(complaints))


def _chosen(count: int) -> tuple[tuple[Damage, ...], tuple[Damage, ...]]:
    """Return the damages of so many trials: a running daemon has each of its damages twice."""
    running = RUNNING[: max(count // 3, 1)]
    return STOPPED[: max(count - 2 * len(running), 1)], running


def _meet_all_running(
    root: Root,
    place: Path,
    damages: tuple[Damage, ...],
    rng: random.Random,
    found: tuple[Sightings, list[str]],
    workers: int,
) -> list[str]:
    flags = () if workers == 1 else (f"--workers={workers}",)
    with run_bucket_trial(root, *flags, cache=place / "cache", complaints=found[1]) as trial:
        if workers > 1:
            until(lambda: all(is_serving(trial.daemon, 1 + number) for number in range(workers)), _SECONDS)
        processes = _processes(trial)
        told = [_meet_running(trial, damage, rng, found[0]) for damage in damages]
        trial.check(_processes(trial) == processes, f"{workers} workers: a process has ended")
    return told


def _processes(trial: BucketTrial) -> set[int]:
    """Return all processes of the daemon; those that ended by a signal had others in their place."""
    pid = trial.daemon.process.pid
    return {pid, *children_of(pid)}


def _fill(root: Root, place: Path, complaints: list[str]) -> None:
    with run_bucket_trial(root, cache=place / "cache", complaints=complaints) as trial:
        trial.daemon.ask(IMAGE)


@contextmanager
def _pair(cache: Path) -> Iterator[tuple[CacheDirectory, FilePair]]:
    """Open the one cached file."""
    directory = CacheDirectory(cache)
    pairs = [pair for name in directory.names() if (pair := find_pair(directory, name)) is not None]
    pair = next((one for one in pairs if one.layout.size == SIZE), None)
    try:
        if pair is None:
            raise FileNotFoundError(f"{cache} has no whole pair of the image")
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
    """Damage the cache of a daemon that runs, under readers: it goes on, and makes a new pair of files."""
    _read_all(trial, damage.name)
    with trial.root.readers(trial.daemon).reading(_READERS) as readers:
        trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"{damage.name}: not served before: {readers.seen}")
        seen = readers.count_from_now()
        trial.check(not _mapped(trial), f"{damage.name}: a process maps a file of the cache: {_mapped(trial)}")
        with _pair(trial.cache) as (directory, pair):
            damage.do(directory, pair, rng)
        seen_until(lambda: sum(seen.ends.values()) >= _STEADY, _SECONDS)
        trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"{damage.name}: not served again: {readers.seen}")
        is_made_anew = seen_until(lambda: _is_in_use(trial), _SECONDS)
        trial.check(is_made_anew, f"{damage.name}: no whole pair of files is made anew and used by all")
    for text in (*seen.wrongs, *readers.seen.wrongs):
        trial.check(holds=False, text=f"{damage.name}: {text}")
    trial.check(set(seen.ends) <= {SERVED, *damage.allowed}, f"{damage.name}: readers saw {seen}")
    trial.check(_is_cached_again(trial), f"{damage.name}: the cache is not whole again")
    total.took.extend(seen.took)
    return f"{damage.name}: {seen}"


def _is_in_use(trial: BucketTrial) -> bool:
    """Whether the pair on disk is whole and has all blocks, and every process that serves has just this one open."""
    try:
        with _pair(trial.cache) as (directory, pair):
            is_whole = pair.is_in_place(directory) and len(pair.map.present()) == pair.layout.count
            names = {directory.data(pair.layout.name), directory.map(pair.layout.name)}
    except OSError:
        return False
    opened = [_files_below(trial.cache / "objects", pid) for pid in _processes(trial)]
    return is_whole and all(set(map(str, names)) <= found for found in opened if found)


def _files_below(place: Path, pid: int) -> set[str]:
    """Return the files below a directory that a process has open; of one that was removed, the name says so."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    found = set[str]()
    for link in links:
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return {name for name in found if name.startswith(f"{place}/")}


def _mapped(trial: BucketTrial) -> set[str]:
    """Return the files of the cache that a process has mapped: when one is cut, a look at it ends the process."""
    lines = (
        line
        for pid in _processes(trial)
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    )
    return {line.split()[-1] for line in lines if str(trial.cache) in line}


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
                with running(place, *root.flags, f"--cache-dir={objects}", env=store.environ, metrics_at_once=False):
                    complaints.append("a daemon started over a read-only cache directory")
            except AssertionError as error:
                if "--cache-dir" not in str(error) or "Traceback" in str(error):
                    complaints.append(f"a start over a read-only cache directory: {error}")
