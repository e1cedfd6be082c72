"""Opens, makes and removes the pairs of files below a cache directory. Everything here may wait for a disk."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack

from aero_storage.linux.ofd_locks import lock_exclusive, lock_shared
from aero_storage.storage.objects.block_cache.block_map import BlockLayout, BlockMap, read_layout
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory, remove_quietly
from aero_storage.storage.objects.block_cache.file_pair import FilePair

_IN_USE = 1 << 62
"""The byte of the data file that each process which has it open locks; blocks have the bytes from 0 on."""

_NO_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})
"""Errors of opening a symbolic link, a directory, a socket."""

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def open_pair(directory: CacheDirectory, layout: BlockLayout) -> tuple[FilePair, int]:
    """Open the files of an object, made if they are missing; also return how many damaged blocks were thrown away.

    The pair is in use until it is closed. Files that are not as they were made are thrown away as a whole, never
    mended: another process may have them open. Raises OSError and BusyError.
    """
    name = layout.name
    with directory.file_locked(name):
        found, damaged = _existing(directory, name, layout)
        if found is None:
            remove_quietly(directory.map(name), directory.data(name))
            found = _made(directory, layout)
        _use(found)
    return found, damaged


def _use(pair: FilePair) -> None:
    try:
        lock_shared(pair.descriptor, _IN_USE)
    except BaseException:
        pair.close()
        raise


def _existing(directory: CacheDirectory, name: str, layout: BlockLayout) -> tuple[FilePair | None, int]:
    """Return the pair that is there, if it is whole, else how many blocks it has lost."""
    try:
        pair = find_pair(directory, name)
    except FileNotFoundError:
        return None, 0
    if pair is None:
        return None, 1
    if pair.layout == layout and pair.is_whole():
        return pair, 0
    lost = len(pair.map.present())
    pair.close()
    return None, lost


def find_pair(directory: CacheDirectory, name: str) -> FilePair | None:
    """Open the pair with this name; None if it is damaged, or something else has one of its names.

    Raises FileNotFoundError and OSError.
    """
    try:
        with ExitStack() as opened:
            found = _open_both(directory, name, opened)
            if found is not None:
                opened.pop_all()
            return found
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise


def _open_both(directory: CacheDirectory, name: str, opened: ExitStack) -> FilePair | None:
    """Open the pair; `opened` closes what was opened of it."""
    descriptor = os.open(directory.map(name), _FLAGS)
    opened.callback(os.close, descriptor)
    layout = read_layout(descriptor)
    if layout is None or layout.name != name:
        return None
    data = os.open(directory.data(name), _FLAGS)
    opened.callback(os.close, data)
    # Holes are punched into this file: it must be nobody else's.
    status = os.fstat(data)
    is_ours = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    return FilePair(data, BlockMap(layout, descriptor)) if is_ours else None


def _made(directory: CacheDirectory, layout: BlockLayout) -> FilePair:
    new = _FLAGS | os.O_CREAT | os.O_EXCL
    directory.objects.mkdir(mode=0o700, exist_ok=True)  # somebody may have removed it
    data = os.open(directory.data(layout.name), new, 0o600)
    try:
        os.ftruncate(data, layout.size)
        descriptor = os.open(directory.map(layout.name), new, 0o600)
        try:
            made = BlockMap(layout, descriptor)
            made.clear()
            return FilePair(data, made)
        except BaseException:
            os.close(descriptor)
            raise
    except BaseException:
        os.close(data)
        remove_quietly(directory.map(layout.name), directory.data(layout.name))
        raise


def remove_if_unused(directory: CacheDirectory, name: str) -> bool:
    """Remove the files of an object if no process has it open and no block is present; return whether it did."""
    with directory.file_locked(name):
        try:
            pair = find_pair(directory, name)
        except FileNotFoundError:
            remove_quietly(directory.map(name), directory.data(name))
            return True
        if pair is None:
            remove_quietly(directory.map(name), directory.data(name))
            return True
        try:
            unused = lock_exclusive(pair.descriptor, _IN_USE) and not pair.map.present()
            if unused:
                remove_quietly(directory.map(name), directory.data(name))
            return unused
        finally:
            pair.close()
