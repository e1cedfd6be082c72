"""How long a hot 4 KiB request takes, alone and beside streams that read from the disk."""

from __future__ import annotations

import gc
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from bench import data
from bench.client import dial, fetch_range, request
from bench.data import Data
from bench.errors import BenchError
from bench.results import Latency, nearest_rank
from bench.servers import Server
from bench.streams import WARM

ALONE = "alone"
STREAMS = 16
_SIZE = 4096
_LEAST = 1000
_PREPARED = 4096
_SETTLE_SECONDS = 0.5
_ROOT = Path(__file__).parents[1]


@attrs.define
class Streamed:
    """What the streams did: bytes asked for, received, and asked for while they were not in the page cache."""

    asked: int = 0
    received: int = 0
    missing: float = 0.0


def hot_times(port: int, path: str, size: int, seconds: float, rng: random.Random) -> list[int]:
    """Nanoseconds of one request after the other on one connection.

    For some seconds, and on until there are 1,000, but no longer than three times as long.
    """
    places = size // _SIZE
    prepared = [request(path, (rng.randrange(places) * _SIZE, _SIZE)) for _ in range(_PREPARED)]
    times: list[int] = []
    gc.collect()
    gc.disable()  # a collection in between would be taken for the server's
    try:
        with dial(port) as peer:
            start = time.perf_counter()
            while (passed := time.perf_counter() - start) < seconds or (len(times) < _LEAST and passed < 3 * seconds):
                times.append(_one(peer, prepared[len(times) % _PREPARED]))
    finally:
        gc.enable()
    return times


def measure(server: Server, site: Data, state: str, number: int, *, seconds: float, cores: str) -> Latency:
    """The latency in one state, in round `number`."""
    rng = random.Random(number)
    with data.pinned(site.root / data.HOT), _streams(server, site, state, cores) as streamed:
        before, start = server.usage(), time.perf_counter()
        times = hot_times(server.port, server.kind.image(data.HOT), site.hot_size, seconds, rng)
        elapsed, after = time.perf_counter() - start, server.usage()
    micro = [one / 1000 for one in times]
    return Latency(
        server.kind.name,
        state,
        number,
        len(times),
        nearest_rank(micro, 50),
        nearest_rank(micro, 99),
        max(micro),
        streamed.received,
        elapsed,
        streamed.missing / streamed.asked if streamed.asked else None,
        after.disk_read - before.disk_read,
    )


def _one(peer: socket.socket, text: bytes) -> int:
    start = time.perf_counter_ns()
    fetch_range(peer, text, _SIZE)
    return time.perf_counter_ns() - start


@contextmanager
def _streams(server: Server, site: Data, state: str, cores: str) -> Iterator[Streamed]:
    """Run the streams beside the block; what they did is known after it."""
    streamed = Streamed()
    if state == ALONE:
        yield streamed
        return
    file = site.root / data.COLD
    if state == WARM:
        data.bring_in(file)
    arguments = [str(server.port), server.kind.image(data.COLD), str(file), str(STREAMS), state]
    command = ["taskset", "-c", cores, sys.executable, "-m", "bench.streams", *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT, env={**os.environ, "PYTHONPATH": "."}
    )
    try:
        time.sleep(_SETTLE_SECONDS)
        yield streamed
        said, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise BenchError(f"the streams failed with status {process.returncode}")
    for name, value in json.loads(said).items():
        setattr(streamed, name, value)
