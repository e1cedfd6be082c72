"""The place where a command works on an image, alone; leftovers of killed commands are cleared away before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory, StagingDirectory, staging_directory
from aero_storage.catalog.model import CHUNKED
from aero_storage.catalog.writer import remove_unfinished
from aero_storage.chunks.publish.publisher import STAGING_NAME
from aero_storage.cli.image_files import IMPORTED
from aero_storage.cli.removals import MARK, Plan, remove_empty
from aero_storage.cli.repository import Say
from aero_storage.errors import AeroStorageError, BusyError, OperatorError
from aero_storage.http.identifiers import is_image_id
from aero_storage.sizes import format_size

WORK = ".aero-storage~"
"""The directory of staging directories under the images root: no listing shows it, and no id contains `~`."""


@attrs.frozen
class Workplace:
    """The open images root, a staging directory under it, and the plan of what is to be removed."""

    root: Directory
    staging: Directory
    plan: Plan


@contextmanager
def at_work(root: Path, image_id: str, say: Say) -> Iterator[Workplace]:
    """Own an image and a staging directory for a with block; leftovers of interrupted commands are removed.

    If the block fails, what it has planned to remove goes as far as the catalog does not name it. Raises BusyError if
    another command works on the image, OperatorError if the staging directory is not ours.
    """
    with Directory.opened(root) as top:
        _sweep(top, say)
        with staging_directory(top, WORK, image_id) as staging:
            work = Workplace(top, staging.directory, _plan(top, staging, image_id))
            try:
                yield work
            except BaseException:
                with suppress(OSError, AeroStorageError):  # the next command goes on
                    work.plan.carry_out()
                raise


def _plan(root: Directory, staging: StagingDirectory, image_id: str) -> Plan:
    return Plan.opened(root, staging.parent, staging.directory, image_id)


def _sweep(root: Directory, say: Say) -> None:
    """Remove the leftovers of killed commands, of every image that no other command works on.

    A foreign entry in the place of a staging directory is told of, and left alone.
    """
    try:
        remove_unfinished(root)
    except OperatorError as error:
        say(f"Left alone: {error}.")
    ids = {name.removesuffix(MARK) for name in names_in(root, WORK)}
    for place in (IMPORTED, CHUNKED):
        ids |= {name for name in names_in(root, place) if is_image_id(name) and _is_left(root, place, name)}
    for image_id in sorted(ids):
        with suppress(BusyError):
            try:
                _sweep_one(root, image_id, say)
            except OperatorError as error:
                say(f"Left alone: {error}.")


def _is_left(root: Directory, place: str, name: str) -> bool:
    """Return whether an interrupted command has made this directory and put nothing into it, or unfinished chunks."""
    with suppress(OSError, OperatorError), root.below(place, name) as directory:
        names = directory.names()
        return not names or (place == CHUNKED and STAGING_NAME in names)
    return False


def _sweep_one(root: Directory, image_id: str, say: Say) -> None:
    with staging_directory(root, WORK, image_id) as staging:
        plan = _plan(root, staging, image_id)
        left = [one for one in (staging.leftover, _cleared_chunks(root, image_id)) if one is not None]
        freed = sum(left) + plan.carry_out()
        remove_empty(root, image_id)
    if freed or left:
        say(f"An interrupted command had left {format_size(freed)} of {image_id}; removed it.")


def _cleared_chunks(root: Directory, image_id: str) -> int | None:
    """Remove the chunks that were not finished; return the bytes freed, None if there are none."""
    with suppress(FileNotFoundError), root.below(CHUNKED, image_id) as directory:
        if directory.status(STAGING_NAME) is not None:
            with staging_directory(directory, STAGING_NAME) as staging:
                return staging.leftover
    return None


def names_in(root: Directory, *path: str) -> list[str]:
    """Return the names in a directory; none if it is missing, or no directory of its own."""
    try:
        with root.below(*path) as directory:
            return directory.names()
    except (OSError, OperatorError):
        return []
