"""How the bytes of a file are sent over one connection: copied, shared, or shared but for their end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs

from aero_storage.open_file import OpenFile
from aero_storage.streaming.file_segment import COPIED_BYTES, CopiedSegment, FileSegment
from aero_storage.streaming.held_tail import HeldTailSegment, Timers
from aero_storage.streaming.local_reader import Connection, LocalReader, PeerSockets, Unseen, find_reader
from aero_storage.streaming.unix_tail import UNIXReader, UNIXTailSegment


@attrs.frozen(eq=False)
class SegmentKinds:
    """Chooses how the bytes of a file are sent: copied, shared, or shared but for their end."""

    _peer_sockets: PeerSockets
    _timers: Timers

    def start(self) -> None:
        """Begin to know the sockets of this machine."""
        self._peer_sockets.start()
        self._timers.start()

    def stop(self) -> None:
        """End that: no connection is left."""
        self._timers.stop()
        self._peer_sockets.stop()

    def choose(self, source: OpenFile, length: int, connection: Connection) -> Callable[..., FileSegment]:
        """Return what makes the segment of a body of `length` bytes."""
        if length <= COPIED_BYTES:
            return CopiedSegment
        if not source.is_watched:
            return FileSegment
        if connection.reader is None and connection.connected:
            connection.reader = find_reader(connection, self._peer_sockets)
        if isinstance(connection.reader, UNIXReader):
            return partial(UNIXTailSegment, reader=connection.reader, timers=self._timers)
        if isinstance(connection.reader, LocalReader):
            return partial(HeldTailSegment, reader=connection.reader, timers=self._timers)
        return CopiedSegment if connection.reader is Unseen.LOCAL else FileSegment
