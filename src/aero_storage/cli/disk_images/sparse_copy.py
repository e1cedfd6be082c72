"""Copies a raw image with its holes, by copy_file_range where possible: the copy may then share blocks."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from aero_storage.atomic_files import FreeSpace
from aero_storage.chunks.file_digest import TrailingDigest, steps
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.linux.sparse_files import data_extents

Advance = Callable[[int], None]
"""Reports a number of bytes done."""

_PIECE = 8 * 1024 * 1024  # large enough to be fast, small enough for steady progress
_FICLONE = 0x40049409
_BUFFER = 1024 * 1024
_HOLE = 64 * 1024 * 1024  # some 40 ms of a digest: an interrupt waits for no longer
# The last two: some sandboxes forbid the system call, and swap files refuse it.
_NOT_BY_KERNEL = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ETXTBSY})


@attrs.frozen
class Stamp:
    """Identity and state of a file; `size` is in bytes."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    """Changes with every write, and cannot be set: a rewrite that restores `mtime_ns` is noticed."""

    @classmethod
    def of(cls, descriptor: int) -> Stamp:
        """Return the stamp of an open file."""
        status = os.fstat(descriptor)
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def require_same(path: Path, stamp: Stamp, descriptor: int) -> None:
    """Raise OperatorError unless an open file, known as `path`, is still in the state of `stamp`."""
    if Stamp.of(descriptor) != stamp:
        raise _unsteady(path, "changed while it was imported")


def _unsteady(path: Path, how: str) -> OperatorError:
    return OperatorError(f"{printable(path, None)}: {how}; stop what writes to it, and import it again")


def copy_sparse(  # noqa: PLR0913, PLR0917 - from where, to where, and who is told
    path: Path,
    source: int,
    stamp: Stamp,
    target: int,
    advance: Advance,
    space: FreeSpace,
    digest: TrailingDigest | None = None,
) -> None:
    """Copy an open file, known as `path`, to the empty file `target`, byte for byte; `advance` counts the holes too.

    `digest`, of `target`, is told of all that is written. Raises OperatorError if the source has changed since
    `stamp`, or changes during the copy, or if the copy would use up the `space` of the target.
    """
    require_same(path, stamp, source)
    for skipped, written in _copy_extents(path, source, target, stamp.size, space):
        if digest is not None:
            digest.follow(skipped, written)
        advance(skipped + written)
    require_same(path, stamp, source)


def shares_blocks(source: int, target: int) -> bool:
    """Return whether a copy of `source` in the empty file `target` takes no space; if so, it has its content then."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_extents(path: Path, source: int, target: int, size: int, space: FreeSpace) -> Iterator[tuple[int, int]]:
    """Copy all data; yield how many bytes of a hole were left out, and how many of data were copied after it."""
    os.ftruncate(target, size)
    done = 0
    for start, end in data_extents(source, 0, size):
        yield from ((count, 0) for count in steps(start - done, _HOLE))
        for moved in _copy_extent(path, source, target, start, end, space):
            yield 0, moved
        done = end
    yield from ((count, 0) for count in steps(size - done, _HOLE))


def _copy_extent(  # noqa: PLR0913, PLR0917 - the same
    path: Path, source: int, target: int, start: int, end: int, space: FreeSpace
) -> Iterator[int]:
    while start < end:
        count = min(end - start, _PIECE)
        space.take(count)
        moved = _move(source, target, start, count)
        if not moved:
            raise _unsteady(path, f"ended early, at byte {start}")
        yield moved
        start += moved


def _move(source: int, target: int, offset: int, count: int) -> int:
    """Copy up to `count` bytes, and return how many; 0 at the end of the source."""
    if not hasattr(os, "copy_file_range"):
        return _move_by_hand(source, target, offset, count)
    try:
        moved = os.copy_file_range(source, target, count, offset, offset)
    except OSError as error:
        if error.errno not in _NOT_BY_KERNEL:
            raise
        moved = 0
    # Some kernels copy 0 bytes from file systems whose files report no true size.
    return moved or _move_by_hand(source, target, offset, count)


def _move_by_hand(source: int, target: int, offset: int, count: int) -> int:
    data = memoryview(os.pread(source, min(count, _BUFFER), offset))
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], offset + written)
    return written
