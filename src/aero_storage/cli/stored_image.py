"""The raw image of a catalog entry, in a directory or in a bucket, as the commands see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import attrs
from typing_extensions import Buffer

from aero_storage.chunks.publish.cutting import Advance
from aero_storage.image_formats.byte_source import Sample


@attrs.frozen
class ImageSample:
    """The beginning and the end of a raw image, with its size in bytes and its stamps as of the same moment."""

    sample: Sample
    size: int
    stamps: tuple[str, ...]
    constant_mtime_ns: int | None = None
    """An mtime that says nothing of the content, so that the tag differs on every replica; else None."""


class StoredImage(Protocol):
    """The raw image of a catalog entry, as it was when it was looked at."""

    @property
    def name(self) -> str:
        """Its path or URL, for messages."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    @property
    def disk_usage(self) -> int:
        """The bytes that it takes where it is stored."""
        ...

    @property
    def stamps(self) -> tuple[str, ...]:
        """The texts by which a catalog entry may name this version (http.md §16)."""
        ...

    @property
    def etag(self) -> str:
        """The tag that the file or object has by itself, with its quotes (http.md §3)."""
        ...

    def sample(self) -> ImageSample | None:
        """Read a sample of it; None if it is no regular file any more. Raises OSError if it cannot be read."""
        ...

    def contents(self) -> Iterator[Buffer]:
        """Yield all of it, in order; each piece has bytes of its own.

        Raises OperatorError, at the end at the latest, if it changes meanwhile.
        """
        ...

    def sha256(self, track: Callable[[int], AbstractContextManager[Advance]]) -> tuple[int, str]:
        """Read all of it once; return its size and its SHA-256. `track` shows the progress through its size.

        Raises OperatorError if it changes meanwhile.
        """
        ...
