"""`aero-storage list` and `aero-storage catalog check`: list images and report their problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import click
from rich.table import Table

from aero_storage.catalog.documents import CatalogDocuments
from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.catalog.reader import load_manifest
from aero_storage.catalog.unknown_keys import UnknownKey, unknown_keys
from aero_storage.chunks.parallel import WorkItems, share_out
from aero_storage.cli.lease_findings import LEASE_SETTINGS, find_in_leases
from aero_storage.cli.listed_image import ListedImage, inspect
from aero_storage.cli.options import CommandContext, with_json, with_root
from aero_storage.cli.progress import counted
from aero_storage.cli.repository import Leftover, Repository
from aero_storage.cli.setting_flags import with_settings
from aero_storage.cli.terminal import add_row, new_table, printable, write_table
from aero_storage.cli.warning_lines import warning_lines
from aero_storage.cli.watching import watched
from aero_storage.sizes import format_size

_SETTINGS = ("virtual_chunks", "virtual_chunk_bytes", "max_chunk_bytes", "max_range_bytes")
"""The settings that problems and warnings depend on."""


@attrs.frozen
class _Survey:
    """All images, and the `warnings` about them and about what is left out: by the id, or by the file's name."""

    found: tuple[ListedImage, ...]
    warnings: Mapping[str, Sequence[str]]
    leftovers: tuple[Leftover, ...]
    profiles: Mapping[tuple[str, str | None], Sequence[str]]
    """The names of boot profiles, by image and version."""


def _survey(context: CommandContext, *, thorough: bool) -> _Survey:
    """Inspect all images, and what the catalog does not show; `thorough` as for `Repository.leftovers`."""
    repository = context.repository
    documents = repository.documents
    catalog = context.catalog()
    images = catalog.images
    found = _inspected(context, images)
    is_listed = context.listing and not documents.has_manifest()
    warnings = _grouped(_all_warnings(documents, found, is_listed=is_listed), {})
    with watched(context.output.say) as work:
        work.begin(f"Looking for what nothing names in {repository.name}")
        left = repository.leftovers(catalog, thorough=thorough)
        profiles = _profiles(repository)
    return _Survey(tuple(found), warnings, tuple(left), profiles)


def _profiles(repository: Repository) -> dict[tuple[str, str | None], list[str]]:
    found: dict[tuple[str, str | None], list[str]] = {}
    for place in repository.profiles.all_places():
        found.setdefault((place.image_id, place.version), []).append(place.name)
    return found


def _grouped(texts: Iterable[tuple[str, str]], before: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return texts by what they are about, after those of `before`."""
    grouped = {name: list(known) for name, known in before.items()}
    for name, text in texts:
        grouped.setdefault(name, []).append(text)
    return grouped


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
        output.result([_row(one, survey) for one in survey.found], empty)
    else:
        write_table(_table(survey.found))
    ids = {one.image.id for one in survey.found} if output.as_json else set()
    told = {name: texts for name, texts in survey.warnings.items() if name not in ids}
    left = {one.path: [f"{one.reason} (how to remove it: aero-storage catalog check)"] for one in survey.leftovers}
    for line in (*warning_lines(told), *warning_lines(left)):
        output.say(line)


def _row(found: ListedImage, survey: _Survey) -> dict[str, object]:
    image = found.image
    return {
        "id": image.id,
        "name": image.name,
        "file": image.file,
        "public": image.public,
        "private_cache": image.private_cache,
        "size": found.size,
        "disk_usage": found.disk_usage,
        "chunks": found.chunks,
        "chunked_version": image.chunked_version,
        "sha256": found.sha256,
        "version": found.version,
        "profiles": list(survey.profiles.get((image.id, found.version), ())),
        "problems": list(found.problems),
        "warnings": list(survey.warnings.get(image.id, ())),
    }


def _table(found: Sequence[ListedImage]) -> Table:
    headings = ("ID", "NAME", "SIZE", "ON DISK", "CHUNKS", "CACHES", "PROBLEMS")
    table = new_table(*headings, right=("SIZE", "ON DISK"))
    for one in found:
        sizes = ("-" if size is None else format_size(size) for size in (one.size, one.disk_usage))
        cells = (one.image.id, one.image.name, *sizes, one.chunks or "-", _caches(one.image), "; ".join(one.problems))
        add_row(table, *cells)
    return table


def _caches(image: Image) -> str:
    if image.public:
        return "public"
    return "browser" if image.kept_by_browsers else "private"


@click.group("catalog", short_help="Check the catalog.")
def catalog() -> None:
    """Check the catalog, manifest.json."""


@catalog.command("check")
@with_root
@with_settings(*_SETTINGS, *LEASE_SETTINGS)
@with_json
@click.pass_obj
def check(context: CommandContext) -> int:
    """Check the catalog and the files that it names; the exit status is 1 if there is a problem.

    Warnings do not change the status. They are about images that are no raw disk, files that the directory listing
    leaves out, keys that nobody knows, limits, private images that are open to everybody as leases are off, and lease
    keys whose time is over. Remarks are about what no image needs, or an interrupted command has left, with the
    command that removes it.
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
    leases = find_in_leases([one.image for one in survey.found], context.settings)
    lines += [f"{name}: {problem}" for name, problem in leases.problems]
    warnings = _grouped(leases.warnings, survey.warnings)
    lines += warning_lines(warnings)
    lines += [f"remark: {one.path}: {one.reason}; to remove it: {one.command}" for one in survey.leftovers]
    wrong = "nothing" if not problems else f"{len(problems)} of them"
    noun = "image" if len(survey.found) == 1 else "images"
    lines.append(f"{len(survey.found)} {noun} by {source}: {wrong} wrong")
    document = {
        "images": len(survey.found),
        "problems": _grouped(leases.problems, problems),
        "warnings": warnings,
        "unused_files": [one.path for one in survey.leftovers],
        "leftovers": [attrs.asdict(one) for one in survey.leftovers],
    }
    context.output.result(document, *lines)
    return 1 if problems or leases.problems else 0
