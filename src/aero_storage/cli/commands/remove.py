"""`aero-storage remove`: removes an image and its chunks, or its chunks alone."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path, PurePath

import attrs
import click

from aero_storage.atomic_files import Directory
from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.model import MANIFEST_NAME, Image, chunked_directory
from aero_storage.catalog.writer import editing
from aero_storage.chunks.manifest import is_content_version
from aero_storage.cli.image_files import (
    Workplace,
    at_work,
    discard,
    image_path,
    imported_name,
    is_catalog,
    is_imported,
    is_used,
    mark_import,
    settle,
)
from aero_storage.cli.options import CommandContext, ImageIdType, with_json, with_lock_timeout, with_root
from aero_storage.cli.sizes import format_size
from aero_storage.cli.terminal import confirm
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import is_version

_HIDDEN = "chunks"


@attrs.frozen
class _Removal:
    """The files and the catalog entry to be removed."""

    image: Image | None
    """None if the catalog has no such id, and there are only chunks."""
    chunks: Path
    chunks_only: bool
    file: str | None
    """The raw file, relative to the images root, if it is to be removed too."""


@click.command("remove", short_help="Remove an image, or its chunks.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@click.option("--chunks-only", is_flag=True, help="Remove its published chunks of every version; keep the image.")
@click.option("--yes", is_flag=True, help="Do not ask; remove a raw file too that no import made.")
@with_root
@with_lock_timeout
@with_json
@click.pass_obj
def remove(context: CommandContext, image_id: str, chunks_only: bool, yes: bool) -> None:  # noqa: FBT001 - click's
    """Remove the image ID: its catalog entry, its chunks, and its raw file if an import made it.

    A raw file that no import made is kept, unless --yes is given.
    """
    root, output = context.root, context.output
    with at_work(root, image_id, output.say) as work:
        removal = _plan_removal(
            context, root, image_id, chunks_only=chunks_only, sure=_is_sure(image_id, root, yes, chunks_only)
        )
        _warn(context, removal)
        removal = _remove_entry(context, work.root, removal)
        settle(output.say)
        freed = _remove_chunks(work, image_id)
        if removal.file is not None:
            freed += _remove_file(work.root, image_id, removal.file)
    what = "chunks" if chunks_only else "image"
    output.result(
        {"id": image_id, "removed": what, "freed": freed},
        f"Removed the {what} {image_id}: {format_size(freed)} freed",
    )


def _is_sure(image_id: str, root: Path, yes: bool, chunks_only: bool) -> bool:  # noqa: FBT001 - passed on
    if yes or not sys.stdin.isatty():
        return yes
    what = "the chunks of " if chunks_only else "the image "
    confirm(f"Remove {what}{image_id} from {root}?")
    return True


def _plan_removal(context: CommandContext, root: Path, image_id: str, *, chunks_only: bool, sure: bool) -> _Removal:
    image = context.catalog().find(image_id)
    chunks = root / chunked_directory(image_id, None)
    if image is None and not chunks.exists():
        raise OperatorError(f"there is no image {image_id!r} in {root}; see: aero-storage list")
    if image is None or chunks_only:
        return _Removal(image, chunks, chunks_only, None)
    is_ours = is_imported(root, image_id, image.file)
    if not (is_ours or sure or DirectoryDocuments(root).has_manifest()):
        raise OperatorError(f"{image.file} is a file that no import made; say --yes to have it removed")
    if not (is_ours or sure):
        context.output.say(f"{image.file} is kept: no import made it.")
        return _Removal(image, chunks, chunks_only, None)
    return _Removal(image, chunks, chunks_only, _removable(root, image))


def _removable(root: Path, image: Image) -> str | None:
    """Return the raw file of an image if it may be removed: a regular file under the root, not the catalog."""
    try:
        image_path(root, image)
    except OperatorError:  # missing, outside the root, or a directory: not to be removed
        return None
    return None if is_catalog(root, root / image.file) else image.file


def _warn(context: CommandContext, removal: _Removal) -> None:
    names = sorted(path.name for path in removal.chunks.glob("*") if is_version(path.name) and path.is_dir())
    names = [name for name in names if not is_content_version(name)]
    if names:
        context.output.say(
            f"The URLs of the versions {', '.join(names)} may be cached for a year: do not use the names again."
        )


def _remove_entry(context: CommandContext, directory: Directory, removal: _Removal) -> _Removal:
    """Remove the entry from the catalog; return the rest of the removal, without a file that another entry names."""
    image, root = removal.image, directory.path
    if image is None or not DirectoryDocuments(root).has_manifest():
        return removal
    with editing(root, listing=False, waiting=context.waiting) as draft:
        entry = draft.find(image.id)
        if entry is None:
            raise OperatorError(f"{image.id} was taken out of the catalog meanwhile")
        if removal.chunks_only:
            entry.pop("chunked_version", None)
            return removal
        if len(draft.entries) == 1:
            raise OperatorError(
                f"{image.id} is the only image, and a catalog cannot be empty: import another one first, "
                f"or stop the daemon and remove {root / MANIFEST_NAME}"
            )
        draft.remove(image.id)
        if removal.file is None or is_used(root, root / removal.file, draft.entries):
            return attrs.evolve(removal, file=None)
        mark_import(directory, image.id, removal.file)
        return removal


def _remove_file(root: Directory, image_id: str, file: str) -> int:
    name = imported_name(image_id, file)
    if name is not None and is_imported(root.path, image_id, file):
        return discard(root, image_id, name)
    return _remove_own(root, PurePath(file))


def _remove_own(root: Directory, file: PurePath) -> int:
    """Remove an operator's file; links on the way to it are followed as the daemon does, of a link only the link."""
    top = os.path.realpath(root.path)
    parent = PurePath(os.path.realpath(root.path / file.parent))
    if not parent.is_relative_to(top):
        raise OperatorError(f"{root.path / file} lies outside the images root by now; it is left as it is")
    with root.below(*parent.relative_to(top).parts) as directory:
        freed = 0 if directory.is_link(file.name) else directory.disk_usage(file.name)
        if not directory.is_directory(file.name):
            directory.unlink(file.name)
    return freed


def _remove_chunks(work: Workplace, image_id: str) -> int:
    """Remove the chunks of an image, after a rename that hides them; of a symbolic link only the link."""
    *parents, name = chunked_directory(image_id, None).parts
    try:
        with work.root.below(*parents) as directory:
            return _remove_tree(directory, name, work.staging)
    except FileNotFoundError:
        return 0


def _remove_tree(directory: Directory, name: str, staging: Directory) -> int:
    if directory.is_link(name):
        directory.unlink(name)
        return 0
    freed = directory.disk_usage(name)
    try:
        directory.move(name, staging, _HIDDEN)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        directory.remove(name)
    else:
        staging.remove(_HIDDEN)
    return freed
