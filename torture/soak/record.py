"""What a soak found, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import attrs

from torture.outcome import MIB, Footprint

_EVERYBODY_SECONDS = 60
"""Within so long every kind of client has come to the end of something."""


@attrs.frozen
class Sample:
    """What all processes of the daemon held at a moment, under load."""

    second: float
    """Of load: rests do not count."""
    held: Footprint
    cpu: float
    """The share of a core that daemon and clients used in the second before."""


@attrs.frozen
class Allowed:
    """What may differ between the first figures and the last."""

    growth: int = 5 * MIB
    """Bytes resident, more or fewer."""
    descriptors: int = 0


@attrs.frozen
class Record:
    """All that came out. A rest is a pause of all clients, whose connections are closed by then."""

    seconds: float
    """Of load."""
    first: float
    """When the first figures were taken."""
    window: float
    """Figures under load are the medians of so many seconds."""
    seed: str
    workers: int
    start: Footprint
    """Before any client came."""
    rests: tuple[Footprint, Footprint]
    """After the first part of the load, and after all of it."""
    samples: tuple[Sample, ...]
    requests: int
    """Responses whose bytes were compared."""
    wanted: int | None
    """How many were wanted; None: as many as come in the time."""
    compared: int
    """Bytes."""
    wrong: int
    resets: int
    """Responses that mixed clients broke off."""
    acts: dict[str, int]
    """What clients did, by kind."""
    faults: tuple[str, ...]
    """What clients complain about, and what the daemon's process and log show."""

    def under_load(self, second: float) -> Footprint:
        """What was held in the window that ends there."""
        held = [sample.held for sample in self.samples if second - self.window <= sample.second <= second]
        held = held or [sample.held for sample in self.samples[-1:]] or [self.start]
        return Footprint(round(median(one.descriptors for one in held)), round(median(one.resident for one in held)))

    def complaints(self, allowed: Allowed) -> list[str]:
        """What is wrong, a line each."""
        return [*self.faults, *self._wrong(), *_differences(self.rests, allowed), *self._loaded(allowed)]

    def _wrong(self) -> Iterator[str]:
        if self.wrong:
            yield f"{self.wrong} of {self.compared} bytes are wrong"
        if self.wanted is not None and self.requests < self.wanted:
            yield f"only {self.requests} of {self.wanted} responses came within {self.seconds:.0f} s"
        for kind, count in self.acts.items():
            if not count and self.seconds >= _EVERYBODY_SECONDS:
                yield f"no client ever came to the end of: {kind}"

    def _loaded(self, allowed: Allowed) -> Iterator[str]:
        """Descriptors under load are those of whoever is connected just then: they are told, not judged."""
        early, late = self.under_load(self.first).resident, self.under_load(self.seconds).resident
        if abs(late - early) > allowed.growth:
            yield f"under load {_amounts(early, late, allowed)}"


def _differences(rests: Sequence[Footprint], allowed: Allowed) -> Iterator[str]:
    early, late = rests
    if abs(late.resident - early.resident) > allowed.growth:
        yield f"without clients {_amounts(early.resident, late.resident, allowed)}"
    if abs(late.descriptors - early.descriptors) > allowed.descriptors:
        yield f"without clients {late.descriptors} descriptors were open, {early.descriptors} after the first part"


def _amounts(early: int, late: int, allowed: Allowed) -> str:
    more = f"{late / MIB:.1f} MiB were resident, {early / MIB:.1f} after the first part"
    return f"{more}: a difference of {(late - early) / MIB:+.1f} MiB, ±{allowed.growth / MIB:g} are allowed"
