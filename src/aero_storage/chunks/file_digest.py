"""SHA-256 of whole files. Holes are hashed as zeros and never read.

A digest of a file is sequential, so it takes one core: 1 to 2 GB/s where the processor has instructions for it. It is
computed in a thread beside other work; hashlib releases the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import attrs

from aero_storage.chunks.parallel import HaltedError
from aero_storage.chunks.publish.zeros import hash_zeros
from aero_storage.errors import OperatorError
from aero_storage.linux.sparse_files import data_extents

if TYPE_CHECKING:
    from hashlib import _Hash

Advance = Callable[[int], object]
"""Reports a number of bytes done."""

_PIECE = 1024 * 1024
_ZEROS_AT_ONCE = 64 * 1024 * 1024  # some 40 ms: an interrupt waits for no longer


def hash_file(descriptor: int, size: int, advance: Advance, check: Callable[[], object] = lambda: None) -> str:
    """Return the SHA-256 of the first `size` bytes of an open file, in hex.

    `check` is called often, and may raise to end the work. Raises OperatorError if the file is shorter, and OSError.
    """
    digest, buffer, done = hashlib.sha256(), memoryview(bytearray(_PIECE)), 0
    for first, after in chain(data_extents(descriptor, 0, size), [(size, size)]):
        for count in steps(first - done, _ZEROS_AT_ONCE):
            check()
            hash_zeros(digest, count)
            advance(count)
        for count in _read_into(digest, descriptor, first, after, buffer):
            check()
            advance(count)
        done = after
    return digest.hexdigest()


def _read_into(digest: _Hash, descriptor: int, first: int, after: int, buffer: memoryview) -> Iterator[int]:
    """Feed bytes of a file to a digest; yield how many were read each time."""
    while first < after:
        count = os.preadv(descriptor, [buffer[: after - first]], first)
        if not count:
            raise OperatorError("the image became shorter while its SHA-256 was computed; try again")
        digest.update(buffer[:count])
        yield count
        first += count


def steps(count: int, most: int) -> Iterator[int]:
    """Divide a number into parts of at most `most`."""
    while count > 0:
        yield min(count, most)
        count -= most


@contextmanager
def hashing(descriptor: int, size: int, advance: Advance) -> Iterator[Future[str]]:
    """Compute `hash_file` in a thread during a with block; the work is given up if the block raises."""
    halted = threading.Event()

    def check() -> None:
        if halted.is_set():
            raise HaltedError

    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread.submit(hash_file, descriptor, size, advance, check)
        except BaseException:
            halted.set()
            raise


@attrs.define(eq=False)
class TrailingDigest:
    """Computes the SHA-256 of a file in a thread, one piece behind what is writing it from front to back.

    It reads the file, from the page cache: so the digest is that of the bytes that are in the file.
    """

    _descriptor: int
    _thread: ThreadPoolExecutor
    _digest: _Hash = attrs.field(init=False, factory=hashlib.sha256)
    _buffer: memoryview = attrs.field(init=False, factory=lambda: memoryview(bytearray(_PIECE)))
    _end: int = attrs.field(init=False, default=0)
    _last: Future[None] | None = attrs.field(init=False, default=None)

    @classmethod
    @contextmanager
    def of(cls, descriptor: int) -> Iterator[TrailingDigest]:
        """Follow what is written to an open file, which can be read, during a with block."""
        with ThreadPoolExecutor(1) as thread:
            yield cls(descriptor, thread)

    def follow(self, skipped: int, written: int) -> None:
        """`skipped` further bytes were left out, as a hole, then some were written.

        Waits for the work before it, and raises its error.
        """
        self._settle()
        first = self._end + skipped
        self._end = first + written
        self._last = self._thread.submit(self._feed, skipped, first, self._end)

    def finish(self) -> str:
        """Return the digest of all that was written, in hex."""
        self._settle()
        return self._digest.hexdigest()

    def _feed(self, zeros: int, first: int, after: int) -> None:
        hash_zeros(self._digest, zeros)
        for _ in _read_into(self._digest, self._descriptor, first, after, self._buffer):
            pass

    def _settle(self) -> None:
        if self._last is not None:
            self._last.result()
            self._last = None


@attrs.define(eq=False)
class Slower:
    """Reports the progress of two runs over the same bytes as that of the slower one."""

    _advance: Advance
    _first: int = attrs.field(init=False, default=0)
    _second: int = attrs.field(init=False, default=0)
    _told: int = attrs.field(init=False, default=0)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def first(self, count: int) -> None:
        """The first run has done `count` bytes more."""
        with self._lock:
            self._first += count
            self._tell()

    def second(self, count: int) -> None:
        """The second run has done `count` bytes more."""
        with self._lock:
            self._second += count
            self._tell()

    def _tell(self) -> None:
        done = min(self._first, self._second)
        if done > self._told:
            self._advance(done - self._told)
            self._told = done
