"""Tags that stores give to content: MD5, of a large object MD5 over the MD5s of its parts.

Where a tag is no such digest (encryption by keys of the store, Azure), content is read back and compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs
from typing_extensions import Buffer

if TYPE_CHECKING:
    from hashlib import _Hash

MIB = 1 << 20
MAX_PARTS = 10_000
"""Of an upload, by the rules of S3."""
_LEAST_PART, _IN_FLIGHT = 8 * MIB, 48 * MIB


@attrs.frozen
class Parts:
    """How an object is cut: all parts have `part_bytes` but the last, as some stores demand it."""

    part_bytes: int
    at_once: int
    """Parts that are sent at the same time, of at most 48 MiB together; one, if a part has more."""


def parts_of(size: int) -> Parts:
    """Return the parts of an object of `size` bytes: 8 MiB up to 78 GiB, beyond that as much as 10,000 have to be."""
    part_bytes = max(_LEAST_PART, -(-size // (MAX_PARTS * MIB)) * MIB)
    return Parts(part_bytes, max(1, min(4, _IN_FLIGHT // part_bytes)))


def content_tag(data: Buffer) -> str:
    """Return the tag of an object that was stored whole."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


@attrs.define
class ContentDigests:
    """The digests of content that passes by: the tag that an upload of such parts gets, and SHA-256."""

    part_bytes: int
    size: int = 0
    _parts: list[bytes] = attrs.field(factory=list)
    _part: _Hash = attrs.field(factory=lambda: hashlib.md5(usedforsecurity=False))
    _whole: _Hash = attrs.field(factory=hashlib.sha256)

    def watch(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """Yield the pieces, and take them in."""
        for piece in pieces:
            self.update(piece)
            yield piece

    def update(self, piece: Buffer) -> None:
        """Take in the next bytes."""
        self._whole.update(piece)
        view = memoryview(piece).cast("B")
        while view:
            room = self.part_bytes - self.size % self.part_bytes
            self._part.update(view[:room])
            self.size += len(view[:room])
            view = view[room:]
            if not self.size % self.part_bytes:
                self._end_part()

    def _end_part(self) -> None:
        self._parts.append(self._part.digest())
        self._part = hashlib.md5(usedforsecurity=False)

    @property
    def sha256(self) -> bytes:
        """The digest of all bytes so far."""
        return self._whole.digest()

    @property
    def tag(self) -> str:
        """The tag of an upload of all bytes so far."""
        last = [self._part.digest()] if self.size % self.part_bytes else []
        digests = [*self._parts, *last]
        joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
        return f'"{joined}-{len(digests)}"'
