"""The files of catalog entries, and the lock that allows one command at a time to work on an image."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from aero_storage.atomic_files import StagingDirectory, disk_usage, staging_directory
from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.catalog.reader import has_manifest, load_manifest
from aero_storage.catalog.writer import Entry
from aero_storage.cli.sizes import format_size
from aero_storage.errors import BusyError, OperatorError

WORK = ".aero-storage~"
"""The staging directory under the images root: no listing shows it, and no id contains `~`."""

IMPORTED = "imported"
"""The directory of imported files under the images root: `imported/ID/N.img`, N counts the imports."""

SETTLE_SECONDS = 2.0
"""After this time a running daemon has read a new catalog (http.md §3: one second) and serves no old files."""

_MARK = "~"
_PUBLISHING = "chunked/*/.publishing~"

Say = Callable[[str], None]


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


def is_imported(root: Path, image_id: str, file: str) -> bool:
    """Return whether an import of this id made this file."""
    path = PurePath(file)
    made = path.parent == PurePath(IMPORTED, image_id) and path.suffix == ".img" and path.stem.isdecimal()
    return made and (root / file).is_file() and not (root / file).is_symlink()


def mark(file: Path) -> None:
    """Mark an imported file for removal unless the catalog names it; after a crash the next command removes it."""
    _mark_of(file).touch()


def unmark(file: Path) -> None:
    """Remove the mark: the file is kept."""
    _mark_of(file).unlink(missing_ok=True)


def discard(file: Path) -> int:
    """Remove an imported file and its mark; return the bytes freed."""
    freed = disk_usage(file) if file.exists() else 0
    file.unlink(missing_ok=True)
    unmark(file)
    with suppress(OSError):  # the directory has other files
        file.parent.rmdir()
    return freed


def _mark_of(file: Path) -> Path:
    return file.with_name(f"{file.name}{_MARK}")


@contextmanager
def at_work(root: Path, image_id: str, say: Say) -> Iterator[StagingDirectory]:
    """Own an image and a staging directory for a with block; leftovers of interrupted commands are removed.

    Raises BusyError if another command works on the image.
    """
    _sweep(root, say)
    with staging_directory(root / WORK / image_id) as staging:
        yield staging


def _sweep(root: Path, say: Say) -> None:
    """Remove the leftovers of killed commands, of every image that no other command works on."""
    paths = [*(root / WORK).glob("*"), *root.glob(_PUBLISHING)]
    owners = {path.parent.name for path in root.glob(f"{IMPORTED}/*/*.img{_MARK}")}
    for path in {*paths, *(root / WORK / owner for owner in owners)}:
        existed = path.exists()
        with suppress(BusyError), staging_directory(path) as staging:
            freed = (staging.leftover or 0) + (_finish(root, path.name) if path.parent.name == WORK else 0)
            if freed or existed:
                say(f"An interrupted command had left {format_size(freed)} of {_name_of(path)}; removed it.")


def _name_of(path: Path) -> str:
    return path.name if path.parent.name == WORK else path.parent.name


def _finish(root: Path, image_id: str) -> int:
    """Remove the marked files of an image that the catalog does not name; return the bytes freed."""
    if not has_manifest(root):  # the operator may have moved it away: then nothing is known
        return 0
    named: list[Entry] = [{"file": image.file} for image in load_manifest(root)[0].images]
    freed = 0
    for note in sorted((root / IMPORTED / image_id).glob(f"*.img{_MARK}")):
        file = note.with_name(note.name.removesuffix(_MARK))
        if is_used(root, file, named):
            unmark(file)
        else:
            freed += discard(file)
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
