"""Counts as JSON documents, for the way from one process to another."""

from __future__ import annotations

from typing import Any

from aero_storage.metrics import Counts

_TALLIES = ("requests", "bytes", "ranges", "store_errors", "reloads", "refusals", "slow")


def to_document(counts: Counts) -> dict[str, Any]:
    """A copy as JSON can hold it: an object's keys are no tuples, so there are lists of pairs instead."""
    tallies = {name: list(getattr(counts, name).items()) for name in _TALLIES}
    durations = [(labels, list(row)) for labels, row in counts.durations.items()]
    rest = {"reloaded_at": counts.reloaded_at, "process": dict(counts.process)}
    return {**tallies, "durations": durations, **rest}


def from_document(document: dict[str, Any]) -> Counts:
    """The counts again."""
    by_labels = {
        name: {tuple(labels): value for labels, value in document[name]} for name in (*_TALLIES, "durations")
    }
    return Counts(**by_labels, reloaded_at=document["reloaded_at"], process=document["process"])
