"""Steps of the clock: the daemon's wall clock jumps by hours (libfaketime), the machine's own stays as it is."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from glob import glob
from pathlib import Path

from tests.blackbox.harness import until
from tests.blackbox.wire import NoReplyError, Wire, head

from torture.outcome import Outcome
from torture.stage import IMAGE, Stage, stage

_LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
_STEPS = ("-4h", "+4h", "+0", "-365d", "+365d")
_HEADER_SECONDS = 2
_SOON = 10.0


def clock_steps(count: int) -> Outcome:
    """Step the clock forth and back amid streams: nothing is cut before its time, and no time limit is lost."""
    fault, tried = (
        "clock steps",
        f"steps to {', '.join(_STEPS)} of the true time in turn, amid a stream (libfaketime)",
    )
    library = next(iter(glob(_LIBRARY)), None)  # noqa: PTH207 - an absolute pattern
    if library is None:
        return Outcome(fault, tried, skipped="there is no libfaketime; on Debian: apt-get install libfaketime")
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        offset = Path(name) / "offset"
        offset.write_text("+0", encoding="ascii")
        with stage(
            f"--header-timeout-secs={_HEADER_SECONDS}", manifest=_catalog("before"), env=_faked(library, offset)
        ) as scene:
            before = scene.footprint()
            with scene.watched():
                for number in range(count):
                    _step(scene, offset, _STEPS[number % len(_STEPS)], f"step {number}")
            after = scene.settled(before)
            scene.sound()
    saw = "streams and idle connections outlived them; slow heads got their 408, catalogs were read, in time"
    return Outcome(fault, tried, count, saw, scene.healthy, before, after, tuple(scene.complaints))


def _faked(library: str, offset: Path) -> dict[str, str]:
    """The variables that put a process's wall clock off by what the file says, and leave its monotonic one."""
    plain = dict.fromkeys(("FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT"), "1")
    return {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset), **plain}


def _catalog(name: str) -> bytes:
    return json.dumps({"images": [{"id": "disk", "file": "disk", "name": name}]}).encode("ascii")


def _step(scene: Stage, offset: Path, to: str, name: str) -> None:
    """Step while a stream, an idle connection and a slow head are under way; see to each of them."""
    with ExitStack() as held:
        stream, idle, slow = (held.enter_context(scene.daemon.dial(receive_buffer=4096)) for _ in range(3))
        stream.send(head("GET", IMAGE))
        stream.reply_head()
        got = stream.take(100_000)
        scene.check(idle.ask("GET", "/healthz").status == 200, f"no answer before {to}")
        _set(offset, to)
        slow.send(b"GET / HTTP/1.1\r\n")
        fresh = scene.daemon.root / ".manifest"
        fresh.write_bytes(_catalog(name))
        fresh.replace(scene.daemon.root / "manifest.json")
        scene.check(_status(slow) == 408, f"{to}: no 408 for a slow head")
        scene.check(_shows(scene, name), f"{to}: a new catalog was not read within {_SOON:g} s")
        scene.check(_status(idle, head("GET", "/healthz")) == 200, f"{to}: an idle connection was cut")
        got += stream.take(scene.content.size - len(got))
        scene.check(len(got) == scene.content.size, f"{to}: a stream was cut after {len(got)} bytes")


def _set(offset: Path, to: str) -> None:
    fresh = offset.with_suffix(".new")
    fresh.write_text(to, encoding="ascii")
    fresh.replace(offset)


def _status(wire: Wire, text: bytes = b"") -> int | None:
    wire.send(text)
    try:
        return wire.reply().status
    except NoReplyError:
        return None


def _shows(scene: Stage, name: str) -> bool:
    try:
        return until(lambda: bool(scene.daemon.ask(f"{IMAGE}/meta").json()["name"] == name), _SOON)
    except AssertionError:
        return False
