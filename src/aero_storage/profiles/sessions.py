"""Sessions, and the units that they read: from the events of each reader in the order of time (http.md §15). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from aero_storage.profiles.covered import CoveredUnits
from aero_storage.profiles.log_lines import LogEvent

_RECORD = struct.Struct(">16sQ?QQ")
RECORD_BYTES = _RECORD.size
"""Length of a packed event: packed ones of one reader sort by time, a request for the profile before reads."""

_SECOND = 1_000_000
_QUIET = 600 * _SECOND
"""Microseconds without a read, after which a read of byte 0 begins a session."""

_AGAIN = 60 * _SECOND
"""Microseconds from one read of byte 0 to another one that begins a session."""


def pack(event: LogEvent) -> bytes:
    """Return an event as a record to be sorted."""
    return _RECORD.pack(event.reader, event.began, not event.asks_for_profile, event.first, event.after)


@attrs.frozen(eq=False)
class Session:
    """The begin of a session, in microseconds since the epoch, and the units that it read first."""

    began: int
    units: CoveredUnits


@attrs.define(eq=False)
class SessionFinder:
    """Finds the sessions that count; their first `seconds` count, in units of `unit` bytes."""

    unit: int
    seconds: float
    _reader: bytes | None = attrs.field(init=False, default=None)
    _last_read: int | None = attrs.field(init=False, default=None)
    _last_start: int | None = attrs.field(init=False, default=None)
    """When byte 0 was read last."""
    _last_asked: int | None = attrs.field(init=False, default=None)
    """When the profile was asked for last."""
    _session: _OpenSession | None = attrs.field(init=False, default=None)

    def sessions(self, records: Iterator[bytes]) -> Iterator[Session]:
        """Yield each session that counts, from sorted records."""
        for record in records:
            reader, began, is_read, first, after = _RECORD.unpack(record)
            if reader != self._reader:
                yield from self._ended(None)
                self._begin_reader(reader)
            if not is_read:
                self._asked(began)
                continue
            if not first and self._is_start(began):
                yield from self._ended(began)
                self._session = _OpenSession(
                    began, began + round(self.seconds * _SECOND), was_asked=self._was_asked_before(began)
                )
            self._read(began, first, after)
        yield from self._ended(None)

    def _begin_reader(self, reader: bytes) -> None:
        self._reader = reader
        self._last_read = self._last_start = self._last_asked = None

    def _asked(self, time: int) -> None:
        self._last_asked = time
        session = self._session
        if session is not None and session.asked_at is None:
            session.asked_at = time

    def _was_asked_before(self, began: int) -> bool:
        return self._last_asked is not None and self._last_asked >= began - _AGAIN

    def _is_start(self, time: int) -> bool:
        if self._last_read is None or time - self._last_read >= _QUIET:
            return True
        return self._last_start is not None and time - self._last_start >= _AGAIN

    def _read(self, time: int, first: int, after: int) -> None:
        session = self._session
        if session is not None:
            session.read(time, self._last_read)
            if time < session.counts_until:
                milliseconds = (time - session.began) // 1000
                session.units.add(first // self.unit, -(-after // self.unit), milliseconds)
        self._last_read = time
        if not first:
            self._last_start = time

    def _ended(self, next_began: int | None) -> Iterator[Session]:
        """Yield the session that has ended, if it counts."""
        session, self._session = self._session, None
        if session is not None and not session.is_with_profile(next_began):
            yield Session(session.began, session.units)


@attrs.define(eq=False)
class _OpenSession:
    """One session: from a minute before its begin to a minute before the next, or to ten minutes without a read.

    Its first seconds are its own, also if the next one begins within a minute after them.
    """

    began: int
    counts_until: int
    was_asked: bool
    """Whether the profile was asked for in the minute before."""
    asked_at: int | None = attrs.field(init=False, default=None)
    """When it was asked for first since."""
    quiet_from: int | None = attrs.field(init=False, default=None)
    """When there had been no read for ten minutes, once a read came later."""
    last_read: int = attrs.field(init=False)
    units: CoveredUnits = attrs.field(init=False, factory=CoveredUnits)

    @last_read.default
    def _first_read(self) -> int:
        return self.began

    def read(self, time: int, before: int | None) -> None:
        """Take note of a read; `before` is the time of the one before."""
        if self.quiet_from is None and before is not None and before >= self.began and time - before >= _QUIET:
            self.quiet_from = before + _QUIET
        self.last_read = time

    def is_with_profile(self, next_began: int | None) -> bool:
        """Return whether the profile was asked for in it."""
        end = self.last_read + _QUIET if self.quiet_from is None else self.quiet_from
        if next_began is not None:
            end = min(end, max(next_began - _AGAIN, self.counts_until))
        return self.was_asked or (self.asked_at is not None and self.asked_at < end)
