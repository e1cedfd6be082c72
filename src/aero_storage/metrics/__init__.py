"""Metrics: counters of the daemon, and their exposition for Prometheus (http.md §9)."""

from aero_storage.metrics.counts import OTHER, Counts, Gauge
from aero_storage.metrics.families import CONTENT_TYPE, Registry
from aero_storage.metrics.instruments import Gauges, LeaseDocument, Metrics, RangeTally

__all__ = ["CONTENT_TYPE", "OTHER", "Counts", "Gauge", "Gauges", "LeaseDocument", "Metrics", "RangeTally", "Registry"]
