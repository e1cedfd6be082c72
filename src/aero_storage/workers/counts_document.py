"""Counts as JSON documents, for the way from one process to another."""

from __future__ import annotations

from typing import Any

from aero_storage.metrics import Counts
from aero_storage.metrics.counts import HISTOGRAMS, TALLIES


def to_document(counts: Counts) -> dict[str, Any]:
    """A copy as JSON can hold it: an object's keys are no tuples, so there are lists of pairs instead."""
    tallies = {name: list(getattr(counts, name).items()) for name in TALLIES}
    histograms = {name: [(labels, list(row)) for labels, row in getattr(counts, name).items()] for name in HISTOGRAMS}
    rest = {"reloaded_at": counts.reloaded_at, "gauges": dict(counts.gauges), "process": dict(counts.process)}
    return {**tallies, **histograms, **rest}


def from_document(document: dict[str, Any]) -> Counts:
    """The counts again."""
    counts: dict[str, Any] = {name: document[name] for name in ("reloaded_at", "gauges", "process")}
    for name in (*TALLIES, *HISTOGRAMS):
        counts[name] = {tuple(labels): value for labels, value in document[name]}
    return Counts(**counts)
