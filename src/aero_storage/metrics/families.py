"""Prometheus metric families, made from the counts on each exposition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
    Gauge.PLACES_TAKEN: "Requests for bytes that hold a place under the cap.",
    Gauge.PLACES_LIMIT: "Places under the cap, of all processes together; 0 is no limit.",
    Gauge.PLACES_USED: "Share of the places that is taken, in the fullest process; 0 without a limit.",
    Gauge.QUEUE: "Requests for bytes that wait for a place.",
    Gauge.WAITING_BODIES: "Memory of made bodies (lists, metrics, errors) that wait for their clients, in bytes.",
    Gauge.WITHOUT_PLACE: "Streams that go on after they gave their places up to requests that waited.",
    Gauge.CATALOG_INVALID: "Processes for which the catalog on disk is invalid; the last good one serves on.",
    Gauge.DESCRIPTORS_USED: "Share of the allowed file descriptors that is open, in the fullest process.",
}
_ORIGIN_GAUGES = {
    Gauge.ORIGIN_UP: "1 if the object store gave an answer when it was last asked, else 0.",
    Gauge.CACHE_BYTES: "Bytes that the block cache takes of its disk.",
    Gauge.CACHE_LIMIT: "Bytes that the block cache may take.",
}
"""Shown if there is an origin, or a cache."""
_LEASE_GAUGES = {
    Gauge.LEASE_KEYS: "Keys that leases are verified with.",
    Gauge.LEASE_KEYS_OVERDUE: "Keys that were replaced so long ago that no good lease is of them, and still verify.",
    Gauge.LEASE_KEYS_INVALID: "Processes for which the file of keys is broken; the last good one stays in force.",
    Gauge.LEASE_KEYS_READ_AT: "When the lease keys were last read and found good, in seconds since the epoch.",
    Gauge.LEASE_REVOCATIONS: "Revocations in force.",
    Gauge.LEASE_REVOCATIONS_INVALID: (
        "Processes for which the file of revocations is broken; the last good one stays in force."
    ),
    Gauge.LEASE_REVOCATIONS_READ_AT: (
        "When the revocations were last read and found good, in seconds since the epoch."
    ),
}
"""Shown if leases are asked for, or if there is a file of revocations."""
_process = ProcessCollector(registry=None)


def process_samples() -> dict[str, float]:
    """Return the present samples of Prometheus' process collector, for this process."""
    return {sample.name: sample.value for family in _process.collect() for sample in family.samples}


@attrs.frozen(eq=False)
class Families(Collector):
    """The families of the counts that `shown` returns."""

    _shown: Callable[[], Counts]
    _version: str

    @override
    def collect(self) -> Iterator[Metric]:
        counts = self._shown()
        yield from _base_families(counts)
        yield from _trouble_families(counts)
        yield _histogram(
            "aero_storage_queue_wait_seconds",
            "Seconds in the queue, of requests that got a place.",
            (),
            counts.queue_waits,
        )
        delays = "Seconds by which timers fire late, tried four times a second: nobody is answered meanwhile."
        yield _histogram("aero_storage_reactor_delay_seconds", delays, (), counts.reactor_delays)
        yield GaugeMetricFamily(
            "aero_storage_catalog_reload_last_success_timestamp_seconds",
            "When the catalog was last read and found good, in seconds since the epoch.",
            value=counts.reloaded_at,
        )
        yield from _origin_families(counts)
        yield from _lease_families(counts)
        for gauge, text in _GAUGES.items():
            yield GaugeMetricFamily(gauge.value, text, value=counts.gauges.get(gauge, 0))
        build = GaugeMetricFamily(
            "aero_storage_server_build_info", "Always 1; the label tells the version.", labels=["version"]
        )
        build.add_metric([self._version], 1)
        yield build
        yield from _process_families(counts.process)


def _base_families(counts: Counts) -> Iterator[Metric]:
    yield _counter(
        "http_requests",
        "Requests answered, to their end or to where they broke off.",
        ("route", "method", "status"),
        counts.requests,
    )
    durations = "Seconds from the end of a request's head until the kernel has the last byte of its response."
    yield _histogram("http_request_duration_seconds", durations, ("route", "method"), counts.durations)
    yield _counter(
        "image_bytes_served",
        "Body bytes of images and chunks that the kernel has taken.",
        ("image_id",),
        counts.bytes,
    )
    modes = "The bytes of image_bytes_served_total, by how they were asked for."
    yield _counter("aero_storage_bytes_sent", modes, ("mode",), counts.delivered)
    ranges = "Requests for image bytes that got a 206 (valid), or a 412, 413 or 416 (invalid)."
    yield _counter("range_requests", ranges, ("result",), counts.ranges)
    leases = "Requests for private or unknown images, by whether they showed a good lease, or why not."
    yield _counter("aero_storage_leases", leases, ("result",), counts.leases)
    yield _counter("store_errors", "Failures of the disk or of the catalog.", ("kind",), counts.store_errors)
    warmed = "Bytes that boot profiles name and that were brought into memory or into the block cache ahead."
    yield _counter("aero_storage_profile_warmed_bytes", warmed, (), counts.profiles_warmed)
    reloads = "Readings of a catalog that has changed, or that SIGHUP asked for."
    yield _counter("aero_storage_catalog_reload", reloads, ("result",), counts.reloads)
    extents = "Maps of the zeros of an image that were made, that are unknown (all counts as data), or that failed."
    yield _counter("aero_storage_extent_maps", extents, ("result",), counts.extents)
    certificates = "Readings of the certificate and key of an ssl: endpoint, which SIGHUP asks for."
    yield _counter("aero_storage_certificate_reload", certificates, ("result",), counts.certificate_reloads)


def _trouble_families(counts: Counts) -> Iterator[Metric]:
    rejections = (
        "Requests for bytes that got a 429: the queue was full, no place came free in time, or a lease had too many."
    )
    yield _counter("aero_storage_rejections", rejections, ("reason",), counts.rejections)
    broken = (
        "Responses cut short: aborted by the daemon, also as their leases have ended, or disconnected by the client."
    )
    yield _counter("aero_storage_responses_broken_off", broken, ("outcome",), counts.broken_off)
    refused = "Connections (behind a proxy: requests) over a limit, and connections without a descriptor."
    yield _counter("aero_storage_connections_refused", refused, ("reason",), counts.refusals)
    stalled = "Responses that the daemon reset, as their clients took nothing."
    yield CounterMetricFamily("aero_storage_streams_stalled", stalled, value=counts.slow["stalled",])
    taken = "Places that streams gave up to requests that waited."
    yield CounterMetricFamily("aero_storage_places_taken_back", taken, value=counts.slow["place_taken_back",])
    bodies = "Responses that the daemon reset, as made bodies that waited took too much memory."
    yield CounterMetricFamily("aero_storage_waiting_bodies_closed", bodies, value=counts.slow["waiting_body",])
    dropped = "Log lines that were dropped, as the log was taken too slowly or could not be written."
    yield _counter("aero_storage_log_lines_dropped", dropped, (), counts.lines_dropped)


def _origin_families(counts: Counts) -> Iterator[Metric]:
    if counts.origin_requests:
        requests = "Requests to the object store, tries that were repeated among them."
        labels = ("operation", "result")
        yield _counter("aero_storage_origin_requests", requests, labels, counts.origin_requests)
        seconds = "Seconds of a request to the object store, its body included."
        yield _histogram("aero_storage_origin_request_seconds", seconds, ("operation",), counts.origin_durations)
        yield _counter("aero_storage_origin_bytes", "Bytes read from the object store.", (), counts.origin_bytes)
    if counts.cache_requests:
        blocks = (
            "Blocks that were there (hit), were read from the store (miss), or by somebody else meanwhile (wait)."
        )
        yield _counter("aero_storage_cache_requests", blocks, ("result",), counts.cache_requests)
        evicted = "Bytes of blocks that made room for others."
        yield _counter("aero_storage_cache_evicted_bytes", evicted, (), counts.cache_evicted)
        damaged = "Blocks that did not have the bytes they were written with; they were read again."
        yield _counter("aero_storage_cache_damaged", damaged, (), counts.cache_damaged)
    yield from _known_gauges(counts, _ORIGIN_GAUGES)


def _lease_families(counts: Counts) -> Iterator[Metric]:
    if counts.lease_reloads:
        reloads = "Readings of a file of leases that has changed, or that SIGHUP asked for."
        yield _counter("aero_storage_lease_reload", reloads, ("document", "result"), counts.lease_reloads)
    yield from _known_gauges(counts, _LEASE_GAUGES)


def _known_gauges(counts: Counts, texts: Mapping[Gauge, str]) -> Iterator[Metric]:
    for gauge, text in texts.items():
        if gauge.value in counts.gauges:
            yield GaugeMetricFamily(gauge.value, text, value=counts.gauges[gauge.value])


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
