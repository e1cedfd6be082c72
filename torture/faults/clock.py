"""Steps of the clock: the daemon's wall clock jumps by hours (libfaketime), the machine's own stays as it is."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from glob import glob
from pathlib import Path

from tests.blackbox.harness import until
from tests.blackbox.raw_http import head

from torture.outcome import Outcome
from torture.trial import IMAGE, Trial, run_trial

_LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
NO_LIBRARY = "there is no libfaketime; on Debian: apt-get install libfaketime"
_STEPS = ("-4h", "+4h", "+0", "-365d", "+365d")
_HEADER_SECONDS = 2
_SOON = 10.0


def clock_steps(count: int) -> Outcome:
    """Step the clock forth and back amid streams: nothing is cut before its time, and no time limit is lost."""
    fault, tried = (
        "clock steps",
        f"steps to {', '.join(_STEPS)} of the true time in turn, amid a stream (libfaketime)",
    )
    library = faketime_library()
    if library is None:
        return Outcome(fault, tried, skipped=NO_LIBRARY)
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        offset = Path(name) / "offset"
        offset.write_text("+0", encoding="ascii")
        with run_trial(
            f"--header-timeout-secs={_HEADER_SECONDS}", manifest=_catalog("before"), env=faked_clock(library, offset)
        ) as trial:
            before = trial.footprint()
            with trial.with_live_clients():
                for number in range(count):
                    _step(trial, offset, _STEPS[number % len(_STEPS)], f"step {number}")
            after = trial.footprint_after(before)
            trial.check_alive()
    saw = "streams and idle connections outlived them; slow heads got their 408, catalogs were read, in time"
    return trial.outcome(fault, tried, count, saw, (before, after))


def faketime_library() -> str | None:
    """Return where libfaketime is, if it is installed."""
    return next(iter(glob(_LIBRARY)), None)  # noqa: PTH207 - an absolute pattern


def faked_clock(library: str, offset: Path) -> dict[str, str]:
    """Return the variables that put a process's wall clock off by what the file says, and leave its monotonic one."""
    plain = dict.fromkeys(("FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT"), "1")
    return {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset), **plain}


def _catalog(name: str) -> bytes:
    return json.dumps({"images": [{"id": "disk", "file": "disk", "name": name}]}).encode("ascii")


def _step(trial: Trial, offset: Path, to: str, name: str) -> None:
    """Step while a stream, an idle connection and a slow head are under way; see to each of them."""
    with ExitStack() as held:
        stream, idle, slow = (held.enter_context(trial.daemon.dial(receive_buffer=4096)) for _ in range(3))
        stream.send(head("GET", IMAGE))
        stream.reply_head()
        got = stream.take(100_000)
        trial.check(idle.ask("GET", "/healthz").status == 200, f"no answer before {to}")
        step_clock(offset, to)
        slow.send(b"GET / HTTP/1.1\r\n")
        fresh = trial.daemon.root / ".manifest"
        fresh.write_bytes(_catalog(name))
        fresh.replace(trial.daemon.root / "manifest.json")
        trial.check(slow.status() == 408, f"{to}: no 408 for a slow head")
        trial.check(_shows(trial, name), f"{to}: a new catalog was not read within {_SOON:g} s")
        trial.check(idle.status(head("GET", "/healthz")) == 200, f"{to}: an idle connection was cut")
        got += stream.take(trial.content.size - len(got))
        trial.check(len(got) == trial.content.size, f"{to}: a stream was cut after {len(got)} bytes")


def step_clock(offset: Path, to: str) -> None:
    """Put the clock off by so much from now on."""
    fresh = offset.with_suffix(".new")
    fresh.write_text(to, encoding="ascii")
    fresh.replace(offset)


def _shows(trial: Trial, name: str) -> bool:
    try:
        return until(lambda: bool(trial.daemon.ask(f"{IMAGE}/meta").json()["name"] == name), _SOON)
    except AssertionError:
        return False
