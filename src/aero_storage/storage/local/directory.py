"""Opens files below a root directory (http.md §1, last rule).

A name is resolved first. Then the result is walked from the root, by one directory descriptor after the other,
without following symbolic links. So the checked file is the opened file, even if links change in the meantime.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePath

import attrs

from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, DescriptorsError
from aero_storage.linux.network_filesystems import is_network_filesystem
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.local_blob import LocalBlob

# With O_PATH, opening a directory does not need the permission to list it.
_DIRECTORY_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINKS = os.O_NOFOLLOW
# Without O_NONBLOCK the open of a FIFO would wait for a writer.
_FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL})
_RAN_OUT = frozenset({errno.EMFILE, errno.ENFILE})
_OUTSIDE = "outside the images root"


@attrs.frozen
class ImageDirectory:
    """Regular files below `root`, with symbolic links resolved. All methods may wait for a disk."""

    root: Path

    def open(self, name: str, *, follow_links: bool = True) -> LocalBlob:
        """Open the file `name`, a path relative to the root.

        Raises BlobNotFoundError if it is not a regular file below the root, BlobUnreadableError if it cannot be read,
        DescriptorsError if there is no descriptor left.
        """
        try:
            return _adopt(self._walk(name, follow_links=follow_links), name)
        except OSError as error:
            raise _as_ours(error, name) from error

    def status(self, name: str, *, follow_links: bool = True) -> BlobStatus:
        """Return size and mtime of the file `name`; raises the same errors as `open`."""
        blob = self.open(name, follow_links=follow_links)
        blob.close()
        return blob.status

    def _walk(self, name: str, *, follow_links: bool) -> int:
        *parents, last = self._parts(name, follow_links=follow_links)
        directory = os.open(self.root, _DIRECTORY_FLAGS)
        for part in parents:
            directory = _step(directory, part, _DIRECTORY_FLAGS | _NO_LINKS)
        return _step(directory, last, _FILE_FLAGS)

    def _parts(self, name: str, *, follow_links: bool) -> tuple[str, ...]:
        if not follow_links:
            return _plain_parts(name)
        root = os.path.realpath(self.root)
        resolved = os.path.realpath(os.path.join(root, name))  # noqa: PTH118 - realpath works on text
        inside = PurePath(resolved).is_relative_to(root) and resolved != root
        if not inside:
            raise OSError(errno.ENOENT, _OUTSIDE)
        return PurePath(resolved).relative_to(root).parts


def _plain_parts(name: str) -> tuple[str, ...]:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise OSError(errno.ENOENT, _OUTSIDE)
    return path.parts


def _step(directory: int, part: str, flags: int) -> int:
    """Open `part` in the directory descriptor `directory`, and close the latter."""
    try:
        return os.open(part, flags, dir_fd=directory)
    finally:
        os.close(directory)


def _adopt(descriptor: int, name: str) -> LocalBlob:
    try:
        found = _regular(os.fstat(descriptor), name)
        return LocalBlob.of(found, descriptor, name, remote=is_network_filesystem(descriptor))
    except BaseException:
        os.close(descriptor)
        raise


def _regular(found: os.stat_result, name: str) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise BlobNotFoundError(f"{name}: not a regular file")
    return found


def _as_ours(error: OSError, name: str) -> BlobNotFoundError | BlobUnreadableError:
    if error.errno in _RAN_OUT:
        return DescriptorsError(f"{name}: {error.strerror}")
    kind = BlobNotFoundError if error.errno in _NOT_THERE else BlobUnreadableError
    return kind(f"{name}: {error.strerror}")
