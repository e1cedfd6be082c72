"""`aero-storage list` and `aero-storage catalog check`: list images and report their problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import click
from rich.table import Table

from aero_storage.catalog.documents import CatalogDocuments
from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.catalog.reader import load_manifest
from aero_storage.catalog.unknown_keys import UnknownKey, unknown_keys
from aero_storage.chunks.manifest import check_geometry
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.chunks.parallel import WorkItems, share_out
from aero_storage.cli.image_warnings import image_warnings
from aero_storage.cli.options import CommandContext, with_json, with_root, with_settings
from aero_storage.cli.progress import counted
from aero_storage.cli.repository import Leftover, Repository
from aero_storage.cli.sizes import format_size
from aero_storage.cli.terminal import add_row, new_table, printable, write_table
from aero_storage.cli.watching import watched
from aero_storage.errors import ChunkFormatError, OperatorError
from aero_storage.settings import Settings

_MOST_NAMES = 5
"""Names in one line of warnings."""


@attrs.frozen
class ListedImage:
    """The files of one catalog entry; sizes in bytes, None without a raw file."""

    image: Image
    size: int | None
    disk_usage: int | None
    chunks: str | None
    """How its chunks are served: `published`, `virtual`, or None."""
    sha256: str | None
    """The digest of its file, where it is known."""
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def inspect(repository: Repository, settings: Settings, image: Image) -> ListedImage:
    """Inspect the file and the chunk manifest of an image, as a daemon with these settings does."""
    size = used = sha256 = None
    problems: list[str] = []
    warnings: list[str] = []
    try:
        stored = repository.stored(image)
        size, used, sha256 = stored.size, stored.disk_usage, image.known_sha256(stored.stamps)
        warnings += image_warnings(image, stored, settings, sampled=repository.needs_sample(image, stored))
    except OperatorError as error:
        problems.append(str(error).removeprefix(f"{image.id}: "))
    except OSError as error:
        problems.append(f"{image.file} cannot be read: {error.strerror}")
    chunk_manifest = _ChunkManifest.read(repository, image)
    published = chunk_manifest is not None
    if published and size is None and not repository.has_file(image.file):
        problems.clear()  # chunks need no raw file
    virtual = not published and image.has_virtual_chunks(by_setting=settings.virtual_chunks)
    if chunk_manifest is not None:
        problems += _published_problems(image, chunk_manifest, size, settings)
    elif image.chunked_version is not None:
        problems.append(f"there are no chunks of its chunked_version {image.chunked_version}: publish it again")
    if virtual and size is not None:
        problems += _virtual_problems(image, size, settings)
    chunks = "published" if published else "virtual" if virtual else None
    return ListedImage(image, size, used, chunks, sha256, tuple(problems), tuple(warnings))


@attrs.frozen
class _ChunkManifest:
    """A chunk manifest as stored, or the error of reading it."""

    data: bytes
    error: OSError | None = None

    @classmethod
    def read(cls, repository: Repository, image: Image) -> _ChunkManifest | None:
        try:
            data = repository.chunk_manifest(image)
        except OSError as error:
            return cls(b"", error)
        return None if data is None else cls(data)


def _published_problems(image: Image, found: _ChunkManifest, size: int | None, settings: Settings) -> Iterator[str]:
    if found.error is not None:
        yield f"its chunk manifest cannot be read: {found.error.strerror}"
        return
    try:
        manifest = parse_chunk_manifest(found.data)
    except ChunkFormatError as error:
        yield f"its chunk manifest is invalid: {error}"
        return
    if manifest.image_id != image.id:
        yield f"its chunk manifest is one of the image {manifest.image_id}"
    if size is not None and manifest.total_size != size:
        yield f"its chunks are of {manifest.total_size} bytes, its file has {size}: publish it again"
    yield from _oversized(manifest.chunk_length(0), settings)


def _virtual_problems(image: Image, size: int, settings: Settings) -> Iterator[str]:
    chunk_size = image.virtual_chunk_size(settings.virtual_chunk_bytes)
    try:
        check_geometry(size, chunk_size)
    except ChunkFormatError as error:
        yield f"it cannot be served in virtual chunks: {error}"
        return
    yield from _oversized(min(chunk_size, size), settings)


def _oversized(largest: int, settings: Settings) -> Iterator[str]:
    if largest > settings.max_chunk_bytes:
        yield f"its chunks of {largest} bytes are over max_chunk_bytes, {settings.max_chunk_bytes}: each is a 413"


_SETTINGS = ("virtual_chunks", "virtual_chunk_bytes", "max_chunk_bytes", "max_range_bytes")
"""The settings that problems and warnings depend on."""


@attrs.frozen
class _Survey:
    """All images, and the `warnings` about them and about what is left out: by the id, or by the file's name."""

    found: tuple[ListedImage, ...]
    warnings: Mapping[str, Sequence[str]]
    leftovers: tuple[Leftover, ...]


def _survey(context: CommandContext, *, thorough: bool) -> _Survey:
    """Inspect all images, and what the catalog does not show; `thorough` as for `Repository.leftovers`."""
    repository = context.repository
    documents = repository.documents
    catalog = context.catalog()
    images = catalog.images
    found = _inspected(context, images)
    warnings: dict[str, list[str]] = {}
    for name, text in _all_warnings(documents, found, is_listed=context.listing and not documents.has_manifest()):
        warnings.setdefault(name, []).append(text)
    with watched(context.output.say) as work:
        work.begin(f"Looking for what nothing names in {repository.name}")
        left = repository.leftovers(catalog, thorough=thorough)
    return _Survey(tuple(found), warnings, tuple(left))


def _inspected(context: CommandContext, images: Sequence[Image]) -> list[ListedImage]:
    """Inspect images, several at a time where each look waits for a store; they keep their order."""
    repository, settings = context.repository, context.settings
    repository.look_at_all(images)
    found: dict[str, ListedImage] = {}
    with counted("Looking at", len(images), "images", context.output.say) as begin:

        def work(share: WorkItems[Image]) -> None:
            for image in share:
                begin(image.id)
                found[image.id] = inspect(repository, settings, image)

        share_out(images, repository.looks_at_once, work)
    return [found[image.id] for image in images]


def _all_warnings(
    documents: CatalogDocuments, found: list[ListedImage], *, is_listed: bool
) -> Iterator[tuple[str, str]]:
    """Yield each warning with the image's id, or the name of the file that it is about."""
    yield from ((one.image.id, text) for one in found for text in one.warnings)
    if is_listed:
        yield from ((name, f"left out: {reason}") for name, reason in documents.left_out().items())
    elif documents.has_manifest():
        yield from ((one.image_id, _key_warning(one)) for one in unknown_keys(load_manifest(documents)[1]))


def _key_warning(unknown: UnknownKey) -> str:
    hint = f"; did you mean {unknown.nearest}?" if unknown.nearest else ""
    return f"its key {printable(unknown.key)} is not known, and nobody reads it{hint}"


def _warning_lines(warnings: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield one line for each warning, however many images it is about."""
    names: dict[str, list[str]] = {}
    for name, texts in warnings.items():
        for text in texts:
            names.setdefault(text, []).append(name)
    for text, about in names.items():
        more = f" and {len(about) - _MOST_NAMES} more" if len(about) > _MOST_NAMES else ""
        yield f"warning: {', '.join(about[:_MOST_NAMES])}{more}: {text}"


@click.command("list", short_help="List the images.")
@with_root
@with_settings(*_SETTINGS)
@with_json
@click.pass_obj
def show(context: CommandContext) -> None:
    """List the images that the daemon serves.

    Warnings, also of what the directory listing leaves out and of files that no image needs, are on standard error.
    Of a bucket, chunks that no image needs are looked for by catalog check alone.
    """
    survey, output = _survey(context, thorough=False), context.output
    if output.as_json or not survey.found:
        empty = f"{context.repository.name} holds no image; bring one in with: aero-storage import"
        output.result([_row(one, survey.warnings) for one in survey.found], empty)
    else:
        write_table(_table(survey.found))
    ids = {one.image.id for one in survey.found} if output.as_json else set()
    told = {name: texts for name, texts in survey.warnings.items() if name not in ids}
    left = {one.path: [f"{one.reason} (how to remove it: aero-storage catalog check)"] for one in survey.leftovers}
    for line in (*_warning_lines(told), *_warning_lines(left)):
        output.say(line)


def _row(found: ListedImage, warnings: Mapping[str, Sequence[str]]) -> dict[str, object]:
    image = found.image
    return {
        "id": image.id,
        "name": image.name,
        "file": image.file,
        "public": image.public,
        "size": found.size,
        "disk_usage": found.disk_usage,
        "chunks": found.chunks,
        "chunked_version": image.chunked_version,
        "sha256": found.sha256,
        "problems": list(found.problems),
        "warnings": list(warnings.get(image.id, ())),
    }


def _table(found: Sequence[ListedImage]) -> Table:
    headings = ("ID", "NAME", "SIZE", "ON DISK", "CHUNKS", "CACHES", "PROBLEMS")
    table = new_table(*headings, right=("SIZE", "ON DISK"))
    for one in found:
        sizes = ("-" if size is None else format_size(size) for size in (one.size, one.disk_usage))
        caches = "public" if one.image.public else "private"
        cells = (one.image.id, one.image.name, *sizes, one.chunks or "-", caches, "; ".join(one.problems))
        add_row(table, *cells)
    return table


@click.group("catalog", short_help="Check the catalog.")
def catalog() -> None:
    """Check the catalog, manifest.json."""


@catalog.command("check")
@with_root
@with_settings(*_SETTINGS)
@with_json
@click.pass_obj
def check(context: CommandContext) -> int:
    """Check the catalog and the files that it names; the exit status is 1 if there is a problem.

    Warnings do not change the status. They are about images that are no raw disk, files that the directory listing
    leaves out, keys that nobody knows, and limits. Remarks are about what no image needs, or an interrupted command
    has left, with the command that removes it.
    """
    repository, survey = context.repository, _survey(context, thorough=True)
    documents = repository.documents
    problems = {one.image.id: list(one.problems) for one in survey.found if one.problems}
    source = (
        documents.manifest_name
        if documents.has_manifest()
        else f"a listing of {repository.name}: there is no {MANIFEST_NAME}"
    )
    lines = [f"{image_id}: {problem}" for image_id, faults in problems.items() for problem in faults]
    lines += _warning_lines(survey.warnings)
    lines += [f"remark: {one.path}: {one.reason}; to remove it: {one.command}" for one in survey.leftovers]
    wrong = "nothing" if not problems else f"{len(problems)} of them"
    noun = "image" if len(survey.found) == 1 else "images"
    lines.append(f"{len(survey.found)} {noun} by {source}: {wrong} wrong")
    document = {
        "images": len(survey.found),
        "problems": problems,
        "warnings": survey.warnings,
        "unused_files": [one.path for one in survey.leftovers],
        "leftovers": [attrs.asdict(one) for one in survey.leftovers],
    }
    context.output.result(document, *lines)
    return 1 if problems else 0
