"""An hour with all kinds of clients at once against the real daemon: it has to hold as much after it as before.

They ask for ranges by either lane, over TCP and TLS, download at full speed and slowly, pipeline, read chunks,
metadata and metrics, ask under conditions and from other origins, ask for what is not to be had, send hostile heads,
partial heads and resets, stall for a while or for good, keep idle connections, and connect for each request, while
images come, are replaced and go. Every byte that comes back is compared. Once a minute the daemon gets a SIGHUP.

After the first minute and at the end all clients leave for some seconds; what the daemon holds then, and what it held
under load just before, must be the same. Status 1: it is not, a byte was wrong, an answer was not what it should be,
or the daemon ended or logged a traceback.
"""

from __future__ import annotations

import argparse
import json
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
from bench.processes import parse_stat
from tests.blackbox.harness import until
from tests.blackbox.raw_http import RawConnection
from tests.blackbox.worker_processes import children_of, is_serving
from tests.certificates import write_certificate

from torture.image_content import Content
from torture.outcome import MIB, Footprint
from torture.soak.changing_images import ChangingImages
from torture.soak.client import IDLE_SECONDS, Pacer, Target
from torture.soak.client_pool import KINDS, ClientPool
from torture.soak.misbehaving import HEADER_SECONDS, STALL_SECONDS
from torture.soak.mixed_client import Tally, learn
from torture.soak.record import Allowed, Record, Sample
from torture.soak.report import report
from torture.soak.requests import IMAGE_FILE
from torture.trial import Trial, run_trial

_IMAGE_BYTES, _CHUNK_BYTES = 32 * MIB + 512, 256 * 1024
_SMALL_BYTES = 64 * 1024
_START_SECONDS = 30.0
_TOLD_SECONDS = 60.0
_WINDOW = 1 / 3
"""Of the first part: how long figures under load are taken."""
_REST_HELP = "how long all clients leave; unused files are closed after 10 (15)"
_REQUESTS_HELP = "end after so many responses, the first part after a tenth of them; too few in the time are a fault"
_LOAD_HELP = "how much CPU daemon and clients may use together (0.4); 0: all there is"
_IMAGE_HELP = "of the large image, a multiple of 512 (32 MiB + 512: the last chunk is a short one)"
_EPILOG = """
examples:
  python -m torture.soak --seconds 300 --load 0.8 --record soak.json
  python -m torture.soak --only mixed --clients 16 --load 0 --requests 200000 --no-express
"""


@attrs.define(eq=False)
class Monitor:
    """Looks after the daemon once a second: takes figures, adapts the pacer, sends SIGHUP, tells how far it is."""

    trial: Trial
    pacer: Pacer
    tally: Tally
    hangup_seconds: float
    quiet: bool
    samples: list[Sample] = attrs.field(factory=list)
    _looked: float = attrs.field(factory=time.monotonic)
    _spent: float = 0.0
    _hung_up: float = 0.0
    _told: float = 0.0

    def look(self, second: float) -> bool:
        """See ClientPool: whether the daemon is still there."""
        if self.trial.daemon.process.poll() is not None:
            return False
        used = self._used()
        self.samples.append(Sample(round(second, 2), self.trial.footprint(), round(used, 3)))
        self.pacer.adapt(used)
        if second - self._hung_up >= self.hangup_seconds:
            self._hung_up = second
            self.trial.daemon.process.send_signal(signal.SIGHUP)
        if second - self._told >= _TOLD_SECONDS:
            self._told = second
            self.tell(f"{second:,.0f} s", self.samples[-1].held)
        return True

    def tell(self, when: str, held: Footprint) -> None:
        """Say on standard error how it stands."""
        if not self.quiet:
            done = f"{self.tally.done:,} responses, {self.tally.compared / MIB:,.0f} MiB compared"
            wrong = f"{self.tally.wrong} bytes wrong, {len(self.tally.faults)} faults"
            sys.stderr.write(
                f"{when}: {held.resident / MIB:.1f} MiB, {held.descriptors} descriptors; {done}, {wrong}\n"
            )
            sys.stderr.flush()

    def _used(self) -> float:
        """The share of a core that daemon and clients have used since this was asked last."""
        pid = self.trial.daemon.process.pid
        stats = [Path(f"/proc/{one}/stat").read_text(encoding="ascii") for one in (pid, *children_of(pid))]
        now, spent = time.monotonic(), time.process_time() + sum(parse_stat(stat)[1] for stat in stats)
        used = max(spent - self._spent, 0.0) / (now - self._looked) if self._spent else self.pacer.share
        self._looked, self._spent = now, spent
        return used


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing is wrong."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through all `finally`, so that no daemon is left behind
    try:
        record = _soak(given)
    except (AssertionError, OSError) as error:  # what the harness says when the daemon does not start, or has ended
        sys.stderr.write(f"soak: not brought to its end: {type(error).__name__}: {error}\n")
        return 1
    complaints = record.complaints(Allowed(given.growth * MIB, given.descriptors))
    if given.record is not None:
        document = attrs.asdict(record) | {"complaints": complaints}
        given.record.write_text(f"{json.dumps(document, indent=1)}\n", encoding="utf-8")
    if given.report is not None:
        given.report.write_text(report(record, complaints, arguments), encoding="utf-8")
    for text in complaints:
        sys.stderr.write(f"soak: {text}\n")
    return 1 if complaints else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m torture.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("--seconds", type=float, default=3600, help="how long clients come, rests not counted (3600)")
    add("--first", type=float, default=60, metavar="SECONDS", help="when the first figures are taken (60)")
    add("--rest", type=float, default=15, metavar="SECONDS", help=_REST_HELP)
    add("--requests", type=int, metavar="N", help=_REQUESTS_HELP)
    add("--load", type=float, default=0.4, metavar="CORES", help=_LOAD_HELP)
    add("--only", action="append", choices=KINDS, metavar="KIND", help=f"one kind of clients: {', '.join(KINDS)}")
    add("--clients", type=int, default=6, metavar="N", help="how many mixed clients, a third of them by TLS (6)")
    add("--image-size", type=int, default=_IMAGE_BYTES, metavar="BYTES", help=_IMAGE_HELP)
    add("--no-express", action="store_true", help="have the daemon remember no plans")
    add("--workers", type=int, default=1, help="of the daemon (1)")
    add("--growth", type=float, default=5, metavar="MIB", help="by how much memory may differ (5)")
    add("--descriptors", type=int, default=0, metavar="N", help="by how many open descriptors may differ (0)")
    add("--seed", default="soak", help="of all random generators; not of the order of threads (soak)")
    add("--record", type=Path, metavar="FILE", help="write all figures there, as JSON")
    add("--report", type=Path, metavar="FILE", help="write the figures to be read there, as Markdown")
    add("--quiet", action="store_true", help="do not tell how far it is")
    return parser


def _soak(given: argparse.Namespace) -> Record:
    with _target(given) as (trial, target):
        start, pacer, tally = trial.footprint(), Pacer(given.load), target.tally
        monitor = Monitor(trial, pacer, tally, min(60.0, given.seconds / 4), given.quiet)
        by_tls = given.clients // 3
        mixed = given.clients - by_tls, by_tls
        pool = ClientPool(target, pacer, given.seed, monitor.look, mixed, given.only or KINDS)
        pool.run(given.first, given.requests and max(given.requests // 10, 1))
        first, early = pool.spent, _rest(given, trial, monitor, "first rest")
        pool.run(given.seconds - first, given.requests)
        rests = early, _rest(given, trial, monitor, "last rest")
        trial.check_alive()
    return Record(
        seconds=pool.spent,
        first=first,
        window=first * _WINDOW,
        seed=given.seed,
        workers=given.workers,
        start=start,
        rests=rests,
        samples=tuple(monitor.samples),
        requests=tally.done,
        wanted=given.requests,
        compared=tally.compared,
        wrong=tally.wrong,
        resets=tally.resets,
        acts=dict(pool.acts),
        faults=(*tally.faults, *trial.complaints),
    )


def _rest(given: argparse.Namespace, trial: Trial, monitor: Monitor, when: str) -> Footprint:
    """Leave the daemon alone for a while; what it holds then."""
    time.sleep(given.rest)
    held = trial.footprint()
    monitor.tell(when, held)
    return held


@contextmanager
def _target(given: argparse.Namespace) -> Iterator[tuple[Trial, Target]]:
    """Run a daemon at two endpoints, one of them TLS, with limits that clients run into."""
    with tempfile.TemporaryDirectory(prefix="aero-soak-") as name:
        home, content = Path(name), Content(given.image_size)
        root = home / "images"
        root.mkdir()
        content.write(root / IMAGE_FILE)
        write_certificate(home)
        with run_trial(*_flags(given), size=_SMALL_BYTES, home=home) as trial:
            tls = _tls_port(trial, given.workers)
            image = learn(RawConnection.dial(trial.daemon.port).sock, _CHUNK_BYTES)
            context = ssl.create_default_context(cafile=home / "cert.pem")
            target = Target(trial.daemon.port, tls, context, content, image, ChangingImages(root, content), Tally(0))
            yield trial, target


def _flags(given: argparse.Namespace) -> Iterator[str]:
    yield from ("--endpoint", "tcp:0:interface=127.0.0.1")
    yield from ("--endpoint", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem")
    yield from ("--virtual-chunks", f"--virtual-chunk-bytes={_CHUNK_BYTES}", f"--workers={given.workers}")
    yield f"--header-timeout-secs={HEADER_SECONDS}"
    yield f"--idle-timeout-secs={IDLE_SECONDS}"
    yield f"--stall-timeout-secs={STALL_SECONDS}"
    if given.no_express:
        yield "--no-express"


def _tls_port(trial: Trial, workers: int) -> int:
    """Wait until all doors are open; the port of the one that is not the first."""
    daemon, wanted = trial.daemon, range(1, workers + 1) if workers > 1 else ()
    until(lambda: all(is_serving(daemon, number, 2) for number in wanted), _START_SECONDS)

    def look() -> set[int]:
        said = [
            line["address"] for line in daemon.lines() if line.get("message") == "listening" and "address" in line
        ]
        return {int(address.rpartition(":")[2]) for address in said} - {daemon.port}

    return until(look, _START_SECONDS).pop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
