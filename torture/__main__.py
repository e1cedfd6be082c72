"""`make torture`: faults and hostile input against the real daemon, next to live clients; see --help."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from torture.faults.absent_workers import absent_workers
from torture.faults.cache_damages import RUNNING, STOPPED
from torture.faults.cache_files import damaged_caches, full_cache_disk
from torture.faults.cache_processes import kills_in_fills, replicas
from torture.faults.catalog import catalogs
from torture.faults.clients import made_bodies_nobody_reads, resets, slowloris, stalled
from torture.faults.clock import clock_steps
from torture.faults.clusters import stopped_cluster, wrong_clock
from torture.faults.credentials import renewed_credentials
from torture.faults.floods import pipelined_floods
from torture.faults.hostile_servers import SERVERS, hostile_servers
from torture.faults.image_files import files
from torture.faults.images_root import hostile_root
from torture.faults.origin import CASES, bucket_gone, origin_faults
from torture.faults.processes import descriptors, full_disk, kills
from torture.faults.publishers import publishers
from torture.faults.slow_disk import slow_disk
from torture.faults.slow_readers import slow_readers_that_move
from torture.faults.tls import key_updates
from torture.fuzzing.fuzz import fuzz
from torture.leases.changes import revocations, rotations
from torture.leases.clock import lease_clock_steps
from torture.leases.over_http import forged_over_http, mutated_over_http
from torture.leases.pure import mutated_tokens
from torture.leases.secret_search import secret_search
from torture.leases.token_floods import crowds, token_floods
from torture.outcome import Outcome
from torture.report import report

_OUTPUT = Path("docs/measurements/reliability.md")
_FUZZED = 2_000_000
"""Answers, half of them by either lane."""
_SECONDS, _LEAST_FUZZ_SECONDS = 1350.0, 60.0
"""Of all faults together; `make torture` ends them after 2,000. Fuzz goes last, and has what the others leave."""
_EPILOG = """
Each fault has daemons of its own, on free ports of 127.0.0.1, over images in a temporary directory; live clients
ask for ranges all the while and compare every byte. A fault fails if a live client was not served, a byte was wrong,
the daemon ended, logged a traceback, or kept descriptors, places or memory. Status 1: at least one failed.

faults:
  slowloris    heads that drip                       stalled      readers that stand still
  made-bodies  lists and metrics nobody reads        floods       1,400 requests in one packet, for each route
  slow-readers readers that move, but slowly; of one address, of many, behind a proxy
  resets       resets at random bytes                files        images truncated, replaced, removed, locked
  kills        kill -9 of workers in mid-stream      catalogs     manifests that are none
  descriptors  none left                             full-disk    no room under the log (needs root)
  slow-disk    a disk that delays and fails (needs root and /dev/fuse)
  clock        steps of the wall clock (needs libfaketime)
  absent-workers   workers stopped and killed in turn      hostile-root   links put into the images root
  hostile-servers  what `verify` and `doctor` may meet     key-updates    floods of TLS KeyUpdate
  store        an object store that is slow, hangs, refuses, cuts, lies; objects replaced and deleted in mid-stream
  credentials  keys that lapse and are renewed       publishers   commands that write at once, some of them killed
  bucket-gone  no bucket for a minute under load     replicas     one of three killed
  cache-files  flipped bits, holes, files cut short  cache-disk   full, read-only (needs root)
  cache-kills  kill -9 of what fills a block cache   cluster      an OSD and a gateway of Ceph stopped
  wrong-clock  half an hour off, over Ceph (needs libfaketime)
  leases       mutated leases through the code that verifies them     lease-http   the same over HTTP
  lease-forged     confused algorithms and keys      lease-keys   keys rotated under load
  lease-revoked    leases revoked under load         lease-clock  steps of the wall clock (needs libfaketime)
  lease-floods     new tokens from 20 addresses      lease-crowds  the same from 200, as fast as can be
  lease-secrets    tokens and keys in logs, answers, metrics, processes
  fuzz         request lines, headers, ranges and smuggling shapes, mutated and pipelined, to both lanes

examples:
  python -m torture                            all of it, within 25 minutes on an idle machine
  python -m torture --quick                    a smaller part, within 6
  python -m torture --only fuzz --seed 7       one fault, with another seed; writes nothing
"""


@attrs.frozen
class Fault:
    """One fault, in full and in small."""

    run: Callable[[int], Outcome]
    full: int
    quick: int


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing was wrong, 1 otherwise."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through all `finally`, so that no daemon is left behind
    start = time.monotonic()
    faults = _faults(given, start + _SECONDS)
    outcomes = [_tried(name, faults[name], quick=given.quick) for name in given.only or faults]
    output = given.output or (None if given.only else _OUTPUT)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(report(outcomes, time.monotonic() - start, arguments), encoding="utf-8")
        say(f"Written: {output}")
    failed = [outcome.fault for outcome in outcomes if outcome.failed]
    say(f"Failed: {', '.join(failed)}" if failed else "Nothing was wrong")
    return 1 if failed else 0


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _faults(given: argparse.Namespace, deadline: float) -> dict[str, Fault]:
    def fuzzed(count: int) -> Outcome:
        left = max(deadline - time.monotonic(), _LEAST_FUZZ_SECONDS)
        return fuzz(count, given.fuzz_seconds or left, say, given.seed)

    return {
        "slowloris": Fault(slowloris, 500, 100),
        "stalled": Fault(stalled, 1000, 200),
        "made-bodies": Fault(made_bodies_nobody_reads, 1000, 200),
        "floods": Fault(pipelined_floods, 200, 30),
        "slow-readers": Fault(slow_readers_that_move, 256, 64),
        "resets": Fault(resets, 3000, 300),
        "files": Fault(files, 60, 8),
        "kills": Fault(kills, 6, 2),
        "absent-workers": Fault(absent_workers, 4, 2),
        "catalogs": Fault(catalogs, 40, 14),
        "descriptors": Fault(descriptors, 2000, 400),
        "full-disk": Fault(full_disk, 3000, 500),
        "slow-disk": Fault(slow_disk, 20, 4),
        "clock": Fault(clock_steps, 10, 3),
        "hostile-root": Fault(hostile_root, 30, 12),
        "hostile-servers": Fault(hostile_servers, len(SERVERS), 4),
        "key-updates": Fault(key_updates, 200_000, 20_000),
        "store": Fault(origin_faults, 2 * len(CASES), len(CASES) // 2),
        "bucket-gone": Fault(bucket_gone, 60, 3),
        "credentials": Fault(renewed_credentials, 20, 4),
        "publishers": Fault(publishers, 8, 2),
        "cache-files": Fault(damaged_caches, len(STOPPED) + 2 * len(RUNNING), 12),
        "cache-disk": Fault(full_cache_disk, 400, 60),
        "cache-kills": Fault(kills_in_fills, 200, 20),
        "replicas": Fault(replicas, 4, 1),
        "cluster": Fault(stopped_cluster, 8, 4),
        "wrong-clock": Fault(wrong_clock, 6, 2),
        "leases": Fault(mutated_tokens, 1_000_000, 60_000),
        "lease-http": Fault(mutated_over_http, 50_000, 2000),
        "lease-forged": Fault(forged_over_http, 1, 1),
        "lease-keys": Fault(rotations, 12, 2),
        "lease-revoked": Fault(revocations, 12, 2),
        "lease-clock": Fault(lease_clock_steps, 14, 3),
        "lease-floods": Fault(token_floods, 5, 1),
        "lease-crowds": Fault(crowds, 200, 200),
        "lease-secrets": Fault(secret_search, 10, 2),
        "fuzz": Fault(fuzzed, _FUZZED, 30_000),
    }


def _tried(name: str, fault: Fault, *, quick: bool) -> Outcome:
    count, start = fault.quick if quick else fault.full, time.monotonic()
    say(f"{name}: {count:,} ...")
    try:
        outcome = fault.run(count)
    except (AssertionError, OSError) as error:  # what a client of the harness says when it is not served
        outcome = Outcome(name, "not brought to its end", count, complaints=(f"{type(error).__name__}: {error}",))
    outcome = attrs.evolve(outcome, seconds=time.monotonic() - start)
    say(f"{name}: {_verdict(outcome)}, {outcome.seconds:.0f} s")
    return outcome


def _verdict(outcome: Outcome) -> str:
    if outcome.skipped:
        return f"skipped: {outcome.skipped}"
    return "\n  ".join(("FAILED", *outcome.complaints)) if outcome.failed else f"nothing wrong; {outcome.saw}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m torture",
        description="Try faults and hostile input on the real daemon, and write a report.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = tuple(_faults(argparse.Namespace(), 0.0))
    parser.add_argument("--quick", action="store_true", help="try less of everything")
    parser.add_argument("--only", action="append", choices=names, metavar="FAULT", help="one fault; may be repeated")
    parser.add_argument("--seed", default="torture", help="of the random generator of fuzz (default: %(default)s)")
    parser.add_argument(
        "--fuzz-seconds", type=float, help=f"end fuzz after so long (default: what the others leave of {_SECONDS:g})"
    )
    parser.add_argument("--output", type=Path, help=f"where the report goes (default: {_OUTPUT}, none with --only)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
