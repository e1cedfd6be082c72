"""Send many requests of every kind to the real daemon, and compare every byte of every answer.

Each client is a thread with one connection, which asks for random ranges of 4 KiB to 4 MiB, most of them small, for
chunks, heads and what has not changed, alone or several at once, by the express lane and by the general one; reads,
or stalls, or breaks off in the middle of a body. The image follows from the offset, so that each byte is known.

At the end it prints a record. Status 1: a byte was wrong, an answer was not what it should be, memory grew by more
than the limit after the first tenth, or the daemon kept a descriptor.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import attrs
from torture.image_content import Content
from torture.soak.mixed_client import Client, Tally, learn

from bench import machine
from bench.client import dial
from bench.data import HOT, MIB
from bench.errors import BenchError
from bench.servers import AERO, KINDS, Kind, Place, Server, free_port, running

_CHUNK_BYTES = 256 * 1024
_IMAGE_BYTES = 256 * MIB + 512
"""The last chunk is a short one."""
_TICK_SECONDS = 0.1
_CLOSE_SECONDS = 15.0
"""Open files that nobody asks for are closed within ten seconds."""


@attrs.define
class Record:
    """What came out; memory in bytes."""

    requests: int
    seconds: float
    bytes_compared: int
    wrong_bytes: int
    resets: int
    faults: list[str]
    memory: list[int]
    """Resident after each tenth."""
    descriptors_before: int
    """While the image is open already."""
    descriptors_after: int

    def complaints(self, most_growth: int) -> list[str]:
        """What is wrong, a line each."""
        growth = self.memory[-1] - self.memory[0]
        found = {
            f"{self.wrong_bytes} bytes are wrong": self.wrong_bytes > 0,
            f"memory grew by {growth / MIB:.1f} MiB after the first tenth": growth > most_growth,
            f"{self.descriptors_after - self.descriptors_before} descriptors were kept": (
                self.descriptors_after > self.descriptors_before
            ),
        }
        return [*self.faults, *(text for text, holds in found.items() if holds)]


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing is wrong."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through all `finally`, so that no daemon is left behind
    try:
        record = _soak(given)
    except BenchError as error:
        sys.stderr.write(f"soak: {error}\n")
        return 1
    sys.stdout.write(f"{json.dumps(attrs.asdict(record), indent=1)}\n")
    complaints = record.complaints(given.growth * MIB)
    for text in complaints:
        sys.stderr.write(f"soak: {text}\n")
    return 1 if complaints else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m bench.soak --requests 20000 --seed 7 > record.json",
    )
    add = parser.add_argument
    add("--requests", type=int, default=200_000, help="how many to send in all (200000: some minutes)")
    add("--clients", type=int, default=16, help="how many ask at the same time (16)")
    add("--image-size", type=int, default=_IMAGE_BYTES, metavar="BYTES", help="multiple of 512 (256 MiB + 512)")
    add("--growth", type=int, default=8, metavar="MIB", help="how much memory may grow after the first tenth (8)")
    add("--seed", type=int, default=1, help="for everything that is random, but for the order of threads (1)")
    add("--no-express", action="store_true", help="turn the express lane off: all goes by the general one")
    add("--quiet", action="store_true", help="show no progress")
    return parser


def _kind(*, express: bool) -> Kind:
    """The daemon with virtual chunks."""
    aero = next(kind for kind in KINDS if kind.name == AERO)
    flags = ["--virtual-chunks", f"--virtual-chunk-bytes={_CHUNK_BYTES}", *([] if express else ["--no-express"])]
    return attrs.evolve(aero, command=lambda place: [*aero.command(place), *flags])


def _soak(given: argparse.Namespace) -> Record:
    cores, content = machine.our_cores(), Content(given.image_size)
    with tempfile.TemporaryDirectory(prefix="aero-soak-") as name:
        root = Path(name) / "images"
        root.mkdir()
        content.write(root)
        images = [{"id": HOT, "file": HOT, "name": HOT, "public": True}]
        (root / "manifest.json").write_text(json.dumps({"images": images}), encoding="utf-8")
        place = Place(root, Path(name) / "server", free_port())
        with running(_kind(express=not given.no_express), place, cores.server) as server:
            return _attend(server, content, given)


def _attend(server: Server, content: Content, given: argparse.Namespace) -> Record:
    before, site, tally = _descriptors(server), learn(dial(server.port), _CHUNK_BYTES), Tally(given.requests)
    rngs = [random.Random(f"{given.seed} {number}") for number in range(given.clients)]
    clients = [Client(partial(dial, server.port), site, content, tally, rng) for rng in rngs]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    start, memory = time.monotonic(), list[int]()
    for thread in threads:
        thread.start()
    progress = Progress(given.requests, quiet=given.quiet)
    while any(thread.is_alive() for thread in threads):
        time.sleep(_TICK_SECONDS)
        if tally.done * 10 >= given.requests * (len(memory) + 1):
            memory.append(server.usage().rss)
        progress.show(tally, time.monotonic() - start)
    took = time.monotonic() - start
    memory.append(server.usage().rss)
    if tally.done != given.requests and not tally.faults:
        tally.fault(f"only {tally.done} requests came to an end")
    counts = (tally.done, took, tally.compared, tally.wrong, tally.resets, tally.faults)
    return Record(*counts, memory, before, _settled(server, before))


def _settled(server: Server, wanted: int) -> int:
    """The open descriptors, once they are as few as wanted, or some seconds have passed."""
    deadline = time.monotonic() + _CLOSE_SECONDS
    while (found := _descriptors(server)) > wanted and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)
    return found


def _descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))  # noqa: PTH208 - iterdir opens no less


@attrs.define
class Progress:
    """A line on a terminal that is written over; elsewhere one for every tenth."""

    wanted: int
    quiet: bool
    _told: int = 0

    def show(self, tally: Tally, seconds: float) -> None:
        """Tell how far it is, if it is time to."""
        tenth = tally.done * 10 // max(self.wanted, 1)
        terminal = sys.stderr.isatty()
        if self.quiet or not (terminal or tenth > self._told):
            return
        self._told = tenth
        text = f"{tally.done:,} of {self.wanted:,}, {tally.done / max(seconds, _TICK_SECONDS):,.0f} a second"
        said = f"{text}, {tally.compared / MIB:,.0f} MiB compared, {tally.wrong} bytes wrong"
        sys.stderr.write(f"\r{said}   " if terminal else f"{said}\n")
        if terminal and tally.done >= self.wanted:
            sys.stderr.write("\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
