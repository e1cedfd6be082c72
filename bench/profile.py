"""`python -m bench.profile`: where the time of a small range goes, by function and by system call.

Three runs of wrk in under a minute: one that nothing disturbs, for the CPU time of a request; one watched by py-spy;
one under `strace -c`, which counts exactly and makes everything slower. The page keeps a section for each title.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from bench import data, loads, machine
from bench.data import Data
from bench.errors import BenchError
from bench.loads import Aim, Load
from bench.servers import AERO, KINDS, Place, Server, free_port, running
from bench.tables import table

PAGE = Path("docs/measurements/profile.md")
_HEADER = """# Profile of a small range

Written by `python -m bench.profile --title …`, one section for each title. py-spy looks 200 times a second and asks
the process nothing, so its shares of functions are rough; the counts of system calls are exact. The share of a
function is of the samples of the reactor's thread that are not in `epoll_wait`.
"""
_IMAGE_BYTES = 64 * data.MIB
_PYSPY = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
_FUNCTIONS = 30
_TICKS = os.sysconf("SC_CLK_TCK")
_WAITING = "doPoll", "DirectReads.poll"
_CALL = re.compile(r"^\s*[\d.]+\s+([\d.]+)\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.MULTILINE)


@attrs.frozen
class Function:
    """The share of the samples that are in a function itself, and of those that are in it or below it."""

    name: str
    own: float
    all: float


@attrs.frozen
class SystemCall:
    """The calls of a request, and the share of the kernel's time, both as strace sees them."""

    name: str
    calls: float
    share: float


@attrs.frozen
class Profile:
    """What a request takes; times in microseconds."""

    user: float
    kernel: float
    functions: Sequence[Function]
    system_calls: Sequence[SystemCall]


def parse_stacks(text: str) -> list[Function]:
    """Read the raw output of py-spy: stacks of the reactor's thread, which begin at its main loop."""
    own: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        if not any("mainLoop" in frame for frame in frames) or frames[-1].split(" (")[0].endswith(_WAITING):
            continue
        own[frames[-1]] += int(count)
        every.update(dict.fromkeys(frames, int(count)))
    total = sum(own.values()) or 1
    return [Function(name, count / total, every[name] / total) for name, count in own.most_common()]


def parse_calls(text: str, requests: int) -> list[SystemCall]:
    """Read the table of `strace -c`."""
    rows = [(name, int(calls), float(seconds)) for seconds, calls, name in _CALL.findall(text) if name != "total"]
    total = sum(seconds for _, _, seconds in rows) or 1.0
    return [SystemCall(name, calls / requests, seconds / total) for name, calls, seconds in rows]


def section(title: str, load: Load, profile: Profile, facts: Iterable[str]) -> str:
    """Return the section of the page about a profile."""
    functions = [(one.name, f"{one.own:.1%}", f"{one.all:.1%}") for one in profile.functions[:_FUNCTIONS]]
    calls = [(one.name, f"{one.calls:.3f}", f"{one.share:.1%}") for one in profile.system_calls if one.calls > 0.001]
    return "\n".join(
        (
            f"## {title}: {load.name}\n",
            f"{', '.join(facts)}. {profile.user:.1f} µs user, "  # noqa: ISC004
            f"{profile.kernel:.1f} µs kernel time a request.\n",
            table(("System call", "a request", "share of the kernel's time, traced"), calls),
            "",
            table(("Function", "itself", "with what it calls"), functions),
            "",
        )
    )


def put_section(page: str, text: str) -> str:
    """Return the page with a section, in the place of one with the same heading."""
    heading = text.partition("\n")[0]
    header, *old = re.split(r"^(?=## )", page or _HEADER, flags=re.MULTILINE)
    new = [text.rstrip() + "\n" if one.partition("\n")[0] == heading else one for one in old]
    if text.rstrip() + "\n" not in new:
        new.append(text.rstrip() + "\n")
    return "\n\n".join(part.strip() for part in (header, *new)) + "\n"


def measure(server: Server, load: Load, site: Data, cores: machine.Cores, seconds: int) -> Profile:
    """Run the load three times."""

    def run(number: int, length: int) -> loads.Run:
        return loads.wrk(server, load, Aim(4096, number), site, cores=cores.load, seconds=length)

    run(0, 1)
    before, done, after = _times(server), run(1, seconds), _times(server)
    user, kernel = ((late - early) / done.requests * 1e6 for early, late in zip(before, after, strict=True))
    with tempfile.TemporaryDirectory(prefix="aero-profile-") as name:
        stacks, calls = Path(name, "stacks"), Path(name, "calls")
        pid = str(server.process.pid)
        spy = [
            _PYSPY or "py-spy",
            "record",
            "--nonblocking",
            "-r",
            "200",
            "-d",
            str(seconds),
            "-f",
            "raw",
            "-o",
            str(stacks),
        ]
        with subprocess.Popen([*spy, "-p", pid], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            run(2, seconds + 2)
        with subprocess.Popen(
            ["strace", "-f", "-c", "-o", str(calls), "-p", pid], stderr=subprocess.DEVNULL
        ) as trace:
            time.sleep(1)
            traced = run(3, seconds)
            trace.send_signal(signal.SIGINT)
        functions = parse_stacks(stacks.read_text(encoding="utf-8"))
        system_calls = parse_calls(calls.read_text(encoding="utf-8"), traced.requests)
    return Profile(user, kernel, functions, system_calls)


def _times(server: Server) -> tuple[float, float]:
    """CPU seconds of the server: user and kernel."""
    text = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS


def _site(root: Path) -> Data:
    root.mkdir()
    (root / data.HOT).write_bytes(os.urandom(_IMAGE_BYTES))
    images = [{"id": data.HOT, "file": data.HOT, "name": data.HOT, "public": True}]
    (root / "manifest.json").write_text(json.dumps({"images": images}), encoding="utf-8")
    return Data(root, _IMAGE_BYTES, "")


def main() -> None:
    """Measure, print the section, and put it into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--title", help="of the section in the page (none: the page is left alone)")
    parser.add_argument("--size", type=int, default=4096, metavar="BYTES", help="of the ranges (4096)")
    parser.add_argument("--seconds", type=int, default=8, help="of each run (8)")
    given = parser.parse_args()
    if not (_PYSPY and shutil.which("strace")) or machine.missing_packages():
        raise BenchError("it takes py-spy (pip install py-spy), and strace, nginx-light and wrk of Debian")
    kind = next(kind for kind in KINDS if kind.name == AERO)
    load, cores = loads.ranges(given.size, 16), machine.our_cores()
    with tempfile.TemporaryDirectory(prefix="aero-profile-") as name:
        site = _site(Path(name, "images"))
        with running(kind, Place(site.root, Path(name, "server"), free_port()), cores.server) as server:
            profile = measure(server, load, site, cores, given.seconds)
    facts = f"Python {sys.version.split()[0]}", "one worker", "16 connections", "request log and metrics on"
    text = section(given.title or "Now", load, profile, facts)
    sys.stdout.write(text)
    if given.title:
        page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(put_section(page, text), encoding="utf-8")


if __name__ == "__main__":
    main()
