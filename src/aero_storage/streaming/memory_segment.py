"""A segment of a body in memory: all connections that wait to send one body share its one copy."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.streaming.write_queue import QueuedSegment


@attrs.define(eq=False)
class MemorySegment(QueuedSegment):
    """The bytes of `body` from `offset` on, and the data written behind them. No speed limit is for it."""

    _body: bytes
    offset: int
    _on_cancel: Callable[[], object]
    left: int = attrs.field(init=False)
    done: Deferred[None] | None = attrs.field(init=False)
    """Fires at the end; dropped then, to break a reference cycle."""
    behind: list[bytes] = attrs.field(init=False, factory=list)
    is_paced: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.left = len(self._body) - self.offset
        self.done = Deferred(self._cancelled)

    @property
    @override
    def is_shared(self) -> bool:
        return False

    @property
    @override
    def file(self) -> None:
        return None

    @override
    def unread(self) -> None:
        return None

    @override
    def ready(self) -> int:
        return self.left

    @override
    def send(self, socket: int, most: int) -> int:
        sent = os.write(socket, memoryview(self._body)[self.offset : self.offset + most])
        self.offset += sent
        self.left -= sent
        return sent

    @override
    def finish(self, failure: Failure | None) -> None:
        done, self.done = self.done, None
        if done is not None:
            self._body = b""
            done.errback(failure) if failure else done.callback(None)

    def _cancelled(self, _done: Deferred[None]) -> None:
        self.done, self._body = None, b""
        self._on_cancel()
