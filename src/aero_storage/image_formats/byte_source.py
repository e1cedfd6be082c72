"""Bytes that are looked at by their places: a file, or the parts of one that are known."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable

import attrs

HEAD_BYTES = 1 << 20
"""The beginning of a file that is looked at before an import: ZFS has its signs in the first 256 KiB."""

TAIL_BYTES = 128 * 1024
"""The end of a file that is looked at before an import: some RAID metadata lie up to 128 KiB before it."""

SHORT_HEAD_BYTES = 64 * 1024
SHORT_TAIL_BYTES = 4096
"""The parts of a file that suffice to tell an image of qemu or a signature."""

_PLACES = 64
_PLACE_BYTES = 4096

Read = Callable[[int, int], bytes]
"""Reads up to so many bytes: offset, length."""


class ByteSource(ABC):
    """The bytes of a file, by their places."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The size of the file in bytes."""

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of the file, with zeros beyond its end and where nothing is known."""

    def number(self, layout: str, offset: int) -> int:
        """Return one number in a layout of `struct`."""
        (value,) = struct.unpack(layout, self.read(offset, struct.calcsize(layout)))
        return int(value)

    def text(self, offset: int, length: int) -> str:
        """Return the text up to its first NUL."""
        return self.read(offset, length).partition(b"\0")[0].decode("utf-8", "backslashreplace")


@attrs.frozen
class Sample(ByteSource):
    """The beginning and the end of a file or of a stream, and some places between them."""

    head: bytes
    tail: bytes
    size: int
    places: tuple[bytes, ...] = ()
    """Bytes from places spread over the file; only for the question whether all of it is zeros."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes; zeros where nothing is known."""
        if offset >= 0 and offset + length <= len(self.head):  # most signs are here
            return self.head[offset : offset + length]
        data = bytearray(length)
        for start, part in ((0, self.head), (self.size - len(self.tail), self.tail)):
            first, last = max(offset, start), min(offset + length, start + len(part))
            if first < last:
                data[first - offset : last - offset] = part[first - start : last - start]
        return bytes(data)

    @property
    def is_zero(self) -> bool:
        """Whether all that is known of it is zeros."""
        return not any(part.strip(b"\0") for part in (self.head, self.tail, *self.places))


def sample(read: Read, size: int) -> Sample:
    """Return what an import looks at: beginning, end, and 64 places between them."""
    last = max(size - _PLACE_BYTES, 0)
    places = sorted({last * index // (_PLACES - 1) for index in range(_PLACES)})
    short = _parts(read, size, HEAD_BYTES, TAIL_BYTES)
    return attrs.evolve(short, places=tuple(read(place, _PLACE_BYTES) for place in places))


def short_sample(read: Read, size: int) -> Sample:
    """Return the first 64 KiB and the last 4 KiB, which suffice to tell an image of qemu or a signature."""
    return _parts(read, size, SHORT_HEAD_BYTES, SHORT_TAIL_BYTES)


def _parts(read: Read, size: int, head: int, tail: int) -> Sample:
    return Sample(read(0, min(head, size)), read(max(size - tail, 0), min(tail, size)), size)
