"""Digests of published chunks, from the manifests beside them, as chunks are opened (http.md §16).

An open of the manifest for each chunk would double the work of a small one (68 µs). So the entries of 512 chunks are
read at once and are used for a tenth of a second; a manifest of 47 MB is never parsed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from typing import Protocol

import attrs

from aero_storage.catalog.model import MANIFEST_NAME
from aero_storage.chunks.manifest import CHUNKS_DIRECTORY
from aero_storage.chunks.published_form import MAX_HEAD_BYTES, PublishedForm
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, ShortReadError

FRESH_SECONDS = 0.1
"""An open chunk is used for 0.9 s without a new look: a change of both takes effect within a second."""

_ENTRIES = 512
_MAX_GROUPS = 32
"""Of some 50 KiB each."""

_SUFFIX = ".bin"


class ManifestFile(Protocol):
    """An open manifest."""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on, or raise ShortReadError or OSError."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


@attrs.frozen
class _Group:
    """The entries of neighbouring chunks; without a form there is no manifest, or `publish` did not write it."""

    until: float
    form: PublishedForm | None = None
    entries: bytes = b""


@attrs.define(eq=False)
class PublishedDigests:
    """Looks digests up. Any thread may call it; it may wait for a disk.

    `open_file` opens a file by its path relative to the images root, `now` gives seconds of a steady clock.
    """

    _open_file: Callable[[str], ManifestFile]
    _now: Callable[[], float]
    _fresh_seconds: float = FRESH_SECONDS
    _groups: dict[tuple[str, int], _Group] = attrs.field(init=False, factory=dict)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def sha256(self, artifact: str, size: int) -> str | None:
        """Return the digest, in hex, of the chunk object at the path `artifact` with `size` bytes, if it is known."""
        place, _, name = artifact.rpartition("/")
        directory, _, last = place.rpartition("/")
        digits = name.removesuffix(_SUFFIX)
        if last != CHUNKS_DIRECTORY or digits == name or not digits.isdecimal():
            return None
        number = int(digits)
        group = self._group(directory, number // _ENTRIES)
        if group.form is None or group.form.manifest.index_of(name) is None:
            return None
        return group.form.sha256(number, size, group.entries, number - number % _ENTRIES)

    def _group(self, directory: str, number: int) -> _Group:
        key, now = (directory, number), self._now()
        group = self._groups.get(key)
        if group is not None and now < group.until:
            return group
        group = self._read(f"{directory}/{MANIFEST_NAME}", number * _ENTRIES, now + self._fresh_seconds)
        with self._lock:
            self._groups.pop(key, None)
            while len(self._groups) >= _MAX_GROUPS:
                del self._groups[next(iter(self._groups))]
            self._groups[key] = group
        return group

    def _read(self, path: str, first: int, until: float) -> _Group:
        # A chunk is served without its digest where that cannot be read.
        try:
            with closing(self._open_file(path)) as file:
                form = _form(_up_to(file, 0, MAX_HEAD_BYTES))
                entries = b"" if form is None else _up_to(file, *form.span(first, _ENTRIES))
        except (BlobNotFoundError, BlobUnreadableError, ShortReadError, OSError):
            return _Group(until)
        return _Group(until, form, entries)


def _up_to(file: ManifestFile, offset: int, length: int) -> bytes:
    return file.read(offset, max(0, min(length, file.size - offset)))


@lru_cache(64)
def _form(beginning: bytes) -> PublishedForm | None:
    # Parsing takes more than half of the time of a read; the beginning is the same each time.
    return PublishedForm.of(beginning)
