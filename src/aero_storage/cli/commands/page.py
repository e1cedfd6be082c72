"""`aero-storage page`: the emulator that the page boots images in, which the package does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from aero_storage.atomic_files import Waiting
from aero_storage.cli.download_options import with_registries
from aero_storage.cli.downloads import emulator
from aero_storage.cli.downloads.cache import Downloads, UnavailableError
from aero_storage.cli.downloads.debian import Mirror
from aero_storage.cli.downloads.emulator_directory import EmulatorDirectory, at_work, has_leftovers, present, remove
from aero_storage.cli.options import CommandContext, with_json, with_root
from aero_storage.cli.setting_flags import with_settings
from aero_storage.emulator.files import EmulatorFiles, EmulatorFilesError, read_emulator_files
from aero_storage.errors import OperatorError
from aero_storage.sizes import format_size

_F = TypeVar("_F", bound=Callable[..., Any])
_MOST_WAIT = 600.0
"""Seconds that a command waits for another one that fetches."""


@click.group("page", short_help="Fetch the emulator that the page boots images in.")
def page() -> None:
    """Fetch, show and remove the emulator of the page: v86 (BSD-2-Clause) and its firmware SeaBIOS (LGPLv3).

    \b
      aero-storage page fetch
      aero-storage page show
      aero-storage page remove

    The daemon serves them to its page, where "Boot it" uses them. All else of the page works without.
    """  # noqa: D301 - click's mark for text that is not wrapped


def _with_place(command: _F) -> _F:
    option = click.option(
        "--to",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="The directory; by default that of the daemon's setting --page-parts.",
    )
    return option(with_settings("page_parts")(with_root(with_json(command))))


@page.command("fetch", short_help="Fetch v86 and SeaBIOS.")
@with_registries
@click.option("--anew", is_flag=True, help="Fetch them even if they are there.")
@_with_place
@click.pass_obj
def fetch_parts(context: CommandContext, registry: str, mirror: str, anew: bool, directory: Path | None) -> None:  # noqa: FBT001 - click's
    """Fetch v86 from npm's registry and SeaBIOS from a mirror of Debian, check their digests, and keep them.

    13 MB are fetched, and 2.6 MB kept, with the licences beside. A daemon that runs serves them at once. Nothing is
    fetched where they are there already.
    """
    place = _place(context, directory)
    context.when_interrupted = "nothing was changed, or the next page fetch mends it"
    found = None if anew else present(place)
    if found is None or has_leftovers(place):
        with at_work(place, _waiting(context)) as work:
            found = _fetched(context, registry, mirror, work, anew=anew)
    _report(context, found, place)


def _waiting(context: CommandContext) -> Waiting:
    return Waiting(_MOST_WAIT, context.output.say)


def _fetched(
    context: CommandContext, registry: str, mirror: str, work: EmulatorDirectory, *, anew: bool
) -> EmulatorFiles:
    """Fetch the parts into their directory, unless another process has done so meanwhile."""
    found = None if anew else present(work.path)
    if found is not None:
        work.clean()
        return found
    with work.staging() as directory:
        downloads = Downloads(directory, context.output.say)
        try:
            found = emulator.fetch(emulator.Origins(registry, Mirror(mirror, downloads), downloads))
        except UnavailableError as error:
            raise OperatorError(
                f'{error}. Without it all of the page but "Boot it" works; --registry URL and --mirror URL name '
                "other places, and --page-parts DIR a directory that was filled elsewhere"
            ) from error
        work.store(found)
    return found


@page.command("show", short_help="Show what is there.")
@_with_place
@click.pass_obj
def show_parts(context: CommandContext, directory: Path | None) -> None:
    """Show which versions are there, where they come from, and under which licences."""
    place = _place(context, directory)
    try:
        found = read_emulator_files(place)
    except EmulatorFilesError as error:
        raise OperatorError(f"{error}; fetch it anew: aero-storage page fetch --anew") from error
    if found is None:
        raise OperatorError(f"there is nothing in {place}; fetch it: aero-storage page fetch")
    _report(context, found, place)


@page.command("remove", short_help="Remove them.")
@_with_place
@click.pass_obj
def remove_parts(context: CommandContext, directory: Path | None) -> None:
    """Remove what `page fetch` has put there."""
    place = _place(context, directory)
    was_there = remove(place, _waiting(context))
    text = f"Removed v86 and SeaBIOS from {place}" if was_there else f"There is nothing in {place}"
    context.output.result({"directory": str(place), "removed": was_there}, text)


def _place(context: CommandContext, directory: Path | None) -> Path:
    place = directory or context.settings.page_directory
    if place is None:
        raise OperatorError(
            "the images root is in an object store; name a directory by --page-parts DIR, here and for the daemon"
        )
    return place


def _report(context: CommandContext, found: EmulatorFiles, place: Path) -> None:
    works = [
        {"name": work.name, "version": work.version, "licence": work.licence, "url": work.url} for work in found.works
    ]
    size = sum(len(body) for body in found.files.values())
    document = {"directory": str(place), "size": size, "works": works}
    context.output.result(document, f"{place}: {format_size(size)}", *_lines(found, place))


def _lines(found: EmulatorFiles, place: Path) -> Iterable[str]:
    for work in found.works:
        licence = place / work.licence_file
        yield f"  {work.name} {work.version}, {work.licence} ({licence}), from {work.url}"
