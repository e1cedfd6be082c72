"""The one error of the benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """The benchmark cannot go on; the message is for whoever started it."""
