"""Faults of a disk: reads that take their time, reads that fail, and one that does not answer at all."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.blackbox.harness import until
from tests.blackbox.raw_http import NoReplyError, head

from torture.faults import fuse
from torture.live_clients import LiveClients
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE, Trial, run_trial

_SLOW = "/v1/images/slow-0"
_DELAY = 1.0
"""Seconds that every read of the slow disk takes."""
_YIELD_SECONDS, _HANG_SECONDS = 6.5, 3.0
"""How long the disk does not answer: until places have been given up, and then."""
_STOP_SECONDS = 15.0
"""More than the grace of a second, and what a disk is given to answer."""
_AT_ONCE = 8
_HUNG, _TOO_MANY = 20, 32
"""Images on the disk that hangs: more than threads for one disk; and so many that all places are taken."""
_ASKED = ("", "/data", "/chunked/manifest.json", "/meta")
"""What is asked of each of them meanwhile; of the last one by clients that leave at once."""
_FILES = {"disk": "disk", **{f"slow-{number}": "cold/disk" for number in range(_TOO_MANY)}}
_IMAGES = [{"id": name, "file": file, "name": name} for name, file in _FILES.items()]


def slow_disk(count: int) -> Outcome:
    """Delay and fail reads of one disk, and let it hang: requests for another do not wait, no byte is wrong."""
    fault = "slow and failing disk"
    tried = (
        f"reads that take {_DELAY:g} s, as many that fail in mid-stream, and {(_HUNG + _TOO_MANY) * len(_ASKED)}"
        f" requests for {_TOO_MANY} images, and a SIGTERM, while nothing answers, on a FUSE file system"
    )
    if reason := fuse.missing():
        return Outcome(fault, tried, skipped=reason)
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        cold = Path(name) / "images" / "cold"
        cold.mkdir(parents=True)
        manifest = json.dumps({"images": _IMAGES}).encode("ascii")
        with (
            run_trial("--require-manifest", home=Path(name), manifest=manifest) as trial,
            fuse.mounted(cold, trial.content) as disk,
        ):
            until(lambda: trial.daemon.ask(_SLOW, "HEAD").status == 200)
            before = trial.footprint()
            with trial.with_live_clients() as watch:
                slow, hung = _wait(trial, disk, count), _hang(trial, disk, _HUNG, lambda: _live_on(trial, watch))
            hung += _hang(trial, disk, _TOO_MANY, lambda: _get_places(trial))
            after, cut = trial.footprint_after(before), sum(_fail(trial, disk, one) for one in range(count))
            trial.check(cut, "no download was cut: nothing was tried")
            until(lambda: _ask(trial, 0, 10))
            trial.check_alive()
            _stop(trial, disk)
    hot = trial.live
    trial.check(hot and hot.slowest < _DELAY, f"a hot request took {hot.slowest if hot else 0:.3f} s")
    saw = (
        f"{slow} slow ones whole, {cut} failed ones reset or refused, {hung} answered once the disk did;"
        f" {disk.reads} reads"
    )
    return trial.outcome(fault, tried, 2 * count + hung, saw, (before, after))


def _wait(trial: Trial, disk: fuse.SlowDisk, count: int) -> int:
    """Ask for parts of the slow image that nobody asked for before, next to hot requests; how many came whole."""
    step = trial.content.size // (count + 1)
    disk.delay = _DELAY
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        whole = sum(pool.map(lambda number: _ask(trial, (number + 1) * step, 4096), range(count)))
    disk.delay = 0.0
    trial.check(whole == count, f"{count - whole} of {count} slow requests did not come whole")
    return whole


def _hang(trial: Trial, disk: fuse.SlowDisk, images: int, meanwhile: Callable[[], None]) -> int:
    """Ask for images of a disk that hangs, do something else, and let it answer; how many were answered then."""
    paths = [f"/v1/images/slow-{number}{rest}" for rest in _ASKED for number in range(images)]
    with ExitStack() as held:
        disk.answers.clear()
        held.callback(disk.answers.set)
        conns = [held.enter_context(trial.daemon.dial()) for _ in paths]
        for conn, path in zip(conns, paths, strict=True):
            conn.send(head("GET", path, {"Range": "bytes=0-9"}))
        for conn in conns[-images:]:
            conn.close()
        meanwhile()
        disk.answers.set()
        statuses = Counter(conn.reply(patience=20).status for conn in conns[:-images])
    trial.check(set(statuses) <= {200, 206, 404, 429}, f"while a disk hung: {statuses}")
    return statuses.total()


def _live_on(trial: Trial, watch: LiveClients) -> None:
    """Check that the live clients are served."""
    served = watch.requests
    time.sleep(_HANG_SECONDS)
    trial.check(watch.requests - served > _HANG_SECONDS * 10, "live clients were held up while a disk hung")


def _get_places(trial: Trial) -> None:
    """Check that whoever waits for the disk has given its place up after five seconds."""
    time.sleep(_YIELD_SECONDS)
    statuses = Counter(trial.daemon.ask(IMAGE, fields={"Range": "bytes=0-9"}).status for _ in range(50))
    trial.check(set(statuses) == {206}, f"while all places waited for a disk: {statuses}")


def _stop(trial: Trial, disk: fuse.SlowDisk) -> None:
    """A disk that hangs does not keep the daemon from ending."""
    daemon = trial.daemon
    with daemon.dial() as conn:
        disk.answers.clear()
        conn.send(head("GET", _SLOW, {"Range": f"bytes={trial.content.size // 2}-"}))
        until(lambda: daemon.metrics().value("aero_storage_requests_in_flight") >= 2)
        daemon.process.terminate()
        try:
            until(lambda: _has_ended(daemon.process.pid), _STOP_SECONDS)
        except AssertionError:
            trial.check(holds=False, text="while the disk hung, the daemon did not end")
        disk.answers.set()
        status = daemon.process.wait(_STOP_SECONDS)
        trial.check(status == 0, f"told to stop while the disk hung, the daemon ended with status {status}")


def _has_ended(pid: int) -> bool:
    """Whether a process has done all that it can: a thread whose request FUSE has taken is the kernel's to hold."""
    status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return status.rpartition(")")[2].split()[0] == "Z"


def _ask(trial: Trial, offset: int, length: int) -> bool:
    reply = trial.daemon.ask(_SLOW, fields={"Range": f"bytes={offset}-{offset + length - 1}"})
    wrong = trial.content.wrong_bytes(reply.body, offset)
    trial.check(reply.status == 500 or not wrong, f"{wrong} wrong bytes at {offset} of the slow image")
    return reply.status == 206 and reply.ending == "whole"


def _fail(trial: Trial, disk: fuse.SlowDisk, number: int) -> bool:
    """Let the disk fail in the middle of a download; whether it was cut. Its bytes must be right up to there."""
    with trial.daemon.dial(receive_buffer=4096) as conn:
        conn.send(head("GET", _SLOW))
        try:
            start = conn.reply_head()
        except NoReplyError:
            return True
        got = conn.take(random.Random(number).randrange(MIB))
        disk.fails = True
        try:
            got += conn.take(trial.content.size - len(got))
        finally:
            disk.fails = False
    wrong = trial.content.wrong_bytes(got)
    trial.check(not wrong, f"{wrong} of {len(got)} bytes are wrong before a failed read")
    whole = len(got) == start.length
    trial.check(whole or conn.ending == "reset", f"a clean end after {len(got)} of {start.length} bytes")
    return not whole
