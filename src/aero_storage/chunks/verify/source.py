"""The interface of a source of published chunks: a directory or a web server."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from aero_storage.chunks.manifest import Geometry


@attrs.frozen
class Document:
    """A chunk manifest as received."""

    data: bytes | None
    """None if clients refuse the response; `faults` has the reason."""
    faults: tuple[str, ...] = ()
    """Reasons, in words, for which clients refuse the response or do not cache it."""


@attrs.frozen
class Content:
    """A chunk, open to be read once, from front to back."""

    length: int | None
    """Bytes announced by the source; None if it announces none."""
    pieces: Iterable[bytes | memoryview]
    """Reading may raise OSError. A piece is valid until the next one is taken."""
    faults: tuple[str, ...] = ()
    """Reasons, in words, for which clients refuse the response."""
    is_usable: bool = True
    """Whether `pieces` are the chunk itself, not an error body or an encoded form."""
    is_certain: bool = False
    """Whether `length` is exact, so that the chunk need not be read to know it."""
    identity: Hashable = None
    """Equal for all hard links of one file; None if the file has one name."""


class ChunkSource(Protocol):
    """Published chunks. All methods may wait, and may be called from any thread."""

    @property
    def name(self) -> str:
        """The path or URL, for messages."""

    def manifest(self) -> Document:
        """Return the chunk manifest. Raises OperatorError, with a remedy, if it cannot be read."""

    def chunk(self, name: str) -> AbstractContextManager[Content]:
        """Open a chunk. Raises FileNotFoundError if it is missing, OSError if it cannot be read."""

    def strays(self, geometry: Geometry) -> Iterable[str]:
        """Return names beside the chunks that are no chunks; none if the source has no listing. May raise OSError."""
