"""Content on its way to a store: the pieces that are sent, and whether they are what was stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs
from typing_extensions import Buffer

_STEP = 8 << 20


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

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._checked()
        except Exception as error:
            self.error = error
            raise

    def _checked(self) -> Iterator[Buffer]:
        """Yield the pieces; raises ValueError before the end if they have another size."""
        total = 0
        for piece in self.pieces:
            total += memoryview(piece).nbytes
            if total > self.size:
                raise ValueError(f"over the {self.size} bytes that were to be stored")
            yield piece
        if total != self.size:
            raise ValueError(f"{total} of the {self.size} bytes that were to be stored")
