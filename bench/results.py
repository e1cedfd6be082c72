"""What was measured, as values that go to JSON and back, and the arithmetic on them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import attrs

ONE_CORE = "one core"
"""Suite: the server alone on one core, the load on another."""
BOTH_CORES = "both cores"
"""Suite: server and load share two cores."""

BUSY = 0.95
"""A load generator that computes for this share of the time is taken for the limit."""
WHOLE_IMAGE = 0
"""The range size that stands for a request without a range."""
IDLE = -1
"""The range size that stands for clients that had an answer, and keep their connections without asking for more."""


@attrs.frozen
class Sample:
    """One run of wrk: bodies per second, and the CPU seconds of the server and of the load for `sent` bytes."""

    suite: str
    server: str
    workers: int
    load: str
    round: int
    rate: float
    requests: int
    sent: int
    seconds: float
    server_cpu: float
    load_cpu: float
    others: float = 0.0  # CPU seconds of all other programs on the two cores, and what the hypervisor took
    logged: float | None = None  # share of the requests that found their way into the log; None: it writes none

    @property
    def cpu_per_gb(self) -> float:
        """CPU seconds of the server for 10^9 bytes."""
        return self.server_cpu / (self.sent / 1e9)

    @property
    def load_share(self) -> float:
        """The share of the time for which the load generator's thread computed."""
        return self.load_cpu / self.seconds

    @property
    def disturbance(self) -> float:
        """Others' share of the time of two cores."""
        return self.others / (2 * self.seconds)

    @property
    def ceiling(self) -> float:
        """How many times as much two cores could do at best, with the same work for server and load."""
        return 2 * self.seconds / (self.server_cpu + self.load_cpu)


@attrs.frozen
class Memory:
    """Resident bytes of a server's processes with `clients` slow readers of ranges of `range_size` bytes."""

    server: str
    clients: int
    range_size: int
    rss: int
    pss: int
    kernel: int  # socket buffers of the whole machine


@attrs.frozen
class Latency:
    """Hot 4 KiB requests, in microseconds, while `streams` others run in `state`: alone, warm or cold."""

    server: str
    state: str
    round: int
    count: int
    p50: float
    p99: float
    worst: float
    streamed: int = 0  # bytes, by all streams
    seconds: float = 0.0
    cold_share: float | None = None  # of the bytes that the streams asked for, not in the page cache when asked for
    disk_read: int = 0  # bytes that the server had the disk read


@attrs.frozen
class BucketRow:
    """A figure of the daemon over a bucket, and what is wanted of it."""

    work: str
    wanted: str
    figure: float
    unit: str
    is_reached: bool

    @property
    def shown(self) -> str:
        """The figure as people read it."""
        return f"{self.figure:.3g} {self.unit}"

    @property
    def verdict(self) -> str:
        """Whether it is reached."""
        return "reached" if self.is_reached else "**missed**"


@attrs.frozen
class Change:
    """What a client got of an image that was changed while it read, in words."""

    server: str
    change: str
    outcome: str


@attrs.frozen
class Results:
    """A run of the benchmark."""

    facts: Mapping[str, str]  # of the machine, the versions and the flags, in the order in which they are printed
    samples: Sequence[Sample] = ()
    memory: Sequence[Memory] = ()
    latency: Sequence[Latency] = ()
    notes: Sequence[str] = ()
    bucket: Sequence[BucketRow] = ()
    changes: Sequence[Change] = ()

    def runs(self, server: str, load: str, suite: str = ONE_CORE, workers: int = 1) -> dict[int, Sample]:
        """Samples by round."""
        wanted = (server, load, suite, workers)
        return {one.round: one for one in self.samples if (one.server, one.load, one.suite, one.workers) == wanted}

    def ratios(self, server: str, other: str, load: str) -> list[float]:
        """`server` over `other`, one number for each round that both were in."""
        ours, theirs = self.runs(server, load), self.runs(other, load)
        return [ours[number].rate / theirs[number].rate for number in sorted(ours.keys() & theirs.keys())]

    def ratio(self, server: str, other: str, load: str) -> float | None:
        """The median of `ratios`; neighbours in time are compared, so that a machine that slows down hits both."""
        return middle(self.ratios(server, other, load))

    def speedups(self, server: str, load: str) -> list[float]:
        """Two workers over one, both beside the load on two cores."""
        two, one = (self.runs(server, load, BOTH_CORES, workers) for workers in (2, 1))
        return [two[number].rate / one[number].rate for number in sorted(two.keys() & one.keys())]

    def speedup(self, server: str, load: str) -> float | None:
        """The median of `speedups`."""
        return middle(self.speedups(server, load))

    def ceiling(self, server: str, load: str) -> float | None:
        """The median of the best speed-up that the load generator leaves room for."""
        return middle(one.ceiling for one in self.runs(server, load, BOTH_CORES, 1).values())

    def load_is_limit(self, server: str, load: str) -> bool:
        """Whether the load generator had no time left in the middle round."""
        share = middle(one.load_share for one in self.runs(server, load).values())
        return share is not None and share >= BUSY

    def rss(self, server: str, clients: int, range_size: int = WHOLE_IMAGE) -> int | None:
        """Resident bytes with so many clients."""
        wanted = (server, clients, range_size)
        found = [one.rss for one in self.memory if (one.server, one.clients, one.range_size) == wanted]
        return found[0] if found else None

    def percentile(self, server: str, state: str, name: str) -> float | None:
        """The median over rounds of `p50` or `p99`, in microseconds."""
        return middle(getattr(one, name) for one in self.latency if (one.server, one.state) == (server, state))


def completed(results: Results, earlier: Results) -> Results:
    """Results, with the parts that they lack from an earlier run, and a note that says so."""
    suites = {one.suite for one in results.samples}
    lacking = [one for one in earlier.samples if one.suite not in suites]
    parts = ("memory", "latency", "bucket", "changes")
    kept = {name: getattr(earlier, name) for name in parts if not getattr(results, name) and getattr(earlier, name)}
    names = [*unique(f"throughput on {one.suite}" for one in lacking), *kept]
    run = ", ".join(
        f"{name.lower()} {earlier.facts.get(name, 'unknown')}" for name in ("Date", "Commit", "Flags", "Runs")
    )
    notes = [*earlier.notes, *results.notes, f"From an earlier run: {', '.join(names)} ({run})."]
    return attrs.evolve(
        results, samples=[*lacking, *results.samples], notes=notes if names else results.notes, **kept
    )


def middle(values: Iterable[float]) -> float | None:
    """The median, or None of nothing."""
    listed = list(values)
    return median(listed) if listed else None


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` per cent do not exceed; ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def unique(values: Iterable[str]) -> list[str]:
    """Each value once, in the order in which they came."""
    return list(dict.fromkeys(values))


def from_json(data: Mapping[str, Any]) -> Results:
    """Results from what `attrs.asdict` made of them."""
    return Results(
        data["facts"],
        [Sample(**one) for one in data["samples"]],
        [Memory(**one) for one in data["memory"]],
        [Latency(**one) for one in data["latency"]],
        data["notes"],
        [BucketRow(**one) for one in data.get("bucket", ())],
        [Change(**one) for one in data.get("changes", ())],
    )
