"""The instruments of contract §9, on a registry that is passed in.

What happens is counted in plain dictionaries, on the reactor's thread alone, and becomes Prometheus' families only
when somebody asks: the library's own counters, made for many threads, would take a small range a tenth of its time.
Counts are values that can be added up, so that any one worker can show the sum of all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

import attrs
from prometheus_client import CollectorRegistry as Registry
from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "OTHER", "Counts", "Metrics", "Registry"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Media type of `Metrics.exposition`."""

OTHER = "__other__"
"""The `image_id` of all images beyond the label limit."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS = (*map(str, _BUCKETS), "+Inf")
_STORE_ERRORS = ("meta", "open_range", "manifest")
_RANGE_RESULTS = ("valid", "invalid")
_SLOW = ("stalled", "place_taken_back")
_REFUSALS = ("total", "client", "descriptors")
_RELOAD_RESULTS = ("success", "failure")
_START_TIME, _CPU_TIME = "process_start_time_seconds", "process_cpu_seconds_total"

Labels = tuple[str, ...]
Tally = dict[Labels, float]


def _zeros(values: Iterable[str]) -> Tally:
    return dict.fromkeys(((value,) for value in values), 0)


@attrs.define
class Counts:
    """What has been counted, by label values; a histogram has a number for each bucket, and the sum of all values."""

    requests: Tally = attrs.field(factory=dict)
    durations: dict[Labels, list[float]] = attrs.field(factory=dict)
    """For each the buckets, not cumulative, and behind them the sum in seconds."""
    bytes: Tally = attrs.field(factory=dict)
    ranges: Tally = attrs.field(factory=lambda: _zeros(_RANGE_RESULTS))
    store_errors: Tally = attrs.field(factory=lambda: _zeros(_STORE_ERRORS))
    reloads: Tally = attrs.field(factory=lambda: _zeros(_RELOAD_RESULTS))
    slow: Tally = attrs.field(factory=lambda: _zeros(_SLOW))
    """What slow clients have come to."""
    refusals: Tally = attrs.field(factory=lambda: _zeros(_REFUSALS))
    reloaded_at: float = 0.0
    process: dict[str, float] = attrs.field(factory=dict)
    """Of the processes that these are the counts of, by the names of Prometheus' process metrics."""

    def add(self, other: Counts) -> None:
        """Add what another process has counted."""
        for name in ("requests", "bytes", "ranges", "store_errors", "reloads", "refusals", "slow"):
            tally: Tally = getattr(self, name)
            for labels, count in getattr(other, name).items():
                tally[labels] = tally.get(labels, 0) + count
        for labels, durations in other.durations.items():
            ours = self.durations.get(labels, [0] * len(durations))
            self.durations[labels] = [one + two for one, two in zip(ours, durations, strict=True)]
        self.reloaded_at = max(self.reloaded_at, other.reloaded_at)
        for sample, value in other.process.items():
            known = self.process.get(sample)
            total = value if known is None else min(known, value) if sample == _START_TIME else known + value
            self.process[sample] = total

    def remains(self) -> Counts:
        """What stays when the process has ended: it holds no memory and no file any more, but has used its time."""
        spent = self.process.get(_CPU_TIME)
        return attrs.evolve(self, process={} if spent is None else {_CPU_TIME: spent})


@attrs.define
class _BoundedLabel:
    """The first `limit` values seen keep their own; all others become OTHER."""

    limit: int
    _seen: dict[str, Labels] = attrs.field(init=False, factory=dict)

    def of(self, value: str) -> Labels:
        labels = self._seen.get(value)
        if labels is None:
            if len(self._seen) >= self.limit:
                return (OTHER,)
            labels = self._seen[value] = (value,)
        return labels


class Metrics:
    """All counters of the daemon; its methods are named after what has happened."""

    def __init__(self, registry: Registry, version: str, max_image_ids: int) -> None:
        self.counts = Counts()
        self._registry = registry
        self._version = version
        self._image_label = _BoundedLabel(max_image_ids)
        self._process = ProcessCollector(registry=None)
        self._shown: Counts | None = None
        registry.register(_Families(self))

    @property
    def version(self) -> str:
        """Of the daemon."""
        return self._version

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request has been answered, to the last byte or to where it broke off."""
        requests, durations = self.counts.requests, self.counts.durations
        key, timed = (route, method, str(status)), (route, method)
        requests[key] = requests.get(key, 0) + 1
        row = durations.get(timed)
        if row is None:
            row = durations[timed] = [0] * (len(_BOUNDS) + 1)
        row[bisect_left(_BUCKETS, seconds)] += 1
        row[-1] += seconds

    def bytes_sent(self, image_id: str, count: int) -> None:
        """`count` body bytes of an image or chunk have left the server."""
        if count:
            _count(self.counts.bytes, self._image_label.of(image_id), count)

    def range_answered(self, *, valid: bool) -> None:
        """A range request got its 206 (`valid`), or one of 412, 413, 416."""
        _count(self.counts.ranges, ("valid" if valid else "invalid",))

    def store_failed(self, kind: str) -> None:
        """A disk or catalog failure of one of the kinds `meta`, `open_range`, `manifest`."""
        _count(self.counts.store_errors, (kind,))

    def catalog_loaded(self, now: float) -> None:
        """A changed catalog has been read and is in force; `now` in seconds since the epoch."""
        _count(self.counts.reloads, ("success",))
        self.counts.reloaded_at = now

    def catalog_failed(self) -> None:
        """The catalog on disk is invalid."""
        _count(self.counts.reloads, ("failure",))

    def stream_stalled(self) -> None:
        """A response was broken off, as its client took nothing any more."""
        _count(self.counts.slow, ("stalled",))

    def place_taken_back(self) -> None:
        """A response whose client takes nothing has lost its place under the cap to another request."""
        _count(self.counts.slow, ("place_taken_back",))

    def connection_refused(self, reason: str, times: int = 1) -> None:
        """A connection was not served, for one of the reasons `total`, `client`, `descriptors`."""
        _count(self.counts.refusals, (reason,), times)

    def snapshot(self) -> Counts:
        """The counts of this process, those of the process itself included."""
        self.counts.process = {
            sample.name: sample.value for family in self._process.collect() for sample in family.samples
        }
        return self.counts

    def exposition(self, total: Counts | None = None) -> bytes:
        """All metrics in the text format 0.0.4: the counts of this process, or a total that it is a part of."""
        self._shown = total
        try:
            return generate_latest(self._registry)
        finally:
            self._shown = None

    @property
    def shown(self) -> Counts:
        """The counts that are to be shown."""
        return self.snapshot() if self._shown is None else self._shown


def _count(tally: Tally, labels: Labels, count: float = 1) -> None:
    tally[labels] = tally.get(labels, 0) + count


@attrs.frozen(eq=False)
class _Families(Collector):
    """Counts as Prometheus' families."""

    _metrics: Metrics

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        counts = self._metrics.shown
        yield _counter("http_requests", "Requests answered.", ("route", "method", "status"), counts.requests)
        yield _histogram(counts.durations)
        yield _counter("image_bytes_served", "Body bytes sent of images and chunks.", ("image_id",), counts.bytes)
        ranges = "Byte requests that got a 206, or a 412, 413 or 416."
        yield _counter("range_requests", ranges, ("result",), counts.ranges)
        yield _counter("store_errors", "Failures of the disk or of the catalog.", ("kind",), counts.store_errors)
        reloads = "Readings of a changed catalog."
        yield _counter("aero_storage_catalog_reload", reloads, ("result",), counts.reloads)
        refused = "Connections over a limit, or for which no descriptor was left."
        yield _counter("aero_storage_connections_refused", refused, ("reason",), counts.refusals)
        stalled = "Responses broken off, as their clients took nothing."
        yield CounterMetricFamily("aero_storage_streams_stalled", stalled, value=counts.slow["stalled",])
        taken = "Places under the cap that responses lost whose clients took nothing, while others waited."
        yield CounterMetricFamily("aero_storage_places_taken_back", taken, value=counts.slow["place_taken_back",])
        yield GaugeMetricFamily(
            "aero_storage_catalog_reload_last_success_timestamp_seconds",
            "When the catalog was last read and found good, in seconds since the epoch.",
            value=counts.reloaded_at,
        )
        build = GaugeMetricFamily("aero_storage_server_build_info", "Constant 1.", labels=["version"])
        build.add_metric([self._metrics.version], 1)
        yield build
        yield from _process_families(counts.process)


def _counter(name: str, text: str, labels: Labels, tally: Tally) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in tally.items():
        family.add_metric(values, count)
    return family


def _histogram(durations: dict[Labels, list[float]]) -> Metric:
    text = "Time from the request's head to the last byte of its response."
    family = HistogramMetricFamily("http_request_duration_seconds", text, labels=("route", "method"))
    for values, (*row, total) in durations.items():
        family.add_metric(values, list(zip(_BOUNDS, accumulate(row), strict=True)), total)
    return family


def _process_families(process: dict[str, float]) -> Iterator[Metric]:
    for family in ProcessCollector(registry=None).collect():
        family.samples = [sample._replace(value=process[sample.name]) for sample in family.samples]
        yield family
