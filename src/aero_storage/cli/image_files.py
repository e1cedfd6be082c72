"""The files of catalog entries, and the lock that allows one command at a time to work on an image."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

import attrs

from aero_storage.atomic_files import Directory, staging_directory
from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.draft import Entry
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Image
from aero_storage.catalog.reader import load_manifest
from aero_storage.chunks.publish.publisher import STAGING_NAME
from aero_storage.cli.repository import Say
from aero_storage.cli.sizes import format_size
from aero_storage.errors import BusyError, OperatorError

WORK = ".aero-storage~"
"""The staging directory under the images root: no listing shows it, and no id contains `~`."""

IMPORTED = "imported"
"""The directory of imported files under the images root: `imported/ID/N.img`, N counts the imports."""

SETTLE_SECONDS = 2.0
"""After this time a running daemon has read a new catalog (http.md §3: one second) and serves no old files."""

_MARK = "~"


def image_path(root: Path, image: Image) -> Path:
    """Return the raw file of an image, with all links resolved. Raises OperatorError if it cannot be served."""
    top = os.path.realpath(root)
    path = os.path.realpath(root / image.file)
    if not PurePath(path).is_relative_to(top) or path == top:
        raise OperatorError(
            f"{image.id}: {image.file} lies outside the images root {root}; the daemon refuses it too"
        )
    if not os.path.exists(path):  # noqa: PTH110 - as text, like the rest of this function
        raise OperatorError(f"{image.id}: there is no file {image.file} in {root}; put it there or import it again")
    if not os.path.isfile(path):  # noqa: PTH113
        raise OperatorError(f"{image.id}: {image.file} is no regular file")
    return Path(path)


def is_used(root: Path, file: Path, entries: Iterable[Entry]) -> bool:
    """Return whether a catalog entry names this file, by any path."""
    wanted = os.path.realpath(file)
    return any(os.path.realpath(root / str(entry["file"])) == wanted for entry in entries)


def imported_name(image_id: str, file: str) -> str | None:
    """Return the name, in the directory of this id's imports, of a file that an import made; else None."""
    path = PurePath(file)
    made = path.parent == PurePath(IMPORTED, image_id) and path.suffix == ".img" and path.stem.isdecimal()
    return path.name if made else None


def is_imported(root: Path, image_id: str, file: str) -> bool:
    """Return whether an import of this id made this file."""
    name = imported_name(image_id, file)
    if name is None:
        return False
    try:
        with Directory.opened(root) as top, top.below(IMPORTED, image_id) as directory:
            return directory.is_file(name)
    except (OSError, OperatorError):  # missing, or a link, through which no import goes
        return False


def mark(directory: Directory, name: str) -> None:
    """Mark an imported file for removal unless the catalog names it; after a crash the next command removes it."""
    os.close(directory.open_file(name + _MARK, os.O_WRONLY | os.O_CREAT))


def unmark(directory: Directory, name: str) -> None:
    """Remove the mark: the file is kept."""
    directory.unlink(name + _MARK)


def mark_import(root: Directory, image_id: str, file: str) -> str | None:
    """Mark a file of a catalog entry, if an import made it; return its name in the directory of the id's imports."""
    name = imported_name(image_id, file) if is_imported(root.path, image_id, file) else None
    if name is not None:
        with root.below(IMPORTED, image_id) as directory:
            mark(directory, name)
    return name


def discard(root: Directory, image_id: str, name: str) -> int:
    """Remove an imported file and its mark; return the bytes freed."""
    with root.below(IMPORTED) as above:
        with above.below(image_id) as directory:
            freed = directory.disk_usage(name)
            directory.unlink(name)
            unmark(directory, name)
        with suppress(OSError):  # the directory has other files
            above.remove_directory(image_id)
    return freed


@attrs.frozen
class Workplace:
    """The open images root, and a staging directory under it. All of it is reached through these."""

    root: Directory
    staging: Directory


@contextmanager
def at_work(root: Path, image_id: str, say: Say) -> Iterator[Workplace]:
    """Own an image and a staging directory for a with block; leftovers of interrupted commands are removed.

    Raises BusyError if another command works on the image, OperatorError if the staging directory is not ours.
    """
    with Directory.opened(root) as top:
        _sweep(top, say)
        with staging_directory(top, WORK, image_id) as staging:
            yield Workplace(top, staging.directory)


def _sweep(root: Directory, say: Say) -> None:
    """Remove the leftovers of killed commands, of every image that no other command works on.

    A foreign entry in the place of a staging directory is told of, and left alone.
    """
    marked = {image_id for image_id in _names(root, IMPORTED) if any(_marks(root, image_id))}
    for image_id in sorted({*_names(root, WORK), *marked}):
        _sweep_one(root, (WORK, image_id), image_id, say)
    for image_id in _names(root, CHUNKED):
        with suppress(OSError, OperatorError), root.below(CHUNKED, image_id) as directory:
            if directory.status(STAGING_NAME) is not None:
                _sweep_one(directory, (STAGING_NAME,), image_id, say)


def _names(root: Directory, *path: str) -> list[str]:
    """Return the names in a directory; none if it is missing, or no directory of its own."""
    try:
        with root.below(*path) as directory:
            return directory.names()
    except (OSError, OperatorError):
        return []


def _marks(root: Directory, image_id: str) -> Iterator[str]:
    """Yield the names of an image's files that are marked."""
    for name in _names(root, IMPORTED, image_id):
        if name.endswith(f".img{_MARK}"):
            yield name.removesuffix(_MARK)


def _sweep_one(place: Directory, names: tuple[str, ...], image_id: str, say: Say) -> None:
    with suppress(BusyError):
        try:
            with staging_directory(place, *names) as staging:
                freed = (staging.leftover or 0) + (remove_unnamed(place, image_id) if names[0] == WORK else 0)
                if freed or staging.leftover is not None:
                    say(f"An interrupted command had left {format_size(freed)} of {image_id}; removed it.")
        except OperatorError as error:
            say(f"Left alone: {error}.")


def remove_unnamed(root: Directory, image_id: str) -> int:
    """Remove the marked files of an image that the catalog does not name; return the bytes freed."""
    documents = DirectoryDocuments(root.path)
    if not documents.has_manifest():  # the operator may have moved it away: then nothing is known
        return 0
    named: list[Entry] = [{"file": image.file} for image in load_manifest(documents)[0].images]
    freed = 0
    for name in list(_marks(root, image_id)):
        if is_used(root.path, root.path / IMPORTED / image_id / name, named):
            with root.below(IMPORTED, image_id) as directory:
                unmark(directory, name)
        else:
            freed += discard(root, image_id, name)
    return freed


def is_catalog(root: Path, file: Path) -> bool:
    """Return whether this is the catalog itself, which an entry may name."""
    return os.path.realpath(file) == os.path.realpath(root / MANIFEST_NAME)


def settle(say: Say) -> None:
    """Wait until running daemons have read the new catalog, before files of the old one are removed.

    The catalog is changed by then: an interrupt only shortens the wait.
    """
    try:
        time.sleep(SETTLE_SECONDS)
    except KeyboardInterrupt:
        say("The catalog is changed already; not waiting for running daemons to see it.")
