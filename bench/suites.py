"""The parts of the benchmark, each a walk over rounds, loads and servers."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import attrs

from bench import changes, data, latency, loads, memory
from bench.data import Data
from bench.loads import Aim, Load, Run
from bench.machine import Cores
from bench.processes import busy
from bench.results import BOTH_CORES, ONE_CORE, WHOLE_IMAGE, Change, Latency, Memory, Sample
from bench.servers import AERO, CADDY, NGINX, NO_EXPRESS, Kind, Place, Server, free_port, running
from bench.targets import SLOW_CLIENTS

_LOG_SECONDS = 3.0
_RANGE_SIZES = (data.MIB, 8 * data.MIB, WHOLE_IMAGE)
_RANGED = (AERO, NO_EXPRESS, NGINX)
_HOT = (AERO, NGINX, CADDY)


@attrs.frozen
class Bench:
    """What is measured how."""

    kinds: Sequence[Kind]
    loads: Sequence[Load]
    aim: Aim
    rounds: int
    seconds: int
    warm_seconds: int
    site: Data
    cores: Cores
    scratch: Path

    def server(
        self, kind: Kind, cores: str, *, workers: int = 1, unlimited: bool = False
    ) -> AbstractContextManager[Server]:
        """Run a server of a kind."""
        place = Place(self.site.root, self.scratch / "server", free_port(), workers, unlimited)
        return running(kind, place, cores)

    def some(self, *names: str) -> list[Kind]:
        """Those of the kinds that have one of these names."""
        return [kind for kind in self.kinds if kind.name in names]


def say(text: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def throughput(bench: Bench) -> Iterator[Sample]:
    """Every server under every load, alone on its core."""
    for number in range(bench.rounds):
        for load in bench.loads:
            bench.site.require_hot()
            for kind in bench.kinds:
                yield _sample(bench, kind, load, number, suite=ONE_CORE)


def workers(bench: Bench, names: Sequence[str]) -> Iterator[Sample]:
    """One and two workers beside the load on two cores."""
    small = [load for load in bench.loads if load.status == 206 and load.size <= data.MIB]
    for number in range(bench.rounds):
        for load in small:
            for kind in bench.some(*names):
                for count in (1, 2):
                    yield _sample(bench, kind, load, number, suite=BOTH_CORES, count=count)


def memories(bench: Bench, names: Sequence[str], counts: Sequence[int], seconds: float) -> Iterator[Memory]:
    """Slow readers: of the whole image for every server, of shorter ranges for ours and nginx."""
    for kind in bench.some(*names):
        for size in _RANGE_SIZES if kind.name in _RANGED else (WHOLE_IMAGE,):
            say(f"memory: {kind.title}, {f'ranges of {size >> 20} MiB' if size else 'the whole image'}")
            with bench.server(kind, bench.cores.server, unlimited=True) as server:
                _wake(bench, server)
                wanted = counts if size == WHOLE_IMAGE else (SLOW_CLIENTS,)
                yield from memory.measure(server, wanted, size, seconds)


def idle(bench: Bench, seconds: float) -> Iterator[Memory]:
    """Clients of ours that keep their connections without asking for more."""
    for kind in bench.some(AERO):
        say(f"memory: {kind.title}, {memory.IDLE_CLIENTS:,} idle connections")
        with bench.server(kind, bench.cores.server, unlimited=True) as server:
            _wake(bench, server)
            yield from memory.measure_idle(server, memory.IDLE_CLIENTS, seconds)


def latencies(bench: Bench, states: Sequence[str], seconds: float) -> Iterator[Latency]:
    """Hot requests alone and beside streams, one state after the other within a round."""
    for number in range(bench.rounds):
        for kind in bench.some(*_HOT):
            with bench.server(kind, bench.cores.server) as server:
                _wake(bench, server)
                for state in states:
                    found = latency.measure(
                        server, bench.site, state, number, seconds=seconds, cores=bench.cores.load
                    )
                    say(f"latency: {kind.title}, {state}: p50 {found.p50:.0f} µs, p99 {found.p99:.0f} µs")
                    yield found


def changed(bench: Bench) -> Iterator[Change]:
    """Files that change while they are read, in an images root of its own."""
    root = bench.scratch / "changes"
    changes.prepare(root)
    for kind in bench.some(*_HOT):
        with running(kind, Place(root, bench.scratch / "server", free_port()), bench.cores.server) as server:
            for change in changes.measure(server):
                say(f"changes: {kind.title}, {change.change}: {change.outcome}")
                yield change


def _sample(bench: Bench, kind: Kind, load: Load, number: int, *, suite: str, count: int = 1) -> Sample:
    """Start, check, warm up, measure, count what the log holds."""
    shared = suite == BOTH_CORES
    aim = attrs.evolve(bench.aim, seed=bench.aim.seed + number)
    wrk_cores = bench.cores.both if shared else bench.cores.load
    with bench.server(kind, bench.cores.both if shared else bench.cores.server, workers=count) as server:
        if load.name != loads.WHOLE or not number:  # to compare a whole download takes long: once is enough
            loads.check(server, load, aim, bench.site, random.Random(aim.seed))
        warm = Run(0, 0, 0.0)
        if bench.warm_seconds:
            warm = loads.wrk(server, load, aim, bench.site, cores=wrk_cores, seconds=bench.warm_seconds)
        before, busy_before = server.usage(), busy(bench.cores.both)
        run = loads.wrk(server, load, aim, bench.site, cores=wrk_cores, seconds=bench.seconds)
        cpu, all_cpu = server.usage().cpu - before.cpu, busy(bench.cores.both) - busy_before
        logged = _logged(server, warm.requests + run.requests)
    rate = load.rate(run.requests, run.sent, run.seconds)
    say(f"{suite}: {load.name}, {kind.title}{f', workers: {count}' if shared else ''}: {rate:,.1f} a second")
    rest = (rate, run.requests, run.sent, run.seconds, cpu, run.cpu, max(all_cpu - cpu - run.cpu, 0.0), logged)
    return Sample(suite, kind.name, count, load.name, number, *rest)


def _wake(bench: Bench, server: Server) -> None:
    """Have a server do once what it does lazily, so that it is not counted as the price of a client."""
    for load in bench.loads[:1]:
        loads.check(server, load, bench.aim, bench.site, random.Random(0))


def _logged(server: Server, requests: int) -> float | None:
    """The share of the requests that is in the log, once it has been written out."""
    deadline = time.monotonic() + _LOG_SECONDS
    while (found := server.logged()) is not None and found < requests and time.monotonic() < deadline:
        time.sleep(0.1)
    return None if found is None else min(found / requests, 1.0) if requests else 1.0
