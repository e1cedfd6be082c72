"""What watches files in tests, where nothing happens unless a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import attrs
from tests.conftest import Log
from twisted.internet.task import Clock

from aero_storage.streaming.fair_queue import FairQueue
from aero_storage.streaming.file_segment import COPIED_BYTES, CopiedSegment, FileSegment
from aero_storage.streaming.files_in_flight import FilesInFlight
from aero_storage.streaming.transports import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class InstantDisk:
    """Does what it is asked at once."""

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        del lane
        work()


@attrs.define(eq=False)
class FakeWatches:
    """Watches files by their descriptors; a change is what `changed` is called with. `full` makes it fail."""

    full: bool = False
    watched: set[int] = attrs.field(factory=set)
    changed: Callable[[frozenset[int] | None], object] = lambda _watches: None
    stopped: bool = False

    @property
    def error(self) -> str | None:
        return "No space left on device" if self.full else None

    def start(self, changed: Callable[[frozenset[int] | None], object]) -> None:
        self.changed = changed

    def stop(self) -> None:
        self.stopped = True

    def add(self, descriptor: int) -> int | None:
        if self.full:
            return None
        self.watched.add(descriptor)
        return descriptor

    def remove(self, watch: int) -> None:
        self.watched.remove(watch)


@attrs.define(eq=False)
class Flights:
    """Files in flight, with a clock, watches and a log of their own."""

    clock: Clock = attrs.field(factory=Clock)
    watches: FakeWatches = attrs.field(factory=FakeWatches)
    log: Log = attrs.field(factory=Log)
    files: FilesInFlight = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.files = FilesInFlight(self.clock, cast("Any", InstantDisk()), self.watches, self.log)
        self.files.start()


class RemoteKinds:
    """Chooses segments as for a client on another machine, though all peers here are on this one."""

    def choose(self, _source: object, length: int, _connection: object) -> Callable[..., FileSegment]:
        return CopiedSegment if length <= COPIED_BYTES else FileSegment


def sending(reactor: Any, disk: Any, in_flight: FilesInFlight | None = None, kinds: Any = None) -> Sending:
    """What the connections of one port share."""
    files = Flights().files if in_flight is None else in_flight
    return Sending(disk, FairQueue(reactor), files, kinds or cast("Any", RemoteKinds()))
