"""`aero-storage copy`: copies images between images roots of any kind, each checked by its digest."""

from __future__ import annotations

from collections.abc import Sequence

import click

from aero_storage.cli.copying import Copied, Copying, entries_of
from aero_storage.cli.options import (
    CommandContext,
    ImageIdType,
    cores,
    with_config,
    with_json,
    with_lock_timeout,
    with_single_writer,
)
from aero_storage.cli.repository import Repository
from aero_storage.errors import OperatorError, SettingsError
from aero_storage.settings.values import UnfitError, images_root
from aero_storage.sizes import format_size


@click.command("copy", short_help="Copy images to another images root.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--id", "ids", multiple=True, type=ImageIdType(), help="Copy this image; several times for several.")
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Number of cores to use; all by default.")
@with_config
@with_lock_timeout
@with_single_writer
@with_json
@click.pass_obj
def copy_images(context: CommandContext, source: str, target: str, ids: tuple[str, ...], jobs: int | None) -> None:
    """Copy images from the images root FROM to the images root TO: files, published versions, profiles, entries.

    Each is a directory, or s3://bucket/prefix, gs://bucket/prefix or az://container/prefix. Content is checked by its
    SHA-256. Nothing that is there with the same digest is copied again: an interrupted copy goes on where it was.
    An entry keeps the keys that it has. An image of the same id is replaced; other images stay.
    """
    before, after = _opened(context, source), _opened(context, target)
    catalog = context.catalog_of(before)
    before.look_at_all([image for image in catalog.images if not ids or image.id in ids])
    entries = {str(entry["id"]): entry for entry in entries_of(before, catalog)}
    missing = [image_id for image_id in ids if image_id not in entries]
    if missing:
        raise OperatorError(f"there is no image {missing[0]!r} in {before.name}")
    copying = Copying(before, after, context.change_catalog, jobs or cores(), context.output.say, context.catalog_of)
    done = list[Copied]()
    for image in catalog.images:
        if not ids or image.id in ids:
            present = context.catalog_of(after).find(image.id)
            done.append(copying.copy(image, entries[image.id], present))
            context.output.say(_line(done[-1]))
    _report(context, done, after)


def _opened(context: CommandContext, text: str) -> Repository:
    try:
        return context.repository_at(images_root(text))
    except UnfitError as error:
        raise SettingsError(f"{error.shown or repr(text)} is not {error}") from error


def _line(copied: Copied) -> str:
    if not copied.file_copied and not copied.versions_copied:
        return f"{copied.id}: was there already"
    versions = f", {len(copied.versions_copied)} versions in chunks" if copied.versions_copied else ""
    return f"{copied.id}: {format_size(copied.bytes)} copied{versions}"


def _report(context: CommandContext, done: Sequence[Copied], target: Repository) -> None:
    total = sum(copied.bytes for copied in done)
    rows = [
        {
            "id": one.id,
            "file_copied": one.file_copied,
            "versions_copied": list(one.versions_copied),
            "profiles_copied": list(one.profiles_copied),
            "bytes": one.bytes,
        }
        for one in done
    ]
    context.output.result(rows, f"{len(done)} images are in {target.name}: {format_size(total)} copied")
