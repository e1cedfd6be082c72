"""What came of one fault: what was tried, what live clients saw, and what it left behind."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

MIB = 1 << 20


@attrs.frozen
class Footprint:
    """What the daemon, all its processes together, holds."""

    descriptors: int
    resident: int
    """Bytes."""
    places: int | None = None
    """How many of its places for image bytes were free; None where nobody looked."""


@attrs.frozen
class LiveResult:
    """What live clients saw meanwhile; every byte was compared."""

    requests: int = 0
    wrong_bytes: int = 0
    failures: tuple[str, ...] = ()
    p99: float = 0.0
    """Seconds from the request to the last byte."""
    slowest: float = 0.0
    median: float = 0.0


@attrs.frozen
class Outcome:
    """A line of the report."""

    fault: str
    tried: str
    count: int = 0
    saw: str = ""
    live: LiveResult | None = None
    before: Footprint | None = None
    after: Footprint | None = None
    complaints: tuple[str, ...] = ()
    skipped: str = ""
    """Why it was not tried; empty if it was."""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether anything was not as it must be."""
        return bool(self.complaints)


def sum_of_footprints(held: Sequence[Footprint]) -> Footprint:
    """What several daemons hold, whose places nobody has looked at."""
    return Footprint(sum(one.descriptors for one in held), sum(one.resident for one in held))


def merged_results(seen: Sequence[LiveResult]) -> LiveResult:
    """What live clients of several daemons saw: all requests, and the times of those who were served worst."""
    return LiveResult(
        sum(one.requests for one in seen),
        sum(one.wrong_bytes for one in seen),
        tuple(failure for one in seen for failure in one.failures),
        max((one.p99 for one in seen), default=0.0),
        max((one.slowest for one in seen), default=0.0),
        max((one.median for one in seen), default=0.0),
    )


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of all lies; 0 of none."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0
