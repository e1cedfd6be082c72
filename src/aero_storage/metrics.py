"""The instruments of contract §9, on a registry that is passed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
from prometheus_client import CollectorRegistry as Registry
from prometheus_client import (
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

__all__ = ["CONTENT_TYPE", "OTHER", "Metrics", "Registry"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Media type of `Metrics.exposition`."""

OTHER = "__other__"
"""The `image_id` of all images beyond the label limit."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STORE_ERRORS = ("meta", "open_range", "manifest")
_RANGE_RESULTS = ("valid", "invalid")
_M = TypeVar("_M")
_RELOAD_RESULTS = ("success", "failure")


@attrs.define
class _BoundedLabel:
    """The first `limit` values seen keep their own; all others become OTHER."""

    limit: int
    _seen: set[str] = attrs.field(init=False, factory=set)

    def of(self, value: str) -> str:
        if value not in self._seen and len(self._seen) >= self.limit:
            return OTHER
        self._seen.add(value)
        return value


class _Children(dict[tuple[object, ...], _M]):
    """The children of a metric by their label values: the library's own look-up takes three times as long."""

    def __init__(self, labels: Callable[..., _M]) -> None:
        super().__init__()
        self._labels = labels

    def __missing__(self, values: tuple[object, ...]) -> _M:
        child = self[values] = self._labels(*values)
        return child


class Metrics:
    """All counters of the daemon; its methods are named after what has happened."""

    def __init__(self, registry: Registry, version: str, max_image_ids: int) -> None:
        disable_created_metrics()
        self._registry = registry
        self._image_label = _BoundedLabel(max_image_ids)
        self._requests = Counter(
            "http_requests_total", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Time from the request's head to the last byte of its response.",
            ["route", "method"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._bytes = Counter(
            "image_bytes_served_total", "Body bytes sent of images and chunks.", ["image_id"], registry=registry
        )
        self._ranges = Counter(
            "range_requests_total",
            "Byte requests that got a 206, or a 412, 413 or 416.",
            ["result"],
            registry=registry,
        )
        self._store_errors = Counter(
            "store_errors_total", "Failures of the disk or of the catalog.", ["kind"], registry=registry
        )
        self._reloads = Counter(
            "aero_storage_catalog_reload_total", "Readings of a changed catalog.", ["result"], registry=registry
        )
        self._reloaded_at = Gauge(
            "aero_storage_catalog_reload_last_success_timestamp_seconds",
            "When the catalog was last read and found good, in seconds since the epoch.",
            registry=registry,
        )
        build = Gauge("aero_storage_server_build_info", "Constant 1.", ["version"], registry=registry)
        build.labels(version).set(1)
        ProcessCollector(registry=registry)
        self._requests_of = _Children(self._requests.labels)
        self._durations_of = _Children(self._durations.labels)
        self._bytes_of = _Children(self._bytes.labels)
        self._start_from_zero()

    def _start_from_zero(self) -> None:
        for counter, values in (
            (self._ranges, _RANGE_RESULTS),
            (self._store_errors, _STORE_ERRORS),
            (self._reloads, _RELOAD_RESULTS),
        ):
            for value in values:
                counter.labels(value)

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request has been answered, to the last byte or to where it broke off."""
        self._requests_of[route, method, status].inc()
        self._durations_of[route, method].observe(seconds)

    def bytes_sent(self, image_id: str, count: int) -> None:
        """`count` body bytes of an image or chunk have left the server."""
        if count:
            self._bytes_of[(self._image_label.of(image_id),)].inc(count)

    def range_answered(self, *, valid: bool) -> None:
        """A range request got its 206 (`valid`), or one of 412, 413, 416."""
        self._ranges.labels("valid" if valid else "invalid").inc()

    def store_failed(self, kind: str) -> None:
        """A disk or catalog failure of one of the kinds `meta`, `open_range`, `manifest`."""
        self._store_errors.labels(kind).inc()

    def catalog_loaded(self, now: float) -> None:
        """A changed catalog has been read and is in force; `now` in seconds since the epoch."""
        self._reloads.labels("success").inc()
        self._reloaded_at.set(now)

    def catalog_failed(self) -> None:
        """The catalog on disk is invalid."""
        self._reloads.labels("failure").inc()

    def exposition(self) -> bytes:
        """All metrics in the text format 0.0.4."""
        return generate_latest(self._registry)
