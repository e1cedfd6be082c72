"""Faults of a real cluster: processes of Ceph that stand still, and a daemon whose clock it does not believe."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from tests.blackbox.harness import running
from tools.stores import ceph as stores
from tools.stores.ceph import Ceph

from aero_storage.settings.origin_url import OriginUrl
from aero_storage.storage.objects.opening import open_origin
from torture.bucket_readers import CUT, SERVED, Readers, Sightings, live_result, seen_until, two_versions
from torture.bucket_trial import BUCKET, FLAGS, KEY, SIZE, home
from torture.faults.clock import NO_LIBRARY, faked_clock, faketime_library, step_clock
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE

_READERS, _STEADY, _RECOVERY_SECONDS = 3, 12, 60.0
_NOTICED_SECONDS = 0.5
_SKEWS = ("+30m", "-30m")
_STOPPED = ("osd.0", "osd.1", "osd.2", "gateway.0")
"""One after the other: a read goes to one of the copies, so one OSD at least is missed."""


def stopped_cluster(count: int) -> Outcome:
    """Stop each OSD, then the gateway, for so many seconds: nothing wrong, and all is well once they go on."""
    fault, tried = (
        "a cluster that stands still",
        f"seconds for which {', '.join(_STOPPED)} of Ceph stood still, each in its turn",
    )
    if reason := stores.missing():
        return Outcome(fault, tried, skipped=reason)
    complaints: list[str] = []
    with home() as place, ExitStack() as held:
        cluster = held.enter_context(stores.ceph(place / "ceph"))
        readers = held.enter_context(_readers(cluster, held, {}).reading(_READERS))
        seen = [_stop(cluster, name, readers, count, complaints) for name in _STOPPED]
    if not any(map(_was_noticed, seen[:-1])) or not _was_noticed(seen[-1]):
        complaints.append(f"nobody noticed what stood still: {seen}")
    saw = "; ".join(f"{name}: {one}" for name, one in zip(_STOPPED, seen, strict=True))
    return Outcome(fault, tried, count, saw, live_result(seen), complaints=tuple(complaints))


def _was_noticed(seen: Sightings) -> bool:
    return set(seen.ends) != {SERVED} or max(seen.took) >= _NOTICED_SECONDS


def wrong_clock(count: int) -> Outcome:
    """Put the daemon's clock off by half an hour, fast and slow: refused, and served once it is right."""
    fault, tried = (
        "a wrong clock",
        "steps of the daemon's clock by half an hour, either way, over Ceph (libfaketime)",
    )
    library = faketime_library()
    if reason := stores.missing() or ("" if library else NO_LIBRARY):
        return Outcome(fault, tried, skipped=reason)
    complaints: list[str] = []
    seen = Sightings()
    with home() as place, ExitStack() as held:
        offset = place / "offset"
        step_clock(offset, "+0")
        cluster = held.enter_context(stores.ceph(place / "ceph"))
        readers = _readers(cluster, held, faked_clock(library or "", offset))
        held.enter_context(readers.reading(_READERS))
        for number in range(count):
            _skew(readers, offset, _SKEWS[number % 2], seen, complaints)
    saw = f"{seen}; served again each time the clock was right"
    return Outcome(fault, tried, count, saw, live_result([seen]), complaints=tuple(complaints))


def _skew(readers: Readers, offset: Path, to: str, total: Sightings, complaints: list[str]) -> None:
    if not readers.wait_until_served(_STEADY, _RECOVERY_SECONDS):
        complaints.append(f"{to}: not served before: {readers.seen}")
    seen = readers.count_from_now()
    step_clock(offset, to)
    if not seen_until(lambda: seen.ends["500"] >= _READERS, _RECOVERY_SECONDS):
        complaints.append(f"{to}: nothing was refused: {seen}")
    step_clock(offset, "+0")
    if not readers.wait_until_served(_STEADY, _RECOVERY_SECONDS):
        complaints.append(f"{to}: not served again: {readers.seen}")
    if set(seen.ends) - {SERVED, CUT, "500"}:
        complaints.append(f"{to}: readers saw {seen}")
    complaints.extend(f"{to}: {text}" for text in (*seen.wrongs, *readers.seen.wrongs))
    total.ends.update(seen.ends)
    total.took.extend(seen.took)


def _readers(cluster: Ceph, held: ExitStack, variables: dict[str, str]) -> Readers:
    """Store the image and run a daemon without a cache over it."""
    access, version = cluster.access, two_versions(SIZE)[0]
    access.make_bucket(BUCKET)
    os.environ.update(access.environment)
    pin = open_origin(OriginUrl("s3", BUCKET, ""), access.environment, 20.0).put(KEY, version.data)
    daemon = held.enter_context(
        running(
            held.enter_context(home()),
            f"--images-root={access.url(BUCKET)}",
            *FLAGS,
            env={**access.environment, **variables},
            metrics_at_once=False,
        )
    )
    return Readers([daemon.port], {version.tag_of(pin.tag): version}, IMAGE, SIZE, MIB)


def _stop(cluster: Ceph, name: str, readers: Readers, seconds: int, complaints: list[str]) -> Sightings:
    if not readers.wait_until_served(_STEADY, _RECOVERY_SECONDS):
        complaints.append(f"{name}: not served before: {readers.seen}")
    process, seen = cluster.processes.running[name], readers.count_from_now()
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)
    if not readers.wait_until_served(_STEADY, _RECOVERY_SECONDS):
        complaints.append(f"{name}: not served again: {readers.seen}")
    if set(seen.ends) - {SERVED, CUT, "503"}:
        complaints.append(f"{name}: readers saw {seen}")
    complaints.extend(f"{name}: {text}" for text in (*seen.wrongs, *readers.seen.wrongs))
    return seen
