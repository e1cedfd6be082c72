"""`aero-storage profile show`, `import` and `remove`: profiles as they are stored."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click

from aero_storage.cli.options import CommandContext, ImageIdType, with_json, with_root, with_single_writer
from aero_storage.cli.profile_options import with_name
from aero_storage.cli.profile_results import lines, report, store
from aero_storage.cli.profile_subject import ProfileSubject, parsed_profile, subject
from aero_storage.cli.stored_profiles import ProfilePlace
from aero_storage.errors import OperatorError
from aero_storage.profiles.document import MOST_BYTES, BootProfile, size_of
from aero_storage.sizes import format_size

_SHOWN_RANGES = 20


@click.command("show", short_help="Show a profile.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@with_name
@with_root
@with_json
@click.pass_obj
def show_profile(context: CommandContext, image_id: str, name: str) -> None:
    """Show the profile of the image ID for its present version.

    With --json the document itself is printed, as the daemon serves it; `profile import` takes it.
    """
    found = subject(context, image_id)
    place = ProfilePlace(image_id, found.version, name)
    data = context.repository.profiles.read(place)
    if data is None:
        raise OperatorError(_missing(context, place))
    profile = parsed_profile(data, f"{context.repository.name}/{place.path}", found.size)
    context.output.result(json.loads(profile.to_json()), *lines(profile), *_ranges(profile, found))


def _missing(context: CommandContext, place: ProfilePlace) -> str:
    others = [one for one in context.repository.profiles.places(place.image_id) if one != place]
    there = f"; there are: {', '.join(one.path for one in others)}" if others else ""
    return f"there is no profile {place.name!r} of {place.image_id} in its version {place.version}{there}"


def _ranges(profile: BootProfile, found: ProfileSubject) -> list[str]:
    shown = [
        f"  {one.milliseconds / 1000:7.3f} s  {one.percent:3d} %  from {format_size(one.start * profile.unit)}: "
        f"{format_size(one.size(profile.unit, found.size))}"
        for one in profile.ranges[:_SHOWN_RANGES]
    ]
    more = len(profile.ranges) - len(shown)
    return [*shown, f"  and {more} more"] if more else shown


@click.command("import", short_help="Store a profile that was learned elsewhere.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@with_name
@with_root
@with_single_writer
@with_json
@click.pass_obj
def import_profile(context: CommandContext, image_id: str, file: Path, name: str) -> None:
    """Store the profile in FILE, or - for standard input, as that of the image ID.

    It must be of the version that the image has here, so of the same content. The id and the name may be others where
    it was learned.
    """
    found = subject(context, image_id)
    profile = parsed_profile(_content(file), str(file), found.size)
    if profile.version != found.version:
        raise OperatorError(
            f"{file} is of the version {profile.version}, but {image_id} has {found.version}: what it says of other "
            "content is worth nothing here"
        )
    size = size_of(profile.ranges, profile.unit, found.size)  # its own sum may be wrong
    profile = attrs.evolve(profile, image_id=image_id, name=name, size_bytes=size)
    store(context, found, profile)
    report(context, profile)


def _content(file: Path) -> bytes:
    with click.open_file(str(file), "rb") as opened:
        data: bytes = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OperatorError(f"{file} is too long for a boot profile")
    return data


@click.command("remove", short_help="Remove a profile.")
@click.argument("image_id", metavar="ID", type=ImageIdType())
@with_name
@with_root
@with_single_writer
@with_json
@click.pass_obj
def remove_profile(context: CommandContext, image_id: str, name: str) -> None:
    """Remove the profile of the image ID, for all versions that it has had."""
    repository = context.repository
    with repository.at_work(image_id, context.output.say):
        places = [place for place in repository.profiles.places(image_id) if place.name == name]
        if not places:
            raise OperatorError(f"there is no profile {name!r} of {image_id} in {repository.name}")
        for place in places:
            repository.profiles.remove(place)
    context.output.result(
        {"id": image_id, "name": name, "removed": [place.path for place in places]},
        *(f"removed {place.path}" for place in places),
    )
