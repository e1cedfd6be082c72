"""Files of which bytes are in flight: being sent, or sent by `sendfile` and not acknowledged yet (http.md §5).

Bytes that `sendfile` has put into a socket are still the file's: a change in place changes them there. So each such
file is watched. When it changes, every connection whose client has not acknowledged all of its bytes is reset, also
one whose response counts as complete. A reset drops the bytes that wait in the socket.

inotify reports a change within a millisecond. It reports no stores to a mapping, and not all file systems report
all changes, so size and mtime are looked at too, every LOOK_SECONDS. A file is watched, and held open, from the first
of its segments to the last acknowledgement.

A body that is copied needs no watch: each piece is verified. It is known here too, so that the first connection that
notices a change has the others of that file reset with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.disk import Disk
from aero_storage.logs.json_log import EventLog
from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.open_file import OpenFile
from aero_storage.streaming.change_reports import ChangeReports

LOOK_SECONDS = 0.05
"""Interval of the looks at the files, while bytes of any are in flight."""

_ASKED_AT_A_TIME = 256
"""Connections that are asked in one look for what they have acknowledged: 1 µs each."""


class Sender(Protocol):
    """A connection that sends bytes of files."""

    def acknowledged(self) -> int:
        """Return how many bytes of its stream the peer has acknowledged."""
        ...

    def file_changed(self) -> None:
        """Reset the connection: bytes of a file that it has sent, or was about to send, have changed."""
        ...


class Watches(Protocol):
    """Reports changes of open files, as `linux.inotify.Inotify` does."""

    @property
    def error(self) -> str | None:
        """Why a file could not be watched last."""
        ...

    def start(self, changed: Callable[[frozenset[int] | None], object]) -> None:
        """Begin to call `changed` with the watches whose files have changed, or with None: any may have."""
        ...

    def stop(self) -> None:
        """Remove all watches."""
        ...

    def add(self, descriptor: int) -> int | None:
        """Watch an open file; equal files have one watch. None if it cannot be watched."""
        ...

    def remove(self, watch: int) -> None:
        """Remove a watch."""
        ...


@attrs.define(eq=False)
class _File:
    """A file in flight; `senders` is the number of connections that have bytes of it in flight.

    It is `held` open, and watched if it can be, once bytes of it are shared.
    """

    held: bool = False
    watch: int | None = None
    senders: int = 0


@attrs.define(eq=False)
class _Flight:
    """Bytes of one file on one connection: bodies that are being sent, and the end of its shared bytes."""

    bodies: int = 0
    shared_to: int = 0

    def is_over(self, acknowledged: int) -> bool:
        """Whether no change reaches the client any more."""
        return not self.bodies and self.shared_to <= acknowledged


@attrs.define(eq=False)
class FilesInFlight:
    """The files of one process of which bytes are in flight, by connection."""

    _clock: IReactorTime
    _disk: Disk
    _watches: Watches
    _log: EventLog
    reports: ChangeReports = attrs.field(init=False)
    _unwatched: RateLimitedEvent = attrs.field(init=False)
    _senders: dict[Sender, dict[OpenFile, _Flight]] = attrs.field(init=False, factory=dict)
    _files: dict[OpenFile, _File] = attrs.field(init=False, factory=dict)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        message = "a file in use cannot be watched: changes in place are found by looks alone"
        self._unwatched = RateLimitedEvent(self._log, self._clock, "warn", message)
        self.reports = ChangeReports(self._clock, self._log)

    def start(self) -> None:
        """Begin to watch."""
        self._watches.start(self._on_events)

    def stop(self) -> None:
        """Forget all: the process ends."""
        for sender in tuple(self._senders):
            self.leave(sender)
        self._watches.stop()
        self.reports.stop()

    def begin(self, sender: Sender, file: OpenFile, *, shared: bool) -> None:
        """Take note of a body that `sender` begins to send, and whose file its caller keeps open meanwhile.

        The file is watched if its bytes are `shared` with the socket, and not copied.
        """
        files = self._senders.get(sender, {})
        if file not in files:
            self._files.setdefault(file, _File()).senders += 1
            files[file] = _Flight()
        files[file].bodies += 1
        self._senders[sender] = files
        if shared:
            self._watch(file, self._files[file])
            self._schedule()

    def end(self, sender: Sender, file: OpenFile, position: int = 0) -> None:
        """Watch it until the client has acknowledged `position` bytes of the stream; a copy needs no watch."""
        flight = self._senders.get(sender, {}).get(file)
        if flight is not None:
            flight.bodies -= 1
            flight.shared_to = max(flight.shared_to, position)
            if flight.is_over(0):
                self._drop(sender, (file,))

    def leave(self, sender: Sender) -> None:
        """The connection is lost."""
        self._drop(sender, tuple(self._senders.get(sender, ())))

    def changed(self, file: OpenFile, sender: Sender) -> bool:
        """Take `sender`'s word that a file has changed; return False if it has none of it in flight."""
        if file not in self._senders.get(sender, ()):
            return False
        self._changed([file])
        return True

    def has(self, sender: Sender) -> bool:
        """Return whether the client has not acknowledged all bytes of files."""
        files = self._senders.get(sender)
        if files:
            self._drop_acknowledged(sender)
        return sender in self._senders

    def __len__(self) -> int:
        return len(self._files)

    # Files

    def _watch(self, file: OpenFile, known: _File) -> None:
        if not known.held:
            file.hold()
            known.held, known.watch = True, self._watches.add(file.fileno())
            if known.watch is None:
                self._unwatched.happened({"file": file.name, "reason": self._watches.error})

    def _drop(self, sender: Sender, dropped: Iterable[OpenFile]) -> None:
        files = self._senders.get(sender, {})
        for file in dropped:
            del files[file]
            known = self._files[file]
            known.senders -= 1
            if not known.senders:
                self._forget(file, known)
        if not files:
            self._senders.pop(sender, None)
        if not self._senders and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self, file: OpenFile, known: _File) -> None:
        del self._files[file]
        watch = known.watch
        if watch is not None and all(other.watch != watch for other in self._files.values()):
            self._watches.remove(watch)
        if known.held:
            self._disk.later(file.release, file.lane)

    def _drop_acknowledged(self, sender: Sender) -> None:
        files = self._senders[sender]
        if not all(flight.bodies for flight in files.values()):
            acknowledged = sender.acknowledged()
            self._drop(sender, [file for file, flight in files.items() if flight.is_over(acknowledged)])

    # Changes

    def _on_events(self, watches: frozenset[int] | None) -> None:
        files = [(file, known.watch) for file, known in self._files.items() if known.held]
        self._changed([file for file, watch in files if watches is None or watch in watches])

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._changed([file for file, known in self._files.items() if known.held and not file.is_current()])
        for sender in tuple(islice(self._senders, _ASKED_AT_A_TIME)):
            self._senders[sender] = self._senders.pop(sender)  # the next look asks others
            self._drop_acknowledged(sender)
        if any(known.held for known in self._files.values()):
            self._schedule()

    def _changed(self, files: list[OpenFile]) -> None:
        """Reset the connections that have bytes of these files in flight; tell of each file by its name."""
        for file in files:
            hit = [
                sender
                for sender in self._holders(file)
                if not self._senders[sender][file].is_over(sender.acknowledged())
            ]
            for sender in self._holders(file):
                self._drop(sender, (file,))
            if hit:
                self.reports.add(file.name, len(hit))
            for sender in hit:
                sender.file_changed()

    def _holders(self, file: OpenFile) -> tuple[Sender, ...]:
        return tuple(sender for sender, files in self._senders.items() if file in files)
