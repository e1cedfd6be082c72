"""`make bench`: measure the servers side by side; write docs/measurements/benchmarks.md, .json and .png."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from bench import bucket, data, loads, machine, memory, suites
from bench.errors import BenchError
from bench.latency import ALONE
from bench.loads import Aim
from bench.plot import draw
from bench.report import report
from bench.results import BucketRow, Results, completed, from_json
from bench.servers import AERO, BEHIND, KINDS, NGINX, NO_EXPRESS, NO_LOG, Kind, daemon_flags
from bench.streams import COLD, PACED, WARM
from bench.suites import Bench, say
from bench.targets import SLOW_CLIENTS

PARTS = ("throughput", "workers", "memory", "latency", "changes", "bucket")
NAMES = tuple(kind.name for kind in KINDS)
QUICK = (AERO, NO_EXPRESS, NGINX)


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if all was measured, whatever the figures."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through all `finally`, so that no server is left behind
    try:
        results = _read(given.redraw) if given.redraw else _measure(given, arguments)
        if given.keep:
            results = completed(results, _read(given.output / "benchmarks.json"))
        _write(results, given.output)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    return 0


def _words(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        words = text.split(",")
        if unknown := [word for word in words if word not in allowed]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(allowed)}")
        return words

    return parse


def _sizes(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=…", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one round of short runs: under 3 minutes")
    add("--rounds", type=int, help="how often everything is measured (3; quick: 1)")
    add("--seconds", type=int, help="how long each run takes (3; quick: 1)")
    add("--only", type=_words(PARTS), default=PARTS, metavar="PART,…", help=f"of {', '.join(PARTS)}")
    add("--servers", type=_words(NAMES), metavar="NAME,…", help=f"of {', '.join(NAMES)} (all; quick: not {NO_LOG})")
    add("--sizes", type=_sizes, default=loads.SIZES, metavar="BYTES,…", help="of ranges, 8 MiB at most")
    add("--align", type=int, default=4096, metavar="BYTES", help="ranges begin at multiples of it (4096)")
    add("--seed", type=int, default=1, help="for the offsets of ranges (1)")
    add("--connections", type=int, default=16, help="of wrk; a quarter of them for whole downloads (16)")
    add("--image-size", type=int, default=data.GIB, metavar="BYTES", help="of the image that is served (1 GiB)")
    add("--scratch", type=Path, help="directory on a disk for 2.3 GiB of files, removed afterwards (the system's)")
    add("--output", type=Path, default=Path("docs/measurements"), help="directory for what is written")
    add("--keep", action="store_true", help="keep the figures there of the parts that are not measured now")
    add("--redraw", type=Path, metavar="JSON", help="measure nothing, write the page of these figures anew")
    add("--force", action="store_true", help="measure on a single core, although the figures mean nothing")
    return parser


def _require(*, force: bool) -> None:
    """BenchError if this machine cannot measure."""
    if missing := machine.missing_packages():
        raise BenchError(f"missing: {', '.join(missing)}. On Debian and Ubuntu: apt-get install {' '.join(missing)}")
    if len(os.sched_getaffinity(0)) == 1 and not force:
        raise BenchError("one core has to do for server and load: the figures mean nothing. --force goes on anyway.")


def _measure(given: argparse.Namespace, arguments: Sequence[str]) -> Results:
    _require(force=given.force)
    memory.raise_file_limit()
    help_text, start = daemon_flags(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aero-bench-", dir=given.scratch) as name:
        scratch, cores = Path(name), machine.our_cores()
        os.sched_setaffinity(0, {int(cores.load)})  # whatever this process does itself, not on the server's core
        say(f"making files in {scratch}; server on core {cores.server}, load on core {cores.load}")
        bench = _bench(given, cores, scratch, _kinds(given, help_text))
        facts = {"Date": time.strftime("%Y-%m-%d %H:%M %Z"), **machine.facts(scratch), **_plan(bench, arguments)}
        results = _parts(given, bench, Results(facts, notes=_gaps(help_text)), has_workers="--workers" in help_text)
    say(f"done in {(time.monotonic() - start) / 60:.1f} minutes")
    return results


def _bench(given: argparse.Namespace, cores: machine.Cores, scratch: Path, kinds: Sequence[Kind]) -> Bench:
    return Bench(
        kinds,
        loads.all_loads(given.sizes, given.connections, given.image_size),
        Aim(given.align, given.seed),
        given.rounds or (1 if given.quick else 3),
        given.seconds or (1 if given.quick else 3),
        0 if given.quick else 1,
        data.make(scratch / "images", given.image_size),
        cores,
        scratch,
    )


def _parts(given: argparse.Namespace, bench: Bench, results: Results, *, has_workers: bool) -> Results:
    """Measure the parts that were asked for."""
    if "throughput" in given.only:
        results = attrs.evolve(results, samples=list(suites.throughput(bench)))
    if "workers" in given.only and has_workers:
        more = list(suites.workers(bench, (AERO, NGINX)))
        results = attrs.evolve(results, samples=[*results.samples, *more])
    if "memory" in given.only:
        names = QUICK if given.quick else [name for name in NAMES if name not in (NO_LOG, BEHIND)]
        memory_points = suites.memories(bench, names, (100, SLOW_CLIENTS), 1.0 if given.quick else 2.0)
        idle = suites.idle(bench, 1.0 if given.quick else 2.0)
        results = attrs.evolve(results, memory=[*memory_points, *idle])
    if "latency" in given.only:
        states = (ALONE, COLD) if given.quick else (ALONE, WARM, COLD, PACED)
        results = attrs.evolve(results, latency=list(suites.latencies(bench, states, 1.0 if given.quick else 4.0)))
    if "changes" in given.only:
        results = attrs.evolve(results, changes=list(suites.changed(bench)))
    if "bucket" in given.only:
        results = attrs.evolve(results, bucket=list(_bucket(bench)))
    return results


def _bucket(bench: Bench) -> Iterator[BucketRow]:
    for row in bucket.measure(bench.scratch, bench.cores):
        say(f"bucket: {row.work}: {row.shown} ({row.wanted})")
        yield row


def _kinds(given: argparse.Namespace, help_text: str) -> list[Kind]:
    names = given.servers or [name for name in NAMES if name != NO_LOG or not given.quick]
    lacking = set() if "--no-express" in help_text else {NO_EXPRESS}
    return [kind for kind in KINDS if kind.name in names and kind.name not in lacking]


def _gaps(help_text: str) -> list[str]:
    """What this version of the daemon has no flag for."""
    texts = {
        "--no-express": "It is older than the flag: aero-storage stands for a run with nothing remembered.",
        "--workers": "It has no worker processes.",
    }
    return [
        f"This version of aero-storage has no `{flag}`. {text}"
        for flag, text in texts.items()
        if flag not in help_text
    ]


def _plan(bench: Bench, arguments: Sequence[str]) -> dict[str, str]:
    return {
        "Flags": shlex.join(arguments) or "none",
        "Runs": f"rounds: {bench.rounds}, each of {bench.seconds} s after {bench.warm_seconds} s of warming up",
        "Connections": ", ".join(f"{load.name}: {load.connections}" for load in bench.loads),
        "Offsets": f"multiples of {bench.aim.align} in {bench.site.hot_size / data.GIB:g} GiB, seed {bench.aim.seed}",
    }


def _read(path: Path) -> Results:
    return from_json(json.loads(path.read_text(encoding="utf-8")))


def _write(results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(attrs.asdict(results), indent=1, ensure_ascii=False)
    (directory / "benchmarks.json").write_text(f"{text}\n", encoding="utf-8")
    (directory / "benchmarks.md").write_text(report(results), encoding="utf-8")
    if results.samples:
        draw(results, directory / "benchmarks.png")
    say(f"written: {directory / 'benchmarks.md'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
