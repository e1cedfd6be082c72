"""The journal of a cache directory: which blocks came and went, in order, so that all workers have one queue.

A worker appends a record before it writes a block, and one for each block that it evicts, under the lock of the
journal. Each worker replays what others have appended. A record that is lost costs accuracy, never bytes: the block
maps alone say what is present.
"""

from __future__ import annotations

import enum
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from aero_storage.storage.objects.block_cache.cache_directory import RUN_ID_BYTES
from aero_storage.storage.objects.block_cache.checksums import xxh3_64

_RECORD = struct.Struct("<BxxxII16sI")
"""Kind, index, length, name, and the lower half of the checksum of all before."""

_READ_BYTES = 1024 * 1024 // _RECORD.size * _RECORD.size
_CLOSED = -1


@attrs.frozen(cache_hash=True)
class BlockKey:
    """A block of a cached file; the file's name as bytes."""

    file: bytes
    index: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.file.hex()


class Change(enum.IntEnum):
    """A change of a block."""

    CAME = 1
    """It is about to be written."""
    FOUND = 2
    """An earlier run has left it."""
    WENT = 3
    """It was evicted; the length is what that gave back: less, if the block had been thrown away before."""


@attrs.frozen
class Entry:
    """A change of a block, with its length in bytes."""

    change: Change
    key: BlockKey
    length: int

    def pack(self) -> bytes:
        """Return it as the journal has it."""
        data = _RECORD.pack(self.change, self.key.index, self.length, self.key.file, 0)[:-4]
        return data + _checksum(data)


def _unpack(record: bytes) -> Entry | None:
    """Return the entry in a record; None if the record is damaged."""
    kind, index, length, file, _ = _RECORD.unpack(record)
    if record[-4:] != _checksum(record[:-4]):
        return None
    return Entry(Change(kind), BlockKey(file, index), length)


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", xxh3_64(data) & 0xFFFFFFFF)


@attrs.define(eq=False)
class Journal:
    """The journal as one process sees it; every call is made under its lock, in a thread.

    Raises OSError if the disk fails.
    """

    _path: Path
    _run_id: bytes
    _descriptor: int = attrs.field(init=False, default=_CLOSED)
    _position: int = attrs.field(init=False, default=0)

    @property
    def bytes(self) -> int:
        """Its size, as far as it has been read."""
        return self._position

    def begin(self) -> bool:
        """Open the journal of this run; return whether it is a new one, of which nothing is known."""
        if self._is_of_this_run():
            self._open()
            return False
        self.replace(())
        return True

    def was_replaced(self) -> bool:
        """Return whether another process has written it anew; all of it is to be replayed then, as if unknown."""
        try:
            if os.path.samestat(self._path.stat(), os.fstat(self._descriptor)):
                return False
        except FileNotFoundError:
            self.replace(())
            return True
        self._open()
        return True

    def replay(self) -> Iterator[Entry]:
        """Yield what was appended since the last call; damaged records are left out."""
        while data := os.pread(self._descriptor, _READ_BYTES, self._position):
            whole = len(data) // _RECORD.size * _RECORD.size
            if not whole:  # a process was killed while it appended
                os.ftruncate(self._descriptor, self._position)
                return
            self._position += whole
            for at in range(0, whole, _RECORD.size):
                entry = _unpack(data[at : at + _RECORD.size])
                if entry is not None:
                    yield entry

    def append(self, entries: Iterable[Entry]) -> None:
        """Append records, after all of it has been replayed; they are known then."""
        data = b"".join(entry.pack() for entry in entries)
        written = os.pwrite(self._descriptor, data, self._position)
        self._position += written // _RECORD.size * _RECORD.size
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replace(self, entries: Iterable[Entry]) -> None:
        """Write a new journal of this run with these records, which are known then."""
        new = self._path.with_suffix(".new")
        new.write_bytes(self._run_id + b"".join(entry.pack() for entry in entries))
        new.replace(self._path)
        self._open()
        self._position = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close it."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    def _is_of_this_run(self) -> bool:
        try:
            with self._path.open("rb") as file:
                return file.read(RUN_ID_BYTES) == self._run_id
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        self.close()
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._position = RUN_ID_BYTES
