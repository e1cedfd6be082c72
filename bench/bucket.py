"""What a bucket costs: the daemon over the tests' own object store, beside a directory and the store's client.

`make bench BENCH_ARGS="--only bucket"` measures it alone; `python -m bench.bucket ROW…` prints some rows.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import attrs
import obstore
from obstore.store import S3Store

from bench import data, loads, machine
from bench.client import HOST, dial, digest, receive_head, request
from bench.data import MIB, Data
from bench.errors import BenchError
from bench.latency import hot_times
from bench.loads import Aim
from bench.paced_streams import drain
from bench.results import BucketRow, nearest_rank
from bench.servers import TWISTD, Kind, Place, Server, free_port, running

HOT_SIZE, COLD_SIZE = 64 * MIB, 256 * MIB
BLOCK = MIB
STREAMS, PACE = 16, 8 * MIB
IMAGES = 10_000
_PAIRS, _CLIENTS, _SEEKS = 3, 64, 24
_SHORT = 64 * 1024
_AHEAD = 8
_ROOT = Path(__file__).parents[1]
_URL = ("/v1/images/{}", "")


def _command(*flags: str, cached: bool) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        start = [str(TWISTD), "--nodaemon", "--pidfile=", f"--logfile={place.log}", "aero-storage"]
        root = "s3://images" if cached else str(place.root)
        cache = [f"--cache-dir={place.home / 'cache'}"] if cached else []
        return [*start, f"--listen-addr={HOST}:{place.port}", f"--images-root={root}", *cache, *flags]

    return command


CACHED = Kind("bucket", "a bucket, cached", *_URL, _command(cached=True))
DIRECTORY = Kind("directory", "a directory", *_URL, _command(cached=False))


@attrs.frozen
class Scene:
    """Where it is measured."""

    scratch: Path
    cores: machine.Cores
    seconds: int = 1

    @contextmanager
    def store(self, objects: dict[str, int], rate: float | None = None) -> Iterator[S3Store]:
        """Run the tests' object store with some objects on the load's core, and name it in the environment."""
        named = [word for key, size in objects.items() for word in ("--object", f"{key}={size}")]
        limit = [] if rate is None else ["--bytes-per-second", str(rate)]
        behind = ["taskset", "-c", self.cores.load] if rate is None else _behind(self.cores.load)
        command = [*behind, sys.executable, "-m", "tests.object_store", *limit, *named]
        process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if process.stdout is None:
                raise BenchError("the object store has no output")
            os.environ.update(json.loads(process.stdout.readline()))
            yield S3Store("images", client_options={"allow_http": True})
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def server(self, kind: Kind, root: Path | None = None) -> Iterator[Server]:
        """Run a daemon with a cache that is empty."""
        with ExitStack() as held:
            home = Path(held.enter_context(tempfile.TemporaryDirectory(dir=self.scratch)))
            place = Place(root or home, home / "home", free_port())
            yield held.enter_context(running(kind, place, self.cores.server))


def _gets(server: Server) -> int:
    with urlopen(f"http://{HOST}:{server.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    wanted = 'aero_storage_origin_requests_total{operation="get"'
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted)))


def _peak(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def warm(scene: Scene) -> Iterator[BucketRow]:
    """Compare what is in the cache with the same image in a directory, in pairs."""
    root = scene.scratch / "twin"
    root.mkdir(exist_ok=True)
    (root / data.HOT).write_bytes(random.Random(data.HOT).randbytes(HOT_SIZE))
    site, works = Data(root, HOT_SIZE, ""), loads.all_loads(loads.SIZES, 16, HOT_SIZE)
    with ExitStack() as held:
        held.enter_context(scene.store({data.HOT: HOT_SIZE}))
        here, there = (held.enter_context(scene.server(kind, root)) for kind in (CACHED, DIRECTORY))
        for server in (here, there):
            digest(server.port, server.kind.image(data.HOT))
        for load in (one for one in works if one.name != loads.CHUNKS):
            rates = [[_rate(scene, one, load, site, seed) for one in (here, there)] for seed in range(_PAIRS)]
            ratio = median(ours / theirs for ours, theirs in rates)
            yield BucketRow(f"warm, {load.name}", "≥ 0.95 × a directory", ratio, "×", is_reached=ratio >= 0.95)
        pairs = [[_p99(one, seed) for one in (here, there)] for seed in range(_PAIRS)]
    ratio = median(ours / theirs for ours, theirs in pairs)
    yield BucketRow("warm, p99 of 4 KiB", "≤ 1.3 × a directory", ratio, "×", is_reached=ratio <= 1.3)


def _rate(scene: Scene, server: Server, load: loads.Load, site: Data, seed: int) -> float:
    run = loads.wrk(server, load, Aim(4096, seed), site, cores=scene.cores.load, seconds=scene.seconds)
    return load.rate(run.requests, run.sent, run.seconds)


def _p99(server: Server, seed: int) -> float:
    times = hot_times(server.port, server.kind.image(data.HOT), HOT_SIZE, 1.0, random.Random(seed))
    return nearest_rank([one / 1000 for one in times], 99)


def cold(scene: Scene) -> Iterator[BucketRow]:
    """Read an image in order by way of a cache that is empty, beside obstore's own stream; what memory it takes."""
    ratios: list[float] = []
    growths: list[float] = []
    with scene.store({data.HOT: HOT_SIZE, "other": BLOCK}) as store:
        for _ in range(_PAIRS):
            with scene.server(CACHED) as server:
                digest(server.port, server.kind.image("other"))
                before, start = _peak(server), time.perf_counter()
                _drain(server, data.HOT)
                took, grown = time.perf_counter() - start, _peak(server) - before
            start = time.perf_counter()
            size = sum(len(piece) for piece in obstore.get(store, data.HOT).stream())
            ratios.append((time.perf_counter() - start) / took if size == HOT_SIZE else 0.0)
            growths.append(grown / BLOCK)
    ratio, growth = median(ratios), median(growths)
    yield BucketRow("cold, one stream", "≥ 0.6 × obstore's stream", ratio, "×", is_reached=ratio >= 0.6)
    wanted = f"≤ {_AHEAD + 1} blocks"
    yield BucketRow("memory of a cold stream", wanted, growth, "blocks", is_reached=growth <= _AHEAD + 1)


def _drain(server: Server, name: str) -> None:
    with dial(server.port) as peer:
        drain(peer, server.kind.image(name))


def seeks(scene: Scene) -> Iterator[BucketRow]:
    """Ask for 64 KiB in blocks that are not there, beside a GET of one block; then one block for 64 clients."""
    rng = random.Random(1)
    blocks = rng.sample(range(1, HOT_SIZE // BLOCK - 1, 2), _SEEKS)
    with scene.store({data.HOT: HOT_SIZE}) as store, scene.server(CACHED) as server:
        ours: list[float] = []
        theirs: list[float] = []
        path = server.kind.image(data.HOT)
        with dial(server.port) as peer:
            for block in blocks:
                ours.append(_first_byte(peer, path, block * BLOCK + rng.randrange(BLOCK - _SHORT)))
                start = time.perf_counter()
                obstore.get_range(store, data.HOT, start=block * BLOCK, length=BLOCK)
                theirs.append(time.perf_counter() - start)
        before = _gets(server)
        _at_once(server, path)
        gets = _gets(server) - before
    first = median(ours) / median(theirs)
    yield BucketRow("cold, first byte of 64 KiB", "≤ 2 × a GET of one block", first, "×", is_reached=first <= 2)
    yield BucketRow(f"{_CLIENTS} clients on one cold block", "1 GET", gets, "GETs", is_reached=gets == 1)


def _first_byte(peer: socket.socket, path: str, offset: int) -> float:
    start = time.perf_counter()
    peer.sendall(request(path, (offset, _SHORT)))
    head = receive_head(peer)
    got = len(head.rest) or len(peer.recv(1))
    took, left = time.perf_counter() - start, _SHORT - got
    while left:
        left -= len(peer.recv(left))
    return took


def _at_once(server: Server, path: str) -> None:
    last = (HOT_SIZE - BLOCK, 4096)
    threads = [threading.Thread(target=digest, args=(server.port, path, last)) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def beside(scene: Scene) -> Iterator[BucketRow]:
    """Measure hot requests beside 16 streams that are not in the cache, and beside the same ones when they are."""
    ratios = []
    for seed in range(_PAIRS):
        with scene.store({data.HOT: HOT_SIZE, data.COLD: COLD_SIZE}, PACE) as _, scene.server(CACHED) as server:
            digest(server.port, server.kind.image(data.HOT))
            found = []
            for _state in ("cold", "warm"):
                with _streams(scene, server):
                    found.append(_p99(server, seed))
        ratios.append(found[0] / found[1])
    ratio = median(ratios)
    wanted = "≤ 1.5 × beside the same streams, warm"
    yield BucketRow("p99 of hot 4 KiB beside 16 cold streams", wanted, ratio, "×", is_reached=ratio <= 1.5)


@contextmanager
def _streams(scene: Scene, server: Server) -> Iterator[None]:
    """Run the streams beside the block, once each has a connection, and to their ends."""
    words = (server.port, server.kind.image(data.COLD), COLD_SIZE, STREAMS, PACE)
    command = [sys.executable, "-m", "bench.paced_streams", *map(str, words)]
    process = subprocess.Popen([*_behind(scene.cores.load), *command], cwd=_ROOT, stdout=subprocess.PIPE)
    try:
        if process.stdout is None or not process.stdout.readline():
            raise BenchError("the streams have not begun")
        yield
        if process.wait():
            raise BenchError(f"the streams failed with status {process.returncode}")
    finally:
        process.kill()
        process.wait()


def _behind(core: str) -> list[str]:
    """Run a command on the load's core, behind the client that measures."""
    return ["taskset", "-c", core, "nice", "-n", "10"]


def starts(scene: Scene) -> Iterator[BucketRow]:
    """Start over many images."""
    objects = {data.HOT: MIB} | {f"image-{number:05}": 16 for number in range(IMAGES)}
    with scene.store(objects):
        start = time.perf_counter()
        with scene.server(CACHED) as server:
            urlopen(f"http://{HOST}:{server.port}/readyz").close()
            took = time.perf_counter() - start
    yield BucketRow(f"start, {IMAGES:,} images", "ready within 3 s", took, "s", is_reached=took <= 3)


ROWS = {"warm": warm, "cold": cold, "seeks": seeks, "beside": beside, "start": starts}


def measure(scratch: Path, cores: machine.Cores, names: Sequence[str] = tuple(ROWS)) -> Iterator[BucketRow]:
    """Measure the rows of these names."""
    for name in names:
        yield from ROWS[name](Scene(scratch, cores))


def main(names: Sequence[str]) -> None:
    """Print rows."""
    with tempfile.TemporaryDirectory(prefix="aero-bench-") as scratch:
        cores = machine.our_cores()
        os.sched_setaffinity(0, {int(cores.load)})
        for row in measure(Path(scratch), cores, names or tuple(ROWS)):
            sys.stdout.write(f"{row.work}: {row.shown}; {row.wanted}: {row.verdict}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
