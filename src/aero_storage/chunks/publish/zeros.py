"""Chunks of zeros: written once, as a sparse file; every further one is a hard link to it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from hashlib import _Hash

Link = Callable[[str, str], None]
"""Make a hard link from the first path to the second, as `os.link` does."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
_MODE = 0o644
_BLOCK = bytes(256 * 1024)


def create(path: str, length: int) -> int:
    """Create a sparse file of `length` zeros and return its descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        os.ftruncate(descriptor, length)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def hash_zeros(digest: _Hash, count: int) -> None:
    """Feed `count` zeros to a digest."""
    for _ in range(count // len(_BLOCK)):
        digest.update(_BLOCK)
    digest.update(_BLOCK[: count % len(_BLOCK)])


@attrs.define
class ZeroChunks:
    """Makes chunks of zeros, from any thread."""

    link: Link = os.link
    _masters: dict[int, str] = attrs.field(init=False, factory=dict)
    _digests: dict[int, bytes] = attrs.field(init=False, factory=dict)
    _can_link: bool = attrs.field(init=False, default=True)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def make(self, path: str, length: int) -> bytes:
        """Create the file `path` of `length` zeros, and return its SHA-256 digest."""
        master = self._masters.get(length)
        if master is None or not self._linked(master, path):
            self._write(path, length, instead_of=master)
        return self._digests[length]

    def _linked(self, master: str, path: str) -> bool:
        if not self._can_link:
            return False
        try:
            self.link(master, path)
        except OSError as error:
            if error.errno in _NO_LINKS:
                self._can_link = False
            elif error.errno != errno.EMLINK:  # ext4: 65,000 names for a file
                raise
            return False
        return True

    def _write(self, path: str, length: int, *, instead_of: str | None) -> None:
        with self._lock:
            master = self._masters.get(length)
            if master != instead_of and master is not None and self._linked(master, path):
                return  # another thread did it first
            os.close(create(path, length))
            if length not in self._digests:
                digest = hashlib.sha256()
                hash_zeros(digest, length)
                self._digests[length] = digest.digest()
            self._masters[length] = path
