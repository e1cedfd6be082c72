"""Where the bytes of catalog entries lie, for commands that read them by themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path, PurePath

from aero_storage.catalog.model import Image
from aero_storage.catalog.writer import Entry
from aero_storage.errors import OperatorError

SETTLE_SECONDS = 2.0
"""A running daemon has read a new catalog by then (contract §3: one second); until then it serves the old files."""


def image_path(root: Path, image: Image) -> Path:
    """The raw file of an image, once all links are resolved. Raises OperatorError if it cannot be served."""
    top = os.path.realpath(root)
    path = os.path.realpath(root / image.file)
    if not PurePath(path).is_relative_to(top):
        raise OperatorError(
            f"{image.id}: {image.file} lies outside the images root {root}; the daemon refuses it too"
        )
    if not os.path.exists(path):  # noqa: PTH110 - as text, like the rest of this function
        raise OperatorError(f"{image.id}: there is no file {image.file} in {root}; put it there or import it again")
    if not os.path.isfile(path):  # noqa: PTH113
        raise OperatorError(f"{image.id}: {image.file} is no regular file")
    return Path(path)


def is_used(root: Path, file: Path, entries: Iterable[Entry]) -> bool:
    """Whether a catalog entry names this file, by whatever path."""
    wanted = os.path.realpath(file)
    return any(os.path.realpath(root / str(entry["file"])) == wanted for entry in entries)


def settle() -> None:
    """Give running daemons the time to take a new catalog before what the old one named goes."""
    time.sleep(SETTLE_SECONDS)
