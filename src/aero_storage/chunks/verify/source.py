"""Where published chunks can be read: what the verifier needs of a directory or a web server."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from aero_storage.chunks.manifest import Geometry


@attrs.frozen
class Document:
    """A chunk manifest as it was got."""

    data: bytes | None
    """None if it came in a form that clients refuse; `faults` has the reason."""
    faults: tuple[str, ...] = ()
    """What clients would refuse, or not keep, in words."""


@attrs.frozen
class Content:
    """A chunk, open to be read once, front to back."""

    length: int | None
    """Bytes, as its source announces them; None if it does not."""
    pieces: Iterable[bytes | memoryview]
    """Reading may raise OSError. A piece is valid until the next one is taken."""
    faults: tuple[str, ...] = ()
    """What clients would refuse, in words."""
    is_usable: bool = True
    """Whether the pieces are the chunk itself, and not an error or an encoded form of it."""
    is_certain: bool = False
    """Whether `length` is a fact, so that nothing need be read to know it."""
    identity: Hashable = None
    """The same for all names of one file that has several; else None."""


class ChunkSource(Protocol):
    """Published chunks. All methods may wait, and may be called from any thread."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""

    def manifest(self) -> Document:
        """The chunk manifest. Raises OperatorError, with what to do about it, if there is none to be had."""

    def chunk(self, name: str) -> AbstractContextManager[Content]:
        """Open a chunk. Raises FileNotFoundError if it is missing, OSError if it cannot be read."""

    def strays(self, geometry: Geometry) -> Iterable[str]:
        """Names that lie among the chunks and are none of them, as far as the source can tell. May raise OSError."""
