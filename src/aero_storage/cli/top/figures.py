"""Figures of a daemon: its gauges, and rates between two looks at its metrics. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs

from aero_storage.cli.top.exposition import Exposition, Labels

_OURS = "aero_storage_"
_START = "process_start_time_seconds"
_MOST_IMAGES = 10
_GOOD_RESULTS = ("ok", "not_found", "changed")
_MEDIAN, _P99 = 0.5, 0.99
_MOST_LIMIT = 1e12
"""Greatest upper limit of a bucket that counts, but for infinity."""
_T = TypeVar("_T")


@attrs.frozen
class Delays:
    """Median and 99th percentile of what ended between two looks, in seconds; None if nothing did."""

    median: float | None = None
    p99: float | None = None


@attrs.frozen
class Cache:
    """The block cache; `hit_ratio` is None without a request."""

    hit_ratio: float | None
    bytes: float
    limit_bytes: float
    evicted_bytes_per_second: float


@attrs.frozen
class Origin:
    """The object store."""

    is_up: bool
    requests_per_second: float
    failures_per_second: float
    bytes_per_second: float
    delays: Delays


@attrs.frozen
class Figures:
    """All figures; rates are of `seconds` seconds, and 0 where there is one look only."""

    version: str
    seconds: float
    places_taken: float
    places_limit: float
    queue_length: float
    streams_without_place: float
    connections: float
    requests_in_flight: float
    requests_per_second: Mapping[str, float]
    """By status; requests for metrics are left out."""
    rejections_per_second: float
    bytes_per_second: float
    delays: Delays
    queue_delays: Delays
    reactor_delays: Delays
    broken_off_per_second: float
    stalled_per_second: float
    store_errors_per_second: float
    log_lines_dropped_per_second: float
    cpu_ratio: float
    memory_bytes: float
    open_files: float
    images: Mapping[str, float]
    """Bytes a second of the images that were read most."""
    cache: Cache | None
    """None without a block cache."""
    origin: Origin | None
    """None without an object store."""

    @property
    def all_requests_per_second(self) -> float:
        """The requests of every status."""
        return sum(self.requests_per_second.values())


def _not_ours(labels: Labels) -> bool:
    return labels.get("route") != "/metrics"


@attrs.frozen
class Span:
    """Two looks, `seconds` apart; counters of a daemon that was started between them began at 0."""

    before: Exposition | None
    now: Exposition
    seconds: float

    def gauge(self, name: str) -> float:
        """Return what is true now; 0 where the daemon does not tell."""
        return self.now.total(name) or 0.0

    def rate(self, name: str, where: Callable[[Labels], bool] = lambda _labels: True) -> float:
        """Return by how much a counter has risen in a second."""
        return self._per_second(self.now.total(name, where), self._earlier(lambda one: one.total(name, where)))

    def rates(self, name: str, label: str, where: Callable[[Labels], bool] = _not_ours) -> dict[str, float]:
        """Return the rates of a counter by the value of a label, those that have risen alone."""
        earlier = self._earlier(lambda one: one.sums(name, label, where)) or {}
        rates = {
            value: self._per_second(total, earlier.get(value, 0.0))
            for value, total in self.now.sums(name, label, where).items()
        }
        return {value: rate for value, rate in rates.items() if rate}

    def delays(self, name: str) -> Delays:
        """Return the delays of a histogram; of requests, those for metrics are left out."""
        rises = self.rates(f"{name}_bucket", "le")
        return Delays(quantile(rises, _MEDIAN), quantile(rises, _P99))

    def _earlier(self, read: Callable[[Exposition], _T]) -> _T | None:
        if self.before is None or self.before.total(_START) != self.now.total(_START):
            return None
        return read(self.before)

    def _per_second(self, now: float | None, before: float | None) -> float:
        if self.before is None or not self.seconds:
            return 0.0
        return max(0.0, (now or 0.0) - (before or 0.0)) / self.seconds


def quantile(buckets: Mapping[str, float], share: float) -> float | None:
    """Return a quantile of a histogram, from its cumulative buckets by their upper limits; None if it is empty.

    Within a bucket the values count as evenly spread, as Prometheus takes it.
    """
    limits = sorted((float(limit), count) for limit, count in buckets.items() if _is_limit(limit))
    if not limits or limits[-1][1] <= 0:
        return None
    wanted, low, below = share * limits[-1][1], 0.0, 0.0
    for limit, count in limits:
        if count >= wanted and count > below:
            if limit == float("inf"):
                return low
            return low + (limit - low) * (wanted - below) / (count - below)
        low, below = (limit, count) if limit != float("inf") else (low, below)
    return low


def _is_limit(text: str) -> bool:
    try:
        limit = float(text)
    except ValueError:
        return False
    return 0 <= limit <= _MOST_LIMIT or limit == float("inf")


def figures_of(before: Exposition | None, now: Exposition, seconds: float) -> Figures:
    """Return the figures of two looks that are `seconds` apart, or of one look."""
    span = Span(before, now, seconds)
    images = sorted(span.rates("image_bytes_served_total", "image_id").items(), key=lambda one: -one[1])
    return Figures(
        version=next((one.labels.get("version", "") for one in now.all(f"{_OURS}server_build_info")), ""),
        seconds=seconds if before is not None else 0.0,
        places_taken=span.gauge(f"{_OURS}places_taken"),
        places_limit=span.gauge(f"{_OURS}places_limit"),
        queue_length=span.gauge(f"{_OURS}queue_length"),
        streams_without_place=span.gauge(f"{_OURS}streams_without_place"),
        connections=span.gauge(f"{_OURS}connections"),
        requests_in_flight=span.gauge(f"{_OURS}requests_in_flight"),
        requests_per_second=dict(sorted(span.rates("http_requests_total", "status").items())),
        rejections_per_second=span.rate(f"{_OURS}rejections_total"),
        bytes_per_second=span.rate("image_bytes_served_total"),
        delays=span.delays("http_request_duration_seconds"),
        queue_delays=span.delays(f"{_OURS}queue_wait_seconds"),
        reactor_delays=span.delays(f"{_OURS}reactor_delay_seconds"),
        broken_off_per_second=span.rate(f"{_OURS}responses_broken_off_total"),
        stalled_per_second=span.rate(f"{_OURS}streams_stalled_total"),
        store_errors_per_second=span.rate("store_errors_total"),
        log_lines_dropped_per_second=span.rate(f"{_OURS}log_lines_dropped_total"),
        cpu_ratio=span.rate("process_cpu_seconds_total"),
        memory_bytes=span.gauge("process_resident_memory_bytes"),
        open_files=span.gauge("process_open_fds"),
        images=dict(images[:_MOST_IMAGES]),
        cache=_cache(span),
        origin=_origin(span),
    )


def _cache(span: Span) -> Cache | None:
    if not span.now.all(f"{_OURS}cache_limit_bytes"):
        return None
    asked = span.rates(f"{_OURS}cache_requests_total", "result")
    return Cache(
        hit_ratio=asked.get("hit", 0.0) / sum(asked.values()) if asked else None,
        bytes=span.gauge(f"{_OURS}cache_bytes"),
        limit_bytes=span.gauge(f"{_OURS}cache_limit_bytes"),
        evicted_bytes_per_second=span.rate(f"{_OURS}cache_evicted_bytes_total"),
    )


def _origin(span: Span) -> Origin | None:
    if not span.now.all(f"{_OURS}origin_up"):
        return None
    asked = span.rates(f"{_OURS}origin_requests_total", "result")
    return Origin(
        is_up=bool(span.gauge(f"{_OURS}origin_up")),
        requests_per_second=sum(asked.values()),
        failures_per_second=sum(rate for result, rate in asked.items() if result not in _GOOD_RESULTS),
        bytes_per_second=span.rate(f"{_OURS}origin_bytes_total"),
        delays=span.delays(f"{_OURS}origin_request_seconds"),
    )
