"""`aero-storage publish`: cuts an image into chunks, and sets them as its version in the catalog."""

from __future__ import annotations

from functools import partial

import click

from aero_storage.catalog.draft import Draft
from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import DEFAULT_CHUNK_SIZE, check_geometry
from aero_storage.cli.options import (
    CommandContext,
    ImageIdType,
    SizeType,
    cores,
    with_json,
    with_lock_timeout,
    with_root,
    with_single_writer,
    without_digest,
)
from aero_storage.cli.progress import progress
from aero_storage.cli.repository import PublishedVersion
from aero_storage.cli.setting_flags import with_settings
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import NAME_RULE, is_version
from aero_storage.sizes import format_size

AUTO = "auto"


def _version(_context: click.Context, _parameter: click.Parameter, value: str) -> str | None:
    if value == AUTO:
        return None
    if not is_version(value):
        raise click.BadParameter(f"{value!r} is no version: it {NAME_RULE}, and not 'chunks'")
    return value


@click.command("publish", short_help="Cut an image into chunks.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@click.option(
    "--chunk-size",
    type=SizeType(),
    default=DEFAULT_CHUNK_SIZE,
    metavar="SIZE",
    help="Bytes in a chunk, such as 4MiB (the default): a multiple of 512, 64MiB at the most.",
)
@click.option(
    "--image-version",
    default=AUTO,
    callback=_version,
    metavar="NAME",
    help="The version's name in URLs; auto (the default) makes it from the content: equal content, equal name.",
)
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Number of cores to use; all by default.")
@without_digest
@with_root
@with_settings("max_chunk_bytes")
@with_lock_timeout
@with_single_writer
@with_json
@click.pass_obj
def publish_image(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    image_id: str,
    chunk_size: int,
    image_version: str | None,
    jobs: int | None,
    digested: bool,  # noqa: FBT001 - click's
) -> None:
    """Cut the image ID into chunks with SHA-256 digests, for CDNs and browsers that read with plain GETs.

    Writes chunked/ID/VERSION/ under the images root and makes it the version of the unversioned URLs. Versions
    published before are kept. The SHA-256 of the whole image is recorded in the catalog, if it is not known yet.
    """
    repository, output = context.repository, context.output
    with repository.at_work(image_id, output.say) as work:
        image = context.image(image_id)
        stored = repository.stored(image)
        known = image.known_sha256(stored.stamps)
        check_geometry(stored.size, chunk_size)
        _warn(context, min(chunk_size, stored.size))
        work.foresee_publish(image, output.say)
        with progress(f"Publishing {image_id}", stored.size) as advance:
            published = work.publish(
                image,
                chunk_size=chunk_size,
                version=image_version,
                jobs=jobs or cores(),
                advance=advance,
                digested=digested and known is None,
            )
        listed = context.change_catalog(repository, partial(_point_catalog, image, published))
        work.carry_out()
    if listed:
        output.say(f"Made manifest.json; it lists what the directory listing was serving: {', '.join(listed)}.")
    _show_result(context, image_id, published, known if published.digest is None else published.digest.sha256)


def _warn(context: CommandContext, largest: int) -> None:
    resolved = context.resolved
    limit = resolved.settings.max_chunk_bytes
    if largest > limit:
        context.output.say(
            f"Chunks of {format_size(largest)} are over max_chunk_bytes, {format_size(limit)} "
            f"({resolved.origins['max_chunk_bytes']}): start the daemon with --max-chunk-bytes {largest} or they are "
            "refused with 413."
        )


def _point_catalog(image: Image, published: PublishedVersion, draft: Draft) -> tuple[str, ...]:
    entry = draft.find(image.id)
    if entry is None or entry["file"] != image.file:
        raise OperatorError(
            f"the catalog was edited while {image.id} was cut, and names another file for it, or none; it is left "
            "as it is, and nothing names the chunks: publish again"
        )
    entry["chunked_version"] = published.version
    entry.update({} if published.digest is None else published.digest.keys())
    return draft.listed


def _show_result(context: CommandContext, image_id: str, published: PublishedVersion, sha256: str | None) -> None:
    manifest, version = published.manifest, published.version
    url = f"/v1/images/{image_id}/chunked/{version}/manifest.json"
    chunks = f"{manifest.chunk_count} chunks of {format_size(manifest.chunk_size)}"
    done = "was published already" if published.already_there else "is published"
    context.output.result(
        {
            "id": image_id,
            "version": version,
            "already_published": published.already_there,
            "directory": published.directory,
            "total_size": manifest.total_size,
            "chunk_size": manifest.chunk_size,
            "chunk_count": manifest.chunk_count,
            "manifest_path": url,
            "sha256": sha256,
        },
        f"{image_id} {done}: {chunks}, version {version}",
        f"  {url}",
    )
