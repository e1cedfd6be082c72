"""Streams: bytes that come one after the other, from a file, a pipe, a server or a decompressor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

PIECE = 1024 * 1024
"""A good number of bytes to read at a time."""

MOST_PADDING = 64 * 1024 * 1024
"""Limit of bytes in a row that are read and bring no content, as zeros behind the end do."""

Advance = Callable[[int], None]
"""Reports a number of bytes done."""


class Hash(Protocol):
    """A hash of hashlib."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """Return the digest in hex."""


class Stream(Protocol):
    """Bytes that come one after the other."""

    def read(self, most: int, /) -> bytes:
        """Return the next bytes, at least one and at most `most`; none at the end, however often it is asked."""


@attrs.define
class Peekable:
    """A stream whose next bytes can be looked at before they are read."""

    _stream: Stream
    _ahead: bytearray = attrs.field(init=False, factory=bytearray)

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes without reading them; fewer only if the stream ends before."""
        while len(self._ahead) < count:
            more = self._stream.read(count - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return bytes(self._ahead[:count])

    def read(self, most: int, /) -> bytes:
        """Return the next bytes."""
        if not self._ahead:
            return self._stream.read(most)
        taken = bytes(self._ahead[:most])
        del self._ahead[:most]
        return taken

    def unread(self, data: bytes) -> None:
        """Put bytes back: they are the next ones again."""
        self._ahead[:0] = data


def _nobody_counts(_count: int) -> None:
    pass


@attrs.define
class Incoming:
    """The bytes as they come in, before anything is unpacked: counted, and hashed on demand."""

    _stream: Stream
    _hash: Hash | None = None
    count: int = attrs.field(init=False, default=0)
    """Bytes read so far."""
    _advance: Advance = attrs.field(init=False, default=_nobody_counts)

    def read(self, most: int, /) -> bytes:
        """Return the next bytes."""
        data = self._stream.read(most)
        if self._hash is not None:
            self._hash.update(data)
        self.count += len(data)
        self._advance(len(data))
        return data

    def hexdigest(self) -> str:
        """Return the digest of the bytes read so far."""
        assert self._hash is not None  # noqa: S101 - asked for at the beginning
        return self._hash.hexdigest()

    def report_to(self, advance: Advance) -> None:
        """Report the bytes read until now, and all further ones."""
        self._advance = advance
        advance(self.count)
