"""Counts as JSON documents, to be sent from one process to another."""

from __future__ import annotations

from typing import Any

from aero_storage.metrics import Counts
from aero_storage.metrics.counts import HISTOGRAMS, TALLIES


def to_document(counts: Counts) -> dict[str, Any]:
    """Return a copy for JSON: lists of pairs, as keys of JSON objects cannot be tuples."""
    tallies = {name: list(getattr(counts, name).items()) for name in TALLIES}
    histograms = {name: [(labels, list(row)) for labels, row in getattr(counts, name).items()] for name in HISTOGRAMS}
    rest = {"reloaded_at": counts.reloaded_at, "gauges": dict(counts.gauges), "process": dict(counts.process)}
    return {**tallies, **histograms, **rest}


def from_document(document: dict[str, Any]) -> Counts:
    """Return the counts of a document."""
    counts: dict[str, Any] = {name: document[name] for name in ("reloaded_at", "gauges", "process")}
    for name in (*TALLIES, *HISTOGRAMS):
        counts[name] = {tuple(labels): value for labels, value in document[name]}
    return Counts(**counts)
