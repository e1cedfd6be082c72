"""The files of catalog entries: where they are, and which of them an import made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path, PurePath

from aero_storage.atomic_files import Directory
from aero_storage.catalog.draft import Entry
from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.cli.repository import Say
from aero_storage.errors import OperatorError

IMPORTED = "imported"
"""The directory of imported files under the images root: `imported/ID/N.img`, N counts the imports."""

SETTLE_SECONDS = 2.0
"""After this time a running daemon has read a new catalog (http.md §3: one second) and serves no old files."""


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
