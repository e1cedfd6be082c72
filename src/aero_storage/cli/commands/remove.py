"""`aero-storage remove`: removes an image and its chunks, or its chunks alone."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import click

from aero_storage.catalog.draft import Draft
from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import is_content_version
from aero_storage.cli.options import (
    CommandContext,
    ImageIdType,
    SpanType,
    with_json,
    with_lock_timeout,
    with_root,
    with_single_writer,
)
from aero_storage.cli.repository import GRACE_SECONDS, Repository, Work
from aero_storage.cli.terminal import confirm
from aero_storage.cli.watching import watched
from aero_storage.errors import OperatorError
from aero_storage.sizes import format_size, format_span


@attrs.frozen
class _Removal:
    """The files and the catalog entry to be removed."""

    image: Image | None
    """None if the catalog has no such id, and there are only chunks."""
    versions: tuple[str, ...]
    """The names of its published versions."""
    chunks_only: bool
    file: str | None
    """The raw file, relative to the images root, if it is to be removed too."""


@click.command("remove", short_help="Remove an image, or its chunks.")
@click.argument("image_id", metavar="[ID]", required=False, type=ImageIdType())
@click.option("--chunks-only", is_flag=True, help="Remove its published chunks of every version; keep the image.")
@click.option(
    "--expired", is_flag=True, help="Remove from a bucket what nothing has named for some time; without ID."
)
@click.option(
    "--grace",
    type=SpanType(),
    default=GRACE_SECONDS,
    metavar="TIME",
    help="With --expired: the time for which nothing has named it, such as 24h (the default).",
)
@click.option("--yes", is_flag=True, help="Do not ask; remove a raw file too that no import made.")
@with_root
@with_lock_timeout
@with_single_writer
@with_json
@click.pass_obj
def remove(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    image_id: str | None,
    chunks_only: bool,  # noqa: FBT001 - click's
    expired: bool,  # noqa: FBT001 - click's
    grace: float,
    yes: bool,  # noqa: FBT001 - click's
) -> None:
    """Remove the image ID: its catalog entry, its chunks, and its raw file if an import made it.

    A raw file that no import made is kept, unless --yes is given. In a bucket the entry alone goes at once. Objects
    stay for those who still read them, until --expired deletes what nothing has named for a day.
    """
    if expired and (image_id is not None or chunks_only):
        raise click.UsageError("--expired takes no ID, and not --chunks-only")
    if expired:
        _remove_expired(context, grace)
    elif image_id is None:
        raise click.UsageError("Missing argument 'ID'.")
    else:
        _remove_image(context, image_id, chunks_only=chunks_only, yes=yes)


def _remove_expired(context: CommandContext, grace: float) -> None:
    repository, output = context.repository, context.output
    with watched(output.say) as work:
        work.begin(f"Looking for what nothing names in {repository.name}")
        done = repository.remove_expired(grace)
    waiting = f"; {done.waiting} more have not waited for so long yet" if done.waiting else ""
    output.result(
        {"removed": list(done.removed), "freed": done.freed, "waiting": done.waiting},
        *(f"removed {key}" for key in done.removed),
        f"{len(done.removed)} removed that nothing had named for {format_span(grace)}: "
        f"{format_size(done.freed)} freed{waiting}",
    )


def _remove_image(context: CommandContext, image_id: str, *, chunks_only: bool, yes: bool) -> None:
    repository, output = context.repository, context.output
    with _room_told(), repository.at_work(image_id, output.say) as work:
        sure = _is_sure(image_id, repository, yes, chunks_only)
        removal = _plan_removal(context, repository, image_id, chunks_only=chunks_only, sure=sure)
        _warn(context, removal)
        _remove_entry(context, repository, work, removal)
        work.settle()
        freed = work.carry_out()
    what = "chunks" if chunks_only else "image"
    ended = f"{format_size(freed.later)} to be freed later" if freed.later else f"{format_size(freed.now)} freed"
    output.result(
        {"id": image_id, "removed": what, "freed": freed.now, "freed_later": freed.later},
        f"Removed the {what} {image_id}: {ended}",
    )


@contextmanager
def _room_told() -> Iterator[None]:
    """Tell what to do on a full disk: nothing may go before the catalog that names it, and a new one takes room."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise OperatorError(
            "no space left: before a file may go, a new catalog that does not name it has to be written, and nothing "
            "was changed; make room for it elsewhere on this disk (as much as manifest.json takes, and 64 KiB), or "
            "run the command as root, for whom many file systems keep some"
        ) from error


def _is_sure(image_id: str, repository: Repository, yes: bool, chunks_only: bool) -> bool:  # noqa: FBT001 - passed on
    if yes or not sys.stdin.isatty():
        return yes
    what = "the chunks of " if chunks_only else "the image "
    confirm(f"Remove {what}{image_id} from {repository.name}?")
    return True


def _plan_removal(
    context: CommandContext, repository: Repository, image_id: str, *, chunks_only: bool, sure: bool
) -> _Removal:
    image, versions = context.catalog().find(image_id), repository.chunk_versions(image_id)
    if image is None and versions is None:
        raise OperatorError(f"there is no image {image_id!r} in {repository.name}; see: aero-storage list")
    kept = _Removal(image, tuple(versions or ()), chunks_only, None)
    if image is None or chunks_only:
        return kept
    is_ours = repository.is_imported(image_id, image.file)
    if not (is_ours or sure or repository.documents.has_manifest()):
        raise OperatorError(f"{image.file} is a file that no import made; say --yes to have it removed")
    if not (is_ours or sure):
        context.output.say(f"{image.file} is kept: no import made it.")
        return kept
    return attrs.evolve(kept, file=image.file) if repository.is_removable(image) else kept


def _warn(context: CommandContext, removal: _Removal) -> None:
    names = [name for name in removal.versions if not is_content_version(name)]
    if names:
        context.output.say(
            f"The URLs of the versions {', '.join(names)} may be cached for a year: do not use the names again."
        )


def _remove_entry(context: CommandContext, repository: Repository, work: Work, removal: _Removal) -> None:
    """Remove the entry from the catalog; the removal of its files is planned before."""
    image = removal.image
    if image is None or not repository.documents.has_manifest():
        _condemn(work, removal, removal.file)
        return
    context.change_catalog(repository, partial(_without, repository, work, removal, image), listing=False)


def _without(repository: Repository, work: Work, removal: _Removal, image: Image, draft: Draft) -> None:
    entry, file = draft.find(image.id), removal.file
    if entry is None:
        raise OperatorError(f"{image.id} was taken out of the catalog meanwhile")
    if removal.chunks_only:
        entry.pop("chunked_version", None)
    elif len(draft.entries) == 1:
        raise OperatorError(
            f"{image.id} is the only image, and a catalog cannot be empty: import another one first, "
            f"or stop the daemon and remove {repository.documents.manifest_name}"
        )
    else:
        draft.remove(image.id)
    is_named = file is not None and repository.is_named(file, draft.entries)
    _condemn(work, removal, None if is_named else file)


def _condemn(work: Work, removal: _Removal, file: str | None) -> None:
    work.condemn_chunks(keeps_image=removal.chunks_only)
    if file is not None:
        work.condemn(file, own=True)
