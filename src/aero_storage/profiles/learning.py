"""Learns a boot profile from the lines of request logs, in any order, in bounded memory (http.md §15)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import attrs

from aero_storage.http.dates import NANOSECONDS, format_rfc3339
from aero_storage.profiles.document import BootProfile, size_of
from aero_storage.profiles.log_lines import LogEvent, LogLineError, LogReader
from aero_storage.profiles.medians import EDGE_BYTES, UnitTimes
from aero_storage.profiles.ranges import arrange
from aero_storage.profiles.record_sort import IN_MEMORY, RecordSorter
from aero_storage.profiles.sessions import RECORD_BYTES, Session, SessionFinder, pack

UNIT = 64 * 1024
"""Bytes of a unit of what we learn."""

DEFAULT_SECONDS = 30
DEFAULT_MOST_BYTES = 256 * 1024 * 1024


@attrs.frozen
class LearningRules:
    """The part of a session that counts, and the limit of the profile."""

    seconds: int = DEFAULT_SECONDS
    most_bytes: int = DEFAULT_MOST_BYTES
    unit: int = UNIT


@attrs.define(eq=False)
class Learner:
    """Takes lines, and makes a profile of them; `size_bytes` is the size of the image."""

    reader: LogReader
    name: str
    size_bytes: int
    rules: LearningRules
    _events: RecordSorter
    _edges: RecordSorter
    lines: int = attrs.field(init=False, default=0)
    malformed: int = attrs.field(init=False, default=0)
    """Lines that are none of a request log."""
    reads: int = attrs.field(init=False, default=0)

    def take(self, line: bytes) -> LogEvent | None:
        """Take a line, of any file in any order, and return what it tells of the image."""
        self.lines += 1
        try:
            event = self.reader.parse(line)
        except LogLineError:
            self.malformed += 1
            return None
        if event is None or event.first >= self.size_bytes:
            return None
        if event.after > self.size_bytes:
            event = attrs.evolve(event, after=self.size_bytes)
        self.reads += not event.asks_for_profile
        self._events.add(pack(event))
        return event

    def sessions(self) -> Iterator[Session]:
        """Yield the sessions that count, of the lines taken so far; those of each reader in the order of time."""
        return SessionFinder(self.rules.unit, self.rules.seconds).sessions(self._events.sorted())

    def profile(self, sessions: Iterable[Session], now: float | None = None) -> BootProfile | None:
        """Return the profile of sessions, once; None if there are none. `now` is in seconds since the epoch."""
        rules, units = self.rules, UnitTimes(self._edges)
        for session in sessions:
            units.add(session.units)
        if not units.sessions:
            return None
        ranges = arrange(units.common(), rules.unit, self.size_bytes, rules.most_bytes)
        return BootProfile(
            image_id=self.reader.image_id,
            version=self.reader.version,
            name=self.name,
            unit=rules.unit,
            sessions=units.sessions,
            recorded=format_rfc3339(int(time.time() if now is None else now) * NANOSECONDS),
            seconds=rules.seconds,
            size_bytes=size_of(ranges, rules.unit, self.size_bytes),
            ranges=ranges,
        )


@contextmanager
def learning(
    reader: LogReader, name: str, size_bytes: int, rules: LearningRules, in_memory: int = IN_MEMORY
) -> Iterator[Learner]:
    """Have a learner for a with block; temporary files hold as much as memory does not."""
    with ExitStack() as stack:
        sorters = [stack.enter_context(RecordSorter(width, in_memory)) for width in (RECORD_BYTES, EDGE_BYTES)]
        yield Learner(reader, name, size_bytes, rules, *sorters)
