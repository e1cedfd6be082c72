"""Where the bytes of catalog entries lie, and who may touch them: one command at a time works on an image."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from aero_storage.atomic_files import StagingDirectory, disk_usage, workshop
from aero_storage.catalog.model import Image
from aero_storage.catalog.reader import MANIFEST_NAME, has_manifest, load_manifest
from aero_storage.catalog.writer import Entry
from aero_storage.cli.sizes import format_size
from aero_storage.errors import BusyError, OperatorError

WORK = ".aero-storage~"
"""Where work is done under the images root: no listing shows it, and `~` is in no id."""

IMPORTED = "imported"
"""Where imported files lie, under the images root: `imported/ID/N.img`, N one more with every import."""

SETTLE_SECONDS = 2.0
"""A running daemon has read a new catalog by then (http.md §3: one second); until then it serves the old files."""

_MARK = "~"
_PUBLISHING = "chunked/*/.publishing~"

Say = Callable[[str], None]


def image_path(root: Path, image: Image) -> Path:
    """The raw file of an image, once all links are resolved. Raises OperatorError if it cannot be served."""
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
    """Whether a catalog entry names this file, by whatever path."""
    wanted = os.path.realpath(file)
    return any(os.path.realpath(root / str(entry["file"])) == wanted for entry in entries)


def is_imported(root: Path, image_id: str, file: str) -> bool:
    """Whether an import of that id has made this file."""
    path = PurePath(file)
    made = path.parent == PurePath(IMPORTED, image_id) and path.suffix == ".img" and path.stem.isdecimal()
    return made and (root / file).is_file() and not (root / file).is_symlink()


def mark(file: Path) -> None:
    """Note that an imported file goes unless the catalog names it: whatever ends us, the next command sees to it."""
    _mark_of(file).touch()


def unmark(file: Path) -> None:
    """The file stays."""
    _mark_of(file).unlink(missing_ok=True)


def discard(file: Path) -> int:
    """Remove an imported file and its mark; the bytes that are free again."""
    freed = disk_usage(file) if file.exists() else 0
    file.unlink(missing_ok=True)
    unmark(file)
    with suppress(OSError):  # other files are in it
        file.parent.rmdir()
    return freed


def _mark_of(file: Path) -> Path:
    return file.with_name(f"{file.name}{_MARK}")


@contextmanager
def at_work(root: Path, image_id: str, say: Say) -> Iterator[StagingDirectory]:
    """Own an image for the length of a with block, in a place to work; what interrupted commands left is removed.

    Raises BusyError if another command works on the image.
    """
    _sweep(root, say)
    with workshop(root / WORK / image_id) as shop:
        yield shop


def _sweep(root: Path, say: Say) -> None:
    """Remove what commands that were killed have left, of any image that nobody works on."""
    places = [*(root / WORK).glob("*"), *root.glob(_PUBLISHING)]
    owners = {path.parent.name for path in root.glob(f"{IMPORTED}/*/*.img{_MARK}")}
    for place in {*places, *(root / WORK / owner for owner in owners)}:
        existed = place.exists()
        with suppress(BusyError), workshop(place) as shop:
            freed = (shop.remains or 0) + (_finish(root, place.name) if place.parent.name == WORK else 0)
            if freed or existed:
                say(f"An interrupted command had left {format_size(freed)} of {_name_of(place)}; removed it.")


def _name_of(place: Path) -> str:
    return place.name if place.parent.name == WORK else place.parent.name


def _finish(root: Path, image_id: str) -> int:
    """Remove the marked files of an image that the catalog does not name; the bytes that are free again."""
    if not has_manifest(root):  # the operator has put it aside, perhaps: then nobody knows
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
    """Whether this is the catalog itself, which an entry may name."""
    return os.path.realpath(file) == os.path.realpath(root / MANIFEST_NAME)


def settle(say: Say) -> None:
    """Give running daemons the time to take a new catalog before what the old one named goes.

    What is asked for is done by then: an interrupt only shortens the wait.
    """
    try:
        time.sleep(SETTLE_SECONDS)
    except KeyboardInterrupt:
        say("The catalog is changed already; not waiting for running daemons to see it.")
