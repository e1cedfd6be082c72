"""Looks ahead before long work: at locks, at the catalog, at places that cannot be written to, at free space."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from aero_storage.atomic_files import IMAGES_ROOT, Directory, FreeSpace, is_at_work
from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, chunked_directory
from aero_storage.catalog.reader import load_manifest
from aero_storage.catalog.writer import LOCK, require_editable
from aero_storage.cli.image_files import IMPORTED, is_imported
from aero_storage.cli.repository import Say
from aero_storage.cli.terminal import printable
from aero_storage.cli.workplace import WORK, Workplace
from aero_storage.errors import BusyError, OperatorError
from aero_storage.sizes import format_size


def foresee_import(root: Path, image_id: str, say: Say) -> None:
    """Raise the error that an import would end with after its work; tell of what it will wait for or replace."""
    with Directory.opened(root) as top:
        if is_at_work(top, WORK, image_id):
            raise BusyError(f"another process is at work in {root / WORK / image_id}; wait for its end")
        _require_changeable(top, image_id, IMPORTED, say)
        _require_fresh(top, image_id)
    documents = DirectoryDocuments(root)
    catalog = load_manifest(documents)[0] if documents.has_manifest() else None
    before = None if catalog is None else catalog.find(image_id)
    if before is not None:
        fate = "goes then" if is_imported(root, image_id, before.file) else "is kept"
        say(f"{image_id} is an image already: this import replaces it, and {printable(before.file)} {fate}.")


def foresee_publish(work: Workplace, source: os.stat_result, say: Say) -> None:
    """Raise the error that a publication would end with after its work; tell of what it will wait for or lack."""
    _require_changeable(work.root, work.plan.image_id, CHUNKED, say)
    foretell_space(work.root, source.st_blocks * 512, IMAGES_ROOT, say)


def foretell_space(directory: Directory, most: int, disk: str, say: Say) -> None:
    """Say that the disk may become too full; raise OperatorError if it is. `most` may hold zeros, which take none.

    `disk` is its name in messages.
    """
    free = FreeSpace.around(directory.descriptor, disk).require()
    if most > free:
        say(
            f"Up to {format_size(most)} have to be written, and {format_size(free)} are free for them: the command "
            "ends before the disk is full."
        )


def _require_changeable(root: Directory, image_id: str, place: str, say: Say) -> None:
    _require_writable(root)
    _require_place(root, place, image_id)
    if require_editable(root.path):
        say(f"Another command holds {root.path / LOCK}; this one begins, and needs the lock when its work is done.")


def _require_place(root: Directory, *names: str) -> None:
    """Raise OperatorError unless these directories, one in the other, are there and writable, or can be made."""
    for count in range(1, len(names) + 1):
        place = root.path.joinpath(*names[:count])
        try:
            with root.below(*names[:count]) as directory:
                _require_writable(directory)
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            raise OperatorError(f"{place} is a file where a directory is needed; move it away") from error


def _require_writable(directory: Directory) -> None:
    effective = os.access in os.supports_effective_ids
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory.descriptor, effective_ids=effective):
        status, is_read_only = os.fstat(directory.descriptor), os.fstatvfs(directory.descriptor).f_flag & os.ST_RDONLY
        why = (
            "its file system is read-only"
            if is_read_only
            else (f"it is of the user with the number {status.st_uid}, with mode {stat.S_IMODE(status.st_mode):o}")
        )
        raise OperatorError(f"{directory.path} cannot be written to: {why}")


def _require_fresh(root: Directory, image_id: str) -> None:
    """Raise OperatorError if chunks of older content would be served for the new one."""
    stale = root.path / chunked_directory(image_id, None) / MANIFEST_NAME
    if stale.exists():
        raise OperatorError(
            f"{stale} is of older content, and would be served for the new image; "
            f"remove it first: aero-storage remove {image_id} --chunks-only"
        )
