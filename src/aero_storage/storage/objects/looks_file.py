"""A file in memory that all workers of a daemon have: records of looks at a store, each at a place with a lock.

A record is read without the lock. Its digest tells one that is whole from one that is being written, or whose writer
was killed; the kernel gives the lock of such a writer back (linux/ofd_locks.py).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import attrs

from aero_storage.errors import SettingsError
from aero_storage.linux.ofd_locks import lock_exclusive

_HEADER = struct.Struct("<16sdd?xxxxxxxQ")
"""Digest of all the rest and of the name; when the look began and ended; whether it failed; bytes of content."""

_SMALL_BYTES, _SMALL_PLACES = 1024, 16_384
_LARGE_BYTES, _LARGE_PLACES = 1 << 27, 65_536  # two of 40 directories rarely share one
_LARGE_FROM = _SMALL_BYTES * _SMALL_PLACES


@attrs.frozen
class Record:
    """A look that has ended; times in seconds of the steady clock, which is the same in all processes."""

    began: float
    ended: float
    has_failed: bool
    content: bytes = attrs.field(repr=False)


@attrs.frozen
class Place:
    """Where the records of a name lie; another name may have the same place, and replaces them."""

    name: bytes
    start: int
    most: int
    """Bytes that a record may have, its header included."""

    @classmethod
    def small(cls, name: str) -> Place:
        """Return the place of a record of up to 1 KiB."""
        return cls._among(name, 0, _SMALL_BYTES, _SMALL_PLACES)

    @classmethod
    def large(cls, name: str) -> Place:
        """Return the place of a record of up to 128 MiB; memory is taken for what is written."""
        return cls._among(name, _LARGE_FROM, _LARGE_BYTES, _LARGE_PLACES)

    @classmethod
    def _among(cls, name: str, start: int, most: int, places: int) -> Place:
        digest = blake2b(name.encode(), digest_size=16).digest()
        return cls(digest, start + int.from_bytes(digest[:8]) % places * most, most)


@attrs.frozen(eq=False)
class LooksFile:
    """The file, by a descriptor of it, which stays open until the process ends: threads may open it at any time."""

    descriptor: int

    @classmethod
    def create(cls) -> LooksFile:
        """Make an empty file without a name; it is gone with the last process that has it open.

        Raises SettingsError where the system has no such files.
        """
        if not hasattr(os, "memfd_create"):
            raise SettingsError("--workers: several workers share a bucket on Linux alone; use --workers 1")
        return cls(os.memfd_create("aero-storage looks"))

    @contextmanager
    def opened(self) -> Iterator[OpenLooks]:
        """Open the file anew, as locks belong to what was opened; they are given back at the end. Raises OSError."""
        descriptor = os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            yield OpenLooks(descriptor)
        finally:
            os.close(descriptor)


@attrs.frozen(eq=False)
class OpenLooks:
    """The file as one look has it open."""

    _descriptor: int

    def lock(self, place: Place) -> bool:
        """Take the lock of a place; return False if another look has it."""
        return lock_exclusive(self._descriptor, place.start)

    def read(self, place: Place) -> Record | None:
        """Return the record of a name, None if there is none that is whole."""
        header = os.pread(self._descriptor, _HEADER.size, place.start)
        if len(header) < _HEADER.size:
            return None
        digest, began, ended, has_failed, length = _HEADER.unpack(header)
        if not 0 < length <= place.most - _HEADER.size:
            return None
        content = os.pread(self._descriptor, length, place.start + _HEADER.size)
        if digest != _digest(place, header, content):
            return None
        return Record(began, ended, has_failed, content)

    def write(self, place: Place, record: Record) -> None:
        """Replace what is at a place, with its lock held; a record that is too large is left out."""
        content = record.content
        if not 0 < len(content) <= place.most - _HEADER.size:
            return
        fields = (record.began, record.ended, record.has_failed, len(content))
        digest = _digest(place, _HEADER.pack(b"", *fields), content)
        os.pwrite(self._descriptor, content, place.start + _HEADER.size)
        os.pwrite(self._descriptor, _HEADER.pack(digest, *fields), place.start)


def _digest(place: Place, header: bytes, content: bytes) -> bytes:
    digest = blake2b(header[16:], digest_size=16, key=place.name)
    digest.update(content)
    return digest.digest()
