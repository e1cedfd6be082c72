"""`aero-storage remove`: an image and its chunks, or its chunks alone."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path

import click

from aero_storage.catalog.model import Image, chunked_directory
from aero_storage.catalog.reader import has_manifest
from aero_storage.catalog.writer import editing
from aero_storage.cli.files import is_used, settle
from aero_storage.cli.importing import IMPORTED
from aero_storage.cli.options import WORK, ImageIdType, Shop, with_json, with_root
from aero_storage.cli.sizes import format_size
from aero_storage.durable import disk_usage, workshop
from aero_storage.errors import OperatorError


@click.command("remove", short_help="Remove an image, or its chunks.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@click.option("--chunks-only", is_flag=True, help="Remove its published chunks of every version; keep the image.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@with_root
@with_json
@click.pass_obj
def remove(shop: Shop, image_id: str, chunks_only: bool, yes: bool) -> None:  # noqa: FBT001 - click's
    """Remove the image ID: its catalog entry, its raw file and its chunks."""
    root, output = shop.root, shop.output
    image = shop.catalog().find(image_id)
    chunks = root / chunked_directory(image_id, None)
    if image is None and not chunks.exists():
        raise OperatorError(f"there is no image {image_id!r} in {root}; see: aero-storage list")
    if not yes and sys.stdin.isatty():
        click.confirm(
            f"Remove {'the chunks of ' if chunks_only else ''}{image_id} from {root}?", abort=True, err=True
        )
    file = _take_out(root, image, chunks_only=chunks_only) if image else None
    settle()
    freed = _discard(root, image_id, [path for path in (file, chunks) if path is not None])
    with suppress(OSError):  # not there, or not empty
        (root / IMPORTED / image_id).rmdir()
    what = "chunks" if chunks_only else "image"
    output.result(
        {"id": image_id, "removed": what, "freed": freed},
        f"Removed the {what} {image_id}: {format_size(freed)} freed",
    )


def _take_out(root: Path, image: Image, *, chunks_only: bool) -> Path | None:
    """Change the catalog, and tell which raw file nobody names any more."""
    if not has_manifest(root):
        return None if chunks_only else root / image.file
    with editing(root, listing=False) as draft:
        entry = draft.find(image.id)
        if entry is None or chunks_only:
            if entry is not None:
                entry.pop("chunked_version", None)
            return None
        if len(draft.entries) == 1:
            raise OperatorError(
                f"{image.id} is the only image, and a catalog cannot be empty: import another one first, "
                f"or stop the daemon and remove {root / 'manifest.json'}"
            )
        draft.remove(image.id)
        file = root / image.file
        return None if is_used(root, file, draft.entries) else file


def _discard(root: Path, image_id: str, paths: list[Path]) -> int:
    """Remove files and trees, out of sight first; the bytes freed."""
    freed = 0
    with workshop(root / WORK / f"remove-{image_id}") as work:
        for number, path in enumerate(paths):
            if path.is_symlink() or path.exists():
                freed += disk_usage(path)
                _move_away(path, work.path / str(number))
    return freed


def _move_away(path: Path, place: Path) -> None:
    try:
        path.rename(place)
    except OSError:  # on a file system of its own
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
