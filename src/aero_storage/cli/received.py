"""Content on its way from one images root to another: its size and its digest are checked as it passes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import attrs
from typing_extensions import Buffer

from aero_storage.errors import OperatorError


@attrs.define
class Received:
    """Pieces of content, which are to have `size` bytes and, where it is known, the digest `expected`.

    Iterating raises OperatorError at the end if they have others, so that nothing is made of them.
    """

    _pieces: Iterable[Buffer]
    _size: int
    _expected: str | None
    sha256: str = attrs.field(init=False, default="")
    """Of all of it, once it has passed."""

    def __iter__(self) -> Iterator[Buffer]:
        digest, size = hashlib.sha256(), 0
        for piece in self._pieces:
            digest.update(piece)
            size += memoryview(piece).nbytes
            if size == self._size:  # a taker of the pieces may stop at the last one
                self._check(size, digest.hexdigest())
            yield piece
        self._check(size, digest.hexdigest())

    def _check(self, size: int, sha256: str) -> None:
        self.sha256 = sha256
        if size != self._size:
            raise OperatorError(f"{size} bytes came instead of {self._size}: it was changed meanwhile; try again")
        if self._expected not in (None, sha256):
            raise OperatorError(
                f"its SHA-256 is {sha256}, not {self._expected} as its catalog has it: it is damaged or was changed"
            )

    def require(self) -> str:
        """Return the digest, when all has passed."""
        return self.sha256
