"""Counts as Prometheus' families, made when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

import attrs
from prometheus_client import CollectorRegistry as Registry
from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from typing_extensions import override

from aero_storage.metrics.counts import BUCKETS, Counts, Gauge, Histogram, Labels, Tally

__all__ = ["CONTENT_TYPE", "Families", "Registry", "generate_latest", "process_samples"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Media type of an exposition."""

_BOUNDS = (*map(str, BUCKETS), "+Inf")
_GAUGES = {
    Gauge.IN_FLIGHT: "Requests being answered, the one for these metrics included.",
    Gauge.CONNECTIONS: "Connections that are open.",
    Gauge.PLACES_TAKEN: "Byte requests at work.",
    Gauge.PLACES_LIMIT: "Byte requests that may be at work at once; 0 is any number.",
    Gauge.PLACES_USED: "Part of its places that is taken, in the fullest process; 0 without a limit.",
    Gauge.QUEUE: "Byte requests that wait for a place.",
    Gauge.CATALOG_INVALID: "Processes for which the catalog on disk is invalid; the last good one serves on.",
    Gauge.DESCRIPTORS_USED: "Part of its file descriptors that is open, in the fullest process.",
}
_process = ProcessCollector(registry=None)


def process_samples() -> dict[str, float]:
    """What Prometheus tells of every process, of this one, now."""
    return {sample.name: sample.value for family in _process.collect() for sample in family.samples}


@attrs.frozen(eq=False)
class Families(Collector):
    """The families of what `shown` tells."""

    _shown: Callable[[], Counts]
    _version: str

    @override
    def collect(self) -> Iterator[Metric]:
        counts = self._shown()
        yield from _contract_families(counts)
        yield from _trouble_families(counts)
        yield _histogram(
            "aero_storage_queue_wait_seconds",
            "Time in the queue of requests that got a place.",
            (),
            counts.queue_waits,
        )
        delays = "How late timers fire, tried four times a second: for so long nobody is answered."
        yield _histogram("aero_storage_reactor_delay_seconds", delays, (), counts.reactor_delays)
        yield GaugeMetricFamily(
            "aero_storage_catalog_reload_last_success_timestamp_seconds",
            "When the catalog was last read and found good, in seconds since the epoch.",
            value=counts.reloaded_at,
        )
        for gauge, text in _GAUGES.items():
            yield GaugeMetricFamily(gauge.value, text, value=counts.gauges.get(gauge, 0))
        build = GaugeMetricFamily("aero_storage_server_build_info", "Constant 1.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        yield from _process_families(counts.process)


def _contract_families(counts: Counts) -> Iterator[Metric]:
    yield _counter("http_requests", "Requests answered.", ("route", "method", "status"), counts.requests)
    durations = "Time from the request's head to the last byte of its response."
    yield _histogram("http_request_duration_seconds", durations, ("route", "method"), counts.durations)
    yield _counter("image_bytes_served", "Body bytes sent of images and chunks.", ("image_id",), counts.bytes)
    modes = "Body bytes sent of images and chunks, by how they were asked for."
    yield _counter("aero_storage_bytes_sent", modes, ("mode",), counts.delivered)
    ranges = "Byte requests that got a 206, or a 412, 413 or 416."
    yield _counter("range_requests", ranges, ("result",), counts.ranges)
    yield _counter("store_errors", "Failures of the disk or of the catalog.", ("kind",), counts.store_errors)
    reloads = "Readings of a changed catalog."
    yield _counter("aero_storage_catalog_reload", reloads, ("result",), counts.reloads)


def _trouble_families(counts: Counts) -> Iterator[Metric]:
    rejections = "Byte requests that got a 429, as the queue was full or no place came free in time."
    yield _counter("aero_storage_rejections", rejections, ("reason",), counts.rejections)
    broken = "Responses that did not come to their end: aborted by the daemon, or disconnected by the client."
    yield _counter("aero_storage_responses_broken_off", broken, ("outcome",), counts.broken_off)
    refused = "Connections over a limit, or for which no descriptor was left."
    yield _counter("aero_storage_connections_refused", refused, ("reason",), counts.refusals)
    stalled = "Responses broken off, as their clients took nothing."
    yield CounterMetricFamily("aero_storage_streams_stalled", stalled, value=counts.slow["stalled",])
    taken = "Places under the cap that responses lost whose clients took nothing, while others waited."
    yield CounterMetricFamily("aero_storage_places_taken_back", taken, value=counts.slow["place_taken_back",])
    dropped = "Lines that the log had no room for."
    yield _counter("aero_storage_log_lines_dropped", dropped, (), counts.lines_dropped)


def _counter(name: str, text: str, labels: Labels, tally: Tally) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in tally.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, text: str, labels: Labels, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, (*row, total) in histogram.items():
        family.add_metric(values, list(zip(_BOUNDS, accumulate(row), strict=True)), total)
    return family


def _process_families(process: dict[str, float]) -> Iterator[Metric]:
    for family in _process.collect():
        family.samples = [sample._replace(value=process[sample.name]) for sample in family.samples]
        yield family
