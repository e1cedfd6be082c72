"""Figures of boots, and their medians. Pure."""

from __future__ import annotations

import statistics
from typing import Any

import attrs


@attrs.frozen
class Boot:
    """One boot: its loader, the round trip, seconds to the prompt, requests, and bytes of bodies."""

    loader: str
    rtt_ms: int
    seconds: float
    requests: int
    bytes: int


@attrs.frozen
class Reach:
    """What curl reaches over a link in the same run: the whole image, and one small request."""

    rtt_ms: int
    mib_per_second: float
    small_ms: float


@attrs.frozen
class Reading:
    """MiB/s of reads in the browser, or of curl, over a link of 50 ms without a limit on its rate."""

    work: str
    who: str
    mib_per_second: float


@attrs.frozen
class Classroom:
    """A boot replayed alone, and by all seats at once: seconds, of the slowest; requests that were refused."""

    loader: str
    seats: int
    alone: float
    slowest: float
    refused: int


@attrs.frozen
class Results:
    """All of a run."""

    boots: list[Boot]
    reaches: list[Reach]
    facts: dict[str, str]
    distinct_bytes: int
    """Of the 4 KiB blocks that the guest read through v86's own loader."""
    mbit: float | None
    readings: list[Reading]
    classrooms: list[Classroom]

    def of(self, loader: str, rtt_ms: int) -> list[Boot]:
        """All boots of a kind."""
        return [boot for boot in self.boots if (boot.loader, boot.rtt_ms) == (loader, rtt_ms)]

    def seconds(self, loader: str, rtt_ms: int) -> float | None:
        """The median; None if there was none."""
        found = self.of(loader, rtt_ms)
        return statistics.median(boot.seconds for boot in found) if found else None

    def added(self, loader: str, rtt_ms: int) -> float | None:
        """What a delay adds to the time without one."""
        slow, fast = self.seconds(loader, rtt_ms), self.seconds(loader, 0)
        return None if slow is None or fast is None else slow - fast

    def reading(self, work: str, who: str) -> float | None:
        """The median MiB/s; None if there is none."""
        found = [one.mib_per_second for one in self.readings if (one.work, one.who) == (work, who)]
        return statistics.median(found) if found else None

    def rtts(self) -> list[int]:
        """The round trips that were measured."""
        return sorted({boot.rtt_ms for boot in self.boots})


def from_json(told: dict[str, Any]) -> Results:
    """The results that `attrs.asdict` gave."""
    kinds = {"boots": Boot, "reaches": Reach, "readings": Reading, "classrooms": Classroom}
    rows = {name: [kind(**row) for row in told[name]] for name, kind in kinds.items()}
    return Results(**{**told, **rows})


def distinct_bytes(ranges: list[str], unit: int = 4096) -> int:
    """The bytes of the units that ranges such as `0-4095` touch."""
    units: set[int] = set()
    for text in ranges:
        first, _, last = text.partition("-")
        units.update(range(int(first) // unit, int(last) // unit + 1))
    return len(units) * unit
