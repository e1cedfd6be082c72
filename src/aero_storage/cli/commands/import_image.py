"""`aero-storage import`: converts an image of any format to a raw file in the images root, with a catalog entry."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import attrs
import click

from aero_storage.catalog.draft import Draft
from aero_storage.chunks.manifest import SECTOR
from aero_storage.cli.disk_images.convert import examine, opened
from aero_storage.cli.disk_images.formats import FORMATS
from aero_storage.cli.import_options import ImportOptions
from aero_storage.cli.options import (
    CommandContext,
    ImageIdType,
    Sha256Type,
    SizeType,
    with_json,
    with_lock_timeout,
    with_root,
    with_single_writer,
    without_digest,
)
from aero_storage.cli.output import Output
from aero_storage.cli.repository import Placed, Repository, Say, Work
from aero_storage.cli.sources.limits import MAX_SIZE
from aero_storage.cli.sources.members import last_of
from aero_storage.cli.sources.opening import NO_ARCHIVE, SourceOptions, open_source, plain_file
from aero_storage.cli.staged_image import ReadyImage, arrived, examined_in, stored
from aero_storage.errors import OperatorError
from aero_storage.sizes import format_size


@attrs.frozen
class _Switch:
    """A change of the catalog to a new file; `replaced` is the old one, unless another entry names it too."""

    draft: Draft
    replaced: str | None
    """Relative to the images root."""
    is_condemned: bool
    """Whether an import made it, so that it is to be removed."""


def _text(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise click.BadParameter("is not valid UTF-8") from None
    return value


def _member(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not last_of(value.rstrip("/")):
        raise click.BadParameter("is no name of a file in an archive")
    return value


@click.command("import", short_help="Bring in a disk image.")
@click.argument("source", metavar="SOURCE|URL|-", type=click.Path())
@click.option(
    "--id", "image_id", required=True, type=ImageIdType(), help="The image's id, which is its name in URLs."
)
@click.option("--name", callback=_text, help="A display name.")
@click.option("--description", callback=_text, help="A description, for people.")
@click.option(
    "--private/--public",
    default=None,
    help="Forbid caching; let a daemon with --lease-keys-file serve it to holders of a lease alone.",
)
@click.option(
    "--format",
    "given_format",
    type=click.Choice(FORMATS),
    help="The format of SOURCE; found out from its content by default.",
)
@click.option(
    "--sha256",
    type=Sha256Type(),
    metavar="HEX",
    help="Refuse SOURCE unless this is its SHA-256, or that of the disk in it.",
)
@without_digest
@click.option(
    "--max-size",
    type=SizeType(),
    default=MAX_SIZE,
    metavar="SIZE",
    help="Bring in no more than this from a pipe, a URL, a compressed file or an archive; 1TiB by default.",
)
@click.option(
    "--member",
    callback=_member,
    metavar="NAME",
    help="The file to take out of an archive, by its name in there; needed if the archive holds several disks.",
)
@click.option("--no-unpack", is_flag=True, help="Take SOURCE as it is, even if it is compressed or an archive.")
@with_root
@with_lock_timeout
@with_single_writer
@with_json
@click.pass_obj
def import_image(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    source: str,
    image_id: str,
    name: str | None,
    description: str | None,
    private: bool | None,  # noqa: FBT001 - click's
    given_format: str | None,
    sha256: str | None,
    digested: bool,  # noqa: FBT001 - click's
    max_size: int,
    member: str | None,
    no_unpack: bool,  # noqa: FBT001 - click's
) -> None:
    """Bring a disk image into the images root, as a sparse raw file, and list it in the catalog.

    SOURCE is a file, `-` for standard input, or an http(s) URL. Compressed files (gzip, xz, bzip2; zstd and lz4 with
    the extra `compressed`) and a disk in a tar archive, an OVA or a ZIP archive are unpacked on the way.

    The image is raw, qcow2, VMDK, VDI, VHD, VHDX, QED, Parallels, DMG or Bochs; all but raw need qemu-img (Debian:
    qemu-utils). A raw file has to look like a disk, unless --format raw says that it is one. An image of the same id
    is replaced; downloads under way end with the old bytes. The catalog records the SHA-256 of the raw file.
    """
    if sha256 is not None and not digested:
        raise click.UsageError("--sha256 and --no-sha256 exclude each other")
    options = ImportOptions(image_id, name, description, None if private is None else not private, sha256, digested)
    if member is not None and no_unpack:
        raise click.UsageError("--member and --no-unpack exclude each other")
    if (repository := context.repository_if_made()) is not None:
        repository.foresee_import(image_id, context.output.say)
    path = plain_file(source, unpack=not no_unpack)
    if path is not None and member is not None and path.is_file():
        raise OperatorError(f"{path}: {NO_ARCHIVE}")
    if path is not None:
        done = _import_file(context, path, given_format, options)
    else:
        wanted = SourceOptions(max_size, context.output.say, sha256 is not None, not no_unpack, member)
        done = _import_incoming(context, source, wanted, given_format, options)
    _report(context.output, done, options)


def _import_file(context: CommandContext, path: Path, given_format: str | None, options: ImportOptions) -> _Done:
    with opened(path, given_format) as candidate:
        examined = candidate if candidate.needs_copy else examine(candidate)
        return _import(context, lambda work: examined_in(work, examined, context.output.say), options)


def _import_incoming(
    context: CommandContext, named: str, wanted: SourceOptions, given_format: str | None, options: ImportOptions
) -> _Done:
    """Import what comes from a pipe or a URL, or has to be unpacked."""
    with open_source(named, wanted) as source:
        return _import(
            context,
            lambda work: arrived(source, work, given_format, wanted, hashed=options.digested),
            options,
        )


@attrs.frozen
class _Done:
    """A finished import: its image, its new `file` in the root, the new catalog, and the bytes that it takes."""

    image: ReadyImage
    file: str
    draft: Draft
    on_disk: int
    sha256: str | None


def _report(output: Output, done: _Done, options: ImportOptions) -> None:
    source, draft = done.image.source, done.draft
    if draft.listed:
        output.say(f"Made manifest.json; it lists what the directory listing was serving: {', '.join(draft.listed)}.")
    if options.public is False:
        output.say("Private: no cache keeps it. Who may read it is asked by a daemon with --lease-keys-file alone.")
    document = {"id": options.id, "file": done.file, "format": source.format, "size": source.size}
    output.result(
        document | {"disk_usage": done.on_disk, "sha256": done.sha256},
        f"Imported {source.path.name} ({source.format}) as {options.id}: {done.file}, {format_size(source.size)}, "
        f"{format_size(done.on_disk)} on disk",
    )
    _remark(output, done.image)


def _import(
    context: CommandContext,
    ready: Callable[[Work], AbstractContextManager[ReadyImage]],
    options: ImportOptions,
) -> _Done:
    """Import the image that `ready` gives, in the work place."""
    repository = context.make_repository()
    with repository.at_work(options.id, context.output.say) as work:
        with ready(work) as image, stored(work, image, options) as disk:
            change = partial(_switch, repository, work, options, disk.placed)
            switch = context.change_catalog(repository, change)
        _remove_replaced(context.output.say, repository, work, switch)
    return _Done(image, disk.placed.file, switch.draft, disk.placed.disk_usage, disk.sha256)


def _switch(repository: Repository, work: Work, options: ImportOptions, placed: Placed, draft: Draft) -> _Switch:
    """Put the new entry into the catalog: file and digest in one change, so that neither is ever with another."""
    before = draft.find(options.id)
    draft.put(options.entry(placed.file, before, placed.digest))
    replaced = None if before is None else str(before["file"])
    if replaced is None or repository.is_named(replaced, draft.entries):
        return _Switch(draft, None, is_condemned=False)
    return _Switch(draft, replaced, work.condemn(replaced))


def _remove_replaced(say: Say, repository: Repository, work: Work, switch: _Switch) -> None:
    """Remove the replaced file, if an import made it and no other entry names it."""
    if switch.is_condemned:
        work.settle()
    elif switch.replaced is not None and repository.has_file(switch.replaced):
        say(f"{switch.replaced}, which the image was until now, is kept: no import made it.")
    work.carry_out()


def _remark(output: Output, image: ReadyImage) -> None:
    if image.source.size % SECTOR:
        name = "FILE" if image.is_staged else shlex.quote(image.source.path.name)
        output.say(
            f"Its size is no multiple of {SECTOR}, so it cannot be cut into chunks; "
            f"pad a copy with: truncate -s %{SECTOR} {name}"
        )
