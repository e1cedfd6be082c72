"""A transport for Twisted that sends segments: of files by `sendfile`, and of bodies that connections share.

To use it, give a listening port a subclass with the class variables set: `port.transport = …`.
Bytes are sent in the order of the calls of `write`, `writeSequence`, `send_file` and `send_body`. The reactor's
thread makes no read that could wait for a disk.

The kernel copies as late as it can: a file that is changed in place also changes those of its bytes that wait in a
socket. Then `in_flight` has the connection reset. `segment_kinds` tells what is copied.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.errors import FileChangedError
from aero_storage.linux import notsent_lowat
from aero_storage.open_file import OpenFile
from aero_storage.streaming.fair_queue import TURN_BYTES, FairQueue
from aero_storage.streaming.file_segment import FileSegment
from aero_storage.streaming.files_in_flight import FilesInFlight
from aero_storage.streaming.memory_segment import MemorySegment
from aero_storage.streaming.segment_kinds import SegmentKinds
from aero_storage.streaming.stream_place import StreamPlace
from aero_storage.streaming.throttle import Pace
from aero_storage.streaming.write_queue import QueuedSegment, WriteQueue

_HEAD_BYTES = 16 * 1024
"""Ordinary bytes up to this size are sent with MSG_MORE, in one packet with the file that follows."""

_SMALL_BYTES = 66 * 1024
"""A response up to this size, with its head, is small: it leaves at once, and turns are short after it."""

_MORE: int = getattr(socket, "MSG_MORE", 0)
_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


class SendfileServer(WriteQueue):
    """A TCP connection that sends segments; a TrackedTransport. `unix_sendfile` has that of a UNIX socket.

    A segment that fails or is cancelled would leave a hole in the stream: it aborts the connection.
    """

    disk: ClassVar[Disk]
    fair_queue: ClassVar[FairQueue]
    in_flight: ClassVar[FilesInFlight]
    segment_kinds: ClassVar[SegmentKinds]
    on_file_changed: Callable[[], object] | None = None
    """Resets the connection, in place of `abortConnection`, when bytes in flight have changed."""
    pace: Pace | None = None
    """Limits the speed of file bytes; bytes of `write` are counted by the producer, or do not count."""
    _full = False
    """Whether the socket is full; the reactor reports when it is writable again."""
    _awaiting_read = False
    """Whether a thread reads the bytes to be sent next."""
    _awaiting_turn = False
    """Whether `take_turn` is due from the fair queue or the throttle; until then writability does not matter."""
    _flushing = False

    def __init__(self, *arguments: Any) -> None:
        self._speed_test: notsent_lowat.SpeedTest | None = notsent_lowat.SpeedTest()
        super().__init__(*arguments)

    def send_file(
        self, source: OpenFile, offset: int, length: int, head: bytes = b"", place: StreamPlace | None = None
    ) -> Deferred[None]:
        """Send `head` and `length` bytes of a file from `offset` on, behind everything written before.

        If nothing is queued, as much as the socket takes is sent at once. The Deferred fires when the kernel has all,
        and fails with the exceptions of `source`, ConnectionAborted (`in_flight` has told why), or ConnectionLost.
        """
        kind = self.segment_kinds.choose(source, length, self)
        return self.send_segment(partial(kind, source, offset, length, place=place), head)

    def send_segment(self, make: Callable[..., FileSegment], head: bytes = b"") -> Deferred[None]:
        """Do the same for a segment that is made so."""
        return self._enqueue(make(self.disk, self._has_read, self.abortConnection), head)

    def send_body(self, body: bytes, offset: int, head: bytes) -> Deferred[None]:
        """Do the same for a body in memory, from `offset` on; no byte of it is copied."""
        return self._enqueue(MemorySegment(body, offset, self.abortConnection), head)

    def _enqueue(self, segment: QueuedSegment, head: bytes) -> Deferred[None]:
        if self.TLS:
            raise RuntimeError("the bytes of a segment cannot pass through TLS")
        self._queued += segment.left
        if not self.connected or self._aborting or self._writeDisconnected:
            return fail(ConnectionLost())
        if segment.file is not None:
            self.in_flight.begin(self, segment.file, shared=segment.is_shared)
        done = segment.done
        assert done is not None  # noqa: S101
        self._append(segment, head)
        if not (self._awaiting_read or self._awaiting_turn or self._full or self.disconnecting):
            self._push()
        elif not (self._awaiting_read or self._awaiting_turn):
            self.startWriting()
        self._maybePauseProducer()
        return done

    def write_through(self, data: bytes | bytearray | memoryview) -> bool:
        """Write, at once as much as the socket takes; return whether the kernel now has everything ever written."""
        sent = self.send_now(data)
        if sent == len(data):
            return True
        self.write(bytes(data[sent:]))
        return not self.unsent

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the socket takes at once, if nothing is queued; return how many bytes."""
        if len(data) <= _SMALL_BYTES:
            return self.send_small(data)
        if not self.is_idle() or self._spent + len(data) > TURN_BYTES:
            return 0
        sent = self._send((data,), 0)
        self._count_turn(sent)
        return sent

    def send_small(self, *pieces: bytes | bytearray | memoryview) -> int:
        """Do the same for the pieces of a small response, up to _SMALL_BYTES together, which are not joined."""
        self.fair_queue.shorten_turns()
        return self._send(pieces, 0) if self.is_idle() and self._spent + _SMALL_BYTES <= TURN_BYTES else 0

    def waits_for_turn(self, count: int) -> bool:
        """Return whether a response of `count` bytes, if it is not small, waits for the turns of other streams."""
        return count > _SMALL_BYTES and count > self.fair_queue.left

    def file_changed(self) -> None:
        """Reset the connection: bytes of a file in flight have changed (Sender of FilesInFlight)."""
        (self.on_file_changed or self.abortConnection)()

    @override
    def doWrite(self) -> object:  # type: ignore[override]
        self._full = False
        if self._segments and not self._awaiting_turn:
            self._flush()
        self._spent = 0
        if self._lost:
            return CONNECTION_LOST
        if self._aborting or not self.connected:
            return None
        if not self._segments:
            return super().doWrite()
        if self._awaiting_read or self._awaiting_turn:
            self.stopWriting()
        return None

    def take_turn(self) -> None:
        """Send up to one turn's bytes; the fair queue and the throttle call this (QueuedStream)."""
        self._awaiting_turn = False
        if not self._awaiting_read:
            self._spent = 0
            self._push()

    def _push(self) -> None:
        """Send at once as much as possible; `doWrite` sends the rest."""
        if self._flushing:
            return
        self._flush()
        if self._aborting or not self.connected:
            return
        if self._awaiting_read or self._awaiting_turn:
            self.stopWriting()
        elif self.unsent or self._has_more_to_do():
            self.startWriting()
        else:
            self.stopWriting()
            self._resume_producer()
            self._notify_if_flushed()

    def _flush(self) -> None:
        self._flushing = True
        try:
            while self._segments and self._send_next():
                pass
        finally:
            self._flushing = False

    def _send_next(self) -> bool:
        """Send from the buffer before the first segment and from the segment; return whether more may be sent now."""
        segment, room = self._segments[0], TURN_BYTES - self._spent
        self._awaiting_read = False
        if room <= 0 or self._aborting or not self.connected:
            return False
        try:
            return self._send_in_order(segment, room)
        except BlockingIOError:
            self._full = True
        except OSError as error:
            if not self._is_connection_error(error):
                self._fail_segment(segment, Failure())
        except Exception:  # noqa: BLE001 - `source` may raise anything
            self._fail_segment(segment, Failure())
        return False

    def _send_in_order(self, segment: QueuedSegment, room: int) -> bool:
        before = len(self.dataBuffer) - self.offset + self._tempDataLen
        asked = segment.left > 0 and before <= _HEAD_BYTES
        ready = segment.ready() if asked else 0
        pace = self._pace_of(segment)
        allowed = ready if pace is None else min(ready, pace.left)
        if before and not self._discard(self._send((self._coalesce()[:room],), _MORE if allowed else 0)):
            return False
        if ready and not self._send_segment(segment, min(allowed, room, self.fair_queue.left)):
            return False
        if not segment.left:
            if segment.file is not None:
                self.in_flight.end(self, segment.file, self.taken if segment.is_shared else 0)
            self._complete(segment)
            return True
        self._awaiting_read = asked and not ready
        return not self._awaiting_read

    def _send_segment(self, segment: QueuedSegment, most: int) -> bool:
        if most <= 0:
            return self._wait_for_turn(segment)
        left = segment.left
        try:
            self._full = segment.send(self.fileno(), most) < most
        finally:
            self._count(segment, left - segment.left)
        if segment.left and not self._full:
            return self._wait_for_turn(segment)
        return not self._full

    def _count(self, segment: QueuedSegment, sent: int) -> None:
        self._queued -= sent
        self._spent += sent
        self.taken += sent
        pace = self._pace_of(segment)
        if pace is not None:
            pace.spend(sent)
        if sent and self.on_taken is not None:
            self.on_taken()
        self._count_turn(sent)

    def _count_turn(self, sent: int) -> None:
        self.fair_queue.spend(sent)
        if self._speed_test is not None and self._speed_test.passed(sent):
            self._speed_test = None
            notsent_lowat.lift_limit(self.socket)

    def _wait_for_turn(self, segment: QueuedSegment) -> bool:
        self._awaiting_turn = True
        pace = self._pace_of(segment)
        (self.fair_queue if pace is None or pace.left > 0 else pace).wait(self)
        return False

    def _pace_of(self, segment: QueuedSegment) -> Pace | None:
        return self.pace if segment.is_paced else None

    def _send(self, pieces: Sequence[bytes | bytearray | memoryview], flags: int) -> int:
        try:
            sent = self.socket.sendmsg(pieces, (), flags)
        except OSError as error:
            self._full = True
            self._lost = error.errno not in _FULL
            return 0
        self._spent += sent
        self.taken += sent
        return sent

    def _has_read(self, segment: FileSegment, failure: Failure | None) -> None:
        if failure is not None:
            self._fail_segment(segment, failure)
        elif self._awaiting_read and not self._awaiting_turn:
            self._spent = 0
            self._push()

    def _fail_segment(self, segment: QueuedSegment, failure: Failure) -> None:
        changed = segment.file if failure.check(FileChangedError) else None
        if changed is not None and self.in_flight.changed(changed, self):
            failure = Failure(ConnectionAborted())
        self.abortConnection()
        segment.finish(failure)

    @override
    def connectionLost(self, reason: Failure) -> None:
        segments, self._segments = self._segments, deque()
        self.in_flight.leave(self)
        self.on_file_changed = self.reader = None
        try:
            super().connectionLost(reason)
        finally:
            for segment in segments:
                segment.finish(Failure(ConnectionLost()))
