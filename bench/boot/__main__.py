"""`make bench-boot`: boot a Linux in a browser over links of several delays; write docs/measurements/boot.md."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from bench.boot.loaders import CLASSROOMS, LOADERS, V86, Loader
from bench.boot.plot import draw
from bench.boot.report import report
from bench.boot.results import Boot, Results, from_json
from bench.boot.runs import measure, prepared
from bench.errors import BenchError
from bench.suites import say

NAMES = [loader.name for loader in LOADERS]
VENV = Path(__file__).parents[2] / ".venv"
GUEST = VENV / "guest"
V86_BUILD = VENV / "browser" / "node_modules" / "v86" / "build"


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if all was measured, whatever the figures."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through all `finally`: nothing is left behind
    try:
        for results in [_read(given.redraw)] if given.redraw else _measure(given):
            _write(results, given.output)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-boot BOOT_ARGS=…", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is booted (5)")
    add("--rtts", type=_numbers, default=[0, 20, 50, 100], metavar="MS,…", help="round trips (0,20,50,100)")
    add("--mbit", type=float, default=20.0, help="the rate to the browser; 0 for none (20)")
    add("--loaders", type=_loaders, default=list(LOADERS), metavar="NAME,…", help=f"of {', '.join(NAMES)}")
    add("--output", type=Path, default=Path("docs/measurements"), help="directory for what is written")
    add("--redraw", type=Path, metavar="JSON", help="measure nothing, write the page of these figures anew")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _loaders(text: str) -> list[Loader]:
    words = text.split(",")
    if unknown := [word for word in words if word not in NAMES]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(NAMES)}")
    return [loader for loader in LOADERS if loader.name in words]


def _measure(given: argparse.Namespace) -> Iterator[Results]:
    """Yield the results after each round, so that a run that is ended early leaves those of the rounds before."""
    rtts: list[int] = sorted({0, *given.rtts})  # the profile is learned, and ratios are taken, without a delay
    with prepared(rtts, given.mbit or None, GUEST, V86_BUILD) as bench:
        (own,) = (loader for loader in LOADERS if loader.name == V86)
        read = bench.learn(own)
        reaches = [bench.reach(rtt) for rtt in rtts]
        readings = bench.readings(given.rounds)
        classrooms = [bench.classroom(loader) for loader in given.loaders if loader.name in CLASSROOMS]
        boots = list[Boot]()
        for number in range(1, given.rounds + 1):
            say(f"round {number}")
            boots += measure(bench, given.loaders, rtts, say)
            yield Results(boots, reaches, _facts(number), read, given.mbit or None, readings, classrooms)


def _facts(rounds: int) -> dict[str, str]:
    guest = json.loads((GUEST / "linux.json").read_text(encoding="utf-8"))
    v86 = json.loads((V86_BUILD.parent / "package.json").read_text(encoding="utf-8"))
    return {
        "CPU": _cpu(),
        "Kernel": platform.release(),
        "Browser": _said("chromium", "--version"),
        "v86": v86["version"],
        "nginx": _said("/usr/sbin/nginx", "-v").removeprefix("nginx version: "),
        "Guest": f"Linux {guest['kernel']}, {guest['files']['linux.img'][:16]}…",
        "Rounds": str(rounds),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0]} × {len(names)}" if names else platform.machine()


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def _read(path: Path) -> Results:
    return from_json(json.loads(path.read_text(encoding="utf-8")))


def _write(results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "boot.json").write_text(json.dumps(attrs.asdict(results), indent=1) + "\n", encoding="utf-8")
    (directory / "boot.md").write_text(report(results), encoding="utf-8")
    draw(results, directory / "boot.png")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
