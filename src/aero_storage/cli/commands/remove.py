"""`aero-storage remove`: removes an image and its chunks, or its chunks alone."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import click

from aero_storage.catalog.model import MANIFEST_NAME, Image, chunked_directory
from aero_storage.catalog.reader import has_manifest
from aero_storage.catalog.writer import editing
from aero_storage.chunks.manifest import is_content_version
from aero_storage.cli.image_files import image_path, is_catalog, is_imported, settle
from aero_storage.cli.options import CommandContext, ImageIdType, with_json, with_lock_timeout, with_root
from aero_storage.cli.removals import NamedBy, Plan
from aero_storage.cli.sizes import format_size
from aero_storage.cli.terminal import confirm
from aero_storage.cli.workplace import Workplace, at_work
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import is_version


@attrs.frozen
class _Request:
    """What the operator wants to be removed."""

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
        request = _plan_removal(
            context, root, image_id, chunks_only=chunks_only, sure=_is_sure(image_id, root, yes, chunks_only)
        )
        _warn(context, request)
        _remove_entry(context, work, request)
        settle(output.say)
        freed = work.plan.carry_out()
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


def _plan_removal(context: CommandContext, root: Path, image_id: str, *, chunks_only: bool, sure: bool) -> _Request:
    image = context.catalog().find(image_id)
    chunks = root / chunked_directory(image_id, None)
    if image is None and not chunks.exists():
        raise OperatorError(f"there is no image {image_id!r} in {root}; see: aero-storage list")
    if image is None or chunks_only:
        return _Request(image, chunks, chunks_only, None)
    is_ours = is_imported(root, image_id, image.file)
    if not (is_ours or sure or has_manifest(root)):
        raise OperatorError(f"{image.file} is a file that no import made; say --yes to have it removed")
    if not (is_ours or sure):
        context.output.say(f"{image.file} is kept: no import made it.")
        return _Request(image, chunks, chunks_only, None)
    return _Request(image, chunks, chunks_only, _removable(root, image))


def _removable(root: Path, image: Image) -> str | None:
    """Return the raw file of an image if it may be removed: a regular file under the root, not the catalog."""
    try:
        image_path(root, image)
    except OperatorError:  # missing, outside the root, or a directory: not to be removed
        return None
    return None if is_catalog(root, root / image.file) else image.file


def _warn(context: CommandContext, request: _Request) -> None:
    names = sorted(path.name for path in request.chunks.glob("*") if is_version(path.name) and path.is_dir())
    names = [name for name in names if not is_content_version(name)]
    if names:
        context.output.say(
            f"The URLs of the versions {', '.join(names)} may be cached for a year: do not use the names again."
        )


def _remove_entry(context: CommandContext, work: Workplace, request: _Request) -> None:
    """Remove the entry from the catalog; what is to be removed after that is planned before."""
    image, root = request.image, work.root.path
    if image is None or not has_manifest(root):
        _plan(work.plan, request)
        return
    with editing(root, listing=False, waiting=context.waiting) as draft:
        entry = draft.find(image.id)
        if entry is None:
            raise OperatorError(f"{image.id} was taken out of the catalog meanwhile")
        if request.chunks_only:
            entry.pop("chunked_version", None)
        elif len(draft.entries) == 1:
            raise OperatorError(
                f"{image.id} is the only image, and a catalog cannot be empty: import another one first, "
                f"or stop the daemon and remove {root / MANIFEST_NAME}"
            )
        else:
            draft.remove(image.id)
        _plan(work.plan, request)


def _plan(plan: Plan, request: _Request) -> None:
    chunks = plan.chunks(NamedBy.CHUNKS if request.chunks_only else NamedBy.IMAGE)
    file = None if request.file is None else plan.file(request.file)
    plan.add(*(one for one in (chunks, file) if one is not None))
