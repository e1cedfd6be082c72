"""Faults of processes over a bucket: fillers of a cache, workers and replicas that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.blackbox.harness import Daemon, environment, running, until
from tests.blackbox.raw_http import head
from tests.blackbox.worker_processes import is_serving, wait_for_replacement, worker_pids
from tests.object_store.server import ObjectStore

from torture.bucket_readers import CUT, LOST, SERVED, Readers, Sightings, live_result, seen_until
from torture.bucket_trial import BucketTrial, Root, home, run_bucket_trial
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE

_READERS, _STEADY, _SECONDS = 3, 30, 20.0
_WORKERS = 2
_KILLS_OF_WORKERS = 3
_SMALL_CACHE = MIB
_REPLICAS = 3
_FILL_SECONDS = 240.0


def kills_in_fills(count: int, seed: str = "fills") -> Outcome:
    """Kill processes that fill a cache, then workers that do: no block that is present is wrong, none is lost."""
    with home() as place:
        command = [sys.executable, "-m", "torture.cache_filler", str(place / "cache"), str(count), seed]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=_FILL_SECONDS, check=False
        )
    if done.returncode:
        return Outcome("kill -9 in a fill", "fillers", count, complaints=(done.stderr[-600:],))
    found = json.loads(done.stdout)
    complaints: list[str] = list(found["complaints"])
    seen = _kill_workers(_KILLS_OF_WORKERS, random.Random(seed), complaints)
    saw = f"{found['present']:,} blocks were present after the kills, all right; of the workers readers saw {seen}"
    tried = f"of processes that fill a cache and evict, and {_KILLS_OF_WORKERS} of {_WORKERS} workers (seed {seed})"
    return Outcome("kill -9 in a fill", tried, count, saw, live_result([seen]), complaints=tuple(complaints))


def _kill_workers(count: int, rng: random.Random, complaints: list[str]) -> Sightings:
    with ObjectStore() as store, home() as place, ExitStack() as held:
        root = Root.filled(store)
        trial = held.enter_context(
            run_bucket_trial(
                root,
                f"--workers={_WORKERS}",
                cache=place / "cache",
                cache_bytes=_SMALL_CACHE,
                complaints=complaints,
            )
        )
        until(lambda: all(is_serving(trial.daemon, 1 + number) for number in range(_WORKERS)), _SECONDS)
        readers = held.enter_context(root.readers(trial.daemon).reading(_READERS))
        for number in range(count):
            seen_until(lambda: readers.seen.ends[SERVED] >= rng.randrange(1, _STEADY), _SECONDS)
            victim = 1 + number % _WORKERS
            os.kill(worker_pids(trial.daemon)[victim], signal.SIGKILL)
            wait_for_replacement(trial.daemon, victim, 2 + number // _WORKERS)
        seen = readers.seen
        _check(trial, readers, seen, "workers that are killed")
    return seen


def _check(trial: BucketTrial, readers: Readers, seen: Sightings, name: str) -> None:
    trial.check(readers.wait_until_served(_STEADY, _SECONDS), f"{name}: not served again: {readers.seen}")
    trial.check(set(seen.ends) <= {SERVED, CUT, LOST}, f"{name}: readers saw {seen}")
    for text in (*seen.wrongs, *readers.seen.wrongs):
        trial.check(holds=False, text=f"{name}: {text}")


def replicas(count: int) -> Outcome:
    """Kill one of three replicas under load: a reader goes on at another where it was cut off, under the same tag."""
    complaints: list[str] = []
    with ObjectStore() as store, home() as place, ExitStack() as held:
        root = Root.filled(store)
        caches = [place / f"cache-{number}" for number in range(_REPLICAS)]
        trials = [
            held.enter_context(run_bucket_trial(root, cache=cache, complaints=complaints)) for cache in caches[1:]
        ]
        tags = {trial.daemon.ask(IMAGE, "HEAD")["ETag"] for trial in trials}
        seen = Sightings()
        for _ in range(count):
            _lose_replica(root, caches[0], trials, tags, seen)
        trials[0].check(len(tags) == 1, f"replicas have several tags: {tags}")
    saw = f"readers of all three saw {seen}; {count} downloads went on at another replica, under the same tag"
    tried = "replicas of three, killed in mid-stream and started again over the cache that was left"
    return Outcome("replicas", tried, count, saw, live_result([seen]), complaints=tuple(complaints))


def _lose_replica(root: Root, cache: Path, trials: list[BucketTrial], tags: set[str], total: Sightings) -> None:
    """Start one more replica, kill it under readers of all, and go on at another."""
    first = trials[0]
    flags = (*root.flags, f"--cache-dir={cache}")
    with (
        home() as place,
        running(place, *flags, env=root.store.environ, metrics_at_once=False) as victim,
        ExitStack() as held,
    ):
        readers = root.readers(victim, *(trial.daemon for trial in trials))
        held.enter_context(readers.reading(_READERS))
        first.check(readers.wait_until_served(_STEADY, _SECONDS), f"replicas: not served before: {readers.seen}")
        seen = readers.count_from_now()
        tag, got = _cut_download(victim)
        rest = first.daemon.ask(IMAGE, fields={"Range": f"bytes={len(got)}-", "If-Range": tag})
        whole = root.tags[tag].is_right(got + rest.body, 0) and rest.ending == "whole" and rest.status == 206
        first.check(whole, f"a download does not go on at another replica: {rest.status}, {rest.ending}")
        tags.add(tag)
        readers.ports = [trial.daemon.port for trial in trials]
        _check(first, readers, seen, "a replica that is killed")
    total.ends.update(seen.ends)
    total.took.extend(seen.took)


def _cut_download(victim: Daemon) -> tuple[str, bytes]:
    """Begin to read the image, and kill the replica; return the tag and what came."""
    with victim.dial(receive_buffer=4096) as conn:
        conn.send(head("GET", IMAGE))
        tag = conn.reply_head()["ETag"]
        got = conn.take(MIB)
        victim.process.kill()
        victim.process.wait()
        got += conn.rest()
    return tag, got
