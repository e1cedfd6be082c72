"""Counts as values that can be added up, so that any worker can show the sum of all."""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Iterable

import attrs

from aero_storage.http.leases.results import LeaseResult

OTHER = "__other__"
"""The `image_id` of all images beyond the label limit."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of a histogram's buckets, in seconds; one further bucket is unbounded."""

TALLIES = (
    *("requests", "bytes", "ranges", "store_errors", "reloads", "refusals", "slow"),
    *("certificate_reloads", "leases", "delivered", "rejections", "broken_off", "lines_dropped", "extents"),
    *("origin_requests", "origin_bytes", "cache_requests", "cache_evicted", "cache_damaged"),
    *("lease_reloads", "profiles_warmed"),
)
HISTOGRAMS = ("durations", "queue_waits", "reactor_delays", "origin_durations")

START_TIME, CPU_TIME = "process_start_time_seconds", "process_cpu_seconds_total"
_OPEN_FILES, _MOST_FILES = "process_open_fds", "process_max_fds"
_STORE_ERRORS = ("meta", "open_range", "manifest")
_RANGE_RESULTS = ("valid", "invalid")
_SLOW = ("stalled", "place_taken_back", "waiting_body")
_REFUSALS = ("total", "client", "descriptors")
_RELOAD_RESULTS = ("success", "failure")
_MODES = ("range", "full", "chunk", "virtual_chunk")
_REJECTIONS = ("queue_full", "timed_out", "lease_share")
_EXTENTS = ("made", "unknown", "failed")
_BROKEN_OFF = ("aborted", "disconnected", "lease_expired", "lease_revoked")

Labels = tuple[str, ...]
Tally = dict[Labels, float]
Histogram = dict[Labels, list[float]]
"""For each label values: the buckets, not cumulative, followed by the sum in seconds."""


class Gauge(enum.StrEnum):
    """The gauges, by the names of their metrics. Several processes show their sum, or of a ratio the highest."""

    IN_FLIGHT = "aero_storage_requests_in_flight"
    CONNECTIONS = "aero_storage_connections"
    PLACES_TAKEN = "aero_storage_places_taken"
    PLACES_LIMIT = "aero_storage_places_limit"
    PLACES_USED = "aero_storage_places_used_ratio"
    QUEUE = "aero_storage_queue_length"
    WAITING_BODIES = "aero_storage_waiting_body_bytes"
    WITHOUT_PLACE = "aero_storage_streams_without_place"
    CATALOG_INVALID = "aero_storage_catalog_invalid"
    DESCRIPTORS_USED = "aero_storage_descriptors_used_ratio"
    ORIGIN_UP = "aero_storage_origin_up"
    CACHE_BYTES = "aero_storage_cache_bytes"
    CACHE_LIMIT = "aero_storage_cache_limit_bytes"
    LEASE_KEYS = "aero_storage_lease_keys"
    LEASE_KEYS_OVERDUE = "aero_storage_lease_keys_overdue"
    LEASE_KEYS_INVALID = "aero_storage_lease_keys_invalid"
    LEASE_KEYS_READ_AT = "aero_storage_lease_keys_reload_last_success_timestamp_seconds"
    LEASE_REVOCATIONS = "aero_storage_lease_revocations"
    LEASE_REVOCATIONS_INVALID = "aero_storage_lease_revocations_invalid"
    LEASE_REVOCATIONS_READ_AT = "aero_storage_lease_revocations_reload_last_success_timestamp_seconds"


_HIGHEST = frozenset(
    {
        *(Gauge.PLACES_USED, Gauge.DESCRIPTORS_USED),  # one full process matters, even if others have room
        *(Gauge.ORIGIN_UP, Gauge.CACHE_BYTES, Gauge.CACHE_LIMIT),  # all processes have the same origin and cache
        *(Gauge.LEASE_KEYS, Gauge.LEASE_KEYS_OVERDUE, Gauge.LEASE_REVOCATIONS),  # and read the same files
        *(Gauge.LEASE_KEYS_READ_AT, Gauge.LEASE_REVOCATIONS_READ_AT),
    }
)
"""Gauges that are no sums."""


def _zeros(values: Iterable[str]) -> Tally:
    return dict.fromkeys(((value,) for value in values), 0)


def empty_row() -> list[float]:
    """Return the numbers of a histogram without observations."""
    return [0] * (len(BUCKETS) + 2)


def _one_row() -> Histogram:
    return {(): empty_row()}


def observe(row: list[float], seconds: float) -> None:
    """Count a time in its bucket."""
    row[bisect_left(BUCKETS, seconds)] += 1
    row[-1] += seconds


@attrs.define
class Counts:
    """Counts by label values."""

    requests: Tally = attrs.field(factory=dict)
    durations: Histogram = attrs.field(factory=dict)
    bytes: Tally = attrs.field(factory=lambda: _zeros((OTHER,)))
    delivered: Tally = attrs.field(factory=lambda: _zeros(_MODES))
    """The same bytes by the mode of the request."""
    leases: Tally = attrs.field(factory=lambda: _zeros(LeaseResult))
    """Requests whose answer hung on a lease, by the word of the answer."""
    ranges: Tally = attrs.field(factory=lambda: _zeros(_RANGE_RESULTS))
    store_errors: Tally = attrs.field(factory=lambda: _zeros(_STORE_ERRORS))
    reloads: Tally = attrs.field(factory=lambda: _zeros(_RELOAD_RESULTS))
    slow: Tally = attrs.field(factory=lambda: _zeros(_SLOW))
    """Responses reset for stalled clients, and places that streams gave up."""
    certificate_reloads: Tally = attrs.field(factory=lambda: _zeros(_RELOAD_RESULTS))
    refusals: Tally = attrs.field(factory=lambda: _zeros(_REFUSALS))
    rejections: Tally = attrs.field(factory=lambda: _zeros(_REJECTIONS))
    broken_off: Tally = attrs.field(factory=lambda: _zeros(_BROKEN_OFF))
    origin_requests: Tally = attrs.field(factory=dict)
    """By operation and result; with all that follows empty without an origin."""
    origin_bytes: Tally = attrs.field(factory=dict)
    cache_requests: Tally = attrs.field(factory=dict)
    """Blocks by result."""
    cache_evicted: Tally = attrs.field(factory=dict)
    """Bytes."""
    cache_damaged: Tally = attrs.field(factory=dict)
    """Blocks."""
    origin_durations: Histogram = attrs.field(factory=dict)
    extents: Tally = attrs.field(factory=lambda: _zeros(_EXTENTS))
    """Looks for the extents of images, by result."""
    lease_reloads: Tally = attrs.field(factory=dict)
    """By document and result; empty without leases."""
    profiles_warmed: Tally = attrs.field(factory=lambda: {(): 0})
    """Bytes."""
    lines_dropped: Tally = attrs.field(factory=lambda: {(): 0})
    queue_waits: Histogram = attrs.field(factory=_one_row)
    reactor_delays: Histogram = attrs.field(factory=_one_row)
    reloaded_at: float = 0.0
    gauges: dict[str, float] = attrs.field(factory=dict)
    """Values of the gauges, by the names of Gauge."""
    process: dict[str, float] = attrs.field(factory=dict)
    """Samples of the processes counted here, by the names of Prometheus' process metrics."""

    def add(self, other: Counts) -> None:
        """Add the counts of another process."""
        for name in TALLIES:
            tally: Tally = getattr(self, name)
            for labels, count in getattr(other, name).items():
                tally[labels] = tally.get(labels, 0) + count
        for name in HISTOGRAMS:
            histogram: Histogram = getattr(self, name)
            for labels, row in getattr(other, name).items():
                ours = histogram.get(labels, [0] * len(row))
                histogram[labels] = [one + two for one, two in zip(ours, row, strict=True)]
        self.reloaded_at = max(self.reloaded_at, other.reloaded_at)
        for gauge, value in other.gauges.items():
            now = self.gauges.get(gauge, 0)
            self.gauges[gauge] = max(now, value) if gauge in _HIGHEST else now + value
        for sample, value in other.process.items():
            known = self.process.get(sample)
            total = value if known is None else min(known, value) if sample == START_TIME else known + value
            self.process[sample] = total

    def after_exit(self) -> Counts:
        """Return the counts of an ended process: without gauges, but with its CPU time."""
        spent = self.process.get(CPU_TIME)
        return attrs.evolve(self, gauges={}, process={} if spent is None else {CPU_TIME: spent})


def descriptors_used(process: dict[str, float]) -> float:
    """Return the share of its file descriptors that a process has open; 0 if unknown."""
    most = process.get(_MOST_FILES)
    return process.get(_OPEN_FILES, 0) / most if most else 0.0
