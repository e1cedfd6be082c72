"""Content on its way to a store: the pieces that are sent, and whether they are what was stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import attrs
from typing_extensions import Buffer

_STEP = 8 << 20

NOTICE_SECONDS = 5.0
"""An upload that hangs is told of so often."""


def is_stored(data: Buffer, read: Callable[[int, int], Buffer]) -> bool:
    """Return whether `read(offset, length)` returns the bytes of `data`."""
    view = memoryview(data).cast("B")
    return all(
        memoryview(read(offset, len(view[offset : offset + _STEP]))) == view[offset : offset + _STEP]
        for offset in range(0, len(view), _STEP)
    )


@attrs.define
class Source:
    """Pieces of content, of `size` bytes together; keeps the error that ended them.

    An error of a source, such as a disk's, looks like one of the store when it has gone through the client.
    """

    pieces: Iterable[Buffer]
    size: int
    error: Exception | None = None
    taken: int = 0
    """Bytes that have been asked for so far."""
    waits_for_store: bool = False
    """Whether a piece was handed out, and the next is not asked for yet."""

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._checked()
        except Exception as error:
            self.error = error
            raise

    def _checked(self) -> Iterator[Buffer]:
        """Yield the pieces; raises ValueError before the end if they have another size."""
        for piece in self.pieces:
            self.taken += memoryview(piece).nbytes
            if self.taken > self.size:
                raise ValueError(f"over the {self.size} bytes that were to be stored")
            self.waits_for_store = True
            yield piece
            self.waits_for_store = self.taken == self.size  # of the last one, the answer is waited for
        if self.taken != self.size:
            raise ValueError(f"{self.taken} of the {self.size} bytes that were to be stored")


@attrs.define
class StallWatch:
    """Looks at a source now and then, and tells for how many seconds the store has taken nothing of it."""

    _source: Source
    _tell: Callable[[float], object]
    _taken: int = -1
    _since: float = 0.0

    def look(self, now: float) -> None:
        """Look at `now`, a time of a steady clock. A source that is slow itself is not told of."""
        source = self._source
        if source.taken != self._taken or not source.waits_for_store:
            self._taken, self._since = source.taken, now
        else:
            self._tell(now - self._since)


@contextmanager
def told_of_stalls(
    source: Source, tell: Callable[[float], object], seconds: float = NOTICE_SECONDS
) -> Iterator[None]:
    """Have a thread look at the source every `seconds` within the with block; `tell` is called in that thread."""
    watch, is_over = StallWatch(source, tell), threading.Event()

    def look() -> None:
        while not is_over.wait(seconds):
            watch.look(time.monotonic())

    thread = threading.Thread(target=look, name="upload")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
